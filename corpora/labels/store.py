"""The database of labels: questions and events, to which is added and from which nothing is taken.

`<home>/labels/<name>.sqlite`, or the database that `TEMPER_LABELS` names by its URL, which holds all names. What `add`
has returned from is on disk; an event that comes twice is kept once. What the events mean is left to `events`.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.labels.events import Event, Question, Refused, must_fit
from lineage.errors import CorpusError
from lineage.hashing import fingerprint
from recipes.errors import FAILED

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

DATABASE = "TEMPER_LABELS"
_BUSY_SECONDS = 30


class Contradicted(Refused):
    """Another event has this id."""


class Unavailable(CorpusError):
    """The database does not answer; the same call may do later."""

    status = FAILED


class Labels:
    """Labels of one name. new: make the database if it is not there. Raises CorpusError."""

    def __init__(self, home: Path, name: str, *, new: bool = False) -> None:
        self.name, self._place = name, folder_of(home) / f"{name}.sqlite"
        self._engine = self._connect(new)
        if new or os.environ.get(DATABASE):
            with self._begin() as connection:
                from sqlalchemy.schema import CreateTable

                for table in _tables():
                    connection.execute(CreateTable(table, if_not_exists=True))

    def add_questions(self, questions: Iterable[Question]) -> None:
        """Those that are there stay."""
        with self._begin() as connection:
            self._ask(connection, questions)

    def add(self, event: Event, question: Question | None = None) -> bool:
        """Keep an event, with its question if that is new; False if it was there. It is on disk on return.

        Raises Refused for one that does not fit its question, Contradicted if its id has another content, Unavailable.
        """
        with self._begin() as connection:
            if question is not None:
                self._ask(connection, [question])
            if event.kind == "undo":
                self._must_be_own(connection, event)
            else:
                must_fit(event, self._question(connection, event.question))
            at = event.at or datetime.now(UTC).isoformat(timespec="milliseconds")
            row = {**vars(event), "at": at, "payload": _text(event.payload), "labels": self.name}
            _text(row)
            if "\x00" in f"{event.id}{event.annotator}{event.comment}":
                raise Refused("id, annotator or comment holds a NUL character")
            table = _tables()[1]
            if connection.execute(self._insert(table).returning(table.c.id), row).first() is not None:
                return True
            known = self._events(connection, event.id)
        if known[0].content != event.content:
            raise Contradicted(f"id '{event.id}' is that of another event; give every event an id of its own")
        return False

    def questions(self) -> dict[str, Question]:
        """By id. A question is sensitive if it was ever said to be."""
        from sqlalchemy import select

        table = _tables()[0]
        with self._begin() as connection:
            chosen = select(table.c.id, table.c.content).where(table.c.labels == self.name)
            found = connection.execute(chosen.order_by(table.c.id, table.c.sensitive)).all()
        return {id_: Question.of_json(json.loads(content)) for id_, content in found}

    def events(self) -> list[Event]:
        """In the order in which they were kept."""
        with self._begin() as connection:
            return self._events(connection)

    def _events(self, connection: "Connection", id_: str | None = None) -> list[Event]:
        from sqlalchemy import select

        table = _tables()[1]
        names = [column for column in table.c if column.name not in ("labels", "place")]
        chosen = select(*names).where(table.c.labels == self.name).order_by(table.c.place)
        found = connection.execute(chosen if id_ is None else chosen.where(table.c.id == id_)).mappings()
        return [Event(**{**row, "payload": json.loads(row["payload"])}) for row in found]

    def _question(self, connection: "Connection", id_: str | None) -> Question:
        from sqlalchemy import select

        table = _tables()[0]
        chosen = select(table.c.content).where(table.c.labels == self.name, table.c.id == id_)
        content = connection.execute(chosen.limit(1)).scalar()
        if content is None:
            raise Refused("question: there is none of this id")
        return Question.of_json(json.loads(content))

    def _must_be_own(self, connection: "Connection", event: Event) -> None:
        undone = event.payload.get("event")
        if list(event.payload) != ["event"] or not isinstance(undone, str):
            raise Refused("payload: event is the id of what is undone")
        if any(one.annotator != event.annotator or one.kind == "undo" for one in self._events(connection, undone)):
            raise Refused("payload: event is an undo, or somebody else's; what can be undone is a verdict of your own")

    def _ask(self, connection: "Connection", questions: Iterable[Question]) -> None:
        kept = [
            {"labels": self.name, "id": one.id, "sensitive": int(one.sensitive), "content": _text(one.as_json())}
            for one in questions
        ]
        if kept:
            connection.execute(self._insert(_tables()[0]), kept)

    def _insert(self, table: "Table") -> Any:
        """Adds what is not there."""
        from sqlalchemy.dialects import postgresql, sqlite

        dialect: Any = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        return dialect.insert(table).on_conflict_do_nothing()

    def _connect(self, new: bool) -> "Engine":
        from sqlalchemy import URL, create_engine, event, make_url
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError

        if url := os.environ.get(DATABASE):
            try:
                if make_url(url).get_backend_name() not in ("postgresql", "sqlite"):
                    raise CorpusError(f"{DATABASE}: a database is PostgreSQL or SQLite")
                engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
            except ModuleNotFoundError as error:
                raise CorpusError(
                    f"{DATABASE} needs {error.name}; install it with `pip install -e '.[postgres]'`"
                ) from None
            except (ArgumentError, NoSuchModuleError):
                raise CorpusError(f"{DATABASE} is no database URL, as postgresql+psycopg://host/name") from None
        else:
            if not new and not self._place.is_file():
                others = ", ".join(sorted(path.stem for path in self._place.parent.glob("*.sqlite"))) or "none"
                raise CorpusError(
                    f"no labels are called '{self.name}' (there are: {others}); `temper label {self.name} --answers "
                    f"FILE.jsonl` asks for some"
                )
            if new:
                self._make()
            address = URL.create("sqlite", database=str(self._place))
            engine = create_engine(address, connect_args={"timeout": _BUSY_SECONDS}, hide_parameters=True)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _durable)
        return engine

    def _make(self) -> None:
        """An empty file that only its owner may read; SQLite gives those beside it the same rights."""
        try:
            self._place.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._place, os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError as error:
            raise CorpusError(f"{self._place}: {error.strerror}") from None

    @contextmanager
    def _begin(self) -> "Iterator[Connection]":
        """A transaction. A failure names no database: its own words may quote a URL and what was to be written."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            kind = type(getattr(error, "orig", None) or error).__name__
            where = DATABASE if os.environ.get(DATABASE) else self._place
            raise Unavailable(f"{where}: the labels cannot be read or written ({kind}); nothing was kept") from None


def folder_of(home: Path) -> Path:
    return home / "labels"


def digest_of(rows: Iterable[dict[str, Any]]) -> str:
    return fingerprint(list(rows))


def _durable(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _text(value: Any) -> str:
    """JSON in ASCII, which any database keeps as it is. Raises Refused for halves of characters."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused("a text holds half a character (a lone surrogate)") from None
    return json.dumps(value, sort_keys=True)


@cache
def _tables() -> "tuple[Table, Table]":
    from sqlalchemy import BigInteger, Column, Identity, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

    known = MetaData()
    questions = Table(
        "questions",
        known,
        Column("labels", String(63), primary_key=True),
        Column("id", String(64), primary_key=True),
        Column("sensitive", Integer, primary_key=True),
        Column("content", Text, nullable=False),
    )
    texts = ("at", "annotator", "kind", "question", "payload", "comment", "origin")
    events = Table(
        "events",
        known,
        Column("place", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
        Column("labels", String(63), nullable=False),
        Column("id", String(100), nullable=False),
        *(Column(name, Text, nullable=name == "question") for name in texts),
        UniqueConstraint("labels", "id"),
    )
    Index("events_labels", events.c.labels)
    return questions, events
