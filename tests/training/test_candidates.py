"""Candidates: drawn from the model's own distribution, by nothing but seed, prompt and number, and never twice."""

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from corpora.tables.tables import CANDIDATES, rows_of
from jobs.job import Job
from lineage.store import Artifact
from recipes.errors import DONE, REFUSED
from tests.training.made_jobs import candidates_job, finish, run_here, start, wait_for


def made(job: Job) -> Artifact:
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    return found


def answers(found: Artifact) -> dict[str, list[dict[str, Any]]]:
    return {row["prompt"][0]["content"]: row["answers"] for row in rows_of(found.path / CANDIDATES)}


def test_a_prompt_has_the_same_answers_whatever_is_asked_with_it(tiny_base: Path, tmp_path: Path) -> None:
    whole = made(candidates_job(tiny_base, tmp_path / "whole", prompts=12))
    fewer = made(candidates_job(tiny_base, tmp_path / "fewer", prompts=5, batch_size=2))
    many, few = answers(whole), answers(fewer)
    assert len(many) == 12 and len(few) == 5
    for prompt, of_prompt in few.items():
        assert [answer["ids"] for answer in of_prompt] == [answer["ids"] for answer in many[prompt]]
        assert len(of_prompt) == 3
    other = answers(made(candidates_job(tiny_base, tmp_path / "other", prompts=5, seed=8)))
    assert all(other[prompt][0]["ids"] != few[prompt][0]["ids"] for prompt in few)


def test_what_is_recorded_of_an_answer_is_so(tiny_base: Path, tmp_path: Path) -> None:
    import torch

    from models import load
    from models.template import ChatTemplate

    found = made(candidates_job(tiny_base, tmp_path, temperature=0.7, top_p=0.9, max_new_tokens=4))
    model, template = load.weights(tiny_base, torch.float32).requires_grad_(False), ChatTemplate.load(tiny_base)
    row = next(iter(rows_of(found.path / CANDIDATES)))
    for answer in row["answers"]:
        assert answer["text"] == template.tokenizer.decode(answer["ids"], skip_special_tokens=True)
        assert (answer["finish"] == "length") == (len(answer["ids"]) == 4)
        if answer["finish"] == "length":
            whole = torch.tensor([row["prompt_ids"] + answer["ids"]])
            own = model(whole).logits[0, :-1].log_softmax(-1).gather(-1, whole[0, 1:, None])[-4:].sum()
            assert answer["logprob"] == pytest.approx(float(own), abs=1e-3)
    assert {name: found.metrics["checks"][name]["passed"] for name in ("answers_finite", "scored_as_drawn")} == {
        "answers_finite": True,
        "scored_as_drawn": True,
    }
    assert not found.metrics["checks"]["answers_end"]["passed"]  # a random model never stops
    assert found.metrics["cut"] == 36 == found.metrics["answers"]


@pytest.mark.parametrize("bug", ["pads", "temperature"])
def test_an_answer_that_was_scored_otherwise_than_it_was_drawn_is_noticed(
    bug: str, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models import decoding

    padded, drawn = decoding.left_padded, decoding.drawn

    def seen(rows: Any, device: Any) -> Any:
        ids, mask, positions = padded(rows, device)
        return ids, mask | True, positions

    def cold(*arguments: Any) -> Any:
        choose = drawn(*arguments)
        return lambda logits, answers, step: choose(logits / 0.7, answers, step)

    if bug == "pads":
        monkeypatch.setattr(decoding, "left_padded", seen)
    else:
        monkeypatch.setattr(decoding, "drawn", cold)
    found = made(candidates_job(tiny_base, tmp_path, prompts=6, max_new_tokens=4, batch_size=24))
    assert not found.metrics["checks"]["scored_as_drawn"]["passed"]


def test_tokens_come_as_often_as_the_model_says(tiny_base: Path, tmp_path: Path) -> None:
    import torch

    from models import load

    samples = 1024
    found = made(candidates_job(tiny_base, tmp_path, prompts=1, samples=samples, max_new_tokens=1, batch_size=512))
    [row] = rows_of(found.path / CANDIDATES)
    logits = (
        load.weights(tiny_base, torch.float32).requires_grad_(False)(torch.tensor([row["prompt_ids"]])).logits[0, -1]
    )
    expected = logits.softmax(-1)
    drawn = Counter(answer["ids"][0] if answer["ids"] else None for answer in row["answers"])
    halves = expected.argsort(descending=True).split(len(expected) // 2)
    for half in halves[:2]:
        share = sum(drawn[token] for token in half.tolist()) / samples
        assert share == pytest.approx(float(expected[half].sum()), abs=0.07)


def test_a_killed_attempt_loses_no_more_than_a_batch(tiny_base: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"prompts": 20, "max_new_tokens": 100, "batch_size": 3}
    whole = made(candidates_job(tiny_base, tmp_path / "whole", **changes))
    job = candidates_job(tiny_base, tmp_path / "killed", **changes)
    process = start(job.write())
    kept = job.store.work_path(job.request) / "checkpoints" / "answers.sqlite-wal"
    wait_for(lambda: kept.is_file() and kept.stat().st_size > 16_000, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    status, said = finish(job.write())
    assert status == DONE, said
    assert "batches were there from before" in said
    again = job.store.find(job.request)
    assert again is not None and again.digest == whole.digest


def test_prompts_that_do_not_fit_are_refused(
    tiny_base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_here(candidates_job(tiny_base, tmp_path, max_new_tokens=4000)) == REFUSED
    said = capfd.readouterr().out
    assert "4000 new ones exceed the model's context of 2048 tokens; lower max_length of prompts.prompts" in said
