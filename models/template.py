"""The one place where messages become text and tokens: a checkpoint's own chat template and tokenizer.

Training, preference pairs and evaluation all come here, so they see the same bytes. Which tokens count in the
loss is found in two independent ways that must agree: by character spans in the rendered text (`encode`), and by
tokenising growing prefixes of the conversation (`encode_by_prefix`). Supervised is what the model has to write by
itself: the assistant's words with all that its template puts before them but the prompt, and the end-of-turn token
after them, not the newline that templates put behind it. An assistant's tool calls are its words too, the results of
the calls are not; `tools`, the functions' schemas as JSON, are part of the prompt.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lineage.errors import CorpusError
from lineage.hashing import file_digest, fingerprint
from models import load
from models.dated import day_of, is_dated
from models.messages import Message
from models.rendering import Encoded, Rendering
from models.thoughts import WRITTEN_OUT, Marks, joined, parted
from models.tool_rendering import PROBE, PROBE_TOOLS, has_tools, missing_from_probe
from models.turns import Rendered, Shapes, commonprefix, laid_out, learns, must_hold, rows_of, says, thinks, unstable

OTHER_TEMPLATE = "Give another template in model.chat_template, or leave such rows out of the source"
"""The mend where a template refuses more than it takes."""

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
"""What the folder of an artefact is called; the one above it says of which node it is."""

_TAIL = 16
"""Tokens of a prompt in which it may open thoughts."""


@dataclass(frozen=True)
class ChatTemplate(Rendering):
    """A chat template with its tokenizer, and what of a text is learned. digest: of both."""

    digest: str

    @classmethod
    def load(cls, checkpoint: Path) -> "ChatTemplate":
        """Read tokenizer and template of a checkpoint folder; of several named ones `default`, as transformers does.

        Raises CorpusError if there is no template, no fast tokenizer, or no end-of-turn token.
        """
        tokenizer = load.tokenizer(checkpoint)
        held = tokenizer.chat_template
        if isinstance(held, dict) and "default" not in held:
            raise CorpusError(
                f"{checkpoint}: of its chat templates ({', '.join(sorted(held))}) none is `default`; "
                "name one in model.chat_template of the recipe"
            )
        if not held:
            raise CorpusError(f"{checkpoint}: has no chat template; name one in model.chat_template of the recipe")
        if not tokenizer.is_fast or not (checkpoint / "tokenizer.json").is_file():
            raise CorpusError(f"{checkpoint}: has no tokenizer.json, which character positions of tokens come from")
        identity: dict[str, Any] = {"template": held, "tokenizer": file_digest(checkpoint / "tokenizer.json")}
        if is_dated("".join(held.values()) if isinstance(held, dict) else held):
            identity["day"] = str(day_of(tokenizer.init_kwargs))
        of_artefact = _FINGERPRINT.fullmatch(checkpoint.name) is not None
        template = cls(checkpoint.parent.name if of_artefact else checkpoint.name, tokenizer, fingerprint(identity))
        _ = template.end_of_turn
        return template

    @property
    def end_of_turn_id(self) -> int:
        """Id of the token that ends an assistant turn."""
        return self._token_id(self.end_of_turn)

    @cached_property
    def end_of_turn(self) -> str:
        """Text of the special token that follows the assistant's words in a rendered conversation."""
        roles = ("user", "assistant")
        tail = Shapes(self.render, "", self.name).pieces(roles)[-1]
        special = [token for token in self._special_tokens if tail.lstrip(" ").startswith(token)]
        if not special:
            raise CorpusError(
                f"{self.name}: its chat template puts no special token after an assistant turn: {tail!r}; a model that "
                "learns from it never stops. Give one that ends them, as with the end-of-text token, in "
                "model.chat_template"
            )
        return max(special, key=len)

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """Ids of the tokens that end turns: those of words, and those of calls."""
        return frozenset({self.end_of_turn_id, self._token_id(self._end_of_call)})

    def _end_of(self, message: Message) -> str:
        return self._end_of_call if message.get("tool_calls") else self.end_of_turn

    @cached_property
    def _end_of_call(self) -> str:
        """The special token behind a turn that calls functions: that of any turn, or one of its own."""
        try:
            asked, called = (self.render(PROBE[:1], True, PROBE_TOOLS), self.render(PROBE[:2], False, PROBE_TOOLS))
        except CorpusError:
            return self.end_of_turn
        special = [token for token in self._special_tokens if called.rstrip().endswith(token)]
        return self.end_of_turn if self.end_of_turn in called[len(asked) :] or not special else max(special, key=len)

    @property
    def begins_turns(self) -> bool:
        """Whether the token that begins a text is one that the template writes at every turn."""
        asked = {"role": "user", "content": "a"}
        token = self.tokenizer.bos_token
        return bool(token) and self.render([asked, {"role": "assistant", "content": "b"}, asked]).count(token) > 1

    def controls(self, messages: Sequence[Message], tools: str | None = None) -> bool:
        """Whether some message's own text spells a control token, which would forge the turns' structure."""
        texts = [text for message in messages for text in parted(message["content"]) if text]
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
            if "probe_description" not in self.render(PROBE[:1], True, PROBE_TOOLS):
                return f"{self.name}: its chat template leaves out tool functions"
            rows = self._by_texts(PROBE, PROBE_TOOLS, mask=False)
            missing = missing_from_probe(rows)
            if missing:
                return f"{self.name}: its chat template leaves out tool {missing}"
            return next((why for row in rows if (why := self.parity(row.messages, None, PROBE_TOOLS))), None)
        except CorpusError as error:
            return str(error)

    def prompt_ids(self, messages: Sequence[Message], tools: str | None = None, thinking: bool = False) -> list[int]:
        """Ids of a conversation that waits for the assistant: they end with the generation prompt."""
        return self.tokenise(self.render(messages, True, tools, thinking))

    def said(self, ids: Sequence[int], prompt_ids: Sequence[int]) -> str:
        """What an answer of these tokens says, without control tokens and without what was thought before.

        Nothing if the thoughts, which the answer or its prompt began, never ended.
        """
        return self.parted(ids, prompt_ids)[1]

    def parted(self, ids: Sequence[int], prompt_ids: Sequence[int]) -> tuple[str, str]:
        """What an answer of these tokens thinks, and what it says, without control tokens."""
        told: str = self.tokenizer.decode(ids, skip_special_tokens=False)
        asked: str = self.tokenizer.decode(prompt_ids[-_TAIL:], skip_special_tokens=False)
        thoughts, words = self._marks.parted(told.removeprefix(self._header), opened=self._marks.opened_by(asked))
        if words == told:
            return "", str(self.tokenizer.decode(ids, skip_special_tokens=True))
        for token in self._special_tokens:
            thoughts, words = thoughts.replace(token, ""), words.replace(token, "")
        return thoughts, words

    @cached_property
    def _marks(self) -> Marks:
        """How this template's model tells its thoughts from its words."""
        if not self._reads_thoughts:
            return WRITTEN_OUT
        asked = [{"role": "user", "content": "probe"}]
        thought, plain = (
            self.render([*asked, {"role": "assistant", "content": content}], thinking=thinking).removeprefix(
                self.render(asked, True, thinking=thinking)
            )
            for content, thinking in ((joined("probe_thoughts", "probe_words"), True), ("probe_words", False))
        )
        opening, _, rest = thought.partition("probe_thoughts")
        closing = rest.partition("probe_words")[0]
        return Marks(opening.strip(), closing.strip(), plain.partition("probe_words")[0])

    @cached_property
    def header_ids(self) -> list[int]:
        """Ids of what invites the assistant to speak."""
        return self.tokenise(self._header)

    @cached_property
    def _header(self) -> str:
        asked = [{"role": "user", "content": "a"}]
        return self.render(asked, True).removeprefix(self.render(asked))

    def answer_ids(
        self,
        prompt: Sequence[Message],
        answer: Message,
        prompt_ids: Sequence[int],
        tools: str | None = None,
        thinking: bool = False,
    ) -> list[int]:
        """Ids of one answer up to and with its end-of-turn token, to follow `prompt_ids`.

        Raises CorpusError, also if the template changes or leaves out what the answer says.
        """
        whole = [*prompt, answer]
        text = self.render(whole, False, tools, thinking)
        must_hold(text, len(self.render(prompt, True, tools, thinking)), whole, tools, self.render, self.name)
        ids = self.tokenise(text)
        answered, end = ids[len(prompt_ids) :], self._token_id(self._end_of(answer))
        if ids[: len(prompt_ids)] != list(prompt_ids) or end not in answered:
            raise CorpusError(unstable(self.name, len(prompt)))
        return answered[: answered.index(end) + 1]

    def encode(self, messages: Sequence[Message], tools: str | None = None, *, mask: bool = False) -> Encoded:
        """Token ids and mask of one row, the mask by character spans of the assistant's turns.

        mask: whether thoughts are context alone. Raises CorpusError, also if the conversation takes several rows.
        """
        [rows] = self.rendered([messages], [tools], mask=mask)
        if len(rows) != 1 or len(rows[0].messages) != len(messages):
            raise CorpusError(
                f"{self.name}: a conversation of {len(messages)} turns is learned in {len(rows)} rows of "
                f"{[len(row.messages) for row in rows]} turns"
            )
        return self.encode_rendered(rows[0])

    def encode_rendered(self, row: Rendered) -> Encoded:
        """Token ids and mask of a row. Raises CorpusError."""
        encoding = self._encoding(row.text)
        supervised = [False] * len(encoding.ids)
        for first, end in self._learned(encoding, row.spans):
            supervised[first:end] = [True] * (end - first)
        return encoding.ids, supervised

    def loss_weights(self, row: Rendered) -> list[float] | None:
        """What the loss of each token of a row is multiplied by, 0 where it is not counted; None if by 1 throughout.

        Raises CorpusError.
        """
        if all(weight == 1 for weight in row.weights):
            return None
        encoding = self._encoding(row.text)
        weights = [0.0] * len(encoding.ids)
        for (first, end), weight in zip(self._learned(encoding, row.spans), row.weights, strict=True):
            weights[first:end] = [weight] * (end - first)
        return weights

    def _encoding(self, text: str) -> Any:
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        return backend.encode(text, add_special_tokens=False)

    def rendered(
        self, conversations: Sequence[Sequence[Message]], tools: Sequence[str | None], *, mask: bool = False
    ) -> list[list[Rendered]]:
        """The rows in which several conversations are learned. mask: whether thoughts are context alone.

        Raises CorpusError if the template refuses one of them or changes its words.
        """
        plain = {
            row: cuts
            for row, (messages, own) in enumerate(zip(conversations, tools, strict=True))
            if not has_tools(messages, own)
            and not any(parted(message["content"])[0] for message in messages)
            and (cuts := self._shapes.cuts(messages))
        }
        shorter = [(row, cut.upto) for row, cuts in plain.items() for cut in cuts]
        texts = dict(zip(shorter, self._render_all([conversations[row][:upto] for row, upto in shorter]), strict=True))
        found = []
        for row, (messages, own) in enumerate(zip(conversations, tools, strict=True)):
            laid = [laid_out(messages, cut, self.end_of_turn) for cut in plain.get(row, ())]
            known = [one.text == texts[row, len(one.messages)] for one in laid]
            found.append(laid if known and all(known) else self._by_texts(messages, own, mask=mask))
        return found

    def _by_texts(self, messages: Sequence[Message], tools: str | None, *, mask: bool) -> list[Rendered]:
        return rows_of(
            messages, tools, self.render, self._end_of, self.name, closing=self._end_of_thoughts if mask else None
        )

    def _end_of_thoughts(self, message: Message) -> str:
        """What ends the thoughts of a message: before calls, what they have in common with words, up to a header."""
        return self._end_before_calls if message.get("tool_calls") else self._marks.closing

    @cached_property
    def _end_before_calls(self) -> str:
        thought = {**PROBE[1], "content": joined("probe_thoughts", "")}
        try:
            text = self.render([PROBE[0], thought], False, PROBE_TOOLS, thinking=True)
        except CorpusError:
            return self._marks.closing
        shared = commonprefix(text.partition("probe_thoughts")[2].lstrip(), self._marks.closing)
        upto, header, _ = shared.partition(self._header)
        return upto + header or self._marks.closing

    @cached_property
    def _shapes(self) -> Shapes:
        return Shapes(self.render, self.end_of_turn, self.name)

    def _learned(self, encoding: Any, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """The first token of each span and the one behind its last. Raises CorpusError."""
        for start, end in spans:
            first = next(token for place in range(start, end) if (token := encoding.char_to_token(place)) is not None)
            last = encoding.char_to_token(end - 1)
            if encoding.token_to_chars(first)[0] < start or encoding.token_to_chars(last)[1] > end:
                raise CorpusError(
                    f"{self.name}: a token spans the border of an assistant turn: words and template melt together; "
                    "end the template's header with a line break or a special token, in model.chat_template"
                )
            yield first, last + 1

    def encode_by_prefix(self, messages: Sequence[Message], tools: str | None = None, *, mask: bool = False) -> Encoded:
        """The same by tokenising each growing prefix. Raises CorpusError if the template is not prefix-stable."""
        ids = self.tokenise(self.render(messages, tools=tools, thinking=thinks(messages)))
        supervised = [False] * len(ids)
        for index, message in enumerate(messages):
            if not learns(message):
                continue
            asked, answered = messages[:index], messages[: index + 1]
            upto = self.tokenise(self.render(answered, tools=tools, thinking=thinks(answered)))
            prompts = [self.prompt_ids(asked, tools, thinking) for thinking in (False, True)]
            before = max((len(prompt) for prompt in prompts if upto[: len(prompt)] == prompt), default=len(upto))
            end = self._token_id(self._end_of(message))
            last = upto.index(end, before) + 1 if end in upto[before:] else 0
            if not last or ids[:last] != upto[:last]:
                raise CorpusError(unstable(self.name, index))
            if mask and thinks(answered):
                before = self._first_said(ids[:last], before, message)
            supervised[before:last] = [True] * (last - before)
        return ids, supervised

    def _first_said(self, ids: Sequence[int], start: int, message: Message) -> int:
        """From which token on these ids, of a turn that begins at `start`, say what stands behind its thoughts."""
        thoughts, words = parted(message["content"])
        for place in range(start + 1, len(ids)):
            before, rest = (self._spelled(own) for own in (ids[start:place], ids[place:]))
            if self._end_of_thoughts(message) in before and (thoughts or "") in before and says(rest, words):
                return place
        raise CorpusError(f"{self.name}: no tokens of the turn spell its words alone")

    def _spelled(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def parity(
        self,
        messages: Sequence[Message],
        stored: Encoded | None = None,
        tools: str | None = None,
        *,
        mask: bool = False,
    ) -> str | None:
        """What differs between `stored` (or `encode`) and the other ways of encoding a row, if anything."""
        try:
            ids, supervised = stored or self.encode(messages, tools, mask=mask)
            other_ids, other_supervised = self.encode_by_prefix(messages, tools, mask=mask)
        except CorpusError as error:
            return str(error)
        if ids != other_ids or ids != self.encode_by_library(messages, tools=tools, thinking=thinks(messages)):
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
        written = "".join(self._pinned.values())
        ends = (self.tokenizer.bos_token, self.tokenizer.eos_token, self.tokenizer.pad_token)
        return [token for token in self._special_tokens if token in written or token in ends]

    def _token_id(self, token: str) -> int:
        found: int = self.tokenizer.convert_tokens_to_ids(token)
        return found
