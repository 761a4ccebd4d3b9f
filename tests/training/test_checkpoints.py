"""A checkpoint is resumed only if every byte of it is the one that was written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from training import TrainingError, checkpoints

MADE_BY = {"fingerprint": "f" * 64, "device": "cpu"}
FILES = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


def made(folder: Path, step: int, finished: bool = True) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    for name in FILES:
        (checkpoint / name).write_bytes(f"{name} at step {step}".encode())
    if finished:
        checkpoints.complete(checkpoint, MADE_BY)
    return checkpoint


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "flipped": flip,
    "deleted": Path.unlink,
}


def test_the_newest_is_taken(tmp_path: Path) -> None:
    made(tmp_path, 2)
    newest = made(tmp_path, 10)
    assert checkpoints.newest_verified(tmp_path, MADE_BY) == newest


@pytest.mark.parametrize("file", [*FILES, "manifest.json", "COMPLETE"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_one_is_set_aside_for_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str, file: str
) -> None:
    older, newest = made(tmp_path, 2), made(tmp_path, 4)
    DAMAGE[damage](newest / file)
    assert checkpoints.newest_verified(tmp_path, MADE_BY) == older
    assert not newest.exists()
    assert "checkpoint-4 is set aside" in capsys.readouterr().out


def test_one_that_was_being_written_is_set_aside(tmp_path: Path) -> None:
    older = made(tmp_path, 2)
    made(tmp_path, 4, finished=False)
    assert checkpoints.newest_verified(tmp_path, MADE_BY) == older


def test_one_of_another_device_is_not_resumed(tmp_path: Path) -> None:
    made(tmp_path, 2)
    assert checkpoints.newest_verified(tmp_path, {**MADE_BY, "device": "cuda"}) is None


def test_retention_keeps_two_finished_ones_and_what_is_being_written(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        made(tmp_path, step)
    made(tmp_path, 8, finished=False)
    checkpoints.retain(tmp_path)
    assert sorted(c.name for c in tmp_path.iterdir()) == ["checkpoint-4", "checkpoint-6", "checkpoint-8"]


def test_a_full_disk_is_noticed_before_a_save(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="free some space"):
        checkpoints.need_space(tmp_path, 1 << 60)
