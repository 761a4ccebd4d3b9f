"""The application: who may come in, the next question, what is said of it, and feedback from a chat product.

Whoever has the token may judge. A page brings it once, from the fragment of the link, and has it as a cookie from then
on; a program sends it with every request. An answer 200 to a judgement says that it is on disk.
"""

import secrets
import time
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote, urlsplit

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from markupsafe import Markup
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from corpora.feedback.asking import Plan, edit_of, question_of_answer
from corpora.labels.events import MOST_STARS, Event, Question, Refused, standing
from corpora.labels.store import Contradicted, Labels, Unavailable
from lineage.errors import CorpusError
from lineage.hashing import text_digest
from orchestration.known_hosts import KnownHosts
from orchestration.labelling.rendering import markdown, page, pretty, shown
from recipes.terminal import harmless

LARGEST = 1 << 20
"""Bytes of a request."""
_LONGEST_COMMENT = 10_000
_LONGEST_NAME = 64
_LOOKED_AT_SECONDS = 600.0
_KEPT_SECONDS = 90 * 24 * 3600
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_ANNOTATOR = "temper_annotator"


def _a_name(name: str) -> str:
    name = unicodedata.normalize("NFC", name.strip())
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a name has 1 to {_LONGEST_NAME} characters that can be seen")
    return name


Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]
Annotator = Annotated[str, AfterValidator(_a_name)]
Comment = Annotated[str, Field(max_length=_LONGEST_COMMENT)]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Entry(_Sent):
    annotator: Annotator
    token: str = ""


class Judgement(_Sent):
    id: Id
    annotator: Annotator
    kind: Literal["choice", "stars", "rank", "skip", "undo"]
    question: str | None = None
    payload: dict[str, Any] = {}
    comment: Comment = ""


class Feedback(_Sent):
    id: Id
    annotator: Annotator
    prompt: str | list[dict[str, str]] = Field(min_length=1)
    answer: str = Field(min_length=1)
    thumb: Literal["up", "down"] | None = None
    edit: str | None = None
    comment: Comment = ""
    sensitive: bool = False

    @model_validator(mode="after")
    def _says_one_thing(self) -> "Feedback":
        if (self.thumb is None) == (self.edit is None):
            raise ValueError("either thumb, 'up' or 'down', or edit, the better text")
        return self


class Withdrawal(_Sent):
    """Feedback that takes back another."""

    id: Id
    annotator: Annotator
    undo: Id


@dataclass(frozen=True)
class Labelling:
    """What is served: the labels, what is asked of them, and to whom. origin: of the page where people elsewhere open
    it, as https://label.example.com."""

    labels: Labels
    plan: Plan
    token: str
    hosts: frozenset[str]
    instructions: str = ""
    origin: str | None = None
    looked_at: dict[str, tuple[str, float]] = field(default_factory=dict)
    """By question who was shown it last, and when."""

    @property
    def cookie(self) -> str:
        return f"temper_label_{self.labels.name}"

    def knows(self, token: str) -> bool:
        return secrets.compare_digest(token.encode(), self.token.encode())

    def who(self, request: Request) -> str | None:
        """The annotator whose browser has the token; None if it has not, or nobody has said a name."""
        name = unquote(request.cookies.get(_ANNOTATOR, ""))
        return name if name and self.knows(request.cookies.get(self.cookie, "")) else None

    def unasked(self, event: Event) -> str | None:
        """Why an event is no answer to what is asked now, if it is none."""
        if event.kind != "undo" and event.question not in self.plan.questions:
            return "question: it is not among those asked now"
        if event.kind not in (self.plan.ask, "skip", "undo"):
            return f"kind: '{self.plan.ask}' is asked now, not '{event.kind}'"
        return None

    def next(self, annotator: str, said: list[Event], wanted: str | None) -> Question | None:
        """The question that is wanted, if it is among those asked, else the next one."""
        since = time.monotonic() - _LOOKED_AT_SECONDS
        others = {id_ for id_, (name, at) in self.looked_at.items() if name != annotator and at > since}
        found = self.plan.questions.get(wanted or "") or self.plan.next(annotator, said, others)
        if found is not None:
            self.looked_at[found.id] = annotator, time.monotonic()
        return found

    def page(self, annotator: str, wanted: str | None) -> str:
        events = self.labels.events()
        said = standing(events)
        own = [event for event in said if event.annotator == annotator and self.plan.counts(event)]
        told = {
            "labels": self.labels.name,
            "annotator": annotator,
            "progress": self.plan.progress(annotator, said),
            "last": own[-1] if own else None,
            "instructions": markdown(self.instructions) if self.instructions else Markup(),
        }
        asked = self.next(annotator, said, wanted)
        if asked is None:
            return page("done", **told)
        answers = sorted(asked.answers, key=lambda answer: text_digest(f"{annotator}/{asked.id}/{answer.id}"))
        commented = [
            one.comment
            for one in events
            if one.annotator == annotator and one.question == asked.id and self.plan.counts(one)
        ]
        ask = self.plan.ask
        scale = MOST_STARS if ask == "stars" else len(answers)
        return page(
            "question",
            **told,
            ask=ask,
            comment=commented[-1] if commented else "",
            question=asked.id,
            prompt=[shown(message) for message in asked.prompt],
            tools=pretty(asked.tools) if asked.tools else None,
            answers=[(answer.id, shown(answer.message)) for answer in answers],
            scale=range(1, scale + 1),
        )


def application(served: Labelling) -> ASGIApp:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))

    def at_home(request: Request) -> None:
        """A page of another origin may send, with our cookies, what it likes."""
        origin = request.headers.get("origin", "")
        if origin != served.origin and urlsplit(origin).netloc != request.headers["host"]:
            raise HTTPException(403, "this request is from a page of another origin, or of none")

    def annotator(request: Request, _: Annotated[None, Depends(at_home)]) -> str:
        if (name := served.who(request)) is None:
            raise HTTPException(401, "open the link that `temper label` printed")
        return name

    def bearer(request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not served.knows(token.strip()):
            raise HTTPException(401, "expected Authorization: Bearer and the token", {"WWW-Authenticate": "Bearer"})

    @app.get("/")
    def question(request: Request, question: str | None = None) -> Response:
        if (name := served.who(request)) is None:
            return HTMLResponse(_entry(request), 401)
        return HTMLResponse(served.page(name, question))

    @app.get("/enter")
    def entry(request: Request) -> Response:
        return HTMLResponse(_entry(request))

    def _entry(request: Request) -> str:
        known = served.knows(request.cookies.get(served.cookie, ""))
        return page("enter", labels=served.labels.name, known=known, annotator=_named(request))

    @app.post("/enter", dependencies=[Depends(at_home)])
    def enter(request: Request, raw: Annotated[bytes, Depends(_body)]) -> Response:
        sent = Entry.model_validate_json(raw)
        token = sent.token or request.cookies.get(served.cookie, "")
        if not served.knows(token):
            raise HTTPException(401, "open the link that `temper label` printed")
        answer = Response(status_code=204)
        secure = request.headers["origin"].startswith("https:")
        for name, value in ((served.cookie, token), (_ANNOTATOR, quote(sent.annotator, safe=""))):
            answer.set_cookie(name, value, max_age=_KEPT_SECONDS, secure=secure, httponly=True, samesite="strict")
        return answer

    @app.post("/judgements")
    def judge(name: Annotated[str, Depends(annotator)], raw: Annotated[bytes, Depends(_body)]) -> dict[str, str]:
        sent = Judgement.model_validate_json(raw)
        if sent.annotator != name:
            raise HTTPException(403, f"this browser is {name}'s")
        event = Event(**sent.model_dump(), origin="page")
        why = served.unasked(event)
        if why is not None and all(one.content != event.content for one in served.labels.events() if one.id == sent.id):
            raise Refused(why)  # what is kept already may come again when something else is asked
        served.labels.add(event)
        return {"saved": sent.id}

    @app.post("/feedback", dependencies=[Depends(bearer)])
    def feedback(raw: Annotated[bytes, Depends(_body)]) -> dict[str, str]:
        if _takes_back(raw):
            withdrawn = Withdrawal.model_validate_json(raw)
            undo = Event(withdrawn.id, withdrawn.annotator, "undo", None, {"event": withdrawn.undo}, origin="http")
            served.labels.add(undo)
            return {"saved": withdrawn.id}
        sent = Feedback.model_validate_json(raw)
        asked = question_of_answer(sent.prompt, sent.answer, sent.sensitive)
        [answer] = asked.by_id
        kind: Literal["thumb", "edit"] = "edit" if sent.thumb is None else "thumb"
        payload = {"answer": answer, kind: sent.thumb or edit_of(asked, sent.edit or "")}
        served.labels.add(Event(sent.id, sent.annotator, kind, asked.id, payload, sent.comment, "http"), asked)
        return {"saved": sent.id}

    @app.exception_handler(HTTPException)
    def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(ValidationError)
    def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ValidationError)
        found = error.errors(include_url=False, include_input=False, include_context=False)
        told = [
            f"{'.'.join(map(str, one['loc'])) or 'the body'}: {one['msg'].removeprefix('Value error, ')}"
            for one in found
        ]
        return JSONResponse({"error": harmless("; ".join(told))}, 422)

    @app.exception_handler(CorpusError)
    def unfit(_request: Request, error: Exception) -> Response:
        status = 409 if isinstance(error, Contradicted) else 503 if isinstance(error, Unavailable) else 422
        return JSONResponse({"error": harmless(error)}, status)

    @app.exception_handler(ClientDisconnect)
    def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=400)

    return _Headers(KnownHosts(app, served.hosts))


def _named(request: Request) -> str:
    return unquote(request.cookies.get(_ANNOTATOR, ""))


def _takes_back(raw: bytes) -> bool:
    try:
        found = from_json(raw)
    except ValueError:
        return False
    return isinstance(found, dict) and "undo" in found


async def _body(request: Request) -> bytes:
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > LARGEST:
            raise HTTPException(413, f"a request has at most {LARGEST} bytes")
    return bytes(found)


class _Headers:
    """Tells the browser what no answer of this server may do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, sending)
