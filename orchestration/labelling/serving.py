"""`temper label`: the server of the page, until Ctrl-C. Its link, token and port are the same the next time."""

import json
import os
import re
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from corpora.feedback.asking import Ask, Asked, Plan
from corpora.labels.store import Labels, folder_of
from lineage.errors import CorpusError
from orchestration.known_hosts import LOOPBACK
from orchestration.labelling.app import Labelling, application

_TOKEN = re.compile(r"[A-Za-z0-9_.~-]{16,}")
"""What stands in the fragment of a link, in a cookie and in a header as it is."""
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - what a user may ask for
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses of documentation (RFC 5737, RFC 3849), which the way out leads to."""
_PORTS = {"http": 80, "https": 443}


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
    public_url: str | None,
    token: str | None,
    sensitive: bool,
) -> None:
    """asked: None for the questions that are there. public_url: where people open the page, if a proxy stands before
    it. Raises CorpusError: a port that is taken, a token or a public URL that no browser would send back."""
    import uvicorn

    if token is not None and not _TOKEN.fullmatch(token):
        raise CorpusError(
            "--token needs 16 or more of the characters A-Z a-z 0-9 _ . ~ - and no others, or leave it out"
        )
    origin = None if public_url is None else origin_of(public_url)
    shown_first = "" if instructions is None else _text_of(instructions)
    labels = Labels(home, name, new=True)
    if asked is None:
        known = [one for one in labels.questions().values() if len(one.answers) > 1]
        asked = Asked([one for one in known if ask != "choice" or len(one.answers) == 2], {})
    chosen = {one.id: one for one in asked.questions if sensitive or not one.sensitive}
    labels.add_questions(chosen.values())
    hosts = names_of(host)
    kept = folder_of(home) / f"{name}.link.json"
    known_token, known_port = _read(kept)
    listening = _listen(host, port or known_port, may_move=not port)
    told, at = token or known_token or secrets.token_urlsafe(24), listening.getsockname()[1]
    if token is None:
        _write(kept, told, at)
    page = Labelling(
        labels,
        Plan(chosen, asked.disagreement, at_random, judges, ask),
        told,
        hosts if origin is None else hosts | {str(urlsplit(origin).hostname)},
        shown_first,
        origin,
    )
    config = uvicorn.Config(
        application(page), log_level="warning", access_log=False, server_header=False, proxy_headers=False
    )
    hidden = len(asked.questions) - len(chosen)
    with suppress(KeyboardInterrupt):
        print(f"{len(chosen)} questions{f', {hidden} sensitive ones left out (--sensitive)' if hidden else ''}")
        print(f"Page      {origin or _address(host, at)}/#{told}")
        print("Feedback  POST /feedback there, with Authorization: Bearer and what stands behind #")
        if host not in LOOPBACK and not (origin or "").startswith("https:"):
            print("Whoever has this link may judge, and what is shown travels as it is: put TLS before it.")
        print("Ctrl-C stops; the same command goes on.", flush=True)
        uvicorn.Server(config).run([listening])


def names_of(host: str) -> frozenset[str]:
    """By what a browser may call a server that listens there: of all addresses those that this machine knows of."""
    names = LOOPBACK | {host.lower(), socket.gethostname().lower()}
    if host not in _EVERYWHERE:
        return names
    own, found = socket.gethostname(), {socket.getfqdn().lower()}
    with suppress(OSError):
        found |= {str(address[0]) for *_, address in socket.getaddrinfo(own, None)}
    for family, elsewhere in _ELSEWHERE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as way_out:
            way_out.connect((elsewhere, 9))  # sends nothing
            found.add(str(way_out.getsockname()[0]))
    return names | {name.partition("%")[0] for name in found}


def origin_of(url: str) -> str:
    """The origin of a page's URL as a browser writes it. Raises CorpusError."""
    try:
        parts = urlsplit(url)
        name, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:  # also UnicodeError
        name, port, parts = "", None, urlsplit("")
    more = parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None
    if parts.scheme not in _PORTS or not re.fullmatch(r"[\w.:-]+", name, re.ASCII) or more:
        raise CorpusError(f"--public-url {url}: expected a scheme and a name, as https://label.example.com")
    shown = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{shown}" + ("" if port in (None, _PORTS[parts.scheme]) else f":{port}")


def _address(host: str, port: int) -> str:
    name = socket.gethostname() if host in _EVERYWHERE else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CorpusError(f"--instructions {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"--instructions {file}: no UTF-8 text at byte {error.start}") from None


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
    """The token and the port of the last time, if there was one and both can be used."""
    try:
        found = json.loads(file.read_bytes())
        token, port = found["token"], found["port"]
        usable = _TOKEN.fullmatch(token) is not None and type(port) is int and 0 < port < 1 << 16
    except (OSError, ValueError, KeyError, TypeError):
        return "", 0
    return (token, port) if usable else ("", 0)


def _write(file: Path, token: str, port: int) -> None:
    """Only its owner may read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as opened:
        json.dump({"token": token, "port": port}, opened)
