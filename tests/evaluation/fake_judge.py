"""A judge with known habits behind real HTTP, for tests of what a report makes of it.

It reads the answers out of our own prompts and votes by their true worth, which the tests write into them as
`worth=<number>`, unless its habit says otherwise.
"""

import json
import math
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lineage.hashing import text_digest

Verdict = Callable[[list[str], random.Random], Any]
"""What the judge says of the answers that it sees, in their order: a JSON value, or text that is none."""

_PART = re.compile(r"^\[[0-9a-f]{8}\] (.*?):\n(.*?)\n\n(?=\[[0-9a-f]{8}\] )", re.DOTALL | re.MULTILINE)


class FakeJudge(ThreadingHTTPServer):
    """asked: the bodies of all requests. busy: statuses to answer the next ones with. naps: seconds before these."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, verdict: Verdict, key: str | None = None, pause_s: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.verdict, self.key, self.pause_s = verdict, key, pause_s
        self.asked: list[dict[str, Any]] = []
        self.busy: list[int] = []
        self.naps: list[float] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeJudge

    def do_GET(self) -> None:
        self._reply(200 if self._let_in() else 401, {"data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        time.sleep(self.server.naps.pop(0) if self.server.naps else self.server.pause_s)
        if not self._let_in():
            self._reply(401, {"error": {"type": "auth"}})
        elif self.server.busy:
            self._reply(self.server.busy.pop(0), {"error": {"type": "busy"}})
        else:
            self.server.asked.append(body)
            shown = body["messages"][1]["content"]
            answers = [text for name, text in _PART.findall(shown) if "answer" in name and "right" not in name]
            said = self.server.verdict(answers, random.Random(text_digest(shown)))
            text = said if isinstance(said, str) else json.dumps(said)
            message = {"role": "assistant", "content": text}
            self._reply(200, {"model": "fake-judge-1", "choices": [{"index": 0, "message": message}]})

    def _let_in(self) -> bool:
        return self.server.key is None or self.headers.get("authorization") == f"Bearer {self.server.key}"

    def _reply(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        with suppress(ConnectionError):  # who asked may have gone
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def worth(answer: str) -> float:
    found = re.search(r"worth=(-?[0-9.]+)", answer)
    return float(found[1]) if found else 0.0


def fair(answers: list[str], rng: random.Random) -> Any:
    """Votes for the answer that is worth more."""
    first, second = map(worth, answers)
    return _verdict(first - second)


def always_first(answers: list[str], rng: random.Random) -> Any:
    return {"reason": "it comes first", "verdict": "first"}


def often_first(share: float) -> Verdict:
    """Fair, but names the first answer in this share of its verdicts without a look."""

    def verdict(answers: list[str], rng: random.Random) -> Any:
        return always_first(answers, rng) if rng.random() < share else fair(answers, rng)

    return verdict


def likes_length(strength: float, typical: float) -> Verdict:
    """Votes by worth and by length: `strength` logits for each `typical` characters more, the same in both orders."""

    def verdict(answers: list[str], rng: random.Random) -> Any:
        first, second = answers
        noise = random.Random(text_digest("|".join(sorted(answers)))).random()
        logit = math.log(noise / (1 - noise)) * (1 if first < second else -1)
        gap = worth(first) - worth(second) + strength * math.tanh((len(first) - len(second)) / typical)
        return _verdict(gap + logit)

    return verdict


def sometimes_garbage(share: float, otherwise: Verdict = fair) -> Verdict:
    def verdict(answers: list[str], rng: random.Random) -> Any:
        if rng.random() < share:
            return rng.choice(["I like them both.", '{"verdict": "maybe"}', "{", "[[A]]", '{"grade": 11}'])
        return otherwise(answers, rng)

    return verdict


def grades(answers: list[str], rng: random.Random) -> Any:
    """The worth of the last answer, rounded into 1 to 10."""
    return {"reason": "as it is worth", "grade": max(1, min(10, round(worth(answers[-1]))))}


def _verdict(gap: float) -> Any:
    return {"reason": "by worth", "verdict": "first" if gap > 0 else "second" if gap < 0 else "tie"}
