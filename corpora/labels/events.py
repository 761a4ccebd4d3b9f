"""What a person was asked and said, and the rows that corpora read of it.

A question is its prompt and answers, whatever the order in which they were shown; an event names the answers by what
they are. An annotator has one word for each question and kind of verdict, the last one kept that was not undone, so
neither a clock that goes back nor events that come again change a row.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from lineage.errors import CorpusError
from lineage.hashing import fingerprint
from models.messages import Message

Verdict = Literal["choice", "stars", "rank", "thumb", "edit"]
Kind = Literal["choice", "stars", "rank", "thumb", "edit", "skip", "undo"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
TIE, BOTH_BAD = "tie", "both_bad"
MOST_STARS = 5


class Refused(CorpusError):
    """An event that cannot be kept; the message says why."""


@dataclass(frozen=True)
class Answer:
    """One assistant message, and the artefact or file that it is from."""

    message: Message
    origin: str | None = None

    @cached_property
    def id(self) -> str:
        return fingerprint(self.message)


@dataclass(frozen=True)
class Question:
    """A prompt and different answers to it. tools: JSON list of the functions' schemas, if there are any."""

    prompt: list[Message]
    answers: list[Answer]
    tools: str | None = None
    sensitive: bool = False

    @cached_property
    def id(self) -> str:
        return fingerprint({"prompt": self.prompt, "tools": self.tools, "answers": sorted(self.by_id)})

    @cached_property
    def by_id(self) -> dict[str, Answer]:
        return {answer.id: answer for answer in sorted(self.answers, key=lambda answer: answer.id)}

    @cached_property
    def prompt_id(self) -> str:
        return fingerprint([self.prompt, self.tools])

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> "Question":
        return cls(**{**value, "answers": [Answer(**answer) for answer in value["answers"]]})


@dataclass(frozen=True)
class Event:
    """payload: `choice` (an answer's id, tie or both_bad), `stars` or `ranks` (a number by answer's id), `thumb` (up or
    down) or `edit` (the better text) with `answer`, or `event`, the id of what is undone. at: UTC, as ISO 8601."""

    id: str
    annotator: str
    kind: Kind
    question: str | None
    payload: dict[str, Any]
    comment: str = ""
    origin: Literal["page", "http"] = "page"
    at: str = ""

    @property
    def content(self) -> tuple[Any, ...]:
        """What two events of one id must have in common."""
        return self.annotator, self.kind, self.question, self.payload, self.comment


def must_fit(event: Event, question: Question) -> None:
    """Raises Refused if the event is no verdict on this question."""
    told, ids = event.payload, list(question.by_id)
    match event.kind:
        case "choice":
            good = len(ids) == 2 and told == {"choice": told.get("choice")} and told["choice"] in (*ids, TIE, BOTH_BAD)
            meant = f"choice is the id of one of the two answers, '{TIE}' or '{BOTH_BAD}'"
        case "stars" | "rank":
            name, most = ("stars", MOST_STARS) if event.kind == "stars" else ("ranks", len(ids))
            numbers = told.get(name) if len(told) == 1 else None
            good = isinstance(numbers, dict) and sorted(numbers) == ids
            good = good and all(type(number) is int and 1 <= number <= most for number in dict(numbers or {}).values())
            meant = f"{name} has a whole number from 1 to {most} for every answer"
        case "thumb":
            good, meant = told.get("answer") in ids and told.get("thumb") in ("up", "down"), "thumb is 'up' or 'down'"
        case "edit":
            edit, answer = told.get("edit"), question.by_id.get(str(told.get("answer")))
            good = isinstance(edit, str) and bool(edit.strip()) and answer is not None
            good = good and edit != answer.message["content"] if answer else False
            meant = "edit is a text with words in it that is not the answer's own"
        case _:
            good, meant = not told, "a skip has no payload"
    if not good:
        raise Refused(f"payload: {meant}")


def standing(events: Iterable[Event]) -> list[Event]:
    """What annotators said last of each question, by kind, skips too, without what was undone.

    events: in the order in which they were kept, which is also that of what is returned.
    """
    known = list(events)
    undone = {(event.annotator, event.payload["event"]) for event in known if event.kind == "undo"}
    said = (event for event in known if event.kind != "undo" and (event.annotator, event.id) not in undone)
    last: dict[tuple[str, str | None, Kind], Event] = {}
    for event in said:
        key = event.annotator, event.question, event.kind
        last.pop(key, None)
        last[key] = event
    return list(last.values())


def kinds_of(events: Iterable[Event]) -> dict[str, int]:
    """How many verdicts of each kind stand."""
    return dict(sorted(Counter(event.kind for event in standing(events) if event.kind in VERDICTS).items()))


def rows(kind: Verdict, events: Iterable[Event], questions: Mapping[str, Question]) -> Iterator[dict[str, Any]]:
    """The standing verdicts of a kind, in the order of events, as rows of formats that are read: choice as votes,
    stars as rated, an answer a row, rank as ranked, thumb as unpaired, edit as preference."""
    for event in standing(events):
        if event.kind == kind and event.question is not None:
            question = questions[event.question]
            asked = {"prompt": question.prompt, **({"tools": question.tools} if question.tools else {})}
            said = {
                "annotator": event.annotator,
                "at": event.at,
                **({"comment": event.comment} if event.comment else {}),
            }
            for row in _rows(event, question):
                yield {**asked, **row, **said}


def _rows(event: Event, question: Question) -> Iterator[dict[str, Any]]:
    told, given = event.payload, {id_: [answer.message] for id_, answer in question.by_id.items()}
    match event.kind:
        case "choice":
            a, b = given
            winner = {a: "model_a", b: "model_b", TIE: "tie", BOTH_BAD: "tie (bothbad)"}[told["choice"]]
            yield {"response_a": given[a], "response_b": given[b], "winner": winner}
        case "stars":
            yield from ({"response": given[id_], "rating": told["stars"][id_]} for id_ in given)
        case "rank":
            yield {"answers": list(given.values()), "ranks": [told["ranks"][id_] for id_ in given]}
        case "thumb":
            yield {"completion": given[told["answer"]], "label": told["thumb"] == "up"}
        case "edit":
            better = [{"role": "assistant", "content": told["edit"]}]
            yield {"chosen": better, "rejected": given[told["answer"]]}
