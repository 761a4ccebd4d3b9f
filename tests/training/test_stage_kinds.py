"""What holds of every kind of stage: trained in one go or stopped and resumed, the same bytes come out."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from made_jobs import LORA, dpo_job, kto_job, orpo_job, pretrain_job, reward_job, run_here, simpo_job, weights_of

from assets.checks import declared
from jobs.job import Job
from recipes.errors import DONE, INTERRUPTED
from training.loop import memory

KINDS: dict[str, Callable[[Path, Path], Job]] = {
    "pretrain": lambda base, home: pretrain_job(base, home, lora=LORA),
    "reward": lambda base, home: reward_job(base, home, lora=LORA),
    "dpo ipo": lambda base, home: dpo_job(base, home, loss="ipo", lora=LORA),
    "kto": lambda base, home: kto_job(base, home, lora=LORA),
    "orpo": lambda base, home: orpo_job(base, home, lora=LORA),
    "simpo": lambda base, home: simpo_job(base, home, lora=LORA),
}


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_ends_bit_equal(
    kind: str, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stopped one also tries its longest batch before it begins."""
    whole, cut = (KINDS[kind](tiny_base, tmp_path / name) for name in ("whole", "cut"))
    assert run_here(whole) == DONE
    monkeypatch.setattr(memory, "_WORTH", 0)
    stop = threading.Event()
    watcher = threading.Thread(target=_set_after_a_checkpoint, args=(cut, stop))
    watcher.start()
    assert run_here(cut, stop) == INTERRUPTED
    watcher.join()
    assert run_here(cut) == DONE
    found = cut.store.find(cut.request)
    assert found is not None
    assert 0 < found.metrics["resumed_from_step"] < found.metrics["steps"]
    assert weights_of(cut) == weights_of(whole)
    assert found.failed_checks == []
    assert set(found.metrics["checks"]) == set(declared(cut.kind))  # with an adapter, all of them apply


def _set_after_a_checkpoint(job: Job, stop: threading.Event) -> None:
    folder = job.store.work_path(job.request) / "checkpoints"
    while not list(folder.glob("checkpoint-*/COMPLETE")):
        time.sleep(0.01)
    stop.set()
