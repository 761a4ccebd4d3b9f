"""A checkpoint behind an OpenAI-compatible server: the same questions as in this process, asked over HTTP.

With `completions` the prompt is our own rendering, sent as our own token ids, so that template and tokenisation stay
ours; log-probabilities of given answers come from `echo` with `logprobs`. With `chat` the server renders, and only
answers can be had. Everything is greedy (temperature 0), and the checkpoint's `generation_config.json` is overruled as
far as a request can. A server batches as it likes: in types other than float32 two runs need not agree, and this is
the reason why reports of different back ends are not compared.
"""

import base64
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lineage.errors import EvaluationError
from lineage.hashing import canonical_json, fingerprint
from models.answered import Answered
from models.answering import Likelihood, LoadedModel, Pair, Response, Tick, prompt_ids, stop_ids
from models.endpoint import Endpoint, ServerDown, ask, look_up, refusal
from models.messages import Message
from models.template import ChatTemplate
from models.thoughts import WRITTEN_OUT
from recipes.suite import Evaluation

_VERSIONS = ("//version", "//get_server_info", "//info")
"""Where vLLM, SGLang and TGI say which version they are."""

_BESIDE = 2
"""Tokens that a question about log-probabilities takes more than in this process: the answer's last is sent as well,
and one must be written."""

_OWN = ("vllm", "sglang")
"""Back ends that understand more than OpenAI's own parameters."""


@dataclass(frozen=True)
class Served(LoadedModel):
    """A model of a server. scores: whether it gives log-probabilities of what it was sent."""

    endpoint: Endpoint
    name: str
    template: ChatTemplate
    batch_size: int
    config: Any
    most_tokens: int
    api: str
    backend: str
    version: str
    scores: bool
    seed: int
    answered: Answered
    thinking_tokens: int = 0

    @property
    def context(self) -> int:
        return self.most_tokens - _BESIDE

    @property
    def described(self) -> Any:
        return SimpleNamespace(config=self.config, device="cpu")

    @property
    def facts(self) -> dict[str, Any]:
        return {"backend": self.backend, "backend_version": self.version, "api": self.api}

    @property
    def known(self) -> int:
        return self.answered.found

    def render(self, messages: Sequence[Message], tools: str | None = None) -> str:
        return canonical_json(list(messages)) if self.api == "chat" else super().render(messages, tools)

    def generate(self, prompts: Sequence[str], max_new_tokens: int, tick: Tick, until: Sequence[str]) -> list[Response]:
        limits = {"model": self.name, "max_tokens": max_new_tokens, "temperature": 0, "top_p": 1, "seed": self.seed}
        if self.api == "chat":
            told = self.template.told_to_think(self.thinking_tokens > 0)
            limits |= {"chat_template_kwargs": told} if told else {}
            path, bodies = "/chat/completions", [{**limits, "messages": _messages(prompt)} for prompt in prompts]
        else:
            path, rows = "/completions", prompt_ids(self, prompts, max_new_tokens)
            bodies = [{**limits, **self._stops(until), "prompt": row} for row in rows]
            if self.scores:
                bodies = [{**body, "logprobs": 1} for body in bodies]
        questions = [fingerprint({"path": path, **body}) for body in bodies]
        known = self.answered.get(questions)
        left = {question: body for question, body in zip(questions, bodies, strict=True) if question not in known}
        names, done = list(left), len(questions) - len(left)

        def given(index: int, reply: Any) -> None:
            answer = _answer(self.endpoint, reply)
            known[names[index]] = answer
            self.answered.put({names[index]: answer})

        ask(self.endpoint, path, list(left.values()), given, lambda: tick(done + sum(name in known for name in names)))
        tick(len(prompts))
        return [_response(known[question]) for question in questions]

    def log_likelihoods(self, pairs: Sequence[Pair], tick: Tick) -> list[Likelihood]:
        if not self.scores:
            raise EvaluationError(f"{self.endpoint.where}: {_NO_SCORES}")
        bodies = [
            {"model": self.name, "prompt": [*context, *answer], "max_tokens": 1, "temperature": 0}
            | {"echo": True, "logprobs": 1}
            for context, answer in pairs
        ]
        questions = [fingerprint({**body, "from": len(pair[0])}) for body, pair in zip(bodies, pairs, strict=True)]
        known = self.answered.get(questions)
        left = {q: index for index, q in enumerate(questions) if q not in known}
        open_, contexts = Counter(tuple(pairs[index][0]) for index in left.values()), {tuple(c) for c, _ in pairs}

        places = list(left.items())

        def given(place: int, reply: Any) -> None:
            question, index = places[place]
            found = _likelihood(self.endpoint, reply, *pairs[index])
            known[question] = [found.logprob, found.greedy]
            self.answered.put({question: known[question]})
            open_[tuple(pairs[index][0])] -= 1

        asked = [bodies[index] for _, index in places]
        ask(
            self.endpoint,
            "/completions",
            asked,
            given,
            lambda: tick(len(contexts) - sum(n > 0 for n in open_.values())),
        )
        tick(len(contexts))
        return [Likelihood(*known[question]) for question in questions]

    def _stops(self, until: Sequence[str]) -> dict[str, Any]:
        """What ends an answer: words for every server, tokens and no penalty for those that know them.

        OpenAI allows four such words, so those of `until` are only sent to servers that allow more.
        """
        ends = sorted(stop_ids(self.template))
        words = self.tokenizer.convert_ids_to_tokens(ends)
        if self.backend not in _OWN:
            return {"stop": words}
        return {"stop": [*words, *until], "stop_token_ids": ends, "repetition_penalty": 1.0}


_NO_SCORES = "the server gives no log-probabilities of what it is sent (/v1/completions with echo and logprobs)"


def connect(
    endpoint: Endpoint, name: str, checkpoint: Path, digest: str, evaluation: Evaluation, answers: Path
) -> Served:
    """Meet a server before it is asked anything. `name`: its name for the checkpoint; digest: the checkpoint's own.

    Raises EvaluationError if it does not serve that model, or if tasks need log-probabilities that it does not give.
    """
    from transformers import AutoConfig

    served = _served(endpoint, name, checkpoint)
    version = _version(endpoint, served)
    scores = evaluation.api == "completions" and _scores(endpoint, name)
    needing = [task for task, section in evaluation.tasks.items() if section.asks == "likelihoods"]
    if needing and not scores:
        raise EvaluationError(
            f"{endpoint.where}: {_NO_SCORES}, which {_listed(needing)} of evaluation.tasks need; take these tasks out, "
            "or a server or backend that does (vllm, sglang, transformers)"
        )
    template = ChatTemplate.load(checkpoint)
    config = AutoConfig.from_pretrained(checkpoint, local_files_only=True)
    trained, longest = int(config.get_text_config().max_position_embeddings), served.get("max_model_len")
    identity = {"checkpoint": digest, "url": endpoint.url, "model": name, "version": version}
    settings = {"backend": evaluation.backend, "api": evaluation.api, "dtype": evaluation.dtype, "scores": scores}
    return Served(
        endpoint=endpoint,
        name=name,
        template=template,
        batch_size=evaluation.batch_size,
        config=config,
        most_tokens=min(trained, longest) if isinstance(longest, int) else trained,
        api=evaluation.api,
        backend=evaluation.backend,
        version=version,
        scores=scores,
        seed=evaluation.seed,
        answered=Answered.by(answers, **identity, **settings),
        thinking_tokens=evaluation.thinking_tokens,
    )


def _served(endpoint: Endpoint, name: str, checkpoint: Path) -> dict[str, Any]:
    """What a server says of the model. Raises EvaluationError if it does not serve it."""
    status, found = look_up(endpoint, "/models")
    if status >= 500:
        raise ServerDown(f"{endpoint.where}: {endpoint.url}/models: status {status}")
    if status != 200 or not isinstance(found, dict):
        raise EvaluationError(f"{endpoint.where}: {endpoint.url}/models: {refusal(status, found)}")
    models = {str(model.get("id")): model for model in found.get("data") or [] if isinstance(model, dict)}
    if name not in models:
        raise EvaluationError(
            f"{endpoint.where}.model: {endpoint.url} serves {_listed(sorted(models)[:8]) or 'nothing'}, and not "
            f"'{name}'; serve it by that name, as `vllm serve {checkpoint} --served-model-name {name}` does"
        )
    return dict(models[name])


def _version(endpoint: Endpoint, served: dict[str, Any]) -> str:
    """Which server it is, as far as it says so."""
    who = str(served.get("owned_by") or "server")
    for path in _VERSIONS:
        status, found = look_up(endpoint, path)
        if status == 200 and isinstance(found, dict) and isinstance(found.get("version"), str):
            return f"{who} {found['version']}"
    return f"{who} of unknown version"


def _scores(endpoint: Endpoint, name: str) -> bool:
    """Whether the server echoes what it is sent with log-probabilities: one small request tells."""
    prompt = [1, 2, 3]
    body = {"model": name, "prompt": prompt, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
    replies: list[Any] = []
    try:
        ask(endpoint, "/completions", [body], lambda _, reply: replies.append(reply), lambda: None)
        return len(_logprobs(replies[0])["token_logprobs"]) >= len(prompt)
    except (EvaluationError, LookupError, TypeError):
        return False


def _messages(prompt: str) -> list[Message]:
    """The conversation in a prompt that `Served.render` wrote for the chat API."""
    try:
        messages = json.loads(prompt)
    except ValueError:
        messages = None
    if not isinstance(messages, list):
        raise EvaluationError(
            "api: chat cannot ask with plain text, as this task does; set evaluation.api: completions"
        )
    return messages


def _choice(reply: Any) -> dict[str, Any]:
    return dict(reply["choices"][0])


def _logprobs(reply: Any) -> dict[str, Any]:
    return dict(_choice(reply)["logprobs"])


def _answer(endpoint: Endpoint, reply: Any) -> dict[str, Any]:
    """What is kept of an answer; text as base64, so that no search finds words of an answer in the cache."""
    try:
        choice = _choice(reply)
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        usage, chosen = reply["usage"], (choice.get("logprobs") or {}).get("token_logprobs") or []
        return {
            "text": base64.b64encode((text or "").encode("utf-8", "surrogatepass")).decode(),
            "prompt_tokens": int(usage["prompt_tokens"]),
            "tokens": int(usage["completion_tokens"]),
            "cut": choice["finish_reason"] == "length",
            "finite": all(value is not None and math.isfinite(value) for value in chosen),
        }
    except (LookupError, TypeError, AttributeError) as error:
        raise EvaluationError(
            f"{endpoint.where}: {endpoint.url}: an answer lacks what OpenAI's have: {error}"
        ) from None


def _response(answer: dict[str, Any]) -> Response:
    """Without thoughts, which a server that knows them has taken out already."""
    text = base64.b64decode(answer["text"]).decode("utf-8", "surrogatepass")
    thoughts, words = WRITTEN_OUT.parted(text)
    return Response(**{**answer, "text": words}, thought_only=bool(thoughts) and not words)


def _likelihood(endpoint: Endpoint, reply: Any, context: list[int], answer: list[int]) -> Likelihood:
    try:
        found = _logprobs(reply)
        part = slice(len(context), len(context) + len(answer))
        chosen, best = found["token_logprobs"][part], found["top_logprobs"][part]
        values = [math.nan if value is None else float(value) for value in chosen]
        greedy = [value >= max(top.values()) for value, top in zip(values, best, strict=True)]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise EvaluationError(f"{endpoint.where}: {endpoint.url}: log-probabilities lack something: {error}") from None
    if len(values) != len(answer):
        raise EvaluationError(
            f"{endpoint.where}: {endpoint.url}: log-probabilities of {len(found['token_logprobs'])} tokens for "
            f"{len(context) + len(answer)} that were sent: the server tokenises otherwise or cuts prompts"
        )
    return Likelihood(math.fsum(values) if all(map(math.isfinite, values)) else math.nan, all(greedy))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
