"""Fixtures that several folders of tests share."""

import pytest

from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="session")
def tiny_model_path(tmp_path_factory):
    """A directory with a tiny random chat model."""
    return save_tiny_model(tmp_path_factory.mktemp("tiny-model"))
