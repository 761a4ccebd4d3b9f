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
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from assets.addresses import dagster_url
from lineage.store import home_folder
from orchestration.known_hosts import LOOPBACK, KnownHosts
from orchestration.pages import routes

_THEIRS, _OURS = "dagster_webserver", "orchestration.webserver"


class Webserver(DagsterWebserver[Any, Any]):
    """Dagster's own, pages first: its last route takes every path."""

    def build_routes(self) -> list[BaseRoute]:
        return [*routes(home_folder()), *super().build_routes()]  # type: ignore[no-untyped-call]

    def build_middleware(self) -> list[Middleware]:
        return [Middleware(KnownHosts, hosts=known_hosts()), *super().build_middleware()]


def known_hosts() -> frozenset[str]:
    """Loopback, and the host of the address that `TEMPER_DAGSTER_URL` gives the UI."""
    named = urlsplit(dagster_url()).hostname
    return LOOPBACK | {named} if named else LOOPBACK


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


if __name__ == "__main__":
    main()
