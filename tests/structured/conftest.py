import pytest

from gradus.llm import LLM


@pytest.fixture(scope="session")
def llm():
    """The embedded model."""
    with LLM("demo") as loaded:
        yield loaded
