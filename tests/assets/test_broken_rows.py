"""Rows broken in every way are set aside and counted, in the table, in Dagster and in MLflow, and the run goes on."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.graph import graph
from assets.handles import Handles
from assets.tracking import Tracker
from corpora.tables.tables import QUARANTINE, ROWS, rows_of
from lineage.store import Store
from tests.assets.made_pipeline import FIELDS, pipeline
from tests.corpora.made import talk, write_jsonl

ASKED = 'the customer\'s "question", in words/../x'
GOOD = [{ASKED: f"What is {n} of it?", "reply": f"It is {n * 7}, so {n}."} for n in range(40)]
BROKEN: list[Any] = [
    {"reply": "a"},
    {ASKED: "", "reply": "a"},
    {ASKED: 3, "reply": "a"},
    {ASKED: [3], "reply": "a"},
    {ASKED: "q"},
    {ASKED: "q", "reply": None},
    {ASKED: "q", "reply": " "},
    {ASKED: "q", "reply": "a", "history": ["no pair"]},
    {ASKED: "q", "reply": "a", "label": False},
    ["no", "object"],
    "no object",
    None,
]
BYTES = (
    b'{"a": 1, "a": 2}',
    b'{"a": NaN}',
    b'{"a": 1e999}',
    b'{"a": "\\ud800"}',
    b'{"a": "\xff"}',
    b'{"a": ' * 200 + b"1" + b"}" * 200,
    b"{'a': \"b\"}",
    b'{"a": "cut off',
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `evaluation_items` and two clean corpora were made by Dagster, tracked by MLflow."""
    folder, home = tmp_path_factory.mktemp("recipe"), tmp_path_factory.mktemp("home")
    lines = [json.dumps(row).encode() for row in (*GOOD, *BROKEN)]
    (folder / "chat.jsonl").write_bytes(b"\n".join([*lines, *BYTES, b""]))
    turns = [
        *({"messages": messages} for messages in ([], "q", [{"role": "user"}], [{"role": "it's me", "content": "q"}])),
        {"messages": [{"role": "user", "content": "q"}]},
        {"messages": [{"role": "assistant", "content": "a"}]},
        {"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "a"}]},
        {**talk("q", "a"), "label": 0},
        {**talk("q", "a"), "tools": "{"},
    ]
    write_jsonl(folder / "pairs.jsonl", [*(talk(f"Say {n}.", f"{n}.") for n in range(20)), *turns])
    columns = {"prompt": ASKED, "completion": "reply"}
    sources = {
        "chat": {**FIELDS["sources"]["chat"], "columns": columns, "max_quarantined": 1},
        "pairs": {**FIELDS["sources"]["pairs"], "format": "chatml", "max_quarantined": 1},
    }
    made, store = pipeline(folder, sources=sources), Store(home)
    result = dg.materialize(
        graph(made),
        selection=[made.key("evaluation_items"), made.key("clean", "chat"), made.key("clean", "pairs")],
        resources={
            "io_manager": Handles(store),
            "store": store,
            "tracker": Tracker(home),
            "launcher": dg.ResourceDefinition.none_resource(),
        },
        instance=dg.DagsterInstance.ephemeral(),
    )
    assert result.success
    return home


@pytest.mark.parametrize(("source", "good", "bad"), [("chat", 40, len(BROKEN) + len(BYTES)), ("pairs", 20, 9)])
def test_broken_rows_are_set_aside_and_counted_and_the_run_goes_on(
    home: Path, source: str, good: int, bad: int
) -> None:
    from mlflow import MlflowClient

    artifact = Store(home).ref("tiny", f"clean/{source}")
    assert artifact is not None
    set_aside = list(rows_of(artifact.path / QUARANTINE))
    reasons = artifact.metrics["quarantine_reasons"]
    assert len(list(rows_of(artifact.path / ROWS))) == artifact.metrics["kept"] == good
    assert len(set_aside) == artifact.metrics["quarantined"] == sum(reasons.values()) == bad
    assert {row["reason"].partition(":")[0] for row in set_aside} == reasons.keys()
    client = MlflowClient(Tracker(home).uri)
    url = Tracker(home).url(artifact.fingerprint)
    assert url is not None
    run = client.get_run(url.rpartition("/")[2])
    logged = [value for name, value in run.data.metrics.items() if name.startswith("quarantine_reasons.")]
    assert run.info.status == "FINISHED" and sorted(logged) == sorted(reasons.values())
