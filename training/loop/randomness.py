"""The state of every generator that training draws from: taken, put back, kept over what must not be noticed."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch  # noqa: TID253 - only job processes import this module


def state() -> tuple[Any, ...]:
    import numpy as np

    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def put_back(taken: tuple[Any, ...]) -> None:
    import numpy as np

    random.setstate(taken[0])
    np.random.set_state(taken[1])
    torch.set_rng_state(taken[2])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(taken[3])


@contextmanager
def kept() -> Iterator[None]:
    """Whatever is drawn inside has not been drawn afterwards."""
    taken = state()
    try:
        yield
    finally:
        put_back(taken)
