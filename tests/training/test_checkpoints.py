"""A checkpoint is resumed only if every byte of it is the one that was written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from made_jobs import LORA, run_here, sft_job

from lineage.errors import Interrupted, OutOfSpace
from recipes.errors import INTERRUPTED
from training import weights
from training.loop import checkpoints

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
    "emptied": lambda file: file.write_bytes(b""),
}


@pytest.fixture(scope="module")
def left_by_a_job(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], dict[str, str]]:
    """The checkpoints of a real job that was cut off before its weights were written, oldest first."""
    job = sft_job(tiny_base, tmp_path_factory.mktemp("cut"), lora=LORA, rows=16)

    def cut(*_: object) -> None:
        raise Interrupted("cut off")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "save", cut)
        assert run_here(job) == INTERRUPTED
    folder = job.store.work_path(job.request) / checkpoints.FOLDER
    made_by = {"fingerprint": job.request.fingerprint, "device": "cpu"}
    assert checkpoints.newest_verified(folder, made_by) == folder / "checkpoint-4"
    return [folder / "checkpoint-2", folder / "checkpoint-4"], made_by


@pytest.mark.invariants
@pytest.mark.parametrize("damage", DAMAGE)
def test_whichever_file_of_the_newest_is_damaged_the_one_before_is_resumed(
    left_by_a_job: tuple[list[Path], dict[str, str]], capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    (older, newest), made_by = left_by_a_job
    files = sorted(p.relative_to(newest) for p in newest.rglob("*") if p.is_file())
    needed = {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "adapter_model.safetensors"}
    assert needed < {file.as_posix() for file in files}
    for file in files:
        sound = (newest / file).read_bytes()
        DAMAGE[damage](newest / file)
        assert checkpoints.newest_verified(newest.parent, made_by) == older, file
        assert "checkpoint-4 is set aside" in capsys.readouterr().out
        newest.with_name("set-aside-checkpoint-4").rename(newest)
        (newest / file).write_bytes(sound)
    assert checkpoints.newest_verified(newest.parent, made_by) == newest


def test_the_newest_is_taken(tmp_path: Path) -> None:
    made(tmp_path, 2)
    newest = made(tmp_path, 10)
    assert checkpoints.newest_verified(tmp_path, MADE_BY) == newest


def test_a_file_that_was_not_there_is_damage_too(tmp_path: Path) -> None:
    older, newest = made(tmp_path, 2), made(tmp_path, 4)
    (newest / "model.safetensors").write_bytes(b"another's")
    assert checkpoints.newest_verified(tmp_path, MADE_BY) == older


def test_one_that_was_being_written_is_set_aside(tmp_path: Path) -> None:
    older = made(tmp_path, 2)
    made(tmp_path, 4, finished=False)
    assert checkpoints.newest_verified(tmp_path, MADE_BY) == older


def test_one_of_another_device_is_not_resumed(tmp_path: Path) -> None:
    made(tmp_path, 2)
    assert checkpoints.newest_verified(tmp_path, {**MADE_BY, "device": "cuda"}) is None


def test_retention_keeps_two_finished_ones_and_nothing_set_aside(tmp_path: Path) -> None:
    for step in (2, 4):
        made(tmp_path, step)
    made(tmp_path, 5, finished=False)
    assert checkpoints.newest_verified(tmp_path, MADE_BY) == tmp_path / "checkpoint-4"
    assert (tmp_path / "set-aside-checkpoint-5").is_dir()
    checkpoints.retain(made(tmp_path, 6), MADE_BY)
    assert sorted(c.name for c in tmp_path.iterdir()) == ["checkpoint-4", "checkpoint-6"]


def test_retention_never_counts_a_damaged_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = made(tmp_path, 2)
    for step in (4, 6):
        flip(made(tmp_path, step) / "optimizer.pt")
    saved = made(tmp_path, 8)
    checkpoints.retain(saved, MADE_BY)
    assert "checkpoint-6 is set aside: the bytes of optimizer.pt are not those written" in capsys.readouterr().out
    flip(saved / "optimizer.pt")
    assert checkpoints.newest_verified(tmp_path, MADE_BY) == good


def test_a_full_disk_is_noticed_before_a_save_and_evidence_makes_room(tmp_path: Path) -> None:
    aside = tmp_path / "set-aside-checkpoint-2"
    aside.mkdir()
    checkpoints.need_space(tmp_path, 0)
    assert aside.exists()
    with pytest.raises(OutOfSpace, match="free some space"):
        checkpoints.need_space(tmp_path, 1 << 60)
    assert not aside.exists()


def test_a_disk_that_fills_up_in_a_save_leaves_no_half_of_it(tmp_path: Path) -> None:
    checkpoint = made(tmp_path, 2, finished=False)
    with pytest.raises(OutOfSpace, match="goes on where it stopped"), checkpoints.saving(checkpoint):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert not checkpoint.exists()
    with pytest.raises(ZeroDivisionError), checkpoints.saving(made(tmp_path, 4)):
        _ = 1 / 0
    assert checkpoints.newest_verified(tmp_path, MADE_BY) == tmp_path / "checkpoint-4"


def test_the_space_that_is_needed_is_said_and_just_enough_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set-aside-checkpoint-2").mkdir()
    spare = checkpoints._SPARE_BYTES
    monkeypatch.setattr(checkpoints, "_free", lambda _: 3_000_000_000 + spare)
    checkpoints.need_space(tmp_path, 3_000_000_000)
    assert (tmp_path / "set-aside-checkpoint-2").exists()
    said = f"{3 + spare / 1e9:.2f} GB are free, {3.05 + spare / 1e9:.2f} GB are needed to save"
    with pytest.raises(OutOfSpace, match=said):
        checkpoints.need_space(tmp_path, 3_050_000_000)


def test_where_the_next_attempt_goes_on_is_the_newest_that_was_finished(tmp_path: Path) -> None:
    assert (checkpoints.kept_until(tmp_path), checkpoints.size_of_newest(tmp_path)) == (0, 0)
    made(tmp_path, 2)
    made(tmp_path, 4, finished=False)
    assert checkpoints.kept_until(tmp_path) == 2
    assert checkpoints.size_of_newest(tmp_path) >= sum(len(f"{name} at step 2") for name in FILES)


def test_a_file_that_cannot_be_read_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    older, newest = made(tmp_path, 2), made(tmp_path, 4)
    digest = checkpoints.file_digest

    def unreadable(file: Path) -> str:
        if file == newest / "optimizer.pt":
            raise OSError(5, "Input/output error")
        return digest(file)

    monkeypatch.setattr(checkpoints, "file_digest", unreadable)
    assert checkpoints.newest_verified(tmp_path, MADE_BY) == older
    assert "checkpoint-4 is set aside: optimizer.pt cannot be read: Input/output error" in capsys.readouterr().out


def test_a_disk_that_is_full_before_the_first_byte_is_the_same_message(tmp_path: Path) -> None:
    with pytest.raises(OutOfSpace, match="goes on where it stopped"), checkpoints.saving(tmp_path / "checkpoint-2"):
        raise OSError(28, "No space left on device")
