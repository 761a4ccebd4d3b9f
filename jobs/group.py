"""The processes that share one training: who leads, what all of them must agree on.

Started by `jobs.launching`; a process that was started alone leads itself and agrees at once.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

from recipes.execution import TrainingExecution

T = TypeVar("T")


def count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this process speaks, saves and seals for all."""
    return int(os.environ.get("RANK", "0")) == 0


def join() -> None:
    """Meet the others, if there are any. Before that nothing can be agreed upon."""
    if count() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())


def agreed(find: Callable[[], T]) -> T:
    """What the leading process finds, for all of them. Every process must call it."""
    if count() == 1:
        return find()
    from accelerate.utils import broadcast_object_list

    (found,) = broadcast_object_list([find() if leads() else None])
    return found  # type: ignore[no-any-return]


def any_of(flag: bool) -> bool:
    """Whether the flag is set in one of them: a stop reaches each at another moment, and all must take the same."""
    if count() == 1:
        return flag
    import torch
    from accelerate import PartialState

    seen = torch.tensor([int(flag)], device=PartialState().device)
    torch.distributed.all_reduce(seen, torch.distributed.ReduceOp.MAX)
    return bool(seen.item())


def wait() -> None:
    """Until every process has come here."""
    if count() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def layout(trainer: Any, execution: TrainingExecution) -> dict[str, Any]:
    """What checkpoints of one attempt and another must have in common besides the job: devices by kind and number."""
    device = trainer.args.device.type
    if execution.devices == 1:
        return {"device": device}
    return {"device": device, "devices": execution.devices, "strategy": execution.launcher.strategy}
