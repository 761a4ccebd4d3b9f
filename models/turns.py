"""Which rows a conversation is learned in, and which characters of each the model itself has to write.

A template may show a turn otherwise once others follow it: thoughts of earlier answers go, the last turn ends with
another token. Learned in the whole, such an answer would stand behind a prompt that no one will ever ask. So an
answer is learned where it stands as it did when it was the last, and a conversation becomes as many rows as that
takes: most often one, of the templates of thinking models up to one for each answer. In no row and at no turn is
that learned which the template supplies by itself: the prompt, with its header and perhaps an empty block of
thoughts, is the longest that the template writes for the turn and that the turn begins with.
"""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lineage.errors import CorpusError
from models.messages import Message
from models.thoughts import joined, parted

Render = Callable[..., str]
"""`ChatTemplate.render`."""


_THOUGHTS = "thoughts before a call"
_SHOWN = 24
"""Characters of a difference that a message shows."""


class Rendered(NamedTuple):
    """One row to learn: the messages it shows, what the model reads, and the characters of each turn to learn.

    Messages of the assistant that are context alone have `weight` "0", others perhaps what their loss is multiplied by.
    Spans go up to and with the end of the turn.
    """

    messages: list[Message]
    text: str
    spans: list[tuple[int, int]]

    @property
    def weights(self) -> list[float]:
        """What the loss of each span is multiplied by."""
        return [float(message.get("weight") or 1) for message in self.messages if learns(message)]


class _Turn(NamedTuple):
    """An answer where it is the last: the text up to its end, and where the model begins to write it."""

    text: str
    start: int


class Cut(NamedTuple):
    """A row of plain words: the first `upto` messages, of which these turns are learned.

    pieces: what the template writes before, between and after the words. supplied: how many characters before each
    turn's words are the prompt's.
    """

    upto: int
    turns: list[int]
    pieces: list[str]
    supplied: list[int]


def laid_out(messages: Sequence[Message], cut: Cut, end_of_turn: str) -> Rendered:
    """The row of these messages."""
    written, places, place = [], [], 0
    for piece, message in zip(cut.pieces, messages, strict=False):
        words = message["content"]
        written += [piece, words]
        places.append((place, place := place + len(piece) + len(words)))
    written.append(cut.pieces[-1])
    behind = len(end_of_turn)
    spans = [
        (places[turn][0] + supplied, places[turn][1] + behind)
        for turn, supplied in zip(cut.turns, cut.supplied, strict=True)
    ]
    return Rendered(shown(messages, cut.upto, cut.turns), "".join(written), spans)


def learns(message: Message) -> bool:
    return message["role"] == "assistant" and message.get("weight") != "0"


def last_alone(messages: Sequence[Message]) -> list[Message]:
    """The messages, of which only the last that was to be learned still is."""
    learned = [index for index, message in enumerate(messages) if learns(message)]
    return shown(messages, len(messages), learned[-1:])


def marked_alone(messages: Sequence[Message]) -> list[Message]:
    """The messages, of which those alone are learned that say so."""
    said = [message.get("weight") or "+" for message in messages]  # behind a plus stands what the whole row says
    marked = [index for index, weight in enumerate(said) if not weight.startswith("+") and learns(messages[index])]
    return shown(messages, len(messages), marked)


def shown(messages: Sequence[Message], upto: int, turns: Sequence[int]) -> list[Message]:
    """The first `upto` messages, of which these turns are learned."""
    found = list(messages[:upto])
    for index, message in enumerate(found):
        if message["role"] == "assistant" and index not in turns:
            found[index] = {**message, "weight": "0"}
    return found


def rows_of(
    messages: Sequence[Message],
    tools: str | None,
    render: Render,
    ends: Callable[[Message], str],
    name: str,
    *,
    closing: Callable[[Message], str] | None,
) -> list[Rendered]:
    """The rows of any conversation, by the texts that the template gives.

    ends: the token that ends a turn. closing: what ends its thoughts, if they are context alone. Raises CorpusError.
    """
    alone = {
        index: _alone(messages[: index + 1], tools, render, ends(message), name)
        for index, message in enumerate(messages)
        if learns(message)
    }
    rows = []
    while alone:
        last = max(alone)
        text = render(messages[: last + 1], tools=tools, thinking=thinks(messages[: last + 1]))
        turns = [index for index, turn in alone.items() if text.startswith(turn.text)]
        if last not in turns:
            raise CorpusError(f"{name}: its chat template gives one conversation two texts")
        _hold_words(text, messages[: last + 1], name)
        spans = []
        for index in turns:
            ended, start = alone.pop(index)
            message = messages[index]
            begins = start if closing is None else _behind_thoughts(ended, start, message, closing(message), name)
            spans.append((begins, len(ended)))
        rows.append(Rendered(shown(messages, last + 1, turns), text, spans))
    return rows[::-1]


def thinks(messages: Sequence[Message]) -> bool:
    """Whether the last message has thoughts."""
    return bool(messages) and bool(parted(messages[-1]["content"])[0])


def _alone(messages: Sequence[Message], tools: str | None, render: Render, end: str, name: str) -> _Turn:
    text = render(messages, tools=tools, thinking=thinks(messages))
    prompts = [render(messages[:-1], True, tools, thinking=thinking) for thinking in (False, True)]
    start = supplied(text, prompts)
    if start is None:
        nearest = max(prompts, key=lambda prompt: len(commonprefix(text, prompt)))
        raise CorpusError(unstable(name, len(messages) - 1, _asked_otherwise(text, nearest)))
    said = text.find(end, start)
    if said < 0:
        raise CorpusError(f"{name}: its chat template does not end turn {len(messages) - 1} with {end}")
    must_hold(text[:said], start, messages, tools, render, name)
    return _Turn(text[: said + len(end)], start)


def must_hold(text: str, start: int, messages: Sequence[Message], tools: str | None, render: Render, name: str) -> None:
    """Raises CorpusError if the text of a conversation, whose last turn begins at `start`, lacks what that turn thinks,
    says or calls, or a call, a result or what is said beside a call before it."""
    thoughts, words = parted(messages[-1]["content"])
    thought = text.find(thoughts or "", start)
    if thought < 0 or words.strip() not in text[thought + len(thoughts or "") :]:
        raise CorpusError(_changed(name))
    _hold_calls(messages, tools, render, name)


def _hold_calls(messages: Sequence[Message], tools: str | None, render: Render, name: str) -> None:
    """Raises CorpusError if the text lacks a call, a result, what is said beside a call, or the last turn's thoughts.

    Marks stand in for them, for calls and results may hold the same words.
    """
    if not any(message.get("tool_calls") for message in messages):
        return
    marks: dict[str, str] = {}
    turns: list[list[str]] = []
    held = (tools or "") + "".join(message["content"] + (message.get("tool_calls") or "") for message in messages)
    sign = "qz"
    while sign in held:
        sign += "z"

    def mark(what: str, words: str | None) -> str:
        if not words:
            return ""
        marks[found := f"{sign}{len(marks)}x"] = what
        turns[-1].append(found)
        return found

    marked, renamed = list(messages), {}
    for index, message in enumerate(messages):
        turns.append([])
        if message.get("tool_calls"):
            thoughts, words = parted(message["content"])
            thought = mark(_THOUGHTS, thoughts) if index == len(messages) - 1 else thoughts
            said, calls = mark("words beside a call", words), json.loads(message["tool_calls"])
            for call in calls:
                renamed[call["name"]] = call["name"] = mark("tool calls", call["name"])
            content = joined(thought, said) if thought else said
            marked[index] = {**message, "content": content, "tool_calls": json.dumps(calls)}
        elif message["role"] == "tool":
            marked[index] = {**message, "content": mark("tool results", message["content"])}
            if "name" in message:
                marked[index]["name"] = renamed.get(message["name"], message["name"])
    text = render(marked, tools=tools, thinking=thinks(marked))
    lost = next((what for one, what in marks.items() if one not in text), None)
    if lost is not None:
        raise CorpusError(f"{name}: its chat template leaves out {lost}")
    of_turns = [sorted(text.index(one) for one in own) for own in turns if own]
    if any(before[-1] > behind[0] for before, behind in itertools.pairwise(of_turns)):
        raise CorpusError(f"{name}: its chat template puts what is said beside a call behind its results")
    if any(text.index(one) != of_turns[-1][0] for one, what in marks.items() if what == _THOUGHTS):
        raise CorpusError(f"{name}: its chat template puts thoughts behind the call that they come before")


def supplied(text: str, prompts: Sequence[str]) -> int | None:
    """Characters of the longest prompt that a text begins with; None if it begins with none of them."""
    return max((len(prompt) for prompt in prompts if text.startswith(prompt)), default=None)


def unstable(name: str, turn: int, seen: str = "") -> str:
    return (
        f"{name}: its chat template is not prefix-stable: turn {turn} changes what comes before it, "
        f"so a prompt in training is not the prompt in use{seen}; give another one in model.chat_template"
    )


def _changed(name: str) -> str:
    return (
        f"{name}: its chat template leaves out, reorders or changes the words of a message; "
        "give one that copies them in model.chat_template"
    )


def commonprefix(one: str, other: str) -> str:
    """What two texts begin with alike."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(first for first, _ in pairs)


def _asked_otherwise(text: str, prompt: str) -> str:
    """Where a prompt leaves the text that is trained, for a message."""
    place = len(commonprefix(text, prompt))
    asked, trained = (words[place : place + _SHOWN] for words in (prompt, text))
    return f" (this one goes on with {asked!r}, the training text with {trained!r})"


def _behind_thoughts(text: str, start: int, message: Message, closing: str, name: str) -> int:
    """Where what a turn says, or calls, begins. Raises CorpusError."""
    thoughts, words = parted(message["content"])
    if not thoughts:
        return start
    ended = text.find(closing, text.index(thoughts, start) + len(thoughts))
    if ended < 0:
        raise CorpusError(f"{name}: its chat template does not end thoughts with {closing}")
    behind = ended + len(closing)
    while not says(text[behind : behind + len(words) + 1], words):
        behind += 1
    return behind


def says(text: str, words: str) -> bool:
    """Whether a text, of which blanks may come first, begins with what was said: with the blanks of the words alone."""
    return not text[:1].isspace() or (bool(words) and text.startswith(words))


def _hold_words(text: str, messages: Sequence[Message], name: str) -> None:
    """Raises CorpusError if the text lacks the words of a message, or has those of user and assistant in another order.

    Results of tools may be written in another form, and a system prompt where the template puts it.
    """
    place = 0
    for message in messages:
        role, words = message["role"], message["content"]
        if role == "tool":
            continue
        words = (parted(words)[1] if role == "assistant" else words).strip()
        found = text.find(words, 0 if role == "system" else place)
        if found < 0:
            raise CorpusError(_changed(name))
        place = place if role == "system" else found + len(words)


@dataclass
class Shapes:
    """What a template writes around the words of plain conversations, as far as that depends on their roles alone.

    Found with marks in the place of the words, once for each order of roles. Whoever uses a shape compares the text
    that it makes with what the template gives.
    """

    render: Render
    end_of_turn: str
    name: str
    _cuts: dict[tuple[tuple[str, ...], tuple[bool, ...]], list[Cut] | None] = field(default_factory=dict)
    _pieces: dict[tuple[tuple[str, ...], bool, bool], list[str]] = field(default_factory=dict)

    def cuts(self, messages: Sequence[Message]) -> list[Cut] | None:
        """The rows of a conversation without thoughts and calls; None if its shape has to be found by its texts."""
        roles, learned = tuple(message["role"] for message in messages), tuple(map(learns, messages))
        if (roles, learned) not in self._cuts:
            try:
                found = self._found(roles, [index for index, one in enumerate(learned) if one])
            except CorpusError:
                found = None
            self._cuts[roles, learned] = found
        return self._cuts[roles, learned]

    def _found(self, roles: tuple[str, ...], turns: list[int]) -> list[Cut]:
        cuts, left = [], turns
        while left:
            last = left[-1]
            pieces = self.pieces(roles[: last + 1])
            held = [index for index in left if self._stands(roles, index, pieces)]
            if last not in held:
                raise CorpusError(f"{self.name}: its chat template does not end every assistant turn alike")
            cuts.append(Cut(last + 1, held, pieces, [self._supplied(roles, index, pieces) for index in held]))
            left = [index for index in left if index not in held]
        return cuts[::-1]

    def _stands(self, roles: tuple[str, ...], turn: int, pieces: list[str]) -> bool:
        """Whether a turn stands among these pieces as it does where it is the last."""
        alone = self.pieces(roles[: turn + 1])
        return pieces[: turn + 1] == alone[:-1] and pieces[turn + 1].startswith(self.end_of_turn)

    def _supplied(self, roles: tuple[str, ...], turn: int, pieces: list[str]) -> int:
        """Characters of the piece before a turn that are the prompt's."""
        prompts = [self.pieces(roles[:turn], True, thinking) for thinking in (False, True)]
        fitting = [prompt[-1] for prompt in prompts if prompt[:-1] == pieces[:turn]]
        found = supplied(pieces[turn], fitting)
        if found is None:
            raise CorpusError(unstable(self.name, turn))
        return found

    def pieces(self, roles: tuple[str, ...], prompt: bool = False, thinking: bool = False) -> list[str]:
        """What the template writes before, between and after the words of messages. Raises CorpusError."""
        key = (roles, prompt, thinking)
        if key not in self._pieces:
            marks = [f"\ue000{index}\ue001" for index in range(len(roles))]
            messages = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
            rest = self.render(messages, prompt, thinking=thinking)
            pieces = []
            for mark in marks:
                piece, found, rest = rest.partition(mark)
                if not found:
                    raise CorpusError(f"{self.name}: its chat template leaves out or reorders messages of {roles}")
                pieces.append(piece)
            self._pieces[key] = [*pieces, rest]
        return self._pieces[key]
