"""Questions to an OpenAI-compatible server: several at a time, asked again while it is busy.

A server that is busy or away (no connection, no answer in time, 408, 425, 429, 5xx) is asked again with growing
random pauses, or after the pause that it names. What it refuses for good is not asked again. Neither keys nor texts of
requests and replies ever get into a message: a server's own words about a request may quote it.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from lineage.errors import EvaluationError
from recipes.errors import FAILED, TemperError
from recipes.execution import Server

if TYPE_CHECKING:
    import httpx2
    from tenacity import RetryCallState

_BUSY = frozenset({408, 425, 429})
_LOOK_UP_S = 0.2
"""How often a stop is looked for while a server thinks."""

_LONGEST_PAUSE_S = 60.0


class ServerDown(TemperError):
    """A server did not answer, however often it was asked; the same job may find it well later."""

    status = FAILED


@dataclass(frozen=True)
class Endpoint:
    """A server's address up to `/v1`. `key` is a secret. `where` is the recipe's field, for messages."""

    where: str
    url: str
    key: str | None = field(repr=False)
    at_once: int
    timeout_s: float
    attempts: int

    @classmethod
    def of(cls, where: str, server: Server, at_once: int, url_variable: str) -> "Endpoint":
        """Of a recipe's section, address and key looked up. Raises EvaluationError if they are not there."""
        url = server.url or os.environ.get(url_variable)
        if not url:
            raise EvaluationError(f"{where}.url: neither the recipe nor the environment's {url_variable} says it")
        try:
            url = Server(url=url).url or ""
        except ValidationError:
            raise EvaluationError(
                f"{url_variable}: a server's url is http://<host>[:<port>]/v1, without user, password or query"
            ) from None
        key = None
        if server.api_key_env is not None and not (key := os.environ.get(server.api_key_env)):
            raise EvaluationError(f"{where}.api_key_env: the environment has no {server.api_key_env}")
        return cls(where, url, key, at_once, server.timeout_s, server.attempts)

    @property
    def local(self) -> bool:
        """Whether it is on this machine, where no proxy leads to."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def ask(
    endpoint: Endpoint,
    path: str,
    bodies: Sequence[Mapping[str, Any]],
    given: Callable[[int, Any], None],
    alive: Callable[[], None],
) -> None:
    """POST each body; `given(index, reply)` gets each reply (JSON) as it comes, in this thread.

    alive: called several times a second; what it raises ends the asking at once. Raises EvaluationError for what the
    server refuses, ServerDown if it stays away.
    """
    if bodies:
        asyncio.run(_ask(endpoint, path, bodies, given, alive))


def look_up(endpoint: Endpoint, path: str) -> tuple[int, Any]:
    """Status and JSON (None if it is none) of a GET, once, without judging them. Raises ServerDown."""
    import httpx2

    with httpx2.Client(**_settings(endpoint)) as client:
        try:
            reply = client.get(_address(endpoint, path))
        except httpx2.TransportError as error:
            raise ServerDown(f"{endpoint.where}: {endpoint.url}: {_named(error)}") from None
    return reply.status_code, _json(reply)


class _Busy(Exception):
    """Ask again. after: seconds that the server asks to wait."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


async def _ask(
    endpoint: Endpoint,
    path: str,
    bodies: Sequence[Mapping[str, Any]],
    given: Callable[[int, Any], None],
    alive: Callable[[], None],
) -> None:
    import httpx2

    left = iter(enumerate(bodies))
    pending: dict[asyncio.Task[Any], int] = {}
    async with httpx2.AsyncClient(**_settings(endpoint)) as client:
        try:
            while True:
                for index, body in islice(left, endpoint.at_once - len(pending)):
                    pending[asyncio.create_task(_patiently(client, endpoint, path, body))] = index
                if not pending:
                    return
                done, _ = await asyncio.wait(pending, timeout=_LOOK_UP_S, return_when=asyncio.FIRST_COMPLETED)
                failed = [task for task in done if task.exception() is not None]
                for task in done.difference(failed):
                    given(pending.pop(task), task.result())
                for task in failed:
                    task.result()
                alive()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)


async def _patiently(client: "httpx2.AsyncClient", endpoint: Endpoint, path: str, body: Mapping[str, Any]) -> Any:
    """The reply to one request, asked as often as it takes and the recipe allows."""
    from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

    asking = AsyncRetrying(
        stop=stop_after_attempt(endpoint.attempts), wait=_pause, retry=retry_if_exception_type(_Busy), reraise=True
    )
    try:
        return await asking(_post, client, endpoint, path, body)
    except _Busy as busy:
        raise ServerDown(
            f"{endpoint.where}: {endpoint.url}: {busy}, also at the last of {endpoint.attempts} attempts"
        ) from None


def _pause(state: "RetryCallState") -> float:
    """Seconds: what the server asked for, else a random time from a range that doubles."""
    from tenacity import wait_random_exponential

    busy = state.outcome.exception() if state.outcome else None
    if isinstance(busy, _Busy) and busy.after is not None:
        return min(busy.after, _LONGEST_PAUSE_S)
    return float(wait_random_exponential(multiplier=0.5, max=_LONGEST_PAUSE_S)(state))


async def _post(client: "httpx2.AsyncClient", endpoint: Endpoint, path: str, body: Mapping[str, Any]) -> Any:
    import httpx2

    try:
        reply = await client.post(_address(endpoint, path), json=body)
    except httpx2.TransportError as error:
        raise _Busy(_named(error)) from None
    status, content = reply.status_code, _json(reply)
    if status in _BUSY or status >= 500:
        after = reply.headers.get("retry-after", "")
        raise _Busy(f"status {status}", float(after) if after.isdigit() else None)
    if status != 200:
        raise EvaluationError(f"{endpoint.where}: {endpoint.url}{path}: {refusal(status, content)}")
    if content is None:
        raise _Busy("an answer that is not JSON")
    return content


def refusal(status: int, content: Any) -> str:
    """What a server's refusal means, without its own words."""
    error = content.get("error", content) if isinstance(content, dict) else {}
    kinds = [str(error[name]) for name in ("type", "code") if isinstance(error, dict) and error.get(name)]
    meaning = {
        401: "the key is not accepted; see api_key_env",
        403: "the key is not accepted; see api_key_env",
        404: "it knows no such address or model",
    }.get(status, "the request is not accepted")
    return f"{meaning} (status {status}{''.join(f', {kind[:60]}' for kind in kinds)})"


def _settings(endpoint: Endpoint) -> dict[str, Any]:
    import httpx2

    return {
        "timeout": httpx2.Timeout(endpoint.timeout_s, connect=min(endpoint.timeout_s, 10.0)),
        "limits": httpx2.Limits(max_connections=endpoint.at_once),
        "headers": {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else None,
        "trust_env": not endpoint.local,
    }


def _address(endpoint: Endpoint, path: str) -> str:
    """path: below `/v1`, or from the server's root if it begins with two slashes."""
    return endpoint.url.removesuffix("/v1") + path[1:] if path.startswith("//") else endpoint.url + path


def _json(reply: "httpx2.Response") -> Any:
    try:
        return reply.json()
    except ValueError:
        return None


def _named(error: Exception) -> str:
    """A transport's error by its name: its words may hold an address with a proxy's password."""
    return f"no answer ({type(error).__name__})"
