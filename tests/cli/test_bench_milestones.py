"""`gradus bench milestones`: what cannot be measured is refused before anything is loaded."""

import pytest

from tests.cli.harness import gradus


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "none-such"], "milestones-cpu"),
        (["--quantization", "int8"], "quantization"),
        (["--attention", "naive"], "the path of milestones sets attention"),
    ],
)
def test_what_the_path_sets_itself_cannot_be_given(arguments, said):
    ran = gradus("bench", "milestones", "demo", *arguments)
    assert ran.returncode == 2
    assert said in ran.stderr
