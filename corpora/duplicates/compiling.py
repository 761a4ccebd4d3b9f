"""numba's decorators with types, for the modules of kernels. Imports numba when it is imported.

numba keeps compiled code as long as the file of the function stays the same, whatever happens to the functions and
constants of other files that went into it. So what is kept lies under the digest of all files of this package.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba  # noqa: TID253
import numpy as np

from lineage.hashing import file_digest, tree_digest

Array = np.ndarray[Any, Any]
Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_FOLDER = Path(__file__).parent
_SOURCES = tree_digest((file.name, file_digest(file)) for file in _FOLDER.glob("*.py"))
_KEPT = _FOLDER / "__pycache__" / _SOURCES[:16]


def compiled(function: Kernel) -> Kernel:
    """Compiled at the first call, and kept on disk for the next process."""
    return _compiled(function, inline="never")


def inlined(function: Kernel) -> Kernel:
    """Compiled into the kernels that call it."""
    return _compiled(function, inline="always")


def _compiled(function: Kernel, inline: str) -> Kernel:
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(_KEPT)
    try:
        kernel: Kernel = numba.njit(cache=True, nogil=True, inline=inline)(function)
    finally:
        numba.config.CACHE_DIR = before
    return kernel
