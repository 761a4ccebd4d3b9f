"""Whether memory ran out, in whichever words a library says so, and what a person is told then."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from lineage.errors import TrainingError
from recipes.errors import TemperError

_WORDS = (
    "out of memory",  # CUDA and its driver, HIP, NCCL ("Cuda failure 2 'out of memory'")
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator",  # torch's, for main memory
    "std::bad_alloc",
    "Cannot allocate memory",  # the system's (ENOMEM), as libraries in other languages pass it on
)
"""How those say that memory ran out which have no exception of their own for it."""


def ran_out(error: Exception) -> bool:
    """Whether this is what a library raises when memory runs out, on a device or on the machine."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    return not isinstance(error, TrainingError) and any(words in str(error) for words in _WORDS)


@contextmanager
def explained(when: str, kind: type[TemperError]) -> Iterator[None]:
    """Turn running out of memory into an error of this kind, which says when it did."""
    try:
        yield
    except Exception as error:
        if not ran_out(error):
            raise
        raise kind(f"out of memory {when}, and a larger device has more") from error
