"""Signals on candidates: of every answer a number, by which rules choose. Each signal is a table of its own.

Where a signal does not apply to a prompt, or an answer cannot be checked, there is no number, and the answer is in no
pair that this signal decides.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from corpora.tables.tables import CANDIDATES, SIGNAL, rows_in, rows_of, signal_schema, writing
from corpora.verifiers import instructions, verifiers
from corpora.verifiers.checked import Unchecked, checked, told
from corpora.words.scripts import fold
from corpora.work.progress import progress
from lineage.checks import check
from lineage.errors import CorpusError
from recipes.candidates import (
    FormatSignal,
    InstructionsSignal,
    LengthSignal,
    LikelihoodSignal,
    ModelSignal,
    ReferenceSignal,
    RepetitionSignal,
    Signal,
    VerifierSignal,
)

CHECKS = {
    "answers_checked": "every answer could be checked",
    "tells_answers_apart": "there are prompts with answers that differ by it",
}
_AT_ONCE = 64
"""Prompts whose answers are looked at together."""

Value = float | Unchecked | None
Row = dict[str, Any]


def measure(name: str, signal: Signal, candidates: Path, work: Path, punkt: Path | None = None) -> dict[str, Any]:
    """Write signal.parquet into `work` and return the metrics.

    candidates: the folder of candidates.parquet. punkt: NLTK's data, which checkers of instructions need. Raises
    CorpusError if the signal applies to no answer.
    """
    if punkt is not None:
        instructions.use_punkt("prompts.punkt", punkt)
    return written(name, signal, candidates, work, lambda rows: _values(signal, rows))


def written(
    name: str, signal: Signal, candidates: Path, work: Path, values: Callable[[Sequence[Row]], list[Value]]
) -> dict[str, Any]:
    """The same with the values of a function: of several prompts one for each answer, in their order."""
    answers = prompts = telling = 0
    known: list[float] = []
    unchecked: list[Unchecked] = []
    path = candidates / CANDIDATES
    with (
        writing(work / SIGNAL, signal_schema(), {"signal": name, **signal.model_dump(mode="json")}) as table,
        progress(f"signal {name}", rows_in(path), "prompts") as done,
    ):
        for rows in _batched(rows_of(path, ["id", "verifier", "reference", "prompt_ids", "answers"])):
            found = iter(values(rows))
            for row in rows:
                of_row = list(itertools.islice(found, len(row["answers"])))
                unchecked += [value for value in of_row if isinstance(value, Unchecked)]
                numbers = [None if isinstance(value, Unchecked) else value for value in of_row]
                table.add({"id": row["id"], "values": numbers})
                answers, prompts = answers + len(numbers), prompts + 1
                telling += len({*numbers} - {None}) > 1
                known += [value for value in numbers if value is not None]
            done(len(rows))
    if not known:
        raise CorpusError(f"signals.{name}: {signal.kind} has no number for any of {answers} answers: {_why(signal)}")
    return {
        "answers": len(known),
        "without": answers - len(known),
        "mean": fmean(known),
        "lowest": min(known),
        "highest": max(known),
        "telling": telling / prompts,
        "checks": {
            "answers_checked": check(
                not unchecked, len(unchecked), told(unchecked) or "answers that could not be checked", blocks=False
            ),
            "tells_answers_apart": check(
                telling > 0,
                telling,
                f"of {prompts} prompts, those with answers that differ by it; the others give no pair",
                blocks=False,
            ),
        },
    }


Told = tuple[float, str]
"""A number, and the answer that has it."""


def examples(candidates: Path, measured: Path, count: int) -> list[tuple[str, Told, Told]]:
    """Of the first prompts whose answers a signal tells apart: the last words asked, the best answer and the worst.

    candidates, measured: folders. What is sensitive is left out.
    """
    found = []
    for row, of_row in zip(rows_of(candidates / CANDIDATES), rows_of(measured / SIGNAL), strict=True):
        texts = (answer["text"] for answer in row["answers"])
        told = sorted((value, text) for value, text in zip(of_row["values"], texts, strict=True) if value is not None)
        if not row["sensitive"] and told and told[0][0] < told[-1][0]:
            found.append((row["prompt"][-1]["content"], told[-1], told[0]))
        if len(found) == count:
            break
    return found


def _batched(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(itertools.islice(rows, _AT_ONCE)):
        yield batch


def _why(signal: Signal) -> str:
    if signal.kind in ("verifier", "instructions"):
        return "the prompts bring no such verifier"
    if signal.kind == "reference":
        return "the rows of the prompts bring no answer"
    return "none could be checked"


def _values(signal: Signal, rows: Sequence[Row]) -> list[Value]:
    """A value for every answer of these rows, in their order."""
    answers = [(row, answer) for row in rows for answer in row["answers"]]
    match signal:
        case VerifierSignal():
            found = _verified(answers, verifiers.GYM, verifiers.scores)
            return found if signal.partial else [_whole(value) for value in found]
        case InstructionsSignal():
            return _verified(answers, verifiers.INSTRUCTIONS, _share_followed)
        case FormatSignal():
            asked = [{"pattern": signal.pattern, "answer": answer["text"]} for _, answer in answers]
            return [one if isinstance(one, Unchecked) else float(one) for one in checked("pattern", asked)]
        case LengthSignal():
            return [-float(max(0, len(answer["ids"]) - signal.free_tokens)) for _, answer in answers]
        case RepetitionSignal():
            return [_distinct(answer["text"], signal.n) for _, answer in answers]
        case LikelihoodSignal():
            return [answer["logprob"] / (len(answer["ids"]) + (answer["finish"] == "stop")) for _, answer in answers]
        case ReferenceSignal():
            near = _nearness(signal.metric)
            return [near(answer["text"], row["reference"]) if row["reference"] else None for row, answer in answers]
        case ModelSignal():
            raise TypeError("a reward model scores in a job of its own")


def _nearness(metric: str) -> Callable[[str, str], float]:
    """How near an answer is to a reference, from 0 to 1."""
    if metric in ("bleu", "chrf"):
        import sacrebleu

        score = sacrebleu.sentence_bleu if metric == "bleu" else sacrebleu.sentence_chrf
        return lambda answer, reference: float(score(answer, [reference]).score) / 100
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([metric])
    return lambda answer, reference: float(scorer.score(reference, answer)[metric].fmeasure)


def _whole(value: Value) -> Value:
    return value if value is None or isinstance(value, Unchecked) else float(value == 1)


def _verified(
    answers: Sequence[tuple[Row, Row]],
    kind: str,
    values: Callable[[Sequence[tuple[Mapping[str, Any], str]]], Sequence[Value]],
) -> list[Value]:
    """What a check of this kind of verifier gives where the prompt brings one."""
    brought: dict[str, Mapping[str, Any]] = {
        row["id"]: json.loads(row["verifier"]) for row, _ in answers if row["verifier"] is not None
    }
    of_kind = {id_: verifier for id_, verifier in brought.items() if verifier["kind"] == kind}
    asked = [(of_kind[row["id"]], answer["text"]) for row, answer in answers if row["id"] in of_kind]
    found = iter(values(asked))
    return [next(found) if row["id"] in of_kind else None for row, _ in answers]


def _share_followed(asked: Sequence[tuple[Mapping[str, Any], str]]) -> list[Value]:
    found = instructions.followed(asked)
    return [one if isinstance(one, Unchecked) else sum(one) / len(one) for one in found]


def _distinct(text: str, n: int) -> float:
    words = fold(text).split()
    runs = list(zip(*(words[start:] for start in range(n)), strict=False))
    return len(set(runs)) / len(runs) if runs else 1.0
