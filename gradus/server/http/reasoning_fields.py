"""What the protocols' fields about reasoning mean to a model's chat template."""

from typing import Any

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import show

SWITCH = "enable_thinking"  # the variable by which templates let thinking be switched on or off


def effort_kwargs(effort: str | None, template: str, field: str) -> dict[str, Any]:
    """What an effort, which the request calls `field`, says to the template.

    Raises:
        InvalidRequestError: the template knows no efforts.
    """
    if effort is None:
        return {}
    if "reasoning_effort" in template:
        return {"reasoning_effort": effort}
    if effort == "none" and SWITCH in template:
        return {SWITCH: False}
    ways = f', only "none" and chat_template_kwargs {{"{SWITCH}": true}}'
    raise InvalidRequestError(
        f"{field} is {show(effort)}; this model's chat template knows no such efforts"
        + (ways if SWITCH in template else "; leave it out"),
        field,
    )
