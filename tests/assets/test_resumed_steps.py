"""A corpus step of the graph that was killed goes on from its finished blocks, and ends with the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.graph import graph
from assets.handles import Handles
from corpora.cleaning import clean as cleaning
from corpora.mixing import token_index
from corpora.tables import tables
from lineage.store import Artifact, Store
from tests import tiny
from tests.assets.made_pipeline import FIELDS, pipeline
from tests.corpora.made import talk, write_jsonl

_ROOT = Path(__file__).parents[2]
_DIES_AT = 4
"""The block that a killed attempt dies in, the ones before it being finished."""

_done: list[Any] = []
"""Blocks that this process has worked on."""
_clean_block, _tokenise = cleaning.clean_block, token_index.tokenise


def cleaning_block(job: Any) -> dict[str, Any]:
    return _counted(_clean_block, job)


def tokenising_block(block: Any) -> dict[str, int]:
    return _counted(_tokenise, block)


def _counted(call: Any, value: Any) -> Any:
    _done.append(value)
    if len(_done) == _DIES_AT and os.environ.get("DIES"):
        os.kill(os.getpid(), signal.SIGKILL)
    return call(value)


class Untracked:
    """In the place of MLflow."""

    uri = ""

    @contextmanager
    def run(self, *_: Any, **__: Any) -> Iterator["Untracked"]:
        yield self

    def log(self, _: Any) -> None:
        pass

    def url(self, _: str) -> None:
        return None


def materialize(folder: Path, home: Path, *nodes: str | Path) -> None:
    """Make nodes of the recipe in `folder` in this process, in blocks of some fifty rows, and count the blocks."""
    _done.clear()
    made = pipeline(folder, mixtures={"mix": {**FIELDS["mixtures"]["mix"], "shares": {"general": 1.0}}})
    store = Store(home)
    keys = [made.key(*str(node).split("/")) for node in nodes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cleaning, "_BLOCK_BYTES", 4000)
        patch.setattr(tables, "_BATCH", 50)
        patch.setattr(token_index, "_GROUPS_A_BLOCK", 1)
        patch.setattr(cleaning, "clean_block", cleaning_block)
        patch.setattr(token_index, "tokenise", tokenising_block)
        result = dg.materialize(
            graph(made),
            selection=keys,
            resources={
                "io_manager": Handles(store),
                "store": store,
                "tracker": Untracked(),
                "launcher": dg.ResourceDefinition.none_resource(),
            },
            instance=dg.DagsterInstance.ephemeral(),
        )
    assert result.success


def sealed(home: Path, node: str) -> Artifact:
    found = Store(home).ref("tiny", node)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[Path, Path, dict[str, int]]:
    """A recipe's folder, a home where all up to its mixture has been made, and how many blocks two steps had."""
    folder, home = tmp_path_factory.mktemp("recipe"), tmp_path_factory.mktemp("whole")
    write_jsonl(folder / "chat.jsonl", [talk(f"What is {n} of it?", f"It is {n * 7}, so {n}.") for n in range(400)])
    write_jsonl(
        folder / "pairs.jsonl", [{"prompt": f"Say {n}.", "chosen": f"{n}", "rejected": "No."} for n in range(5)]
    )
    tiny.sealed(home, "base", tiny.write_checkpoint)
    blocks = {}
    for nodes in (("evaluation_items", "clean/pairs"), ("clean/chat",), ("distinct", "mixture/mix")):
        materialize(folder, home, *nodes)
        blocks[nodes[-1]] = len(_done)
    return folder, home, blocks


_ATTEMPT = "import sys, pathlib, tests.assets.test_resumed_steps as t; t.materialize(*map(pathlib.Path, sys.argv[1:]))"


@pytest.mark.parametrize("node", ["clean/chat", "mixture/mix"])
def test_after_a_kill_a_step_goes_on(node: str, made: tuple[Path, Path, dict[str, int]], tmp_path: Path) -> None:
    folder, whole, blocks = made
    home = tmp_path / "home"
    shutil.copytree(whole, home)
    shutil.rmtree(home / "objects" / "tiny" / node)
    attempt = [sys.executable, "-c", _ATTEMPT, str(folder), str(home), node]
    killed = subprocess.run(attempt, cwd=_ROOT, env={**os.environ, "DIES": "1"}, stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    assert not list((home / "objects" / "tiny" / node).glob("*/.record.json"))
    materialize(folder, home, node)
    assert len(_done) == blocks[node] - (_DIES_AT - 1) > 0
    assert sealed(home, node).digest == sealed(whole, node).digest
    assert {path.name for path in sealed(home, node).path.iterdir()} == set(
        path.name for path in sealed(whole, node).path.iterdir()
    )
