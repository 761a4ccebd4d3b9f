"""Formats of answers with scores: ranked lists, ratings in stars or points, votes between two.

Field names are those of UltraFeedback (`completions`, `overall_score`), Nectar (`answers` with a `rank`), OASST's
trees (by `trees`), HelpSteer (`helpfulness`, `overall_preference`), Chatbot Arena (`conversation_a`, `winner`,
`winner_model_a`), SHP (`human_ref_A`, `labels`), AlpacaEval (`output_1`, `preference`), PKU-SafeRLHF (`response_0`,
`better_response_id`), WebGPT's kind of `answer_0`. Which of the answers make a pair is left to `corpora.feedback`.
"""

import re
from typing import Any

from corpora.formats.conversations import conversation
from corpora.formats.format import Format, each
from corpora.formats.items import Answer, Item, Ranking
from corpora.formats.judged import response_field
from corpora.formats.judgements import POINTS, RATINGS, annotator_of, is_empty, number_of, points_of
from corpora.formats.learning import weight_of
from corpora.formats.prompts import Fields, answer_to, first, is_arena, prompt_field, prompt_of
from corpora.formats.tool_calls import loaded, tools_of
from corpora.formats.tool_text import value_in
from corpora.formats.trees import is_tree, rankings_fields, rankings_of
from corpora.reading.json_row import value_of
from corpora.reading.row import RowError

SCORES = (*RATINGS, "score", "fine-grained_score", "reward")
LISTS = ("answers", "responses", "completions", "ranked_answers", "ranked_responses", "ranked_completions")
_ACCEPTED = ("question", "query")
"""A question with a list of `answers` has them all right, as in WebQuestions, and ranks nothing."""

LISTED_SCORES = ("ratings", "scores", "stars", "rewards", "rating", "score", "overall_score", "reward")
_LISTED_RANKS = ("ranks", "ranking")
_MAY_BE_LISTS, _JUDGING_EACH = frozenset(LISTS), frozenset((*LISTED_SCORES, *_LISTED_RANKS))
_STEPS = "labels"
"""Beside a list of texts it judges each: the steps of one answer, as TRL keeps them, and no answers in an order."""
STEPWISE = f"field '{_STEPS}' judges each of a list of texts, which are steps of one answer and no ranking"
_TEXTS = ("response", "answer", "text", "completion", "content", "output", "message")
_SHP = "human_ref_A"
SIDES = (
    *((f"{name}_a", f"{name}_b") for name in ("response", "conversation", "answer", "completion")),
    *((f"{name}_0", f"{name}_1") for name in ("response", "answer")),
    *((f"{name}_1", f"{name}_2") for name in ("response", "output")),
    ("response1", "response2"),
    (_SHP, "human_ref_B"),
)
_WINNERS = ("winner", "preference", "preferred", "choice", "better_response_id")
_BESTS = ("best", "best_answer", "best_response", "chosen_index", "preferred_index", "best_index")
_PREFIX = re.compile(r"^(model|response|answer|assistant|output|completion|conversation)[_ ]?")
_TIES = ("tie", "tie (bothbad)", "both", "bothbad", "both_bad", "equal", "same", "1.5")
_HELPSTEER_RANGE = 3
"""`overall_preference` runs from −3, the first answer is far better, to 3."""


def is_rated(fields: Fields) -> bool:
    """Rows whose answer has stars or the like; a mere `score` may be anything."""
    return any(points_of(fields.get(name)) is not None for name in RATINGS)


def is_stepwise(fields: Fields) -> bool:
    """Whether a list of texts holds the steps of one answer, with a judgement of each."""
    labels = fields.get(_STEPS)
    listed = isinstance(labels, list) or (isinstance(labels, str) and labels.lstrip().startswith("["))
    return listed and any(isinstance(answer, str) for answer in _listed(fields)[1])


def ranked_fields(fields: Fields) -> str | None:
    if is_tree(fields):
        return rankings_fields(fields)
    fields = _opened(fields)
    name, answers = _listed(fields)
    asked = prompt_field(fields)
    if not asked or not answers:
        return None
    odd = any(not is_empty(fields.get(ranks)) for ranks in _LISTED_RANKS) and not _beside(
        fields, LISTED_SCORES, answers
    )
    if odd or _beside(fields, _LISTED_RANKS, answers) or _all_have(answers, ("rank",)):
        return f"{asked}, {name} and their ranks"
    several = asked in _ACCEPTED and name == LISTS[0]
    judged = (
        is_stepwise(fields)
        or _beside(fields, LISTED_SCORES, answers)
        or any(_is_numbers(value) for other, value in fields.items() if other != name)
    )
    plain = all(isinstance(a, str) for a in answers) and not several and not judged
    return f"{asked}, {name} in order, best first" if plain else None


def _is_numbers(value: Any) -> bool:
    """Whether a field holds a list of numbers or truths, which may judge the answers beside it."""
    try:
        listed = value_of(value) if isinstance(value, str) and value.lstrip().startswith("[") else value
    except RowError:
        return False
    return isinstance(listed, list) and bool(listed) and all(isinstance(one, int | float) for one in listed)


def read_ranked(fields: Fields) -> Item:
    """Scores are how many of the answers are worse."""
    fields = _opened(fields)
    if is_stepwise(fields):
        raise RowError(STEPWISE)
    _, answers = _listed(fields)
    beside = next((name for name in _LISTED_RANKS if not is_empty(fields.get(name))), None)
    if beside:
        ranks = [number_of(rank) for rank in _each_ranked(fields, beside, len(answers))]
    else:
        judges = ((name, fields.get(name)) for name in (*_WINNERS, *_BESTS))
        other = next((name for name, value in judges if not (is_empty(value) or value is False or value == [])), None)
        if other is not None and not _all_have(answers, ("rank",)):
            raise RowError(f"field '{other}' says which answer is better, which beside a list is for ranks or scores")
        ranks = [number_of(a.get("rank")) if isinstance(a, dict) else float(place) for place, a in enumerate(answers)]
    worse = [None if rank is None else float(sum(o is not None and o > rank for o in ranks)) for rank in ranks]
    return _ranking(fields, answers, worse)


def _each_ranked(fields: Fields, name: str, count: int) -> list[Any]:
    """The ranks of so many answers, also as JSON text. Raises RowError."""
    ranks = loaded(fields[name], f"field '{name}'")
    if not isinstance(ranks, list) or len(ranks) != count:
        raise RowError(f"field '{name}' is no list with a rank for each of {count} answers")
    return ranks


def rated_fields(fields: Fields) -> str | None:
    fields = _opened(fields)
    name, answers = _listed(fields)
    asked = prompt_field(fields)
    if asked and answers:
        beside = _beside(fields, LISTED_SCORES, answers)
        if beside or (_all_have(answers, SCORES) and not _all_have(answers, ("rank",))):
            return f"{asked}, {name} and their {beside or 'ratings'}"
    answered, rating = _rated(fields)
    return f"{asked}, {answered}, {rating}" if asked and answered and rating else None


def read_rated(fields: Fields) -> Item:
    """Scores are the ratings as given."""
    fields = _opened(fields)
    _, answers = _listed(fields)
    beside = _beside(fields, LISTED_SCORES, answers)
    if beside:
        return _ranking(fields, answers, [points_of(score) for score in fields[beside]])
    if answers:
        return _ranking(fields, answers, _scores(answers))
    answered, rating = _rated(fields)
    if answered is None or rating is None:
        raise RowError(f"no answer with a rating that is a number: {POINTS}")
    return _ranking(fields, [fields[answered]], [points_of(fields[rating])])


def votes_fields(fields: Fields) -> str | None:
    sides, named = _sides(fields), _verdict_fields(fields)
    return f"{', '.join(sides)}, {named[0]}" if sides and named else None


def read_votes(fields: Fields) -> Item:
    """Scores are the shares of the votes for each answer, a tie half for both."""
    sides = _sides(fields)
    if sides is None:
        raise RowError("no two answers to choose between")
    share = _share_of_first(fields, sides)
    if share is None or not 0 <= share <= 1:
        ends = " or ".join(side[-1] for side in sides)
        raise RowError(f"no winner: neither {ends} (also as model_…, response_…), nor tie, both or equal, nor votes")
    return _ranking(fields, [fields[name] for name in sides], [share, 1 - share])


def _ranking(fields: Fields, answers: list[Any], scores: list[float | None]) -> Ranking:
    if not answers or None in scores:
        raise RowError("no answers" if not answers else "not every answer has a score that is a number")
    before = prompt_of(fields)
    if any(
        weight_of(answer, (), place).get("weight", "1") != "1"
        for place, answer in enumerate(answers, 1)
        if _is_record(answer)
    ):
        raise RowError("an answer that says that it is not to be learned, or counts in part")
    texts = [answer[first(answer, _TEXTS) or "text"] if _is_record(answer) else answer for answer in answers]
    whole = [conversation(answer_to(before, text, "answer", is_arena(fields))) for text in texts]
    if any(messages[:-1] != whole[0][:-1] for messages in whole):
        raise RowError("the answers are to different prompts")
    found = [Answer(messages=m[-1:], score=score) for m, score in zip(whole, scores, strict=True) if score is not None]
    ordered = sorted(found, key=lambda answer: -answer["score"])
    return Ranking(whole[0][:-1], ordered, tools_of(fields), annotator_of(fields))


def _is_record(answer: Any) -> bool:
    """An answer beside its score, and not a turn."""
    return isinstance(answer, dict) and first(answer, _TEXTS) is not None and "role" not in answer


def _opened(fields: Fields) -> Fields:
    """The fields with lists of answers and of what judges each, where a table without lists has both as text."""
    if _JUDGING_EACH.isdisjoint(fields):
        return fields
    texts = [name for name in _MAY_BE_LISTS.intersection(fields) if isinstance(fields[name], str)]
    if not texts:
        return fields
    texts += [name for name in _JUDGING_EACH.intersection(fields) if isinstance(fields[name], str)]
    return {**fields, **{name: _list_in(fields[name]) for name in texts}}


def _list_in(text: str) -> Any:
    try:
        found = value_in(text, "") if text.lstrip().startswith("[") else text
    except RowError:
        return text
    return found if isinstance(found, list) else text


def _listed(fields: Fields) -> tuple[str, list[Any]]:
    """The name and the list of several answers, if the row has one."""
    name = first(fields, LISTS, list)
    return name or LISTS[0], fields[name] if name else []


def _beside(fields: Fields, names: tuple[str, ...], answers: list[Any]) -> str | None:
    """A list beside the list of answers, with one judgement for each."""
    name = first(fields, names, list)
    return name if name and answers and len(fields[name]) == len(answers) else None


def _all_have(answers: list[Any], names: tuple[str, ...]) -> bool:
    return all(isinstance(a, dict) and any(points_of(a.get(name)) is not None for name in names) for a in answers)


def _scores(answers: list[Any]) -> list[float | None]:
    """Of each answer what one and the same field says. Raises RowError where no field scores all."""
    name = next((name for name in SCORES if _all_have(answers, (name,))), None)
    if name is None and _all_have(answers, SCORES):
        raise RowError("answers that are scored in different fields, which do not compare")
    return [points_of(answer.get(name)) if isinstance(answer, dict) else None for answer in answers]


def _rated(fields: Fields) -> tuple[str | None, str | None]:
    rating = next((name for name in SCORES if points_of(fields.get(name)) is not None), None)
    return (response_field(fields), rating) if rating else (None, None)


def _sides(fields: Fields) -> tuple[str, str] | None:
    return next((pair for pair in SIDES if all(isinstance(fields.get(n), str | list | dict) for n in pair)), None)


def _verdict_fields(fields: Fields) -> list[str]:
    """Fields that say which of two answers is better; `labels` is a share of the votes in SHP's rows alone."""
    known = ("votes_a", "winner_model_a", "overall_preference", *(("labels",) if _SHP in fields else ()), *_WINNERS)
    return [name for name in known if not is_empty(fields.get(name))]


def _share_of_first(fields: Fields, sides: tuple[str, str]) -> float | None:
    """The share of the votes that the first answer has; None if nothing says so. Raises RowError where two fields
    hold the one and the other better."""
    named = _verdict_fields(fields)
    shares = {name: share for name in named if (share := _share_by(name, fields, sides)) is not None}
    for name, share in shares.items():
        if (share - 0.5) * (shares[first_one := next(iter(shares))] - 0.5) < 0:
            raise RowError(f"fields '{first_one}' and '{name}' hold different answers better")
    return shares.get(named[0]) if named else None


def _share_by(name: str, fields: Fields, sides: tuple[str, str]) -> float | None:
    if name == "votes_a":
        return _counted(fields, ("votes_a",), ("votes_b",), ("votes_tie", "ties"))
    if name == "winner_model_a":
        return _counted(fields, ("winner_model_a",), ("winner_model_b",), ("winner_tie",))
    value = number_of(fields.get(name))
    if name == "overall_preference":
        return None if value is None else (_HELPSTEER_RANGE - value) / (2 * _HELPSTEER_RANGE)
    if name == "labels":
        return value
    told = _PREFIX.sub("", str(fields[name]).strip().lower()).removesuffix(".0")
    ends = [side[-1].lower() for side in sides]
    return 0.5 if told in _TIES else {ends[0]: 1.0, ends[1]: 0.0}.get(told)


def _counted(fields: Fields, *names: tuple[str, ...]) -> float | None:
    first_votes, second_votes, ties = (
        next((number_of(fields[name]) for name in known if not is_empty(fields.get(name))), 0.0) for known in names
    )
    if first_votes is None or second_votes is None or ties is None:
        return None
    total = first_votes + second_votes + ties
    return (first_votes + ties / 2) / total if total else None


FORMATS = (
    Format(
        "ranked",
        "ranking",
        "prompt, answers in order",
        ranked_fields,
        lambda fields: [read_ranked(ranking) for ranking in rankings_of(fields)],
        frozenset(("prompt", *LISTS)),
    ),
    Format(
        "rated",
        "ranking",
        "prompt, answers with ratings",
        rated_fields,
        each(read_rated),
        frozenset((*LISTS, *SCORES)),
    ),
    Format(
        "votes",
        "ranking",
        "prompt, two answers, winner",
        votes_fields,
        each(read_votes),
        frozenset(first for first, _ in SIDES),
    ),
)
