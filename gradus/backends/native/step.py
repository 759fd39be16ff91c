"""A `Batch` for the executor: arrays of exactly the types that C++ reads."""

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
    "seed": (np.int64, 1),
    "choice_index": (np.int32, 1),
    "position": (np.int32, 1),
    "num_logprobs": (np.int32, 1),
}


def make_step(batch: Batch) -> Any:
    """The executor's copy of a batch, checked for types and shapes; ranges are checked when it begins.

    Raises:
        BackendError: names the array, what it is and what it must be.
    """
    arrays = {name: getattr(batch, name) for name in _BATCH_ARRAYS}
    arrays |= {name: getattr(batch.sampling, name) for name in _SAMPLING_ARRAYS}
    for name, (dtype, ndim) in (_BATCH_ARRAYS | _SAMPLING_ARRAYS).items():
        array = arrays[name]
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != ndim:
            found = f"{array.ndim}-D {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
            raise BackendError(f"{name} is {found}; it must be a {ndim}-D array of {dtype.__name__}")
        if not array.flags.c_contiguous:
            arrays[name] = np.ascontiguousarray(array)
    try:
        return _native.Step(**arrays, return_logits=batch.return_logits)
    except _native.StepError as error:
        raise BackendError(str(error)) from error
