"""Labels: what is kept whatever order it comes in, what becomes of it, and pairs that contradict no vote."""

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpora.cleaning.clean import clean
from corpora.feedback.asking import (
    Asked,
    Plan,
    edit_of,
    question_of_answer,
    questions_in,
    questions_of_candidates,
)
from corpora.feedback.preferences import build_preferences
from corpora.labels.events import BOTH_BAD, TIE, Answer, Event, Question, Refused, rows, standing
from corpora.labels.store import Contradicted, Labels
from corpora.sources import fetch, observe
from corpora.tables.tables import (
    CANDIDATES,
    PAIRS,
    SIGNAL,
    KeptRows,
    candidates_schema,
    rows_of,
    signal_schema,
    writing,
)
from lineage.errors import CorpusError
from lineage.store import Request, Store
from recipes.load import SHIPPED
from recipes.mixtures import Preferences
from recipes.sources import Model
from tests.corpora.made import source, write_jsonl


def question(number: int, answers: int = 2, **fields: Any) -> Question:
    given = [Answer({"role": "assistant", "content": f"answer {number}.{place}"}) for place in range(answers)]
    return Question([{"role": "user", "content": f"question {number}"}], given, **fields)


ASKED = [question(number) for number in range(3)]
BY_ID = {one.id: one for one in ASKED}


def choice(
    id_: str, asked: Question, chosen: str | int, annotator: str = "ada", at: str = "2026-01-01", **more: Any
) -> Event:
    told = asked.answers[chosen].id if isinstance(chosen, int) else chosen
    return Event(id_, annotator, "choice", asked.id, {"choice": told}, at=at, **more)


def undo(id_: str, undone: str, annotator: str = "ada", at: str = "2026-01-02") -> Event:
    return Event(id_, annotator, "undo", None, {"event": undone}, at=at)


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    found = Labels(tmp_path, "tone", new=True)
    found.add_questions(ASKED)
    return found


@st.composite
def _events(draw: st.DrawFn) -> list[Event]:
    """Choices, skips and undos of three annotators, each with its own id; several of them come again."""
    found: list[Event] = []
    for number in range(draw(st.integers(1, 12))):
        annotator = draw(st.sampled_from(["ada", "bo", "cy"]))
        at = f"2026-01-01T00:00:{draw(st.integers(0, 9)):02}"
        own = [one.id for one in found if one.annotator == annotator and one.kind != "undo"]
        match draw(st.sampled_from(["choice", "skip", "undo"] if own else ["choice", "skip"])):
            case "choice":
                asked, chosen = draw(st.sampled_from(ASKED)), draw(st.sampled_from([0, 1, TIE, BOTH_BAD]))
                found.append(choice(f"e{number}", asked, chosen, annotator, at))
            case "skip":
                found.append(Event(f"e{number}", annotator, "skip", draw(st.sampled_from(ASKED)).id, {}, at=at))
            case _:
                found.append(undo(f"e{number}", draw(st.sampled_from(own)), annotator, at))
    return found


@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_neither_clocks_nor_repetition_of_events_change_a_row(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    events = data.draw(_events())
    again = list(events)
    for place in data.draw(st.lists(st.integers(0, len(events) - 1), max_size=6)):
        again.insert(data.draw(st.integers(again.index(events[place]) + 1, len(again))), events[place])
    kept = Labels(tmp_path_factory.mktemp("home"), "tone", new=True)
    kept.add_questions(ASKED)
    assert sum(kept.add(event) for event in again) == len(events)
    found = list(rows("choice", kept.events(), kept.questions()))
    assert found == list(rows("choice", events, BY_ID))
    per_annotator = Counter((row["annotator"], row["prompt"][0]["content"]) for row in found)
    assert set(per_annotator.values()) <= {1}
    undone = {event.payload["event"] for event in events if event.kind == "undo"}
    assert not undone & {event.id for event in standing(kept.events())}


def test_one_id_is_one_event(labels: Labels) -> None:
    assert labels.add(choice("e1", ASKED[0], 0))
    assert not labels.add(choice("e1", ASKED[0], 0, at="2027-01-01"))
    with pytest.raises(Contradicted, match="id 'e1' is that of another event"):
        labels.add(choice("e1", ASKED[0], 1))
    assert len(labels.events()) == 1


def test_a_clock_that_goes_back_lets_no_older_word_stand(labels: Labels) -> None:
    labels.add(choice("z", ASKED[0], 0, at="2026-01-02"))
    labels.add(choice("y", ASKED[1], 0, at="2026-01-02"))
    labels.add(choice("a", ASKED[0], 1, at="2026-01-01"))
    labels.add(choice("z", ASKED[0], 0, at="2026-01-03"))
    assert [event.id for event in standing(labels.events())] == ["y", "a"]
    labels.add(undo("u", "a", at="2025-01-01"))
    assert [event.id for event in standing(labels.events())] == ["z", "y"]


def test_only_its_owner_reads_what_people_said(labels: Labels, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "labels" / "tone.sqlite") as reading:
        reading.execute("SELECT count(*) FROM events").fetchone()
        labels.add(choice("e1", ASKED[0], 0))
        files = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "labels").iterdir()}
    assert files == dict.fromkeys(("tone.sqlite", "tone.sqlite-wal", "tone.sqlite-shm"), 0o600)


def test_nobody_undoes_what_another_said(labels: Labels) -> None:
    labels.add(choice("e1", ASKED[0], 0))
    with pytest.raises(Refused, match="somebody else's"):
        labels.add(undo("e2", "e1", "bo"))
    labels.add(undo("e3", "e9", "bo"))
    labels.add(choice("e9", ASKED[0], 0))
    assert {event.id for event in standing(labels.events())} == {"e9"}
    labels.add(undo("e4", "e9"))
    labels.add(undo("e5", "e1"))
    assert standing(labels.events()) == []


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("choice", {"choice": "a"}),
        ("choice", {}),
        ("choice", {"choice": TIE, "side": "left"}),
        ("stars", {"stars": {ASKED[0].answers[0].id: 5}}),
        ("stars", {"stars": dict.fromkeys(ASKED[0].by_id, 6)}),
        ("stars", {"stars": dict.fromkeys(ASKED[0].by_id, True)}),
        ("rank", {"ranks": dict.fromkeys(ASKED[0].by_id, 3)}),
        ("rank", {"stars": dict.fromkeys(ASKED[0].by_id, 1)}),
        ("thumb", {"answer": "a", "thumb": "up"}),
        ("edit", {"answer": ASKED[0].answers[0].id, "edit": "answer 0.0"}),
        ("edit", {"answer": ASKED[0].answers[0].id, "edit": " "}),
        ("skip", {"choice": TIE}),
        ("undo", {"event": 1}),
    ],
)
def test_what_is_no_verdict_on_the_question_is_refused(labels: Labels, kind: Any, payload: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="payload: "):
        labels.add(Event("e1", "ada", kind, ASKED[0].id, payload))
    with pytest.raises(Refused, match=r"question: there is none|payload: event"):
        labels.add(Event("e1", "ada", kind, "0" * 64, payload))
    assert labels.events() == []


def test_halves_of_characters_are_refused(labels: Labels) -> None:
    with pytest.raises(Refused, match="half a character"):
        labels.add(choice("e1", ASKED[0], 0, comment="\ud800"))
    with pytest.raises(Refused, match="NUL"):
        labels.add(choice("e1", ASKED[0], 0, comment="\0"))


def test_no_log_holds_what_is_asked_or_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="sqlalchemy.engine"):
        kept = Labels(tmp_path, "tone", new=True)
        kept.add(choice("e1", ASKED[0], 0, comment="secret"), ASKED[0])
    assert "INSERT INTO events" in caplog.text
    assert not any(words in caplog.text for words in ("secret", "question 0", "answer 0.0"))


def test_a_question_stays_sensitive_once_it_was(labels: Labels) -> None:
    labels.add_questions([question(0, sensitive=True)])
    labels.add_questions([question(0)])
    assert [one.sensitive for one in labels.questions().values() if one.id == ASKED[0].id] == [True]


def test_what_many_threads_add_is_all_there(tmp_path: Path) -> None:
    Labels(tmp_path, "tone", new=True).add_questions(ASKED)

    def judge(annotator: str) -> None:
        own = Labels(tmp_path, "tone")
        for number in range(30):
            own.add(choice(f"{annotator}{number}", ASKED[number % 3], number % 2, annotator))

    threads = [threading.Thread(target=judge, args=(name,)) for name in ("ada", "bo", "cy")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Labels(tmp_path, "tone").events()) == 90


def read(home: Path, uri: str, **fields: Any) -> list[dict[str, Any]]:
    [file] = fetch(source(uri, **fields), home, home / "cache").files
    return [json.loads(line) for line in file.path.read_text().splitlines()]


def test_a_vote_names_answers_in_an_order_of_their_own(labels: Labels, tmp_path: Path) -> None:
    for name, chosen in (("ada", 0), ("bo", 1), ("cy", TIE), ("di", BOTH_BAD)):
        labels.add(choice(name, ASKED[0], chosen, name, at=name))
    found = read(tmp_path, "labels://tone")
    a, b = ASKED[0].by_id
    sides = [(row["response_a"][0]["content"], row["response_b"][0]["content"]) for row in found]
    assert set(sides) == {tuple(ASKED[0].by_id[id_].message["content"] for id_ in (a, b))}
    first = "model_a" if ASKED[0].answers[0].id == a else "model_b"
    second = {"model_a": "model_b", "model_b": "model_a"}[first]
    assert [row["winner"] for row in found] == [first, second, "tie", "tie (bothbad)"]


def test_every_new_label_moves_the_data_version_and_nothing_else_does(labels: Labels, tmp_path: Path) -> None:
    origin = source("labels://tone")
    with pytest.raises(CorpusError, match=r"nobody has judged yet; `temper label tone`"):
        observe(origin, tmp_path, tmp_path / "cache")
    seen = []
    for event in (
        choice("e1", ASKED[0], 0),
        choice("e1", ASKED[0], 0),
        Event("e2", "ada", "skip", ASKED[1].id, {}),
        choice("e3", ASKED[1], 1, "bo"),
        choice("e4", ASKED[2], 1, "bo"),
        undo("e5", "e4", "bo"),
    ):
        labels.add(event)
        seen.append(observe(origin, tmp_path, tmp_path / "cache"))
        assert fetch(origin, tmp_path, tmp_path / "cache").digest == seen[-1]
    assert seen[0] == seen[1] == seen[2] and seen[3] == seen[5] and len(set(seen)) == 3


def test_one_source_is_one_kind_of_judgement(labels: Labels, tmp_path: Path) -> None:
    labels.add(choice("e1", ASKED[0], 0))
    labels.add(Event("e2", "ada", "stars", ASKED[0].id, {"stars": dict.fromkeys(ASKED[0].by_id, 4)}))
    with pytest.raises(
        CorpusError, match=r"several kinds of judgement: choice \(1\), stars \(1\); name one, as in \?kind="
    ):
        read(tmp_path, "labels://tone")
    with pytest.raises(CorpusError, match="no judgement of kind 'rank'; there are choice, stars"):
        read(tmp_path, "labels://tone?kind=rank")
    assert len(read(tmp_path, "labels://tone?kind=choice")) == 1
    with pytest.raises(CorpusError, match=r"no labels are called 'tune' \(there are: tone\)"):
        read(tmp_path, "labels://tune")
    for wrong in ("labels://Tone", "labels://tone?kind=vote", "labels://../x"):
        with pytest.raises(ValueError, match="a labels uri is labels://<name>"):
            source(wrong)
    with pytest.raises(ValueError, match="have no sha256"):
        source("labels://tone", sha256="0" * 64)
    with pytest.raises(ValueError, match="a model cannot come from labels://"):
        Model(uri="labels://tone", licence="MIT")


def test_sensitive_labels_need_a_sensitive_source(tmp_path: Path) -> None:
    labels, asked = Labels(tmp_path, "tone", new=True), question(7, sensitive=True)
    labels.add_questions([asked])
    labels.add(choice("e1", asked, 0))
    with pytest.raises(CorpusError, match="sensitive: true"):
        read(tmp_path, "labels://tone")
    assert len(read(tmp_path, "labels://tone", sensitive=True)) == 1


def _cleaned(home: Path, uri: str, **fields: Any) -> KeptRows:
    work = home / "clean"
    work.mkdir()
    metrics = clean("said", source(uri, **fields), home, home / "cache", work)
    assert metrics["quarantined"] == 0
    return KeptRows(work, None)


@pytest.mark.parametrize("draw", range(3))
def test_pairs_of_votes_contradict_no_majority(labels: Labels, tiny_base: Path, tmp_path: Path, draw: int) -> None:
    votes: dict[str, Counter[str]] = {one.id: Counter() for one in ASKED}
    for number, name in enumerate(("ada", "bo", "cy", "di", "ed")):
        for place, asked in enumerate(ASKED):
            chosen = (0, 1, TIE, BOTH_BAD)[(number * (place + 1) + draw) % 4]
            labels.add(choice(f"{name}{place}", asked, chosen, name))
            votes[asked.id][asked.answers[chosen].id if isinstance(chosen, int) else chosen] += 1
    _cleaned(tmp_path, "labels://tone")
    rule = {"source": "said", "rule": "ranked"}
    preferences = Preferences.model_validate({"pairs": [rule], "max_length": 96, "seed": 1})
    folder = tmp_path / "pairs"
    folder.mkdir()
    clean_folders, sources = {"said": tmp_path / "clean"}, {"said": source("labels://tone")}
    build_preferences(preferences, clean_folders, sources, tiny_base, tmp_path, folder)
    expected = {}
    for asked in ASKED:
        one, other = asked.answers
        lead = votes[asked.id][one.id] - votes[asked.id][other.id]
        if lead:
            better = one if lead > 0 else other
            expected[asked.prompt[0]["content"]] = better.message["content"]
    found = {row["prompt"][0]["content"]: row["chosen"][0]["content"] for row in rows_of(folder / PAIRS)}
    assert expected and found == expected


def test_stars_ranks_thumbs_and_edits_become_what_corpora_read(tmp_path: Path) -> None:
    labels, asked = Labels(tmp_path, "tone", new=True), question(1, answers=3)
    labels.add_questions([asked])
    one, two, three = (answer.id for answer in asked.answers)
    for name, stars in (("ada", (5, 2, 1)), ("bo", (4, 1, 1))):
        labels.add(
            Event(f"s{name}", name, "stars", asked.id, {"stars": dict(zip((one, two, three), stars, strict=True))})
        )
    labels.add(Event("r", "ada", "rank", asked.id, {"ranks": {one: 2, two: 1, three: 2}}))
    shown = Question(asked.prompt, asked.answers[:1])
    labels.add(Event("t", "ada", "thumb", shown.id, {"answer": one, "thumb": "down"}, origin="http"), shown)
    labels.add(Event("e", "ada", "edit", shown.id, {"answer": one, "edit": "a better one"}, origin="http"), shown)

    def kept(kind: str, format_: str) -> list[dict[str, Any]]:
        home = tmp_path / kind
        home.mkdir()
        (home / "labels").symlink_to(tmp_path / "labels")
        found = list(_cleaned(home, f"labels://tone?kind={kind}", format=format_))
        assert found == list(_cleaned_again(home, f"labels://tone?kind={kind}"))
        return found

    def _cleaned_again(home: Path, uri: str) -> Iterator[dict[str, Any]]:
        work = home / "again"
        work.mkdir()
        clean("said", source(uri), home, home / "cache", work)
        yield from KeptRows(work, None)

    assert sorted(row["answers"][0]["score"] for row in kept("stars", "rated")) == [1, 1, 1, 2, 4, 5]
    [ranked] = kept("rank", "ranked")
    assert next((a["messages"][0]["content"], a["score"]) for a in ranked["answers"]) == ("answer 1.1", 2)
    [thumb] = kept("thumb", "unpaired")
    assert (thumb["completion"][0]["content"], thumb["label"]) == ("answer 1.0", False)
    [edit] = kept("edit", "preference")
    assert (edit["chosen"][0]["content"], edit["rejected"][0]["content"]) == ("a better one", "answer 1.0")


def test_questions_come_from_rows_with_answers(tmp_path: Path) -> None:
    spoken = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    file = write_jsonl(
        tmp_path / "a.jsonl",
        [
            {"prompt": "q", "answers": ["a", "b", "c"], "sensitive": True},
            {"prompt": spoken, "answers": [[{"role": "assistant", "content": t}] for t in "ab"]},
        ],
    )
    pairs, ranked = questions_in(file, "choice").questions, questions_in(file, "rank").questions
    assert [len(one.answers) for one in pairs] == [2, 2, 2, 2] and [len(one.answers) for one in ranked] == [3, 2]
    assert [one.sensitive for one in ranked] == [True, False] and ranked[1].prompt == spoken
    for row, said in (
        ({"prompt": "q", "answers": ["a", "a"]}, "two or more different"),
        ({"prompt": "q"}, "expected fields 'prompt' and 'answers'"),
        ({"answers": ["a", "b"]}, "expected fields 'prompt' and 'answers'"),
    ):
        write_jsonl(tmp_path / "bad.jsonl", [{"prompt": "q", "answers": ["a", "b"]}, row])
        with pytest.raises(CorpusError, match=rf"bad.jsonl:2: .*{said}"):
            questions_in(tmp_path / "bad.jsonl", "choice")


def test_candidates_are_asked_where_their_signals_disagree(tmp_path: Path) -> None:
    line = "right: {kind: verifier, partial: false}\n"
    written = (SHIPPED / "arithmetic-dpo.yaml").read_text(encoding="utf-8")
    recipe, name = tmp_path / "sums.yaml", "tries"
    recipe.write_text(written.replace(line, f"{line}      short: {{kind: length, free_tokens: 8}}\n"))
    store = Store(tmp_path)

    def sealed(node: str, make: Callable[[Path], Any], inputs: dict[str, str]) -> Any:
        request = Request("sums", node, {"node": node})

        def build(work: Path) -> dict[str, Any]:
            make(work)
            return {}

        return store.build(request, build, config={}, inputs=inputs, ref=node)

    def answers(*texts: str) -> list[dict[str, Any]]:
        return [{"text": t, "thoughts": "", "ids": [1], "logprob": -1.0, "finish": "stop"} for t in texts]

    def write_candidates(work: Path) -> None:
        with writing(work / CANDIDATES, candidates_schema()) as table:
            for number in range(4):
                prompt = [{"role": "user", "content": f"q{number}"}]
                about = {"source": "sums", "verifier": None, "reference": None, "sensitive": number == 3}
                table.add(
                    {"id": f"{number}", **about, "prompt": prompt, "prompt_ids": [1], "answers": answers("a", "b")}
                )

    def write_signal(*values: list[float]) -> Callable[[Path], None]:
        def write(work: Path) -> None:
            with writing(work / SIGNAL, signal_schema(), {}) as table:
                for number, of_row in enumerate(values):
                    table.add({"id": f"{number}", "values": of_row})

        return write

    with pytest.raises(CorpusError, match=r"is not made yet; `temper run .* --select \+candidates/"):
        questions_of_candidates(store, recipe, name, "choice")
    made = sealed(f"candidates/{name}", write_candidates, {})
    for signal, values in zip(("right", "short"), ([1.0, 0.0], [0.0, 1.0]), strict=True):
        rows_ = [[1.0, 0.0], values, [1.0, 1.0], [0.0, 1.0]]
        sealed(f"signals/{name}/{signal}", write_signal(*rows_), {f"candidates/{name}": made.digest})
    asked = questions_of_candidates(store, recipe, name, "choice")
    told = {one.prompt[0]["content"]: asked.disagreement[one.id] for one in asked.questions}
    assert told == {"q0": 0, "q1": 0.5, "q2": 0, "q3": 0}
    assert [one.sensitive for one in asked.questions] == [False, False, False, True]
    plan = Plan({one.id: one for one in asked.questions}, asked.disagreement, at_random=0)
    first = plan.next("ada", [])
    assert first is not None and first.prompt[0]["content"] == "q1"
    with pytest.raises(CorpusError, match="no candidates are called 'nobody'"):
        questions_of_candidates(store, recipe, "nobody", "choice")


def test_each_question_is_judged_by_so_many_and_by_nobody_twice() -> None:
    plan = Plan(BY_ID, at_random=0.5, judges=2)
    said: list[Event] = []
    for turn in range(12):
        name = ("ada", "bo", "cy")[turn % 3]
        asked = plan.next(name, said)
        assert asked == plan.next(name, said)
        if asked is not None:
            said.append(choice(f"{turn}", asked, 0, name))
    assert Counter(event.question for event in said) == dict.fromkeys(BY_ID, 2)
    assert len({(event.question, event.annotator) for event in said}) == len(said)
    assert plan.progress("ada", said).done == 3


def test_a_verdict_of_another_kind_leaves_the_question_to_be_asked() -> None:
    [asked] = list(BY_ID.values())[:1]
    plan = Plan({asked.id: asked}, ask="stars")
    said = [choice("e1", asked, 0)]
    assert plan.next("ada", said) == asked and plan.progress("ada", said) == (0, 0, 0, 1)
    said.append(Event("e2", "ada", "stars", asked.id, {"stars": dict.fromkeys(asked.by_id, 4)}))
    assert plan.next("ada", said) is None and plan.progress("ada", said) == (1, 0, 1, 1)
    said = [choice("e1", asked, 0), Event("e3", "ada", "skip", asked.id, {})]
    assert plan.next("ada", said) is None and plan.progress("ada", said) == (0, 1, 0, 1)


@pytest.mark.parametrize(
    "edit", ["", " ", "\u200b", "<think>x</think>", "</think>", "a b", " a b\n", "a\n\nb", "a  b", "<think>x"]
)
def test_an_edit_that_no_corpus_would_read_is_refused(edit: str) -> None:
    with pytest.raises(Refused, match=r"^edit: "):
        edit_of(question_of_answer("q", "a b", False), edit)


@pytest.mark.parametrize("edit", ["a c", "a b\n    b", "<think>\nx\n</think>\n\na c"])
def test_an_edit_that_is_taken_is_read_by_a_corpus(tmp_path: Path, edit: str) -> None:
    labels, asked = Labels(tmp_path, "tone", new=True), question_of_answer("q", "a b", False)
    [answer] = asked.by_id
    labels.add(Event("e", "ada", "edit", asked.id, {"answer": answer, "edit": edit_of(asked, edit)}), asked)
    [row] = _cleaned(tmp_path, "labels://tone")
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == (edit, "a b")


def test_the_prompt_judged_least_comes_first_and_what_others_look_at_last() -> None:
    asked = Asked([*ASKED, *(Question(ASKED[0].prompt, question(9, answers=2).answers) for _ in range(1))], {})
    plan = Plan({one.id: one for one in asked.questions}, at_random=0)
    first = plan.next("ada", [choice("e1", ASKED[0], 0, "bo")])
    assert first is not None and first.prompt != ASKED[0].prompt
    other = plan.next("ada", [choice("e1", ASKED[0], 0, "bo")], {first.id})
    assert other is not None and other.id != first.id and other.prompt != ASKED[0].prompt


def test_a_share_of_the_questions_is_asked_at_random() -> None:
    asked = {one.id: one for one in map(question, range(200))}
    telling = {id_: number / 200 for number, id_ in enumerate(asked)}
    plan = Plan(asked, telling, at_random=0.3)
    said: list[Event] = []
    by_disagreement = 0
    for number in range(100):
        one = plan.next("ada", said)
        assert one is not None
        left = set(asked) - {event.question for event in said}
        by_disagreement += one.id == max(left, key=telling.__getitem__)
        said.append(choice(f"{number}", one, 0))
    assert 60 <= by_disagreement <= 82


def test_what_is_read_is_what_was_observed_though_people_go_on(labels: Labels, tmp_path: Path) -> None:
    origin, cache = source("labels://tone"), tmp_path / "cache"
    labels.add(choice("e1", ASKED[0], 0))
    observed = observe(origin, tmp_path, cache)
    labels.add(choice("e2", ASKED[1], 0))
    first = fetch(origin, tmp_path, cache)
    assert first.digest == observed and len(first.files[0].path.read_text().splitlines()) == 1
    assert observe(origin, tmp_path, cache) == fetch(origin, tmp_path, cache).digest != observed
    assert len(fetch(origin, tmp_path, cache).files[0].path.read_text().splitlines()) == 2
