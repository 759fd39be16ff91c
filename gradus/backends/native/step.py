"""A `Batch` for the executor: arrays of exactly the types that C++ reads."""

from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np

import gradus.backends.native._native as _native
from gradus.batch import Batch
from gradus.errors import BackendError

_BATCH_ARRAYS: dict[str, tuple[type, int]] = {
    "token_ids": (np.int32, 1),
    "positions": (np.int32, 1),
    "slot_mapping": (np.int64, 1),
    "query_start": (np.int32, 1),
    "context_lens": (np.int32, 1),
    "block_tables": (np.int32, 2),
    "block_copies": (np.int32, 2),
    "output_rows": (np.int32, 1),
}
_SAMPLING_ARRAYS: dict[str, tuple[type, int]] = {
    "temperature": (np.float32, 1),
    "top_p": (np.float32, 1),
    "top_k": (np.int32, 1),
    "min_p": (np.float32, 1),
    "seed": (np.int64, 1),
    "choice_index": (np.int32, 1),
    "position": (np.int32, 1),
    "num_logprobs": (np.int32, 1),
}
_EDIT_ARRAYS: dict[str, tuple[type, int]] = {
    "rows": (np.int32, 1),
    "mask_index": (np.int32, 1),
    "masks": (np.uint32, 2),
    "bias_start": (np.int32, 1),
    "bias_ids": (np.int32, 1),
    "biases": (np.float32, 1),
    "seen_start": (np.int32, 1),
    "seen_ids": (np.int32, 1),
    "seen_counts": (np.int32, 1),
    "repetition_penalty": (np.float32, 1),
    "frequency_penalty": (np.float32, 1),
    "presence_penalty": (np.float32, 1),
}


_batch_values = attrgetter(*_BATCH_ARRAYS)
_sampling_values = attrgetter(*_SAMPLING_ARRAYS)
_edit_values = attrgetter(*_EDIT_ARRAYS)


def make_step(batch: Batch) -> Any:
    """The executor's copy of a batch, checked for types and shapes; ranges are checked when it begins.

    Raises:
        BackendError: names the array, what it is and what it must be.
    """
    try:
        try:
            return _as_it_is(batch)
        except TypeError:  # C++ takes arrays of one kind alone; see what can be made of these
            return _as_it_is(_converted(batch))
    except _native.StepError as error:
        raise BackendError(str(error)) from error


def _as_it_is(batch: Batch) -> Any:
    """Raises TypeError: an array is not of the type that C++ reads, or not contiguous."""
    sampling = batch.sampling
    step = _native.Step(
        *_batch_values(batch), *_sampling_values(sampling), batch.return_logits, batch.return_hidden
    )
    if sampling.targets is not None:
        step.set_targets(sampling.targets)
    if sampling.edits is not None:
        step.set_edits(*_edit_values(sampling.edits))
    return step


def _converted(batch: Batch) -> Batch:
    """The batch with contiguous arrays.

    Raises:
        BackendError: one has another type or other dimensions.
    """
    sampling = replace(batch.sampling, **_arrays(batch.sampling, _SAMPLING_ARRAYS))
    if sampling.targets is not None:
        sampling.targets = _arrays(sampling, {"targets": (np.int32, 1)})["targets"]
    if sampling.edits is not None:
        sampling.edits = replace(sampling.edits, **_arrays(sampling.edits, _EDIT_ARRAYS))
    return replace(batch, **_arrays(batch, _BATCH_ARRAYS), sampling=sampling)


def _arrays(holder: object, types: dict[str, tuple[type, int]]) -> dict[str, Any]:
    """The holder's arrays of these names, of exactly these types and dimensions, contiguous."""
    arrays: dict[str, np.ndarray] = {}
    for name, (dtype, ndim) in types.items():
        array = getattr(holder, name)
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != ndim:
            found = f"{array.ndim}-D {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
            raise BackendError(f"{name} is {found}; it must be a {ndim}-D array of {dtype.__name__}")
        arrays[name] = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    return arrays
