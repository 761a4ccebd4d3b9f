"""What transformers makes of messages by a checkpoint's own chat template: text, and ids of a whole conversation.

Here is all that templates differ in by themselves: what they call thoughts and the wish for them, whether words are
text or parts of a type, which day it is. What of a text is learned is said in `template`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lineage.errors import CorpusError
from models.dated import day_of, pinned
from models.messages import Message
from models.thoughts import going_on, opens_thoughts, parted
from models.tool_rendering import in_openai_form, tools_for_template
from models.turns import thinks

Encoded = tuple[list[int], list[bool]]
"""Token ids of a whole conversation, and for each of them whether the loss counts it."""

_REFUSALS = (TypeError, KeyError, ValueError, AttributeError, RecursionError)
"""What Python says of a template's expression that a conversation does not suit, beside jinja's own errors."""


@dataclass(frozen=True)
class Rendering:
    """A tokenizer with its chat template. `name` says in errors which checkpoint it is."""

    name: str
    tokenizer: Any

    def render(
        self,
        messages: Sequence[Message],
        generation_prompt: bool = False,
        tools: str | None = None,
        thinking: bool = False,
    ) -> str:
        """The text that the model reads. thinking: whether it is, or was, asked to think before it answers.

        Where every prompt opens thoughts, and no answer of the template's has them (DeepSeek-R1), a last answer stands
        behind its prompt as the model writes it. Raises CorpusError if the template refuses the conversation.
        """
        answered = bool(messages) and messages[-1]["role"] == "assistant" and not generation_prompt
        found = self._gone_on(messages, tools, thinking) if answered and self._always_thinks else None
        return self.written(messages, generation_prompt, tools, thinking) if found is None else found

    def written(
        self,
        messages: Sequence[Message],
        generation_prompt: bool = False,
        tools: str | None = None,
        thinking: bool = False,
    ) -> str:
        """The text that the template writes. Raises CorpusError if it refuses the conversation."""
        from jinja2 import TemplateError

        try:
            rendered: str = self.tokenizer.apply_chat_template(
                [self.as_sent(message) for message in messages],
                tools=tools_for_template(tools),
                tokenize=False,
                add_generation_prompt=generation_prompt,
                **self._settings(thinking, tools),
            )
        except (TemplateError, *_REFUSALS) as error:
            roles = [message.get("role") for message in messages]
            raise CorpusError(f"{self.name}: its chat template refuses a conversation of {roles}: {error}") from None
        return rendered

    @cached_property
    def _always_thinks(self) -> bool:
        """Whether prompts open thoughts, also where none are asked for."""
        return opens_thoughts(self.written([{"role": "user", "content": "probe"}], True))

    def _gone_on(self, messages: Sequence[Message], tools: str | None, thinking: bool) -> str | None:
        """A last answer behind its prompt, if that opens thoughts."""
        *asked, answer = messages
        prompt = self.written(asked, True, tools, thinking)
        if not opens_thoughts(prompt):
            return None
        thoughts, words = parted(answer["content"])
        said = self.written([*asked, {**answer, "content": words}], False, tools, thinking)
        return going_on(prompt, thoughts or "", said)

    def encode_by_library(
        self,
        messages: Sequence[Message],
        generation_prompt: bool = False,
        tools: str | None = None,
        thinking: bool = False,
    ) -> list[int]:
        """The ids that transformers gives for a conversation in one call, as a server would; those of its prompt where
        the answer stands behind it as the model writes it."""
        if self._always_thinks and not generation_prompt and messages[-1]["role"] == "assistant":
            asked = self.encode_by_library(messages[:-1], True, tools, thinking)
            return [*asked, *self.tokenise(self.render(messages, False, tools, thinking))[len(asked) :]]
        ids: list[int] = self.tokenizer.apply_chat_template(
            [self.as_sent(message) for message in messages],
            tools=tools_for_template(tools),
            tokenize=True,
            add_generation_prompt=generation_prompt,
            return_dict=False,
            **self._settings(thinking, tools),
        )
        return ids

    def marked(self, messages: Sequence[Message], tools: str | None = None) -> Encoded:
        """Ids of what the template writes, and which of them transformers takes for the assistant's, where the template
        marks these by `{% generation %}`."""
        found = self.tokenizer.apply_chat_template(
            [self.as_sent(message) for message in messages],
            tools=tools_for_template(tools),
            return_dict=True,
            return_assistant_tokens_mask=True,
            **self._settings(thinks(messages), tools),
        )
        return found["input_ids"], [bool(own) for own in found["assistant_masks"]]

    def _settings(self, thinking: bool = False, tools: str | None = None) -> dict[str, Any]:
        """What the library is told beside the conversation: the template, with its date pinned, and its switches."""
        name = "default" if tools is None or "tool_use" not in self._pinned else "tool_use"
        switches = _switches(thinking) if "thinking" in self._pinned[name] else {}
        return {"chat_template": self._pinned[name], **switches}

    @cached_property
    def _pinned(self) -> dict[str, str]:
        """The templates by name."""
        held = self.tokenizer.chat_template
        named = held if isinstance(held, dict) else {"default": held}
        return {name: pinned(text, day_of(self.tokenizer.init_kwargs)) for name, text in named.items()}

    def _render_all(self, conversations: Sequence[Sequence[Message]]) -> list[str | None]:
        """`render` of conversations without tools and thoughts, in one call: a third less time for each.

        None for each that the template refuses.
        """
        from jinja2 import TemplateError

        if self._always_thinks or not conversations:
            return [self._rendered_or_none(messages) for messages in conversations]
        try:
            rendered: list[str | None] = self.tokenizer.apply_chat_template(
                [[self.as_sent(message) for message in messages] for messages in conversations],
                tokenize=False,
                **self._settings(),
            )
        except (TemplateError, *_REFUSALS):
            return [self._rendered_or_none(messages) for messages in conversations]
        return rendered

    def _rendered_or_none(self, messages: Sequence[Message]) -> str | None:
        try:
            return self.render(messages)
        except CorpusError:
            return None

    def as_sent(self, message: Message) -> dict[str, Any]:
        """A message as this template takes it: thoughts in a field of their own, words as text or as a typed part."""
        plain = in_openai_form(message)
        if not self._reads_text:
            plain["content"] = [{"type": "text", "text": message["content"]}]
        if message["role"] == "assistant" and self._reads_thoughts:
            thoughts, words = parted(message["content"])
            if thoughts is not None:
                return {**plain, "content": words, **({"reasoning_content": thoughts} if thoughts else {})}
        return plain

    @cached_property
    def _reads_thoughts(self) -> bool:
        """Whether the template writes what stands in a message's `reasoning_content`."""
        from jinja2 import TemplateError

        probe = {"role": "assistant", "content": "probe_words", "reasoning_content": "probe_thoughts"}
        try:
            text = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": "probe"}, probe], tokenize=False, **self._settings(thinking=True)
            )
        except (TemplateError, *_REFUSALS):
            return False
        return "probe_thoughts" in text

    @cached_property
    def _reads_text(self) -> bool:
        """Whether a message's content may be text; templates of models that see images may want parts of a type."""
        from jinja2 import TemplateError

        def words(content: Any) -> bool:
            try:
                text = self.tokenizer.apply_chat_template(
                    [{"role": "user", "content": content}], tokenize=False, **self._settings()
                )
            except (TemplateError, *_REFUSALS):
                return False
            return "probe_words" in text

        return words("probe_words") or not words([{"type": "text", "text": "probe_words"}])

    def told_to_think(self, thinking: bool) -> dict[str, bool]:
        """What a server's chat template has to be told, as `chat_template_kwargs`; nothing if it has no such switch."""
        asked = [{"role": "user", "content": "probe"}]
        with_switch, without = (self.render(asked, True, thinking=switch) for switch in (True, False))
        return {} if with_switch == without else _switches(thinking)

    def tokenise(self, text: str) -> list[int]:
        """Ids of rendered text; the template has put every special token there already."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def _switches(thinking: bool) -> dict[str, bool]:
    """How templates are told whether the model is to think: under the name of Qwen's, GLM's and Gemma's templates, and
    under that of DeepSeek's."""
    return {"enable_thinking": thinking, "thinking": thinking}
