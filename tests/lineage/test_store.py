"""The store: sealed once, found again, never half there."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.job import Job, JobInput
from lineage.checks import check
from lineage.errors import StoreError
from lineage.store import RECORD, Artifact, Request, Store, home_folder
from recipes.errors import TemperError


def make(text: str) -> Any:
    def write(work: Path) -> dict[str, Any]:
        (work / "rows.txt").write_text(text, encoding="utf-8")
        (work / "times.json").write_text(f'{{"pid": {os.getpid()}}}', encoding="utf-8")
        return {"rows": 1}

    return write


def build(store: Store, beta: float = 0.1, text: str = "hello", **options: Any) -> Artifact:
    request = Request("demo", "clean/a", {"beta": beta}, overridden=options.pop("overridden", False))
    return store.build(request, make(text), config={}, inputs={}, **options)


def test_a_second_build_is_found_and_makes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = build(store), build(store, text="never written")
    assert (first.reused, second.reused) == (False, True)
    assert (second.path / "rows.txt").read_text(encoding="utf-8") == "hello"
    assert first.digest == second.digest


def test_checks_that_block_and_did_not_pass_are_named(tmp_path: Path) -> None:
    every = {
        f"{passed}{blocks}": check(passed, 1.0, "…", blocks=blocks)
        for passed in (True, False)
        for blocks in (True, False)
    }
    assert build(Store(tmp_path)).failed_checks == []
    assert replace(build(Store(tmp_path)), metrics={"checks": every}).failed_checks == ["FalseTrue"]


def test_what_is_sealed_is_there_unless_it_was_asked_for_again(tmp_path: Path) -> None:
    store, request = Store(tmp_path), Request("demo", "clean/a", {"beta": 0.1})
    for again in ({}, {"again": True}):
        store.work_path(request).mkdir(parents=True)
        (store.work_path(request) / "rows.txt").write_text("hello", encoding="utf-8")
        made = store.seal(request, config={}, metrics={}, inputs={}, **again)
        assert made.path == (store.again_path(request) if again else store.object_path(request))


def test_force_builds_again_and_the_digest_follows_the_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = build(store), build(store, text="other", force=True)
    assert first.fingerprint == second.fingerprint
    assert first.digest != second.digest


def test_what_is_made_again_takes_the_place_of_the_old_one_only_when_it_is_sealed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = build(store)

    def fail(work: Path) -> dict[str, Any]:
        assert (first.path / "rows.txt").read_text(encoding="utf-8") == "hello"
        raise ValueError("no")

    request = Request("demo", "clean/a", {"beta": 0.1})
    with pytest.raises(ValueError, match="no"):
        store.build(request, fail, config={}, inputs={}, force=True)
    assert build(store).digest == first.digest
    assert [build(store, text=text, force=True).again for text in ("hello", "other")] == [
        "same bytes as before",
        "other bytes than before",
    ]


def test_what_something_rests_on_stays_and_other_bytes_are_an_error(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = build(store)
    with pytest.raises(
        StoreError, match=rf"other bytes .* \({first.digest[:12]}\), which stay: version 1 rests on them"
    ):
        build(store, text="other", force=True, kept=lambda _: "version 1")
    found = build(store, text="never written")
    assert (found.digest, found.reused) == (first.digest, True)
    assert {path.name for path in first.path.parent.iterdir()} == {first.fingerprint, f"{first.fingerprint}.lock"}


def test_what_something_rests_on_stays_untouched_where_it_is_made_again_with_the_same_bytes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = build(store)
    times = (first.path / "times.json").stat().st_ino
    again = build(store, force=True, kept=lambda _: "version 1")
    assert (again.reused, again.again) == (False, "same bytes as before")
    assert (again.path / "times.json").stat().st_ino == times


@pytest.mark.parametrize("damage", ["jello", "longer than before", None])
def test_what_something_rests_on_gets_its_bytes_back_where_they_are_damaged(tmp_path: Path, damage: str | None) -> None:
    store = Store(tmp_path)
    first = build(store)
    rows = first.path / "rows.txt"
    rows.unlink() if damage is None else rows.write_text(damage, encoding="utf-8")
    again = build(store, force=True, kept=lambda _: "version 1")
    assert again.again == "same bytes as before" and rows.read_text(encoding="utf-8") == "hello"
    store.verify(again)


def test_a_damaged_artefact_on_which_nothing_rests_is_made_anew_whatever_its_record_says(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = build(store)
    (first.path / RECORD).write_text("no JSON", encoding="utf-8")
    again = build(store, force=True, text="other")
    assert again.again is None and (again.path / "rows.txt").read_text(encoding="utf-8") == "other"


def test_a_swap_that_was_killed_between_its_two_steps_is_finished(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = build(store)
    second = build(Store(tmp_path / "elsewhere"), text="other")
    first.path.rename(first.path.with_name(f"{first.fingerprint}.old"))
    second.path.rename(first.path.with_name(f"{first.fingerprint}.again"))
    found = build(store, text="never written")
    assert (found.digest, found.reused) == (second.digest, True)


def test_what_another_builder_has_sealed_by_now_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    request = Request("demo", "clean/a", {"beta": 0.1})

    def late(work: Path) -> dict[str, Any]:
        other = build(Store(tmp_path / "elsewhere"))
        other.path.rename(store.object_path(request))
        return dict(make("other")(work))

    made = store.build(request, late, config={}, inputs={})
    assert (made.path / "rows.txt").read_text(encoding="utf-8") == "hello"
    assert not store.work_path(request).exists()


def test_a_ref_moves_but_not_to_an_overridden_artefact(tmp_path: Path) -> None:
    store = Store(tmp_path)
    usual = build(store)
    build(store, beta=0.5, overridden=True)
    pointed = store.ref("demo", "clean/a")
    assert pointed is not None and pointed.fingerprint == usual.fingerprint


def test_a_failed_build_seals_nothing_and_the_next_starts_clean(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(work: Path) -> dict[str, Any]:
        (work / "half.txt").write_text("half", encoding="utf-8")
        raise ValueError("no")

    request = Request("demo", "clean/a", {"beta": 0.1})
    with pytest.raises(ValueError, match="no"):
        store.build(request, fail, config={}, inputs={})
    assert store.find(request) is None
    assert not (build(store).path / "half.txt").exists()


def test_a_failed_build_leaves_its_unfinished_folder_to_the_next(tmp_path: Path) -> None:
    store = Store(tmp_path)
    request = Request("demo", "clean/a", {"beta": 0.1})

    def attempt(work: Path) -> dict[str, Any]:
        if (work / "scratch").exists():
            (work / "found.txt").write_text("|".join(sorted(path.name for path in work.rglob("*"))))
            shutil.rmtree(work / "scratch")
            return {}
        (work / "scratch").mkdir()
        for name in ("scratch/block", "half.txt"):
            (work / name).touch()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.build(request, attempt, config={}, inputs={}, unfinished="scratch")
    made = store.build(request, attempt, config={}, inputs={}, unfinished="scratch")
    assert (made.path / "found.txt").read_text() == "block|scratch"


def test_a_damaged_object_is_reported_with_its_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    artifact = build(store)
    (artifact.path / "rows.txt").write_text("jello", encoding="utf-8")
    with pytest.raises(StoreError, match=r"rows\.txt: its bytes are not those recorded"):
        store.verify(artifact)
    (artifact.path / "rows.txt").write_text("longer than before", encoding="utf-8")
    with pytest.raises(StoreError, match=r"rows\.txt: missing or not 5 bytes"):
        build(store)


def test_informative_files_are_kept_but_not_part_of_the_digest(tmp_path: Path) -> None:
    digests = []
    for run in ("one", "two"):
        store = Store(tmp_path / run)
        request = Request("demo", "sft", {})
        with store.building(request) as work:
            (work / "weights").write_text("w", encoding="utf-8")
            (work / "history.json").write_text(run, encoding="utf-8")
            artifact = store.seal(request, config={}, metrics={}, inputs={}, informative=("history.json",))
        assert artifact.record["files"]["history.json"]["informative"]
        digests.append(artifact.digest)
    assert digests[0] == digests[1]


def test_what_is_dropped_is_neither_in_the_record_nor_in_the_object(tmp_path: Path) -> None:
    store = Store(tmp_path)
    request = Request("demo", "sft", {})
    with store.building(request) as work:
        (work / "checkpoints" / "step-1").mkdir(parents=True)
        (work / "weights").mkdir()
        for name in ("checkpoints/step-1/state", "checkpoints/last", "weights/checkpoints", "weights/empty"):
            (work / name).write_text(name, encoding="utf-8")
        artifact = store.seal(request, config={}, metrics={}, inputs={}, drop=("checkpoints",))
    assert set(artifact.record["files"]) == {"weights/checkpoints", "weights/empty"}
    assert {path.name for path in artifact.path.iterdir()} == {"weights", RECORD}


def test_what_a_launch_override_built_is_overridden_only_for_who_asks_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert build(store, overridden=True).overridden and build(store, overridden=True).reused
    assert store.ref("demo", "clean/a") is None
    assert not build(store).overridden
    pointed = store.ref("demo", "clean/a")
    assert pointed is not None and not pointed.overridden and pointed.reused


def test_a_ref_that_is_no_json_is_one_sentence_with_its_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    build(store)
    ref = tmp_path / "refs" / "demo" / "clean" / "a.json"
    ref.write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match=r"a\.json: cannot be read: "):
        store.ref("demo", "clean/a")


@pytest.mark.parametrize("killed", [False, True])
def test_a_second_builder_waits_says_for_whom_and_reuses_or_takes_over(tmp_path: Path, killed: bool) -> None:
    script = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from lineage.store import Request, Store
        store = Store(Path({str(tmp_path)!r}))
        def make(work):
            (work / "rows.txt").write_text("of the first")
            print("at it", flush=True)
            sys.stdin.readline()
            return {{}}
        store.build(Request("demo", "clean/a", {{"beta": 0.1}}), make, config={{}}, inputs={{}})
    """)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "TEMPER_ON_BEHALF_OF": "run 1a2b3c4d"}
    first = subprocess.Popen([sys.executable, "-c", script], env=environment, **pipes)
    assert first.stdout.readline() == "at it\n"
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        first.kill() if killed else first.communicate("go on\n")

    second = build(Store(tmp_path), text="of the second", tell=tell)
    first.wait()
    assert told == [f"demo/clean/a: waits for process {first.pid} (run 1a2b3c4d), which is at it"]
    assert (second.path / "rows.txt").read_text(encoding="utf-8") == ("of the second" if killed else "of the first")
    assert second.reused is not killed
    assert not list(tmp_path.rglob("*.work"))


def test_a_builder_that_is_killed_leaves_its_work_and_no_lock(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from lineage.store import Request, Store
        with Store(Path({str(tmp_path)!r})).building(Request("demo", "clean/a", {{"beta": 0.1}})) as work:
            (work / "checkpoint").write_text("resume me")
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    store = Store(tmp_path)
    request = Request("demo", "clean/a", {"beta": 0.1})
    assert store.find(request) is None
    with store.building(request) as work:
        assert (work / "checkpoint").read_text(encoding="utf-8") == "resume me"


def test_the_record_holds_the_payload_and_where_it_came_from(tmp_path: Path) -> None:
    record = build(Store(tmp_path)).record
    assert record["payload"] == {"beta": 0.1}
    assert record["provenance"]["versions"]["pyarrow"]
    assert set(record["files"]) == {"rows.txt", "times.json"}
    assert RECORD not in record["files"]


def test_a_job_reads_back_as_it_was_written(tmp_path: Path) -> None:
    artifact = build(Store(tmp_path))
    job = Job(
        kind="sft",
        recipe="demo",
        node="sft",
        ref="sft",
        home=tmp_path,
        payload={"a": 1},
        config={"beta": 0.1},
        execution={"micro_batch": 2},
        inputs={"mixture": JobInput.of(artifact)},
    )
    assert Job.read(job.write()) == job


@pytest.mark.parametrize("record", ["{}", "[]", "null", '{"metrics": {}}'])
def test_a_record_that_is_not_whole_is_one_sentence_with_its_file(tmp_path: Path, record: str) -> None:
    store = Store(tmp_path)
    (build(store).path / RECORD).write_text(record, encoding="utf-8")
    with pytest.raises(StoreError, match=f"{RECORD}: not a whole record; delete"):
        build(store)


@pytest.mark.parametrize("sign", ["?", "%"])
def test_a_home_that_no_database_address_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch, sign: str) -> None:
    monkeypatch.setenv("TEMPER_HOME", f"/tmp/a{sign}b")
    with pytest.raises(TemperError, match=rf"a path with '\{sign}' cannot be written into a database's address"):
        home_folder()
    monkeypatch.setenv("TEMPER_HOME", "/tmp/ab")
    assert home_folder() == Path("/tmp/ab")
