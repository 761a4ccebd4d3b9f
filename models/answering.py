"""A checkpoint that answers, whatever computes its answers.

`LoadedModel` is what a task sees; `generate` and `log_likelihoods` are how it asks.
`local.Transformers` answers in this process, `served.Served` asks a server.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lineage.errors import EvaluationError
from models.messages import Message
from models.template import ChatTemplate

Tick = Callable[[int], None]
"""Called at least once per forward pass with the work done so far, in items; raises to stop the job."""

Pair = tuple[list[int], list[int]]
"""Token ids of a context (two at least) and of its continuation (one at least)."""


@dataclass(frozen=True)
class Likelihood:
    """Log-probability (natural) of a continuation, and whether greedy decoding would have written it."""

    logprob: float
    greedy: bool

    @property
    def finite(self) -> bool:
        return math.isfinite(self.logprob)


@dataclass(frozen=True)
class Response:
    """An answer. finite: no NaN or infinity decided a token. cut: stopped by the limit, not by the model. thought_only:
    the text is empty because thoughts are all there is."""

    text: str
    prompt_tokens: int
    tokens: int
    cut: bool
    finite: bool
    thought_only: bool = False


class LoadedModel(ABC):
    """A checkpoint that answers, with its own chat template and tokenizer."""

    template: ChatTemplate
    batch_size: int
    thinking_tokens: int = 0
    """Tokens that it may think before it answers, in addition to those of the answer; 0 asks it not to think."""

    @property
    def tokenizer(self) -> Any:
        return self.template.tokenizer

    @property
    @abstractmethod
    def context(self) -> int:
        """Most tokens that the model reads and writes together."""

    @property
    @abstractmethod
    def described(self) -> Any:
        """What libraries ask for a model's `config` and `device`: the model itself where it is in this process."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What computes the answers, as reports state it: `backend`, and what else two reports must share."""

    @property
    @abstractmethod
    def known(self) -> int:
        """Answers that were known from before."""

    def render(self, messages: Sequence[Message], tools: str | None = None) -> str:
        """A conversation as the model was trained to see it, up to where the assistant speaks."""
        return self.template.render(messages, True, tools, thinking=self.thinking_tokens > 0)

    def chat_prompt(self, user: str) -> str:
        """One user turn, rendered."""
        return self.render([{"role": "user", "content": user}])

    @abstractmethod
    def generate(self, prompts: Sequence[str], max_new_tokens: int, tick: Tick, until: Sequence[str]) -> list[Response]:
        """As the function; an answer may go on behind a text of `until`."""

    @abstractmethod
    def log_likelihoods(self, pairs: Sequence[Pair], tick: Tick) -> list[Likelihood]: ...


def generate(
    model: LoadedModel, prompts: Sequence[str], max_new_tokens: int, tick: Tick, until: Sequence[str] = ()
) -> list[Response]:
    """Greedy answers to rendered prompts, in their order, without thoughts.

    until: texts at which an answer ends, without them; in thoughts they end nothing. Raises EvaluationError before
    the first token if a prompt and its answer may not fit the model's context.
    """
    limit, stops = max_new_tokens + model.thinking_tokens, () if model.thinking_tokens else until
    return [_ended(response, until) for response in model.generate(prompts, limit, tick, stops)]


def log_likelihoods(model: LoadedModel, pairs: Sequence[Pair], tick: Tick) -> list[Likelihood]:
    """The likelihood of each continuation after its context, in the order of `pairs`.

    `tick` gets the number of distinct contexts done. Contexts must fit the model: shorten them before.
    """
    return model.log_likelihoods(pairs, tick)


def _ended(response: Response, until: Sequence[str]) -> Response:
    text = response.text
    for stop in until:
        text = text.partition(stop)[0]
    return response if text == response.text else dataclasses.replace(response, text=text, cut=False)


def prompt_ids(model: LoadedModel, prompts: Sequence[str], max_new_tokens: int) -> list[list[int]]:
    """Rendered prompts as tokens. Raises EvaluationError if one of them and its answer may not fit the context."""
    ids = [model.template.tokenise(prompt) for prompt in prompts]
    longest = max(map(len, ids), default=0)
    if longest + max_new_tokens > model.context:
        raise EvaluationError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones exceed the model's context of "
            f"{model.context} tokens; lower max_new_tokens"
        )
    return ids


def stop_ids(template: ChatTemplate) -> frozenset[int]:
    """Tokens that end an answer: the end of the turn, and of the text."""
    return frozenset({template.end_of_turn_id, template.tokenizer.eos_token_id} - {None})
