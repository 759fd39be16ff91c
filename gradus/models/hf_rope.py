"""Rotary embeddings in `config.json`: the base, and the kinds of scaling that Gradus implements.

Reads `rope_parameters` (transformers 5) and `rope_theta` beside `rope_scaling` (transformers 4). Source of
the fields' meaning and defaults: transformers' rotary embedding utilities.
"""

from collections.abc import Callable

from gradus.errors import UnsupportedModelError
from gradus.models.hf_fields import Fields, is_close
from gradus.models.rope import LinearScaling, Llama3Scaling, Rope, RopeScaling, YarnScaling

MAX_FACTOR = 1e6
MIN_THETA, MAX_THETA = 1.0, 1e15  # exclusive; at 1 all pairs would turn alike
MAX_POSITIONS = 1 << 28

WHOLE_HEADS = "Only models that rotate whole heads are supported."

Scaled = tuple[RopeScaling, float]
"""A scaling and the magnitude of cosines and sines."""


def read_rope(fields: Fields, head_dim: int, default_theta: float | None = None) -> Rope:
    """Of a model that rotates whole heads, all layers alike.

    Raises:
        CheckpointError, UnsupportedModelError: as `gradus.models.hf_config.parse_model_config`.
    """
    fields.only("partial_rotary_factor", [1, 1.0], WHOLE_HEADS)
    context = fields.integer("max_position_embeddings", 1, MAX_POSITIONS)
    thetas = []
    if fields.raw("rope_theta") is not None:
        thetas.append(fields.number("rope_theta", MIN_THETA, MAX_THETA))
    scaled: Scaled | None = None
    for name in ("rope_parameters", "rope_scaling"):
        inner = fields.inner(name)
        if inner is None:
            continue
        inner.only("partial_rotary_factor", [1, 1.0], WHOLE_HEADS)
        if inner.raw("rope_theta") is not None:
            thetas.append(inner.number("rope_theta", MIN_THETA, MAX_THETA))
        scaled = read_scaling(inner, context) or scaled
        inner.refuse_unhandled(())
    return make_rope(head_dim, one_theta(fields, thetas, default_theta), scaled)


def make_rope(head_dim: int, theta: float, scaled: Scaled | None) -> Rope:
    scaling, magnitude = scaled or (None, 1.0)
    return Rope(head_dim=head_dim, theta=theta, scaling=scaling, magnitude=magnitude)


def one_theta(fields: Fields, thetas: list[float], default: float | None) -> float:
    """The base that was found, in one place or several."""
    if not thetas:
        if default is None:
            raise fields.broken("rope_theta", "given here or in rope_parameters, as a positive number")
        return default
    if not all(is_close(theta, thetas[0]) for theta in thetas):
        raise fields.broken("rope_theta", f"the same wherever it is given, not {thetas}")
    return thetas[0]


def rope_kind(inner: Fields) -> str:
    """`rope_type`, or `type` as it was called before."""
    for name in ("rope_type", "type"):
        value = inner.raw(name)
        if value is not None:
            inner.only("type", [value], "rope_type and type must agree.")
            if not isinstance(value, str):
                raise inner.broken(name, "the name of a kind of rotary embedding")
            return value
    return "default"


def read_scaling(inner: Fields, context: int) -> Scaled | None:
    """How the object `inner` stretches the rotary embedding; None where it does not."""
    kind = rope_kind(inner)
    if kind == "default":
        return None
    if kind not in _SCALINGS:
        raise unknown_kind(inner, kind)
    return _SCALINGS[kind](inner, context)


def unknown_kind(inner: Fields, kind: str) -> UnsupportedModelError:
    if kind == "dynamic":
        advice = "Its frequencies change as a sequence grows, which would make cached keys wrong."
    else:
        advice = "Use a checkpoint with one of these."
    return inner.unsupported("rope_type", kind, ["default", *_SCALINGS], advice)


def _linear(inner: Fields, context: int) -> Scaled:
    return LinearScaling(inner.number("factor", 0.0, MAX_FACTOR)), 1.0


def _llama3(inner: Fields, context: int) -> Scaled:
    low = inner.number("low_freq_factor", 0.0, MAX_FACTOR)
    scaling = Llama3Scaling(
        factor=inner.number("factor", 0.0, MAX_FACTOR),
        low_freq_factor=low,
        high_freq_factor=inner.number("high_freq_factor", low, MAX_FACTOR),
        original_max_position_embeddings=_original_context(inner, context),
    )
    return scaling, 1.0


def _yarn(inner: Fields, context: int) -> Scaled:
    factor = inner.number("factor", 0.0, MAX_FACTOR)
    beta_slow = _number_or(inner, "beta_slow", 1.0)
    scaling = YarnScaling(
        factor=factor,
        original_max_position_embeddings=_original_context(inner, context),
        beta_fast=_number_or(inner, "beta_fast", 32.0),
        beta_slow=beta_slow,
        truncate=inner.flag("truncate", default=True),
    )
    weight, weight_all = (_number_or(inner, name, 0.0) for name in ("mscale", "mscale_all_dim"))
    if inner.raw("attention_factor") is not None:
        return scaling, inner.number("attention_factor", 0.0, MAX_FACTOR)
    if weight and weight_all:
        return scaling, YarnScaling.magnitude(factor, weight) / YarnScaling.magnitude(factor, weight_all)
    return scaling, YarnScaling.magnitude(factor)


_SCALINGS: dict[str, Callable[[Fields, int], Scaled]] = {"linear": _linear, "llama3": _llama3, "yarn": _yarn}


def _number_or(inner: Fields, name: str, default: float) -> float:
    """Null, absent and zero all stand for the default."""
    return inner.number(name, 0.0, MAX_FACTOR) if inner.raw(name) else default


def _original_context(inner: Fields, context: int) -> int:
    return inner.integer("original_max_position_embeddings", 1, MAX_POSITIONS, default=context)
