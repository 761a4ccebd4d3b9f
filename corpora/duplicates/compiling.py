"""numba's decorators with types, for the modules of kernels. Imports numba when it is imported."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba  # noqa: TID253
import numpy as np

Array = np.ndarray[Any, Any]
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compiled at the first call, and kept on disk beside the module for the next process."""
    kernel: Kernel = numba.njit(cache=True, nogil=True)(function)
    return kernel


def inlined(function: Kernel) -> Kernel:
    """Compiled into the kernels that call it."""
    kernel: Kernel = numba.njit(cache=True, nogil=True, inline="always")(function)
    return kernel
