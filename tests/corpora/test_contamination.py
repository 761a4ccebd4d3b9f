"""Copies of evaluation items are found however they were touched up; what only sounds like them is not."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.contamination.evidence import Found, evidence_row, evidence_schema
from corpora.contamination.items import ITEMS, collect, items_schema
from corpora.contamination.screen import Match, Screen
from corpora.contamination.words import SIGNS, spans_in, split
from corpora.sources import fetch
from corpora.words.scripts import fold
from lineage.errors import CorpusError
from lineage.hashing import text_digest
from recipes.cleaning import Contamination
from recipes.load import SHIPPED, load_recipe
from tests import tiny
from tests.corpora.made import source, talk
from tests.corpora.test_shingles import TEXTS, words_of

LONG = (
    "A lighthouse keeper counts the ships that pass on the first nine nights of winter. "
    "Write her diary in three parts, and never name the island."
)
OTHER = (
    "Explain to a child of seven why the moon seems to follow the car on a long drive through open country at night."
)


@pytest.fixture(scope="module")
def ifeval(tmp_path_factory: pytest.TempPathFactory) -> tuple[Screen, list[str]]:
    """A screen of the real IFEval, and its prompts."""
    work = tmp_path_factory.mktemp("items")
    task = load_recipe(SHIPPED / "demo.yaml").evaluation.tasks["ifeval"]
    collect({"ifeval": task}, SHIPPED, tiny.test_cache(), work)
    prompts = pq.read_table(work / ITEMS).column("text").to_pylist()
    return Screen.load(work / ITEMS, Contamination()), prompts


def screen(folder: Path, *texts: str, section: dict[str, Any] | None = None, **fields: Any) -> Screen:
    """A screen of these texts, each an item of task `quiz`."""
    rows = [
        {"task": "quiz", "item": number, "field": "question", "text": text, "generated": False, "sensitive": False}
        | fields
        for number, text in enumerate(texts)
    ]
    pq.write_table(pa.Table.from_pylist(rows, items_schema()), folder / ITEMS)
    return Screen.load(folder / ITEMS, Contamination.model_validate(section or {}))


def row(asked: str, answered: str = "I see.", **fields: Any) -> dict[str, Any]:
    place = {"source": "chat", "origin": {"file": "a.jsonl", "line": 1}}
    return {"id": text_digest(asked), **talk(asked, answered), **place, **fields}


def match(found: Screen, *texts: str) -> Match | None:
    return found.matches([row(*texts)])[0]


def touched_up(text: str, every: int) -> str:
    """The text in capitals with other punctuation, and every so many words another word."""
    words = re.sub(r"[.,:;!?\"']", " ", text).upper().split()
    words[every - 1 :: every] = ["QUINCE"] * len(words[every - 1 :: every])
    return " ... ".join(" ".join(words[start : start + 9]) for start in range(0, len(words), 9))


def test_every_prompt_of_ifeval_is_found_in_other_case_and_punctuation(ifeval: tuple[Screen, list[str]]) -> None:
    found, prompts = ifeval
    matches = found.matches([row(f"Hello there!\n{touched_up(prompt, 10_000)}") for prompt in prompts])
    assert [m.item for m in matches if m is not None] == list(range(len(prompts)))


def test_prompts_of_ifeval_are_found_with_every_twelfth_word_another(ifeval: tuple[Screen, list[str]]) -> None:
    found, prompts = ifeval
    longer = [number for number, prompt in enumerate(prompts) if len(prompt.split()) >= 25]
    matches = found.matches([row("Do this", touched_up(prompts[number], 12)) for number in longer])
    right = sum(m is not None and m.item == number for number, m in zip(longer, matches, strict=True))
    assert len(longer) > 350
    assert right >= 0.98 * len(longer)


def test_a_sentence_that_two_prompts_of_ifeval_share_is_no_evidence(ifeval: tuple[Screen, list[str]]) -> None:
    found, prompts = ifeval
    sentences = Counter(text for prompt in prompts for text in set(re.split(r"(?<=[.!?])\s+", prompt)))
    usual = [text for text, count in sentences.items() if count > 1]
    asked = "Describe how copper was mined in the hills above the town before the railway came."
    assert len(usual) > 20
    assert [m for m in found.matches([row(f"{asked} {text}") for text in usual]) if m is not None] == []


def problems(folder: Path, uri: str) -> list[str]:
    import json

    file = fetch(source(uri), folder, folder / "cache").files[0]
    return [json.loads(line)["question"] for line in file.path.read_text().splitlines()]


@pytest.mark.parametrize("task", ["chain_sum", "leg_counting"])
def test_a_problem_is_found_again_and_its_neighbours_are_not(tmp_path: Path, task: str) -> None:
    held_out = problems(tmp_path, f"gym://{task}?size=60&seed=29&split=held_out")
    training = problems(tmp_path, f"gym://{task}?size=500&seed=17")
    found = screen(tmp_path, *held_out, generated=True)
    assert [m for m in found.matches([row(question) for question in training]) if m is not None] == []
    again = found.matches([row("Solve it.", question.lower().replace(":", " ;")) for question in held_out])
    assert [m.item for m in again if m is not None] == list(range(60))


def test_the_same_numbers_with_another_sign_are_another_problem(tmp_path: Path) -> None:
    found = screen(tmp_path, "State the final answer to the following arithmetic problem: 12 - 45 =", generated=True)
    assert match(found, "State the final answer to the following arithmetic problem: 12 - 45 = ?") is not None
    for other in ("12 + 45 =", "12 - 45 - 2 =", "12 - 45.2 =", "12 - 4 ="):
        assert match(found, f"State the final answer to the following arithmetic problem: {other}") is None


def test_chinese_text_is_compared_by_characters(tmp_path: Path) -> None:
    text = "请写一篇关于城市公园的短文，说明春天里老人和孩子怎样度过周末的早晨，不要使用任何逗号。"
    found = screen(tmp_path, text)
    changed = found.matches([row(text.replace("城市", "乡村").replace("，", "。"))])[0]
    assert changed is not None
    assert match(found, "请写一篇关于数据库索引的短文，不要使用任何逗号。") is None


def test_tibetan_text_is_compared_by_characters(tmp_path: Path) -> None:
    """Syllables end with a mark of their own, and nothing parts words."""
    text = "ང་ཚོས་དགུན་ཁའི་མཚན་མོ་དགུ་ལ་གྲུ་གཟིངས་ཀྱི་གྲངས་ཀ་རྩིས་ནས་ཉིན་དེབ་ནང་དུ་བྲིས་པ་རེད།"
    found = screen(tmp_path, text)
    changed = found.matches([row(text.replace("དགུན", "དབྱར"))])[0]
    assert changed is not None


@pytest.mark.parametrize(
    ("item", "text", "caught"),
    [
        ("Tariffs and quotas", "Tariffs and quotas", False),
        ("What is monetary policy?", "what is MONETARY policy", True),
        ("What is monetary policy?", "Tell me: what is monetary policy, and who makes it?", False),
        (
            "Which metal is liquid at room temperature and pressure?",
            "Which metal is liquid at room temperature?",
            False,
        ),
        (
            "Which metal is liquid at room temperature and pressure?",
            "So: which metal is liquid at room temperature and pressure? Say",
            True,
        ),
    ],
)
def test_short_questions_count_as_a_whole_only(tmp_path: Path, item: str, text: str, caught: bool) -> None:
    assert (match(screen(tmp_path, item), text) is not None) is caught


def test_a_question_that_many_items_ask_is_no_evidence(tmp_path: Path) -> None:
    asked = ["What is right here?", "Which of the following statements about the passage above is true?"]
    found = screen(tmp_path, *(f"{text}" for text in asked for _ in range(4)))
    assert [match(found, text) for text in asked] == [None, None]
    assert match(screen(tmp_path, *asked), asked[1]) is not None


def test_the_template_of_a_task_is_no_evidence(tmp_path: Path) -> None:
    template = (
        "Read the passage about {} with care, then answer in one sentence, "
        "and give a reason for it that a judge would accept."
    )
    topics = ["tides and harbours of the old north coast", "the grafting of apple trees", "glass", "owls"]
    found = screen(tmp_path, *(template.format(topic) for topic in topics))
    assert match(found, template.format("steam engines in cotton mills of the valley")) is None
    assert match(found, template.format(topics[0])) is not None


def test_a_row_that_says_nothing_but_an_item_is_a_copy_whatever_the_items_share(tmp_path: Path) -> None:
    asked, answered = (
        "How do I reset the device called {}?",
        "Hold the key of {} for nine seconds, then let it go, please.",
    )
    names = [f"number {name}" for name in ("one", "two", "three", "four", "five", "six", "seven", "eight")]
    found = screen(tmp_path, *(f"{asked.format(name)}\n{answered.format(name)}" for name in names))
    assert all(match(found, asked.format(name), answered.format(name)) is not None for name in names)
    assert match(found, asked.format("number nine"), answered.format("number nine")) is None
    prompt = [{"role": "user", "content": asked.format(names[3])}]
    good, bad = ([{"role": "assistant", "content": text}] for text in (answered.format(names[3]), "No."))
    for fields in (
        {"prompt": prompt, "chosen": good, "rejected": bad},
        {"prompt": prompt, "chosen": bad, "rejected": good},
        {"prompt": prompt, "completion": good, "label": True},
        {"prompt": prompt, "answers": [{"messages": bad, "score": 1.0}, {"messages": good, "score": 0.5}]},
    ):
        [copy] = found.matches([{"id": "0", **fields}])
        assert copy is not None and (copy.item, copy.kind, copy.coverage) == (3, "exact", 1.0)
    assert found.matches([{"id": "0", "prompt": prompt, "chosen": bad, "rejected": bad}]) == [None]


def kinds() -> Iterator[dict[str, Any]]:
    said = [{"role": "user", "content": LONG}]
    plain = [{"role": "assistant", "content": "No."}]
    call = {
        "role": "assistant",
        "content": "",
        "tool_calls": f'[{{"name": "write", "arguments": {{"text": "{LONG}"}}}}]',
    }
    yield {"messages": [{"role": "system", "content": LONG}, *plain]}
    yield {"messages": [*plain, call]}
    yield {"text": f"{OTHER}\n{LONG}"}
    yield {"prompt": said, "chosen": plain, "rejected": plain}
    yield {"prompt": plain, "chosen": said, "rejected": plain}
    yield {"prompt": plain, "chosen": plain, "rejected": said}
    yield {"prompt": plain, "completion": said, "label": False}
    yield {"prompt": plain, "answers": [{"messages": plain, "score": 1.0}, {"messages": said, "score": 0.0}]}


@pytest.mark.parametrize("content", kinds())
def test_all_of_a_row_is_searched(tmp_path: Path, content: dict[str, Any]) -> None:
    assert screen(tmp_path, OTHER[:40], LONG).matches([{"id": "0", **content}])[0] is not None


def test_words_do_not_run_on_from_one_message_to_the_next(tmp_path: Path) -> None:
    found = screen(tmp_path, "Which metal is liquid at room temperature and pressure?")
    assert match(found, "So: which metal is liquid at", "room temperature and pressure?") is None


def test_phrases_scattered_over_a_long_row_are_no_copy(tmp_path: Path) -> None:
    words = LONG.split()
    pieces = [" ".join(words[start : start + 6]) for start in range(0, len(words), 6)]
    filler = " ".join(f"word{i}" for i in range(400))
    found = screen(tmp_path, LONG)
    assert match(found, f" {filler} ".join(pieces)) is None
    assert match(found, f"{filler} {LONG} {filler}") is not None


def test_evidence_marks_what_both_texts_share(tmp_path: Path) -> None:
    found = screen(tmp_path, OTHER, LONG)
    record = row(f"ＰＬＥＡＳＥ: {LONG.replace('winter', 'spring')} Thanks!")
    copy = found.matches([record])[0]
    assert copy is not None
    line = evidence_row(record, copy, sensitive=False)
    assert pa.Table.from_pylist([line], evidence_schema()).num_rows == 1
    shared = [line["row_text"][span["start"] : span["end"]] for span in line["row_spans"]]
    assert shared == [line["item_text"][span["start"] : span["end"]] for span in line["item_spans"]]
    assert shared[0].startswith("A lighthouse keeper") and shared[0].endswith("nights of")
    assert (line["task"], line["item"], line["kind"]) == ("quiz", 1, "altered")
    assert 0.9 < line["coverage"] < 1


@pytest.mark.parametrize(("of_source", "of_item"), [(True, False), (False, True)])
def test_evidence_of_sensitive_text_shows_none_of_it(tmp_path: Path, of_source: bool, of_item: bool) -> None:
    record = row(LONG)
    copy = screen(tmp_path, LONG, sensitive=of_item).matches([record])[0]
    assert copy is not None
    line = evidence_row(record, copy, sensitive=of_source)
    assert (line["row_text"], line["item_text"]) == (None, None)
    assert line["row_spans"] and line["item_spans"]
    assert "lighthouse" not in str({**line, "id": ""})


def allowing(folder: Path, *allow: dict[str, Any]) -> Screen:
    return screen(folder, OTHER, LONG, section={"allow": [{**entry, "reason": "ours"} for entry in allow]})


def test_an_allowed_item_or_row_is_marked_with_the_reason(tmp_path: Path) -> None:
    mine = row(LONG)
    for entry in ({"task": "quiz", "item": 1}, {"task": "quiz"}, {"row": mine["id"][:16]}):
        allowed = allowing(tmp_path, entry).matches([mine])[0]
        assert allowed is not None and allowed.allowed == "ours"
    for entry in ({"task": "quiz", "item": 0}, {"row": "0" * 16}):
        kept_out = allowing(tmp_path, entry).matches([mine])[0]
        assert kept_out is not None and kept_out.allowed is None


def test_what_is_not_allowed_goes_before_what_is(tmp_path: Path) -> None:
    both = allowing(tmp_path, {"task": "quiz", "item": 1}).matches([row(LONG, OTHER)])[0]
    assert both is not None and (both.item, both.allowed) == (0, None)


def test_an_allowed_phrase_is_no_evidence(tmp_path: Path) -> None:
    phrase = LONG.partition(".")[0]
    found = allowing(tmp_path, {"phrase": phrase.upper()})
    assert match(found, f"{phrase}. Then what?") is None
    assert match(found, LONG) is not None


@pytest.mark.parametrize(
    ("entry", "message"),
    [({"task": "quizz"}, "allow.0.task: 'quizz' is no task"), ({"phrase": "of the"}, "allow.0.phrase: shorter than 5")],
)
def test_an_allowance_that_can_never_apply_is_an_error(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(CorpusError, match=re.escape(message)):
        allowing(tmp_path, entry)


@pytest.mark.parametrize(("on_match", "passed"), [("remove", True), ("block", False)])
def test_a_match_is_removed_or_blocks_as_the_recipe_says(tmp_path: Path, on_match: str, passed: bool) -> None:
    section = {"on_match": on_match, "allow": [{"task": "quiz", "item": 0, "reason": "public"}]}
    found = screen(tmp_path, OTHER, LONG, section=section)
    tally = Found(found.section)
    out = [tally.add(copy) for copy in found.matches([row(OTHER), row(LONG), row(LONG)]) if copy is not None]
    assert out == [False, True, True]
    check = tally.check()
    assert (check["passed"], check["blocking"], check["value"]) == (passed, True, 2)
    assert "quiz 2" in check["description"] and "1 allowed by the recipe (quiz 1)" in check["description"]
    assert Found(found.section).check()["passed"]


def test_matches_do_not_depend_on_what_is_asked_beside_them(ifeval: tuple[Screen, list[str]]) -> None:
    found, prompts = ifeval
    rows = [row(touched_up(prompt, 15), f"{prompts[-i]} {i}") for i, prompt in enumerate(prompts[:60])]
    assert found.matches(rows) == [found.matches([one])[0] for one in rows]
    assert found.matches([]) == [] and found.matches([{"id": "0", "messages": []}]) == [None]


def said(text: str) -> list[str]:
    words, normal = split([text]), fold(text)
    return [normal[start:end] for start, end in zip(words.start, words.end, strict=True)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop_now -- (ever)!", ["don", "t", "stop", "now", "ever"]),
        ("ＡＢＣ ﬁne Cafe\u0301", ["abc", "fine", "café"]),
        ("我爱 Berlin北京", ["我", "爱", "berlin", "北", "京"]),
        ("7 - 5 = 2, a-b, x = y", ["7", "-", "5", "=", "2", "a", "b", "x", "y"]),
        ("한글 नमस्ते", ["한글", "नमस्ते"]),
        ("ང་ཚོ ⺀", ["ང", "ཚ", "ོ"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert said(text) == words


@given(st.lists(st.one_of(st.text(), st.sampled_from(TEXTS)), min_size=1, max_size=4))
@settings(deadline=None, derandomize=True)
def test_words_are_those_that_near_duplicates_have(texts: list[str]) -> None:
    """But for signs of arithmetic, which only items tell apart."""
    text = " ".join(texts)
    assert [word for word in said(text) if word not in SIGNS] == words_of(text)


def test_equal_words_have_equal_hashes_wherever_they_stand() -> None:
    together = split(["one two", "", "two, ONE"])
    assert together.part.tolist() == [0, 0, 2, 2]
    assert together.hashes.tolist() == together.hashes.tolist()[::-1]
    assert len(set(together.hashes.tolist())) == 2


@pytest.mark.parametrize("text", ["Cafe\u0301 ﬁve № ＡＢ", "각 값\u0301 x", "İstanbul ΣΑΣ"])
def test_spans_of_composed_text_are_found_in_the_text_as_written(text: str) -> None:
    words = split([text])
    spans = spans_in(text, list(zip(words.start.tolist(), words.end.tolist(), strict=True)))
    assert [fold(text[start:end]) for start, end in spans] == [w for w in said(text)]
