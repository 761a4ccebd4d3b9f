"""Dagster's web server with the pages of artefacts beside its UI: `python -m orchestration.webserver`, same options.

A link that Dagster keeps with a materialization must still open after a restart on another port. So pages are served
by the very server that shows the link, under `/temper`, and links to them have no address. Dagster offers no plug-in
for that; its web server is a class whose routes and middleware are meant to be extended by a subclass.
`python -m orchestration.webserver dev …` is `dagster dev` with this web server in the place of its own.
"""

import sys
from collections.abc import Sequence
from subprocess import Popen
from typing import Any
from urllib.parse import urlsplit

from dagster._cli import dev
from dagster_shared.ipc import open_ipc_subprocess
from dagster_webserver import app, cli
from dagster_webserver.webserver import DagsterWebserver
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from assets.addresses import dagster_url
from lineage.store import home_folder
from orchestration.pages import routes

_THEIRS, _OURS = "dagster_webserver", "orchestration.webserver"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class KnownHosts:
    """Answers 403 to a request by a name that is not this server's: a foreign page may let its own name lead here."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and _host(scope) not in self._hosts:
            refusal = PlainTextResponse("This server does not answer to that name.\n", 403)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


class Webserver(DagsterWebserver[Any, Any]):
    """Dagster's own, pages first: its last route takes every path."""

    def build_routes(self) -> list[BaseRoute]:
        return [*routes(home_folder()), *super().build_routes()]  # type: ignore[no-untyped-call]

    def build_middleware(self) -> list[Middleware]:
        return [Middleware(KnownHosts, hosts=known_hosts()), *super().build_middleware()]


def known_hosts() -> frozenset[str]:
    """Loopback, and the host of the address that `TEMPER_DAGSTER_URL` gives the UI."""
    named = urlsplit(dagster_url()).hostname
    return _LOOPBACK | {named} if named else _LOOPBACK


def main() -> None:
    if sys.argv[1:2] == ["dev"]:
        del sys.argv[1]
        dev.open_ipc_subprocess = _with_ours  # type: ignore[attr-defined]
        dev.dev_command()
    else:
        app.DagsterWebserver = Webserver  # type: ignore[attr-defined]
        cli.main()  # type: ignore[no-untyped-call]


def _with_ours(parts: Sequence[str], **more: Any) -> Popen[Any]:
    return open_ipc_subprocess([_OURS if part == _THEIRS else part for part in parts], **more)


def _host(scope: Scope) -> str | None:
    try:
        return urlsplit(f"//{Headers(scope=scope).get('host', '')}").hostname
    except ValueError:
        return None


if __name__ == "__main__":
    main()
