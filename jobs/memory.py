"""Whether memory ran out, in whichever words a library says so."""

import errno

from lineage.errors import TrainingError

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
