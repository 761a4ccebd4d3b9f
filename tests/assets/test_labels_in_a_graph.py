"""A new label moves the data version of its source, and what was made of it is stale; nothing else is."""

from pathlib import Path

import dagster as dg
import pytest

from assets.graph import graph
from assets.handles import Handles
from assets.tracking import Tracker
from corpora.labels.events import Answer, Event, Question
from corpora.labels.store import Labels
from corpora.tables.tables import ROWS, rows_in
from lineage.store import Store
from tests.assets.made_pipeline import FIELDS, pipeline
from tests.corpora.made import talk, write_jsonl


@pytest.fixture
def asked(home: Path) -> list[Question]:
    answers = [Answer({"role": "assistant", "content": text}) for text in ("yes", "no")]
    found = [Question([{"role": "user", "content": f"Is {n} even?"}], answers) for n in range(3)]
    Labels(home, "tone", new=True).add_questions(found)
    return found


def test_a_new_label_makes_the_corpus_anew(
    home: Path, asked: list[Question], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("recipe")
    write_jsonl(folder / "chat.jsonl", [talk("q", "a")])
    sources = {"pairs": {**FIELDS["sources"]["pairs"], "uri": "labels://tone"}}
    rule = {"judged": {**FIELDS["preferences"]["judged"], "pairs": [{"source": "pairs", "rule": "ranked"}]}}
    made, store, labels = pipeline(folder, sources=sources, preferences=rule), Store(home), Labels(home, "tone")
    instance = dg.DagsterInstance.ephemeral()
    found = []
    for number in (0, 0, 1):
        one = asked[number]
        labels.add(Event(f"e{number}", "ada", "choice", one.id, {"choice": one.answers[0].id}))
        result = dg.materialize(
            graph(made),
            selection=[made.key("raw", "pairs"), made.key("evaluation_items"), made.key("clean", "pairs")],
            resources={
                "io_manager": Handles(store),
                "store": store,
                "tracker": Tracker(home),
                "launcher": dg.ResourceDefinition.none_resource(),
            },
            instance=instance,
        )
        assert result.success
        [observed] = result.asset_observations_for_node("tiny__raw")
        clean = store.ref("tiny", "clean/pairs")
        assert clean is not None
        assert clean.record["inputs"]["raw"] == observed.data_version
        found.append((clean.fingerprint, observed.data_version, rows_in(clean.path / ROWS)))
    assert found[0] == found[1] and found[0][0] != found[2][0] and found[0][1] != found[2][1]
    assert [rows for *_, rows in found] == [1, 1, 2]
