"""`temper label`: the server of the page, until Ctrl-C. Its link, token and port are the same the next time."""

import json
import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path

from corpora.feedback.asking import Ask, Asked, Plan
from corpora.labels.store import Labels, folder_of
from lineage.errors import CorpusError
from orchestration.known_hosts import LOOPBACK
from orchestration.labelling.app import Labelling, application

_SHORTEST_TOKEN = 16


def serve(
    home: Path,
    name: str,
    asked: Asked | None,
    *,
    ask: Ask,
    instructions: Path | None,
    at_random: float,
    judges: int,
    host: str,
    port: int,
    token: str | None,
    sensitive: bool,
) -> None:
    """asked: None for the questions that are there. Raises CorpusError: a port that is taken, a token too short."""
    import uvicorn

    if token is not None and len(token) < _SHORTEST_TOKEN:
        raise CorpusError(f"--token has {len(token)} characters; it needs {_SHORTEST_TOKEN}, or leave it out")
    if instructions is not None and not instructions.is_file():
        raise CorpusError(f"{instructions}: no such file")
    labels = Labels(home, name, new=True)
    if asked is None:
        known = [one for one in labels.questions().values() if len(one.answers) > 1]
        asked = Asked([one for one in known if ask != "choice" or len(one.answers) == 2], {})
    chosen = {one.id: one for one in asked.questions if sensitive or not one.sensitive}
    labels.add_questions(chosen.values())
    kept = folder_of(home) / f"{name}.link.json"
    known_token, known_port = _read(kept)
    listening = _listen(host, port or known_port, may_move=not port)
    told, at = token or known_token or secrets.token_urlsafe(24), listening.getsockname()[1]
    if token is None:
        _write(kept, told, at)
    page = Labelling(
        labels,
        Plan(chosen, asked.disagreement, at_random, judges),
        ask,
        told,
        LOOPBACK | {host.lower(), socket.gethostname().lower()},
        instructions.read_text(encoding="utf-8") if instructions else "",
    )
    config = uvicorn.Config(
        application(page), log_level="warning", access_log=False, server_header=False, proxy_headers=False
    )
    hidden = len(asked.questions) - len(chosen)
    with suppress(KeyboardInterrupt):
        print(f"{len(chosen)} questions{f', {hidden} sensitive ones left out (--sensitive)' if hidden else ''}")
        print(f"Page      http://{f'[{host}]' if ':' in host else host}:{at}/#{told}")
        print("Feedback  POST /feedback there, with Authorization: Bearer and what stands behind #")
        if host not in LOOPBACK:
            print("Whoever has this link may judge, and what is shown travels as it is: put TLS before it.")
        print("Ctrl-C stops; the same command goes on.", flush=True)
        uvicorn.Server(config).run([listening])


def _listen(host: str, port: int, may_move: bool) -> socket.socket:
    """may_move: to any free port, if this one is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        if may_move and port:
            return _listen(host, 0, may_move=False)
        raise CorpusError(f"{host}:{port}: {error.strerror}; choose another with --host or --port") from None
    found.listen()
    return found


def _read(file: Path) -> tuple[str, int]:
    """The token and the port of the last time, if there was one."""
    try:
        found = json.loads(file.read_bytes())
        return str(found["token"]), int(found["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", 0


def _write(file: Path, token: str, port: int) -> None:
    """Only its owner may read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as opened:
        json.dump({"token": token, "port": port}, opened)
