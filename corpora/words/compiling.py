"""numba's decorators with types, for the modules of kernels. Imports numba when it is imported, half a second.

numba keeps compiled code as long as the file of the function stays the same, whatever happens to the functions and
constants of other files that went into it. So what is kept lies under the digest of all files of the function's
package and of this one, beside the source; where that cannot be written, in the user's own cache, and where neither
can, functions are compiled anew in each process.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba  # noqa: TID253
import numpy as np
from llvmlite import ir
from numba import types, uint64  # noqa: TID253
from numba.extending import intrinsic  # noqa: TID253

from lineage.hashing import file_digest, tree_digest

Array = np.ndarray[Any, Any]
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compiled at the first call, and kept on disk for the next process."""
    return _compiled(function, inline="never")


def inlined(function: Kernel) -> Kernel:
    """Compiled into the kernels that call it."""
    return _compiled(function, inline="always")


def _compiled(function: Kernel, inline: str) -> Kernel:
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(_kept(Path(function.__code__.co_filename).parent))
    try:
        kernel: Kernel = numba.njit(cache=True, nogil=True, inline=inline)(function)
    except RuntimeError:  # no place to keep the machine code
        kernel = numba.njit(nogil=True, inline=inline)(function)
    finally:
        numba.config.CACHE_DIR = before
    return kernel


@cache
def _kept(package: Path) -> Path:
    files = {*package.glob("*.py"), *Path(__file__).parent.glob("*.py")}
    digest = tree_digest((file.name, file_digest(file)) for file in files)
    return package / "__pycache__" / digest[:16]


_MIX_1, _MIX_2 = uint64(0xFF51AFD7ED558CCD), uint64(0xC4CEB9FE1A85EC53)


@inlined
def mixed(value: Any) -> Any:
    """In a kernel: MurmurHash3's finaliser of 64 bits: each bit of the result depends on every bit."""
    value ^= value >> uint64(33)
    value *= _MIX_1
    value ^= value >> uint64(33)
    value *= _MIX_2
    return value ^ (value >> uint64(33))


@intrinsic  # type: ignore[untyped-decorator]
def eight_bytes(_: Any, data: Any, at: Any) -> Any:
    """In a kernel: the bytes data[at:at + 8] (uint8) as one number, little-endian, in a single load.

    Written out byte by byte, LLVM makes one load of it only if no byte is read on its own.
    """

    def load(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        found = builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()))
        found.align = 1
        return found

    return types.uint64(data, at), load
