"""Fixtures that several folders of tests share."""

import os

import hypothesis
import pytest

# The oracles' libraries, before they are loaded: two files run at the same time, and with two threads in each
# they would take longer than one after the other.
for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

from tests.tiny_models import save_tiny_model  # noqa: E402

# No test asserts a time, and a busy machine may take any.
hypothesis.settings.register_profile("gradus", deadline=None)
hypothesis.settings.load_profile("gradus")


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory):
    """Nothing that a test packs goes to the user's cache, nor comes from it."""
    before = os.environ.get("GRADUS_CACHE")
    os.environ["GRADUS_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["GRADUS_CACHE"]
    else:
        os.environ["GRADUS_CACHE"] = before


@pytest.fixture(scope="session")
def tiny_model_path(tmp_path_factory):
    """A directory with a tiny random chat model."""
    return save_tiny_model(tmp_path_factory.mktemp("tiny-model"))
