"""What people are asked: questions from a file of answers or from candidates of a recipe, and which of them is next.

A share of the questions is asked at random, so that a statistic of them is one of all; the others where a label tells
most: where signals on the candidates disagree, else of the prompt that has been judged least.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from corpora.cleaning.content import content_id
from corpora.feedback.candidates import judged_of
from corpora.formats.items import Document
from corpora.formats.scored import read_ranked
from corpora.labels.events import Answer, Event, Question, Refused
from corpora.reading.lines import Row, RowError, blocks, read_block
from corpora.sources.raw import RawFile
from corpora.tables.tables import CANDIDATES, SIGNAL, rows_of
from lineage.errors import CorpusError
from lineage.hashing import text_digest
from lineage.store import Store
from models.messages import Message, plain_messages
from recipes.load import load_recipe

Ask = Literal["choice", "stars", "rank"]

_BLOCK_BYTES = 16 << 20
_FIELDS = ("prompt", "system", "history", "answers", "tools")


class Asked(NamedTuple):
    """Questions, and of those that signals tell apart how much these disagree, 0 to 1."""

    questions: list[Question]
    disagreement: Mapping[str, float]


def questions_in(file: Path, ask: Ask) -> Asked:
    """Of rows with a `prompt` and `answers`, two or more. Raises CorpusError that names the line."""
    if not file.is_file():
        raise CorpusError(f"{file}: no such file")
    found: list[Question] = []
    for block in blocks([RawFile(file.name, file)], _BLOCK_BYTES):
        for row in read_block(block):
            if not isinstance(row, Row):
                raise CorpusError(f"{file}:{row.line}: {row.reason}")
            try:
                found += _split(_question_of(row.value, f"{row.file}:{row.line}"), ask)
            except RowError as error:
                raise CorpusError(f"{file}:{row.line}: {error}") from None
    if not found:
        raise CorpusError(f"{file}: no rows; expected {{prompt, answers: [two or more]}}")
    return Asked(_distinct(found), {})


def questions_of_candidates(store: Store, recipe_file: Path, name: str, ask: Ask) -> Asked:
    """Of the sealed candidates of a recipe; answers that were cut, are empty or the same are left out."""
    recipe = load_recipe(recipe_file)
    if name not in recipe.candidates:
        known = ", ".join(recipe.candidates) or "none"
        raise CorpusError(f"{recipe_file}: no candidates are called '{name}'; there are: {known}")
    node = f"candidates/{name}"
    candidates = store.ref(recipe.name, node)
    if candidates is None:
        raise CorpusError(f"{recipe.name}/{node} is not made yet; `temper run {recipe_file} --select +{node}` makes it")
    measured = (store.ref(recipe.name, f"signals/{name}/{signal}") for signal in recipe.candidates[name].signals)
    of_these = [one for one in measured if one is not None and candidates.digest in one.record["inputs"].values()]
    found: list[Question] = []
    disagreement: dict[str, float] = {}
    columns = [rows_of(one.path / SIGNAL) for one in of_these]
    for row, *values in zip(rows_of(candidates.path / CANDIDATES), *columns, strict=True):
        numbers: dict[str, list[float | None]] = {}
        answers = []
        for one in judged_of(row, [], Counter()):
            origin = f"{recipe.name}/{node}/{candidates.fingerprint}#{row['id']}/{one.place}"
            answers.append(Answer({"role": "assistant", "content": one.content}, origin))
            numbers[answers[-1].id] = [column["values"][one.place - 1] for column in values]
        if len(answers) > 1:
            asked = list(_split(Question(plain_messages(row["prompt"]), answers, None, row["sensitive"]), ask))
            found += asked
            disagreement |= {one.id: _disagreement([numbers[id_] for id_ in one.by_id]) for one in asked}
    return Asked(_distinct(found), disagreement if of_these else {})


def _question_of(value: Mapping[str, Any], origin: str) -> Question:
    fields = {name: value[name] for name in _FIELDS if value.get(name) is not None}
    if not {"prompt", "answers"} <= fields.keys() or not isinstance(fields["answers"], list):
        raise RowError("expected fields 'prompt' and 'answers', a list")
    found = _read(fields, origin, value.get("sensitive") is True)
    if len(found.answers) < 2:
        raise RowError("answers: two or more different ones are needed")
    return found


def question_of_answer(prompt: str | list[Message], answer: str, sensitive: bool) -> Question:
    """What was asked and the one answer that was given. Raises CorpusError."""
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    try:
        return _read({"prompt": asked, "answers": [answer]}, "http", sensitive)
    except RowError as error:
        raise CorpusError(str(error)) from None


def edit_of(question: Question, edit: str) -> str:
    """The better text as a corpus would read it beside the one answer of the question. Raises Refused."""
    try:
        read = _read({"prompt": question.prompt, "answers": [edit]}, "http", question.sensitive)
    except RowError as error:
        raise Refused(f"edit: {error}") from None
    [better, answer] = (one.answers[0].message["content"] for one in (read, question))
    if content_id(Document(better)) == content_id(Document(answer)):
        raise Refused("edit: the words are those of the answer; expected others")
    return better


def _read(fields: dict[str, Any], origin: str, sensitive: bool) -> Question:
    """Answers that say the same are one."""
    ranking: Any = read_ranked(fields)
    answers = {one.id: one for one in (Answer(answer["messages"][0], origin) for answer in ranking.answers)}
    return Question(ranking.prompt, list(answers.values()), ranking.tools, sensitive)


def _split(question: Question, ask: Ask) -> Iterator[Question]:
    """Every two of the answers, where people choose between two."""
    size = 2 if ask == "choice" else len(question.answers)
    for answers in itertools.combinations(question.answers, size):
        yield Question(question.prompt, list(answers), question.tools, question.sensitive)


def _distinct(questions: Iterable[Question]) -> list[Question]:
    return list({question.id: question for question in questions}.values())


def _disagreement(answers: Sequence[Sequence[float | None]]) -> float:
    """Of every two answers the share of the signals that tell them apart which the others overrule; the mean."""
    found = []
    for one, other in itertools.combinations(answers, 2):
        both = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
        better, worse = sum(a > b for a, b in both), sum(a < b for a, b in both)
        found.append(min(better, worse) / max(1, better + worse))
    return sum(found) / len(found)


class Progress(NamedTuple):
    """Questions that one annotator has judged and skipped, that enough annotators have judged, and all there are."""

    judged: int
    skipped: int
    done: int
    all: int


@dataclass(frozen=True)
class Plan:
    """Which questions are asked, and for verdicts of which kind. at_random: share of the questions asked in a random
    order. judges: how many annotators judge each."""

    questions: Mapping[str, Question]
    disagreement: Mapping[str, float] = field(default_factory=dict)
    at_random: float = 0.3
    judges: int = 1
    ask: Ask = "choice"

    def counts(self, event: Event) -> bool:
        """Whether an event says something of a question as it is asked here."""
        return event.question in self.questions and event.kind in (self.ask, "skip")

    def next(self, annotator: str, said: Iterable[Event], shown: Collection[str] = ()) -> Question | None:
        """The next question for an annotator, the same until one more event of theirs stands; None if none is left.

        said: what stands. shown: ids of what others look at, which comes last.
        """
        judged, own = self._by_question(said, annotator)
        left = [q for id_, q in self.questions.items() if id_ not in own and len(judged[id_]) < self.judges]
        if not left:
            return None
        drawn = {q.id: text_digest(f"{annotator}/{q.id}") for q in left}
        if int(text_digest(f"{annotator}/{len(own)}")[:8], 16) / 2**32 < self.at_random:
            return min(left, key=lambda q: (q.id in shown, drawn[q.id]))
        of_prompt: Counter[str] = Counter()
        for id_, annotators in judged.items():
            of_prompt[self.questions[id_].prompt_id] += len(annotators)
        telling = self.disagreement
        return min(left, key=lambda q: (q.id in shown, -telling.get(q.id, 0.0), of_prompt[q.prompt_id], drawn[q.id]))

    def progress(self, annotator: str, said: Iterable[Event]) -> Progress:
        judged, own = self._by_question(said, annotator)
        mine = sum(annotator in annotators for annotators in judged.values())
        done = sum(len(annotators) >= self.judges for annotators in judged.values())
        return Progress(mine, len(own) - mine, done, len(self.questions))

    def _by_question(self, said: Iterable[Event], annotator: str) -> tuple[dict[str, set[str]], set[str]]:
        """Who has judged each question, and what the annotator has judged or skipped."""
        judged: dict[str, set[str]] = defaultdict(set)
        own = set()
        for event in said:
            if self.counts(event) and event.question is not None:
                if event.kind != "skip":
                    judged[event.question].add(event.annotator)
                if event.annotator == annotator:
                    own.add(event.question)
        return judged, own
