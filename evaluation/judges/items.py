"""What judged tasks ask: conversations from rows, with a baseline's answers where these are needed, and what a model
answers to them turn by turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corpora.formats.conversations import value_or_none
from evaluation.task import draw
from lineage.errors import EvaluationError
from lineage.hashing import fingerprint, text_digest
from models.answering import LoadedModel, Response, Tick, generate
from recipes.suite import JudgedTask


@dataclass(frozen=True)
class JudgedItem:
    """The turns of a conversation, and, if there are any, a baseline's answers and reference answers to them."""

    turns: list[str]
    baseline: list[str] | None
    reference: list[str] | None
    category: str | None

    @property
    def digest(self) -> str:
        return fingerprint(vars(self))

    @property
    def question_hash(self) -> str:
        """Of the first request, by which the item is found in the table of evaluation items."""
        return text_digest(self.turns[0].strip())


def items_of(
    where: str, task: JudgedTask, rows: Sequence[Mapping[str, Any]], baseline: Sequence[Mapping[str, Any]] | None
) -> list[JudgedItem]:
    """The items drawn from rows, repeated ones once. Raises EvaluationError that names the row, never its text.

    where: the task's field. baseline: for each row the one that holds a baseline's answers, where they are needed.
    """
    columns = task.columns
    items: dict[str, dict[str, Any]] = {}
    for index, row in enumerate(rows, start=1):
        turns = _texts(value_or_none(row, columns.turns)) or _texts(value_or_none(row, columns.prompt))
        if not turns:
            raise EvaluationError(
                f"{where}.data: row {index}: neither '{columns.prompt}' holds words nor '{columns.turns}' a list of "
                "them; see the task's columns"
            )
        against = _texts(value_or_none(baseline[index - 1], columns.baseline)) if baseline is not None else None
        if baseline is not None and (against is None or len(against) != len(turns)):
            raise EvaluationError(
                f"{where}.data: row {index}: '{columns.baseline}' does not hold the baseline's answer to each of "
                f"{len(turns)} turns; see the task's columns"
            )
        reference, category = _texts(value_or_none(row, columns.reference)), value_or_none(row, columns.category)
        item = JudgedItem(turns, against, reference, category if isinstance(category, str) else None)
        items.setdefault(fingerprint([turns, against]), {"item": item})
    return [drawn["item"] for drawn in draw(where, list(items.values()), task.limit, task.sample_seed)]


def converse(
    model: LoadedModel, items: Sequence[JudgedItem], max_new_tokens: int, tick: Tick
) -> tuple[list[list[Response]], list[str]]:
    """The model's answers to the turns of each item, each turn after its own answers; and each item's prompt hash.

    The hash is of the first prompt as rendered and of the words of the turns that follow: it does not depend on what
    the model said.
    """
    answers: list[list[Response]] = [[] for _ in items]
    first: list[str] = []
    turns = max(len(item.turns) for item in items)
    for turn in range(turns):
        asked = [index for index, item in enumerate(items) if len(item.turns) > turn]
        prompts = [model.render(_history(items[index], answers[index], turn)) for index in asked]
        first = first or prompts
        share = len(items) / turns

        def part(done: int, turn: int = turn, of: int = len(asked), share: float = share) -> None:
            tick(int(share * (turn + done / of)))

        for index, response in zip(asked, generate(model, prompts, max_new_tokens, part), strict=True):
            answers[index].append(response)
    hashes = [fingerprint([prompt, *item.turns[1:]]) for prompt, item in zip(first, items, strict=True)]
    return answers, hashes


def _history(item: JudgedItem, answers: Sequence[Response], turn: int) -> list[dict[str, str]]:
    said = [
        message
        for request, answer in zip(item.turns[:turn], answers, strict=True)
        for message in ({"role": "user", "content": request}, {"role": "assistant", "content": answer.text})
    ]
    return [*said, {"role": "user", "content": item.turns[turn]}]


def _texts(value: Any) -> list[str] | None:
    """A text, or a list of texts, as a list; None for anything else or without words."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        return None
    return texts or None
