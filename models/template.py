"""The one place where messages become text and tokens: a checkpoint's own chat template and tokenizer.

Training, preference pairs and evaluation all come here, so they see the same bytes. Which tokens count in the
loss is found in two independent ways that must agree: by character spans in the rendered text (`encode`), and by
tokenising growing prefixes of the conversation (`encode_by_prefix`). Supervised are the assistant's words and
the end-of-turn token after them, not the newline that templates put behind it. An assistant's tool calls are its
words too, the results of the calls are not; `tools`, the functions' schemas as JSON, are part of the prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from lineage.errors import CorpusError
from lineage.hashing import file_digest, fingerprint
from models import load
from models.messages import Message
from models.tool_rendering import (
    PROBE,
    PROBE_TOOLS,
    for_template,
    has_tools,
    missing_from_probe,
    spans_by_headers,
    tools_for_template,
)

Encoded = tuple[list[int], list[bool]]
"""Token ids of a whole conversation, and for each of them whether the loss counts it."""


class Rendered(NamedTuple):
    """What the model reads, and the characters of each assistant turn: its words and their end-of-turn token."""

    text: str
    spans: list[tuple[int, int]]


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template with its tokenizer. `name` says in errors which checkpoint it is."""

    name: str
    tokenizer: Any
    digest: str

    @classmethod
    def load(cls, checkpoint: Path) -> "ChatTemplate":
        """Read tokenizer and template of a checkpoint folder.

        Raises CorpusError if there is no template, no fast tokenizer, or no end-of-turn token.
        """
        tokenizer = load.tokenizer(checkpoint)
        if not isinstance(tokenizer.chat_template, str):
            raise CorpusError(f"{checkpoint}: has no chat template; name one in model.chat_template of the recipe")
        if not tokenizer.is_fast or not (checkpoint / "tokenizer.json").is_file():
            raise CorpusError(f"{checkpoint}: has no tokenizer.json, which character positions of tokens come from")
        identity = {"template": tokenizer.chat_template, "tokenizer": file_digest(checkpoint / "tokenizer.json")}
        template = cls(checkpoint.name, tokenizer, fingerprint(identity))
        _ = template.end_of_turn
        return template

    def render(self, messages: Sequence[Message], generation_prompt: bool = False, tools: str | None = None) -> str:
        """The text that the model reads. Raises CorpusError if the template refuses the conversation."""
        from jinja2 import TemplateError

        try:
            rendered: str = self.tokenizer.apply_chat_template(
                [for_template(message) for message in messages],
                tools=tools_for_template(tools),
                tokenize=False,
                add_generation_prompt=generation_prompt,
            )
        except (TemplateError, TypeError, KeyError) as error:
            roles = [message.get("role") for message in messages]
            raise CorpusError(f"{self.name}: its chat template refuses a conversation of {roles}: {error}") from None
        return rendered

    @property
    def end_of_turn_id(self) -> int:
        """Id of the token that ends an assistant turn."""
        return self._token_id(self.end_of_turn)

    @cached_property
    def end_of_turn(self) -> str:
        """Text of the special token that follows the assistant's words in a rendered conversation."""
        probe = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        tail = self._pieces(probe)[-1]
        special = [token for token in self._special_tokens if tail.startswith(token)]
        if not special:
            raise CorpusError(f"{self.name}: its chat template puts no special token after an assistant turn: {tail!r}")
        return max(special, key=len)

    @property
    def begins_turns(self) -> bool:
        """Whether the token that begins a text is one that the template writes at every turn."""
        asked = {"role": "user", "content": "a"}
        token = self.tokenizer.bos_token
        return bool(token) and self.render([asked, {"role": "assistant", "content": "b"}, asked]).count(token) > 1

    def controls(self, messages: Sequence[Message], tools: str | None = None) -> bool:
        """Whether some message's own text spells a control token, which would forge the turns' structure."""
        texts = [message["content"] for message in messages]
        if has_tools(messages, tools):
            texts += [message[name] for message in messages for name in ("tool_calls", "name") if message.get(name)]
            texts += [tools or ""]
        return any(token in text for text in texts for token in self._structural_tokens)

    def left_out(self, messages: Sequence[Message], tools: str | None = None) -> str | None:
        """Why a conversation cannot be trained on by this template: `control_tokens`, `tools`, or None if it can."""
        if self.controls(messages, tools):
            return "control_tokens"
        return "tools" if has_tools(messages, tools) and self.tools_problem is not None else None

    @cached_property
    def tools_problem(self) -> str | None:
        """Why this template cannot express functions, calls and their results; None if it can."""
        try:
            text, spans = self._spans(PROBE, PROBE_TOOLS)
            missing = missing_from_probe(text, spans)
            return (
                f"{self.name}: its chat template leaves out tool {missing}"
                if missing
                else self.parity(PROBE, None, PROBE_TOOLS)
            )
        except CorpusError as error:
            return str(error)

    def tokenise(self, text: str) -> list[int]:
        """Ids of rendered text; the template has put every special token there already."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def prompt_ids(self, messages: Sequence[Message], tools: str | None = None) -> list[int]:
        """Ids of a conversation that waits for the assistant: they end with the generation prompt."""
        return self.tokenise(self.render(messages, generation_prompt=True, tools=tools))

    @cached_property
    def header_ids(self) -> list[int]:
        """Ids of what invites the assistant to speak."""
        return self.tokenise(self._assistant_header)

    def answer_ids(
        self, prompt: Sequence[Message], answer: Message, prompt_ids: Sequence[int], tools: str | None = None
    ) -> list[int]:
        """Ids of one answer up to and with its end-of-turn token, to follow `prompt_ids`. Raises CorpusError."""
        ids = self.tokenise(self.render([*prompt, answer], tools=tools))
        answered = ids[len(prompt_ids) :]
        if ids[: len(prompt_ids)] != list(prompt_ids) or self.end_of_turn_id not in answered:
            raise CorpusError(
                f"{self.name}: its chat template is not prefix-stable: an answer changes the prompt before it; "
                "give another one in model.chat_template"
            )
        return answered[: answered.index(self.end_of_turn_id) + 1]

    def encode(self, messages: Sequence[Message], tools: str | None = None) -> Encoded:
        """Token ids and mask, the mask by character spans of the assistant's words. Raises CorpusError."""
        text, spans = self._spans(messages, tools)
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        encoding = backend.encode(text, add_special_tokens=False)
        return encoding.ids, self._mask(encoding, spans)

    def rendered(self, conversations: Sequence[Sequence[Message]], tools: Sequence[str | None]) -> list[Rendered]:
        """Several conversations as the model reads them. Raises CorpusError like `encode`."""
        plain = [row for row, (m, t) in enumerate(zip(conversations, tools, strict=True)) if not has_tools(m, t)]
        texts = dict(zip(plain, self._render_all([conversations[row] for row in plain]), strict=True))
        return [self._spans(m, t, texts.get(row)) for row, (m, t) in enumerate(zip(conversations, tools, strict=True))]

    def _mask(self, encoding: Any, spans: list[tuple[int, int]]) -> list[bool]:
        supervised = [False] * len(encoding.ids)
        for start, end in spans:
            first = next(token for place in range(start, end) if (token := encoding.char_to_token(place)) is not None)
            last = encoding.char_to_token(end - 1)
            if encoding.token_to_chars(first)[0] < start or encoding.token_to_chars(last)[1] > end:
                raise CorpusError(
                    f"{self.name}: a token spans the border of an assistant turn: words and template melt together; "
                    "end the template's header with a line break or a special token, in model.chat_template"
                )
            supervised[first : last + 1] = [True] * (last + 1 - first)
        return supervised

    def encode_by_prefix(self, messages: Sequence[Message], tools: str | None = None) -> Encoded:
        """The same by tokenising each growing prefix. Raises CorpusError if the template is not prefix-stable."""
        ids = self.tokenise(self.render(messages, tools=tools))
        supervised = [False] * len(ids)
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self.prompt_ids(messages[:index], tools)
            last_turn = index == len(messages) - 1
            upto = ids if last_turn else self.tokenise(self.render(messages[: index + 1], tools=tools))
            if ids[: len(upto)] != upto or upto[: len(before)] != before:
                raise CorpusError(
                    f"{self.name}: its chat template is not prefix-stable: turn {index} changes what comes before it, "
                    "so a prompt in training is not the prompt in use; give another one in model.chat_template"
                )
            if self.end_of_turn_id not in upto[len(before) :]:
                raise CorpusError(f"{self.name}: turn {index} is not followed by {self.end_of_turn}")
            last = len(upto) - upto[::-1].index(self.end_of_turn_id)
            supervised[len(before) : last] = [True] * (last - len(before))
        return ids, supervised

    def encode_by_library(
        self, messages: Sequence[Message], generation_prompt: bool = False, tools: str | None = None
    ) -> list[int]:
        """The ids that transformers gives for a conversation in one call, as a server would."""
        ids: list[int] = self.tokenizer.apply_chat_template(
            [for_template(message) for message in messages],
            tools=tools_for_template(tools),
            tokenize=True,
            add_generation_prompt=generation_prompt,
            return_dict=False,
        )
        return ids

    def parity(
        self, messages: Sequence[Message], stored: Encoded | None = None, tools: str | None = None
    ) -> str | None:
        """What differs between `stored` (or `encode`) and the other ways of encoding a conversation, if anything."""
        ids, supervised = stored or self.encode(messages, tools)
        try:
            other_ids, other_supervised = self.encode_by_prefix(messages, tools)
        except CorpusError as error:
            return str(error)
        if ids != other_ids or ids != self.encode_by_library(messages, tools=tools):
            return f"{self.name}: tokens differ between the whole text and its prefixes"
        if supervised != other_supervised:
            place = [a == b for a, b in zip(supervised, other_supervised, strict=True)].index(False)
            return f"{self.name}: the masks differ first at token {place} of {len(ids)}"
        return None

    @cached_property
    def _special_tokens(self) -> list[str]:
        tokens = self.tokenizer.added_tokens_decoder.values()
        return sorted({token.content for token in tokens if token.special})

    @cached_property
    def _structural_tokens(self) -> list[str]:
        """Special tokens that the template writes, or that begin, end or pad a text; others are harmless in words."""
        ends = (self.tokenizer.bos_token, self.tokenizer.eos_token, self.tokenizer.pad_token)
        return [token for token in self._special_tokens if token in self.tokenizer.chat_template or token in ends]

    def _token_id(self, token: str) -> int:
        found: int = self.tokenizer.convert_tokens_to_ids(token)
        return found

    def _render_all(self, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """`render` of conversations without tools, in one call: a third less time for each."""
        from jinja2 import TemplateError

        if not conversations:
            return []
        try:
            rendered: list[str] = self.tokenizer.apply_chat_template(
                [[for_template(message) for message in messages] for messages in conversations], tokenize=False
            )
        except (TemplateError, TypeError, KeyError):
            return [self.render(messages) for messages in conversations]
        return rendered

    def _spans(self, messages: Sequence[Message], tools: str | None = None, rendered: str | None = None) -> Rendered:
        """rendered: what `render` gives, if it is known already."""
        if has_tools(messages, tools):
            text = self.render(messages, tools=tools)
            spans = spans_by_headers(text, messages, self._assistant_header, self.end_of_turn, self.name)
            return Rendered(text, spans)
        pieces = self._pieces(messages)
        text, spans = pieces[0], []
        for message, piece in zip(messages, pieces[1:], strict=True):
            start = len(text)
            text += message["content"]
            if message["role"] == "assistant":
                if not piece.startswith(self.end_of_turn):
                    raise CorpusError(f"{self.name}: its chat template does not end every assistant turn alike")
                spans.append((start, len(text) + len(self.end_of_turn)))
            text += piece
        if text != (self.render(messages) if rendered is None else rendered):
            raise CorpusError(
                f"{self.name}: its chat template changes the words of a message; "
                "give one that copies them in model.chat_template"
            )
        return Rendered(text, spans)

    @cached_property
    def _assistant_header(self) -> str:
        """What invites the assistant to speak."""
        asked = [{"role": "user", "content": "a"}]
        header = self.render(asked, generation_prompt=True).removeprefix(self.render(asked))
        if not any(token in header for token in self._special_tokens):
            raise CorpusError(f"{self.name}: its chat template begins an assistant turn without a special token")
        return header

    def _pieces(self, messages: Sequence[Message]) -> list[str]:
        """What the template writes before, between and after the messages' own words."""
        key = tuple(message["role"] for message in messages)
        if key not in self._seen_pieces:
            marks = [f"\ue000{index}\ue001" for index in range(len(messages))]
            rest = self.render([{"role": r, "content": m} for r, m in zip(key, marks, strict=True)])
            pieces = []
            for mark in marks:
                piece, found, rest = rest.partition(mark)
                if not found:
                    raise CorpusError(f"{self.name}: its chat template leaves out or reorders messages of {list(key)}")
                pieces.append(piece)
            self._seen_pieces[key] = [*pieces, rest]
        return self._seen_pieces[key]

    @cached_property
    def _seen_pieces(self) -> dict[tuple[str, ...], list[str]]:
        return {}
