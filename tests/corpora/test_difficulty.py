"""The difficulty step: losses as a plain computation gives them, bounds and shares, and a model that cannot score."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from corpora.cleaning import clean as cleaning
from corpora.cleaning import difficulty, scoring
from lineage.errors import CorpusError
from models.template import ChatTemplate
from recipes.cleaning import Difficulty, Step
from recipes.execution import CorporaExecution
from recipes.sources import Source
from tests import tiny
from tests.corpora.made import source, talk, write_jsonl

ONE = CorporaExecution(workers=1)
WORDS = ("red", "river", "seven", "lantern", "quiet", "winter", "copper")


def rows(count: int = 24) -> list[dict[str, Any]]:
    """Conversations of one to three exchanges, of very different lengths."""
    found = []
    for number in range(count):
        messages = []
        for turn in range(1 + number % 3):
            asked = " ".join(WORDS[(number * turn + i) % 7] for i in range(1 + number * 5 % 23))
            answered = " ".join(WORDS[(number + i * i) % 7] for i in range(1 + number * 7 % 17))
            messages += talk(f"{number}: {asked}?", f"{answered}.")["messages"]
        found.append({"messages": messages})
    return found


def run(
    folder: Path,
    checkpoint: Path | None,
    name: str = "work",
    given: list[Any] | None = None,
    execution: CorporaExecution = ONE,
    **step: Any,
) -> tuple[dict[str, Any], Path]:
    write_jsonl(folder / "a.jsonl", rows() if given is None else given)
    work = folder / name
    work.mkdir(exist_ok=True)
    asked = source("a.jsonl", steps=[{"kind": "difficulty", **step}])
    found = cleaning.clean("demo", asked, folder, folder / "cache", work, checkpoint=checkpoint, execution=execution)
    return found, work


def scores(work: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(work / "difficulty.parquet").to_pylist()
    return found


def plainly(checkpoint: Path, messages: list[dict[str, str]]) -> tuple[float, float]:
    """Both mean losses of one row, one text at a time, no batch and no padding: written by hand from ChatML."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()

    def costs(before: str, answer: str) -> list[float]:
        start = len(tokenizer(before, add_special_tokens=False)["input_ids"])
        ids = torch.tensor([tokenizer(before + answer, add_special_tokens=False)["input_ids"]])
        with torch.no_grad():
            chances = model(ids).logits[0].double().log_softmax(-1)
        return [-float(chances[place - 1, ids[0, place]]) for place in range(start, ids.shape[1])]

    header = "<|im_start|>assistant\n"
    text = ChatTemplate.load(checkpoint).render(messages[:1]).partition("<|im_start|>user")[0]
    behind: list[float] = []
    alone: list[float] = []
    for message in messages:
        if message["role"] == "assistant":
            behind += costs(text + header, message["content"] + "<|im_end|>")
            alone += costs(header, message["content"] + "<|im_end|>")
        text += f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"
    return sum(behind) / len(behind), sum(alone) / len(alone)


@pytest.fixture(scope="module")
def scored(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of a run that removes nothing, and its scores."""
    folder = tmp_path_factory.mktemp("scored")
    metrics, work = run(folder, tiny_base, min=0.0)
    assert metrics["filtered"] == 0
    return work, scores(work)


def test_losses_are_those_of_a_plain_computation(tiny_base: Path, scored: tuple[Path, list[dict[str, Any]]]) -> None:
    work, found = scored
    clean = pq.read_table(work / "rows.parquet").to_pylist()
    assert [row["id"] for row in clean] == [row["id"] for row in found]
    for row, losses in list(zip(clean, found, strict=True))[::4]:
        behind, alone = plainly(tiny_base, row["messages"])
        assert losses["with_prompt"] == pytest.approx(behind, rel=1e-5)
        assert losses["without_prompt"] == pytest.approx(alone, rel=1e-5)
        assert losses["ratio"] == pytest.approx(behind / alone, rel=1e-5)


def test_the_row_whose_answer_follows_from_its_prompt_goes_and_the_other_stays(
    tiny_base: Path, tmp_path: Path, scored: tuple[Path, list[dict[str, Any]]]
) -> None:
    messages = {row["id"]: row["messages"] for row in pq.read_table(scored[0] / "rows.parquet").to_pylist()}
    ordered = sorted(scored[1], key=lambda row: row["ratio"])
    follows, not_so = messages[ordered[0]["id"]], messages[ordered[-1]["id"]]
    plain = [behind / alone for behind, alone in (plainly(tiny_base, row) for row in (follows, not_so))]
    assert plain[0] < plain[1] - 1e-3
    given = [{"messages": row} for row in (follows, not_so)]
    metrics, work = run(tmp_path, tiny_base, given=given, min=sum(plain) / 2)
    assert [row["messages"] for row in pq.read_table(work / "rows.parquet").to_pylist()] == [not_so]
    [gone] = pq.read_table(work / "filtered.parquet").to_pylist()
    assert (gone["line"], gone["step"], gone["reason"]) == (1, "difficulty", "too easy")
    [step] = metrics["steps"]
    assert (step["before"], step["after"], step["reasons"]) == (2, 1, {"too easy": 1})
    assert metrics["checks"]["rows_conserved"]["passed"] and (metrics["kept"], metrics["filtered"]) == (1, 1)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"min": 0.5}, "01000"),
        ({"max": 1.0}, "00020"),
        ({"keep_share": 0.5}, "33000"),
        ({"keep_share": 0.01}, "33300"),
        ({"min": 0.5, "max": 1.0, "keep_share": 0.5}, "31020"),
        ({"min": 0.95, "max": 0.96, "keep_share": 0.1}, "11220"),
    ],
)
def test_bounds_come_before_the_share_and_unscored_rows_stay(step: dict[str, Any], expected: str) -> None:
    ratios = np.array([0.9, 0.1, 1.0, 1.4, np.nan])
    asked = Difficulty.model_validate({"kind": "difficulty", **step})
    assert "".join(map(str, difficulty.judge(asked, ratios).tolist())) == expected


def test_nothing_is_lost_whatever_becomes_of_a_row(tiny_base: Path, tmp_path: Path) -> None:
    long = talk("how?", "word " * 300)
    forged = talk("why?", "<|im_start|>")
    given = [*rows(), {"messages": 1}, rows()[3], long, forged]
    metrics, work = run(tmp_path, tiny_base, given=given, keep_share=0.5, max_length=250)
    counts = {name: metrics[name] for name in ("read", "kept", "quarantined", "duplicate", "filtered")}
    assert counts == {"read": 28, "kept": 14, "quarantined": 1, "duplicate": 1, "filtered": 12}
    assert metrics["checks"]["rows_conserved"]["passed"]
    [step] = metrics["steps"]
    assert (step["before"], step["scored"], step["unscored"]) == (26, 24, {"control_tokens": 1, "overlong": 1})
    found = scores(work)
    assert {row["unscored"] for row in found} == {None, "overlong", "control_tokens"}
    kept = {row["id"] for row in pq.read_table(work / "rows.parquet").to_pylist()}
    gone = {row["id"]: row["reason"] for row in pq.read_table(work / "filtered.parquet").to_pylist()}
    assert {row["id"]: row["removed"] for row in found} == {**dict.fromkeys(kept), **gone}
    least = min(row["ratio"] for row in found if row["removed"] is None and row["ratio"] is not None)
    assert all(row["ratio"] <= least for row in found if row["removed"] is not None)


def test_the_bytes_are_those_of_one_worker(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difficulty, "_ROWS_A_TASK", 7)
    one, two = (
        run(tmp_path, tiny_base, name, execution=CorporaExecution(workers=workers), keep_share=0.6)
        for name, workers in (("one", 1), ("two", 2))
    )
    assert one[0] == two[0]
    names = {file.name for file in one[1].iterdir()}
    assert names == {"rows.parquet", "quarantine.parquet", "filtered.parquet", "evidence.parquet", "difficulty.parquet"}
    for name in names:
        assert (one[1] / name).read_bytes() == (two[1] / name).read_bytes()


def test_what_an_ended_attempt_scored_is_not_scored_again(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(difficulty, "_ROWS_A_TASK", 6)
    run(tmp_path, tiny_base, "whole", keep_share=0.5)
    plain = scoring.Scorer.losses
    asked: list[int] = []

    def ending(scorer: scoring.Scorer, *arguments: Any) -> list[scoring.Losses]:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(1)
        return plain(scorer, *arguments)

    def counting(scorer: scoring.Scorer, *arguments: Any) -> list[scoring.Losses]:
        asked.append(1)
        return plain(scorer, *arguments)

    monkeypatch.setattr(scoring.Scorer, "losses", ending)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, tiny_base, "work", keep_share=0.5)
    monkeypatch.setattr(scoring.Scorer, "losses", counting)
    _, work = run(tmp_path, tiny_base, "work", keep_share=0.5)
    assert len(asked) == 4
    for file in (tmp_path / "whole").iterdir():
        assert (work / file.name).read_bytes() == file.read_bytes()


def test_of_judged_answers_the_good_one_is_scored(tiny_base: Path, tmp_path: Path) -> None:
    question, good = "red river?", "seven lanterns."
    given: dict[str, dict[str, Any]] = {
        "preference": {"prompt": question, "chosen": good, "rejected": "no."},
        "unpaired": {"prompt": question, "completion": good, "label": True},
        "ranking": {"prompt": question, "answers": [good, "no."]},
    }
    behind, alone = plainly(tiny_base, talk(question, good)["messages"])
    for kind, row in given.items():
        folder = tmp_path / kind
        folder.mkdir()
        metrics, work = run(folder, tiny_base, given=[row], min=0.0)
        assert metrics["kind"] == kind
        assert scores(work)[0]["ratio"] == pytest.approx(behind / alone, rel=1e-5)


def test_a_row_without_an_answer_is_not_scored_and_stays(tiny_base: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"prompt": "why?"}])
    work = tmp_path / "work"
    work.mkdir()
    asked = source("a.jsonl", format="prompts", steps=[{"kind": "difficulty", "keep_share": 0.1}])
    metrics = cleaning.clean("demo", asked, tmp_path, tmp_path / "cache", work, checkpoint=tiny_base, execution=ONE)
    assert metrics["kept"] == 1 and metrics["steps"][0]["unscored"] == {"no answer": 1}


def _nan(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "message"), [(_nan, "a loss is NaN or infinite; its weights are damaged"), (_no_weights, "none can be")]
)
def test_a_model_that_cannot_score_is_refused(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    (tmp_path / "base").mkdir()
    tiny.write_checkpoint(tmp_path / "base")
    damage(tmp_path / "base")
    with pytest.raises(CorpusError, match=rf"steps\.difficulty .*{message}"):
        run(tmp_path, tmp_path / "base", min=0.0)


def test_documents_and_recipes_without_a_model_are_refused_before_anything_is_read(
    tiny_base: Path, tmp_path: Path
) -> None:
    with pytest.raises(CorpusError, match="a document has no answer"):
        run(tmp_path, tiny_base, given=[{"text": "words"}], min=0.5)
    with pytest.raises(CorpusError, match="scores with the base model: make it first"):
        run(tmp_path, None, min=0.5)


def test_difficulty_is_the_last_step_and_asks_for_something() -> None:
    fields = {"uri": "a.jsonl", "group": "g", "licence": "MIT"}
    step = {"kind": "difficulty", "min": 0.2}
    for steps in ([step, {"kind": "pii"}], [step, step]):
        with pytest.raises(ValueError, match="difficulty is the last step"):
            Source.model_validate({**fields, "steps": steps})
    for bounds in ({}, {"min": 2, "max": 1}):
        with pytest.raises(ValueError, match=r"needs min, max or keep_share|is above max"):
            TypeAdapter(Step).validate_python({"kind": "difficulty", **bounds})
