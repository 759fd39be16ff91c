"""Every native test runs for each kernel variant that this CPU has."""

import pytest

from gradus.backends.native import _native


@pytest.fixture(params=_native.available_variants())
def cpu_variant(request, monkeypatch):
    """The variant's name; backends made in the test use it."""
    monkeypatch.setenv("GRADUS_CPU", request.param)
    return request.param
