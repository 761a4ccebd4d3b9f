"""A language model as judge: how it is met and asked, and what is kept and counted of its replies.

It is asked at temperature 0. A reply is kept by the judge, its address and the very words it got: a killed evaluation
asks no question twice. Replies are text of a person's data, so they are kept only where a task is not `sensitive`.
What it is asked is in `prompts`.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.health import wordless
from evaluation.judges.prompts import VERSION
from evaluation.report import Sample
from evaluation.task import Outcome, Place
from lineage.errors import EvaluationError
from lineage.hashing import fingerprint, text_digest
from models.answered import Answered
from models.answering import Response, Tick
from models.endpoint import Endpoint, ask, look_up, refusal
from recipes.suite import JudgedTask


@dataclass(frozen=True)
class Reply:
    """What a judge said. verdict: None if it cannot be read. text: None where it must not be kept."""

    verdict: int | None
    text: str | None
    model: str


@dataclass(frozen=True)
class Judging:
    """A judge that was met, and what it said before."""

    endpoint: Endpoint
    model: str
    max_tokens: int
    keeps_text: bool
    replies: Answered

    @classmethod
    def of(cls, where: str, task: JudgedTask, place: Place) -> "Judging":
        """Raises EvaluationError if its address or key is missing or its key is not accepted, ServerDown if it is away.

        Its `/models` is only looked up to see whether it lets us in: not every server has it.
        """
        server = task.judge.execution
        endpoint = Endpoint.of(f"{where}.judge.execution", server, server.requests, "TEMPER_JUDGE_URL")
        status, content = look_up(endpoint, "/models")
        if status in (401, 403):
            raise EvaluationError(f"{endpoint.where}: {endpoint.url}: {refusal(status, content)}")
        kept = not task.sensitive
        replies = Answered.by(
            place.cache / "judgements", judge=task.judge.model, url=endpoint.url, version=VERSION, kept=kept
        )
        return cls(endpoint, task.judge.model, task.judge.max_tokens, kept, replies)

    def ask(
        self, prompts: Sequence[list[dict[str, str]]], read: Callable[[str], int | None], tick: Tick
    ) -> list[Reply]:
        """The judge's replies in the order of the prompts. `tick` gets how many are there."""
        settings = {"model": self.model, "temperature": 0, "max_tokens": self.max_tokens}
        bodies = [{**settings, "messages": prompt} for prompt in prompts]
        questions = [fingerprint(body) for body in bodies]
        known = self.replies.get(questions)
        left = {question: body for question, body in zip(questions, bodies, strict=True) if question not in known}
        names, done = list(left), len(questions) - len(left)

        def given(index: int, reply: Any) -> None:
            nonlocal done
            said = _said(self.endpoint, reply)
            text = base64.b64encode(said.encode("utf-8", "surrogatepass")).decode() if self.keeps_text else None
            answer = {"verdict": read(said), "text": text, "model": str(reply.get("model") or self.model)}
            known[names[index]] = answer
            self.replies.put({names[index]: answer})
            done += 1

        ask(self.endpoint, "/chat/completions", list(left.values()), given, lambda: tick(done))
        tick(len(questions))
        return [_reply(known[question]) for question in questions]

    def facts(self, prompt: str) -> dict[str, Any]:
        return {"judge": self.model, "judge_prompt_version": VERSION, "judge_prompt": text_digest(prompt)}


def judged(
    samples: list[Sample],
    answers: Sequence[Sequence[Response]],
    replies: Sequence[Reply],
    details: dict[str, Any],
    max_unparsed: float,
) -> Outcome:
    """The outcome of a judged task. answers: of each item, by turn. Too many replies without a verdict are a fault."""
    given = [response for turns in answers for response in turns]
    unparsed = sum(reply.verdict is None for reply in replies)
    fault = f"{unparsed} of {len(replies)} replies of the judge hold no verdict; at most {max_unparsed:.0%} may"
    return Outcome(
        samples,
        {
            "nonfinite": sum(not response.finite for response in given),
            **wordless([turns[-1] for turns in answers if not any(response.text.strip() for response in turns)]),
            "cut": sum(response.cut for response in given),
            "judge_replies_without_verdict": unparsed,
        },
        sum(response.prompt_tokens + response.tokens for response in given),
        details,
        [f"{fault} (max_unparsed)"] if unparsed > max_unparsed * len(replies) else [],
    )


def _said(endpoint: Endpoint, reply: Any) -> str:
    try:
        return str(reply["choices"][0]["message"]["content"] or "")
    except (LookupError, TypeError):
        raise EvaluationError(f"{endpoint.where}: {endpoint.url}: a reply is none of /v1/chat/completions") from None


def _reply(kept: Mapping[str, Any]) -> Reply:
    text = None if kept["text"] is None else base64.b64decode(kept["text"]).decode("utf-8", "surrogatepass")
    return Reply(kept["verdict"], text, kept["model"])
