"""A source cut into many blocks: the same bytes from any number of workers, after a kill, and behind a limit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from corpora.cleaning import clean as cleaning
from recipes.execution import CorporaExecution
from tests.corpora.made import source, talk

_ROOT = Path(__file__).parents[2]
_TABLES = ("rows.parquet", "quarantine.parquet", "filtered.parquet", "evidence.parquet")
ONE = CorporaExecution(workers=1)
_FIELDS = {"max_quarantined": 0.5, "steps": [{"kind": "length", "unit": "words", "min": 4}]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source of about thirty blocks with rows of every fate, repeats far apart among them."""
    monkeypatch.setattr(cleaning, "_BLOCK_BYTES", 4000)
    monkeypatch.setattr(cleaning, "_SMALL", 0)
    rows = [json.dumps(talk(f"what is {i % 700}?", f"it is {i % 700}, I think")) for i in range(1200)]
    rows[100::50] = ["{broken"] * len(rows[100::50])
    rows[20::70] = [json.dumps(talk("short", "row"))] * len(rows[20::70])
    (tmp_path / "a.jsonl").write_text("\n".join(rows) + "\n")
    return tmp_path


def run(folder: Path, name: str, execution: CorporaExecution = ONE, **fields: Any) -> dict[str, Any]:
    work = folder / name
    work.mkdir(exist_ok=True)
    asked = source("a.jsonl", **_FIELDS, **fields)
    return cleaning.clean("demo", asked, folder, folder / "cache", work, execution=execution)


def written(folder: Path, name: str) -> list[bytes]:
    assert {file.name for file in (folder / name).iterdir()} == set(_TABLES)
    return [(folder / name / table).read_bytes() for table in _TABLES]


@pytest.mark.parametrize("other", [CorporaExecution(workers=3), CorporaExecution(runner="datatrove", workers=2)])
def test_the_bytes_are_those_of_one_worker(folder: Path, other: CorporaExecution) -> None:
    one = run(folder, "one")
    assert run(folder, "other", other) == one
    assert written(folder, "other") == written(folder, "one")
    lines = (folder / "a.jsonl").read_text().splitlines()
    assert one["quarantined"] == lines.count("{broken") == 19
    assert one["filtered"] == sum("short" in line for line in lines) == 17
    assert one["kept"] == len(set(lines)) - 2
    assert one["checks"]["rows_conserved"]["passed"]


def test_the_first_of_repeats_is_kept_over_blocks(folder: Path) -> None:
    run(folder, "work")
    rows = pq.read_table(folder / "work" / "rows.parquet").to_pylist()
    assert [row["origin"]["line"] for row in rows] == sorted(row["origin"]["line"] for row in rows)
    assert len({row["id"] for row in rows}) == len(rows)


@pytest.mark.parametrize("limit", [1, 50, 333, 1199])
def test_a_limit_takes_the_first_rows_wherever_blocks_end(folder: Path, limit: int) -> None:
    lines = (folder / "a.jsonl").read_text().splitlines(keepends=True)
    all_of = run(folder, "work", limit=limit)
    (folder / "a.jsonl").write_text("".join(lines[:limit]))
    first = run(folder, "first")
    assert written(folder, "work") == written(folder, "first")
    assert all_of["read"] == 1200 and all_of["beyond_limit"] == 1200 - limit
    assert all_of["filtered"] == first["filtered"] + 1200 - limit
    assert all_of["steps"] == first["steps"]


_ATTEMPT = """
import sys
from pathlib import Path
from corpora.cleaning import clean as cleaning
from recipes.execution import CorporaExecution
from tests.corpora.made import source
from tests.corpora.test_clean_blocks import _FIELDS

cleaning._BLOCK_BYTES, cleaning._SMALL = 4000, 0
folder = Path(sys.argv[1])
cleaning.clean("demo", source("a.jsonl", **_FIELDS), folder, folder / "cache", folder / "killed",
               execution=CorporaExecution(workers=2))
"""


def test_after_a_kill_the_next_attempt_writes_the_same_bytes(folder: Path) -> None:
    run(folder, "whole")
    work = folder / "killed"
    work.mkdir()
    process = subprocess.Popen([sys.executable, "-c", _ATTEMPT, str(folder)], cwd=_ROOT, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(work.glob("blocks/*/rows.arrow"))) < 3:
        time.sleep(0.001)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert workers and not alive
    assert not (work / "rows.parquet").exists() or (work / "blocks").exists()
    assert run(folder, "killed") == run(folder, "again")
    assert written(folder, "killed") == written(folder, "whole")
