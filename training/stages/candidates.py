"""Candidates: a checkpoint and prompts in, several answers to each prompt out, for signals and people to choose among.

Answers are drawn by seed, prompt and number (`models.drawing`), so that one prompt's do not depend on which others are
asked. Prompts of like lengths are answered together, each read once for all its answers. A batch that is done is kept
at once: an attempt that was stopped or killed loses no more than the one it was at.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.tables.tables import CANDIDATES, PROMPTS, candidates_schema, rows_of, writing
from jobs import memory
from jobs.job import Job
from jobs.progress import Progress, say
from jobs.run_log import RunLog
from lineage.checks import Check, check
from lineage.errors import Interrupted, TrainingError
from lineage.hashing import fingerprint, text_digest
from recipes.candidates import Candidates
from training.loop import checkpoints

if TYPE_CHECKING:
    from models.local import Transformers

VERSION = 2
CHECKS = {
    "answers_finite": "no token of an answer was decided by NaN or infinity",
    "scored_as_drawn": "an answer's log-probability is that which the model gives it when it reads it alone",
    "answers_end": "most answers end by themselves, and are not cut",
    "samples_differ": "the answers to a prompt are not all the same",
}

_APART = {"float32": 1e-4, "bfloat16": 5e-2}
"""Nats a token: rounding."""
_MOST_CUT = 0.5
_SCORED = 8
"""Prompts whose answers are read once more, each alone."""

KEPT = "answers.sqlite"
"""What another attempt goes on from, among what is kept of one."""

Row = dict[str, Any]
Answer = dict[str, Any]


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Let `job.inputs["checkpoint"]` answer `job.inputs["prompts"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    from models.local import load_model

    section = Candidates.model_validate(job.config)
    given = job.inputs["prompts"]
    prompts = list(rows_of(given.path / PROMPTS))
    log.dataset(section.prompts, given.digest, given.path, len(prompts), "asked")
    with memory.explained(f"with {job.ref}'s batch_size {section.batch_size}; a smaller one needs less", TrainingError):
        model = load_model(job.inputs["checkpoint"].path, section.dtype, section.batch_size)
        _must_fit(prompts, section, model)
        answers = all_answers(job.ref, model, prompts, section, work / checkpoints.FOLDER, stop)
        scored = prompts[:: math.ceil(len(prompts) / _SCORED)]
        apart = max(_scored(model, row, answers[row["id"]]) for row in scored)
    with writing(work / CANDIDATES, candidates_schema(), {"checkpoint": job.inputs["checkpoint"].digest}) as table:
        for row in prompts:
            table.add({**row, "answers": [_as_written(answer, model, row) for answer in answers[row["id"]]]})
    return _told(prompts, answers, apart, len(scored), section)


def _must_fit(prompts: Sequence[Row], section: Candidates, model: "Transformers") -> None:
    longest = max(len(row["prompt_ids"]) for row in prompts)
    if longest + section.max_new_tokens > model.context:
        raise TrainingError(
            f"a prompt of {longest} tokens and {section.max_new_tokens} new ones exceed the model's context of "
            f"{model.context} tokens; lower max_length of prompts.{section.prompts}, or max_new_tokens"
        )


def all_answers(
    label: str,
    model: "Transformers",
    prompts: Sequence[Row],
    section: Candidates,
    kept: Path,
    stop: threading.Event,
) -> dict[str, list[Answer]]:
    """The answers to each prompt, by its id; those of an earlier attempt are not drawn again."""
    from models.answered import Answered

    known = Answered(kept / KEPT)
    found: dict[str, dict[int, Answer]] = {row["id"]: {} for row in prompts}
    progress = Progress(label, len(prompts) * section.samples, "answers")
    done = 0
    for batch, numbers in _batches(prompts, section):
        question = fingerprint({"prompts": [row["id"] for row in batch], "numbers": [numbers.start, numbers.stop]})
        drawn = known.get([question]).get(question)
        if drawn is None:

            def tick(step: int, ended: int, before: int = done, size: int = len(batch) * len(numbers)) -> None:
                if stop.is_set():
                    raise Interrupted(f"{label}: stopped at {before} of {progress.total} answers")
                progress.update(before + max(ended, size * step // section.max_new_tokens))

            drawn = _drawn(model, batch, numbers, section, tick)
            known.put({question: drawn})
        for row, answers in zip(batch, drawn, strict=True):
            found[row["id"]] |= zip(numbers, answers, strict=True)
        done += len(batch) * len(numbers)
        progress.update(done)
    if known.found:
        say(f"{label}: {known.found} batches were there from before")
    return {id_: [answers[number] for number in range(section.samples)] for id_, answers in found.items()}


def _batches(prompts: Sequence[Row], section: Candidates) -> Iterator[tuple[Sequence[Row], range]]:
    """Prompts of like lengths, the longest first, and the numbers of the answers that are drawn together."""
    order = sorted(prompts, key=lambda row: (-len(row["prompt_ids"]), row["id"]))
    together = min(section.samples, section.batch_size)
    each = section.batch_size // together
    for start in range(0, len(order), each):
        for first in range(0, section.samples, together):
            yield order[start : start + each], range(first, min(first + together, section.samples))


def _drawn(
    model: "Transformers", batch: Sequence[Row], numbers: range, section: Candidates, tick: Any
) -> list[list[Answer]]:
    """The answers of these numbers to each prompt of a batch."""
    import dataclasses

    import torch

    from models import drawing
    from models.decoding import decode, drawn

    streams = [int(text_digest(row["id"])[:16], 16) for row in batch]
    draws = [drawing.numbers(section.seed, stream, numbers, section.max_new_tokens) for stream in streams]
    choose = drawn(torch.cat(draws), section.temperature, section.top_p)
    found: list[list[Answer]] = [[{}] * len(numbers) for _ in batch]
    asked = [row["prompt_ids"] for row in batch]
    limits = section.max_new_tokens, model.stop_ids
    for place, answer in decode(model.model, asked, *limits, choose, copies=len(numbers), tick=tick):
        found[place // len(numbers)][place % len(numbers)] = dataclasses.asdict(answer)
    return found


def _as_written(answer: Answer, model: "Transformers", prompt: Row) -> Row:
    thoughts, words = model.template.parted(answer["tokens"], prompt["prompt_ids"])
    return {
        "text": words,
        "thoughts": thoughts or None,
        "ids": answer["tokens"],
        "logprob": answer["value"],
        "finish": "length" if answer["cut"] else "stop",
    }


def _scored(model: "Transformers", prompt: Row, answers: Sequence[Answer]) -> float:
    """How far the log-probabilities of a prompt's answers are from the model's own, in nats a token, at the most."""
    sound = [answer for answer in answers if answer["finite"]]
    read = [[*answer["tokens"], *([] if answer["stop"] is None else [answer["stop"]])] for answer in sound]
    own = model.log_likelihoods([(prompt["prompt_ids"], tokens) for tokens in read], lambda _: None)
    apart = (
        abs(likelihood.logprob - answer["value"]) / len(tokens)
        for likelihood, answer, tokens in zip(own, sound, read, strict=True)
    )
    return max(apart, default=0.0)


def _told(
    prompts: Sequence[Row], answers: dict[str, list[Answer]], apart: float, scored: int, section: Candidates
) -> dict[str, Any]:
    every = [answer for of_prompt in answers.values() for answer in of_prompt]
    cut = sum(answer["cut"] for answer in every)
    broken = sum(not answer["finite"] for answer in every)
    different = [len({tuple(answer["tokens"]) for answer in of_prompt}) for of_prompt in answers.values()]
    tokens = sum(len(answer["tokens"]) for answer in every)
    return {
        "prompts": len(prompts),
        "answers": len(every),
        "answer_tokens": tokens,
        "mean_tokens": tokens / len(every),
        "cut": cut,
        "different": sum(different) / len(every),
        "checks": {
            "answers_finite": check(broken == 0, broken, "answers in which NaN or infinity decided a token"),
            "scored_as_drawn": check(
                apart <= _APART[section.dtype],
                apart,
                f"nats a token between the log-probabilities of answers to {scored} prompts as they were drawn and the "
                f"model's own of each answer: within {_APART[section.dtype]:g}",
            ),
            "answers_end": check(
                cut <= _MOST_CUT * len(every),
                cut,
                f"of {len(every)} answers, those cut at max_new_tokens {section.max_new_tokens}, which are in no pair",
                blocks=False,
            ),
            "samples_differ": _differ(different),
        },
    }


def _differ(different: Sequence[int]) -> Check:
    alike = sum(count == 1 for count in different)
    return check(
        alike < len(different),
        alike,
        f"of {len(different)} prompts, those whose answers are all the same",
        blocks=False,
    )
