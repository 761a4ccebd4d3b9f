"""The artefact store: work folders, sealed objects, refs.

Work happens in `objects/<recipe>/<node>/<fingerprint>.work/`. `seal` writes `.record.json` last and
renames the folder, so an object either is complete or does not exist. The record holds the
fingerprint *and its payload*, so that a difference between two requests can be explained field by
field. A work folder outlives a crash: the next attempt finds it and may resume. Whoever wants what another process is
making waits for it, as long as that one lives, and then looks again. What is made again is sealed beside the object
that is there, in `<fingerprint>.again/`, and takes its place only then (`settle`).

Local files only, through calls that fsspec could serve as well.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from lineage.errors import StoreError
from lineage.files import empty, fsync, write_json
from lineage.hashing import file_digest, fingerprint, tree_digest
from lineage.holding import holding, tell_on_stderr
from lineage.provenance import provenance
from recipes.errors import TemperError

RECORD = ".record.json"
RECORD_SCHEMA = 1

Kept = Callable[["Artifact"], str | None]
"""Says what rests on an artefact, so that it must stay; None if nothing does."""


@dataclass(frozen=True)
class Artifact:
    """Handle of a sealed artefact: what Dagster assets hand to one another instead of bytes."""

    recipe: str
    node: str
    fingerprint: str
    digest: str
    path: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    overridden: bool = False
    reused: bool = False
    again: Literal["same bytes as before", "other bytes than before"] | None = None
    """What came of making it again; None if it was not there before."""

    @property
    def record(self) -> dict[str, Any]:
        """The whole record, read from disk."""
        return _read_json(self.path / RECORD)

    @property
    def failed_checks(self) -> list[str]:
        """Names of the blocking checks in `metrics["checks"]` that did not pass."""
        checks = self.metrics.get("checks", {})
        return [name for name, check in checks.items() if check["blocking"] and not check["passed"]]


@dataclass(frozen=True)
class Request:
    """What is asked for: its fingerprint is the artefact's identity.

    payload: JSON of the node's config without `execution`, the digests of its inputs and the
    stage's own VERSION. `overridden` marks a launch override, which must never be promoted unseen.
    """

    recipe: str
    node: str
    payload: dict[str, Any]
    overridden: bool = False

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.payload)


class Store:
    """Artefacts under one home folder (`TEMPER_HOME`, by default `.temper` in the working folder)."""

    def __init__(self, home: Path) -> None:
        self.home = home.resolve()

    def object_path(self, request: Request) -> Path:
        return self.home / "objects" / request.recipe / request.node / request.fingerprint

    def work_path(self, request: Request) -> Path:
        return self.object_path(request).with_name(request.fingerprint + ".work")

    def again_path(self, request: Request) -> Path:
        return self.object_path(request).with_name(request.fingerprint + ".again")

    def find(self, request: Request, *, reused: bool = True) -> Artifact | None:
        """The sealed artefact of this request, or None. Raises StoreError if it is damaged.

        `overridden` is the request's: what a launch override once built is canonical when the recipe itself asks.
        """
        path = self.object_path(request)
        if not (path / RECORD).is_file() and not self._finish_swap(request):
            return None
        return replace(self.open(path, reused=reused), overridden=request.overridden)

    def open(self, path: Path, *, reused: bool = True) -> Artifact:
        """Handle of a sealed folder; checks that every file is there with its recorded size."""
        artifact, record = self._recorded(path)
        for name, entry in record["files"].items():
            file = path / name
            if not file.is_file() or file.stat().st_size != entry["size"]:
                raise StoreError(f"{file}: missing or not {entry['size']} bytes; delete {path} to build it again")
        return replace(artifact, reused=reused)

    def verify(self, artifact: Artifact) -> None:
        """Compare every byte with the record. Raises StoreError that names the first bad file."""
        for name, entry in artifact.record["files"].items():
            if file_digest(artifact.path / name) != entry["sha256"]:
                raise StoreError(f"{artifact.path / name}: its bytes are not those recorded")

    @contextmanager
    def building(
        self,
        request: Request,
        tell: Callable[[str], None] = tell_on_stderr,
        still: Callable[[], object] = lambda: None,
    ) -> Iterator[Path]:
        """Hold the request's work folder, after whoever holds it; by then `find` may have what was asked for.

        tell, still: see `lineage.holding.holding`.
        """
        work = self.work_path(request)
        with holding(work.with_suffix(".lock"), f"{request.recipe}/{request.node}", tell, still):
            work.mkdir(exist_ok=True)
            try:
                yield work
            finally:
                with suppress(OSError):  # sealed, or something in it that the next attempt may resume from
                    work.rmdir()

    def turn(self, request: Request, tell: Callable[[str], None]) -> AbstractContextManager[None]:
        """Held by a process that has another one build the artefact; wait for it as for the work folder."""
        path = self.object_path(request).with_suffix(".turn.lock")
        return holding(path, f"{request.recipe}/{request.node}", tell)

    def seal(
        self,
        request: Request,
        *,
        config: dict[str, Any],
        metrics: dict[str, Any],
        inputs: dict[str, str],
        informative: tuple[str, ...] = (),
        drop: tuple[str, ...] = (),
        again: bool = False,
    ) -> Artifact:
        """Turn the request's work folder into an immutable object and return its handle.

        What another process has sealed by now stays; with `again` the new one is put beside it, for `settle`.

        config: the resolved config that really ran, `execution` included. metrics: JSON values.
        inputs: digest by input name. informative: glob patterns of files kept and checked but not
        part of the digest (times, logs). drop: names in the work folder to leave out and delete
        (resumable checkpoints).
        """
        work = self.work_path(request)
        final = self.again_path(request) if again else self.object_path(request)
        if not again and (final / RECORD).is_file():
            shutil.rmtree(work)
            return self.open(final, reused=False)
        files: dict[str, dict[str, Any]] = {}
        for file in sorted(p for p in work.rglob("*") if p.is_file() and p.name != RECORD):
            name = file.relative_to(work).as_posix()
            if name.partition("/")[0] in drop:
                continue
            files[name] = {
                "size": file.stat().st_size,
                "sha256": file_digest(file),
                "informative": any(Path(name).match(pattern) for pattern in informative),
            }
            fsync(file)
        record = {
            "schema": RECORD_SCHEMA,
            "recipe": request.recipe,
            "node": request.node,
            "fingerprint": request.fingerprint,
            "payload": request.payload,
            "digest": tree_digest((n, e["sha256"]) for n, e in files.items() if not e["informative"]),
            "inputs": inputs,
            "config": config,
            "metrics": metrics,
            "overridden": request.overridden,
            "provenance": provenance(),
            "files": files,
        }
        write_json(work / RECORD, record)
        if final.exists():
            shutil.rmtree(final)
        os.rename(work, final)
        fsync(final.parent)
        for name in drop:  # only now: a kill before the rename can still resume from them
            shutil.rmtree(final / name, ignore_errors=True)
        return self.open(final, reused=False)

    def settle(self, request: Request, kept: Kept) -> Artifact:
        """The object of a request that was sealed `again`: the new one, in the place of the old one.

        The old one stays where `kept` says that something rests on it, unless it is damaged and the new one has its
        bytes. Raises StoreError, and drops the new one, if these bytes are others.
        """
        made, held = self.open(self.again_path(request)), self._held(request)
        rests = kept(held) if held is not None else None
        if held is not None and rests is not None and held.digest != made.digest:
            shutil.rmtree(made.path)
            raise StoreError(
                f"{request.recipe}/{request.node}: made again it has other bytes ({made.digest[:12]}) than "
                f"{held.path} ({held.digest[:12]}), which stay: {rests} rests on them. Without force they are used as "
                "they are; for a new artefact change the recipe, its seed say"
            )
        if held is not None and rests is not None and self._whole(held):
            shutil.rmtree(made.path)
        else:
            self._swap(request)
        found = replace(self.open(self.object_path(request), reused=False), overridden=request.overridden)
        if held is None:
            return found
        same = held.digest == found.digest
        return replace(found, again="same bytes as before" if same else "other bytes than before")

    def build(
        self,
        request: Request,
        make: Callable[[Path], dict[str, Any]],
        *,
        config: dict[str, Any],
        inputs: dict[str, str],
        ref: str | None = None,
        force: bool = False,
        kept: Kept = lambda _: None,
        informative: tuple[str, ...] = (),
        unfinished: str | None = None,
        tell: Callable[[str], None] = tell_on_stderr,
    ) -> Artifact:
        """The sealed artefact of `request`: found, or made by `make(empty work folder) -> metrics`.

        For nodes that are made in this process; training and evaluation run through a job. force: make it even if it
        is there, and then see `settle`, also for `kept`. informative: see `seal`.
        unfinished: a folder in the work folder that an attempt which ended early leaves to the next one.
        tell: where to say for whom this waits.
        """
        found = None if force else self.find(request)
        if found is None:
            with self.building(request, tell) as work:
                found = None if force else self.find(request)
                if found is None:
                    empty(work, unfinished)
                    try:
                        metrics = make(work)
                    except BaseException:
                        empty(work, unfinished)
                        raise
                    recorded: dict[str, Any] = {"config": config, "metrics": metrics, "inputs": inputs}
                    found = self.seal(request, **recorded, informative=informative, again=force)
                    if force:
                        found = self.settle(request, kept)
        self.point(ref or request.node, found)
        return found

    def point(self, ref: str, artifact: Artifact) -> None:
        """Move the ref `refs/<recipe>/<ref>.json`; what is overridden or fails a blocking check never becomes a ref."""
        if artifact.overridden or artifact.failed_checks:
            return
        target = artifact.path.relative_to(self.home).as_posix()
        write_json(
            self._ref_path(artifact.recipe, ref),
            {"object": target, "fingerprint": artifact.fingerprint, "digest": artifact.digest},
        )

    def ref(self, recipe: str, ref: str) -> Artifact | None:
        """The artefact a ref points to, or None if it was never made or is gone."""
        path = self._ref_path(recipe, ref)
        if not path.is_file():
            return None
        target = self.home / _read_json(path)["object"]
        return replace(self.open(target), overridden=False) if (target / RECORD).is_file() else None

    def _recorded(self, path: Path) -> tuple[Artifact, dict[str, Any]]:
        """Handle and record of a sealed folder, whatever has become of its files."""
        record = _read_json(path / RECORD)
        try:
            artifact = Artifact(
                recipe=record["recipe"],
                node=record["node"],
                fingerprint=record["fingerprint"],
                digest=record["digest"],
                path=path,
                metrics=dict(record["metrics"]),
                overridden=record["overridden"],
            )
            datetime.fromisoformat(record["provenance"]["created_at"])
            _ = [(entry["size"], entry["sha256"]) for entry in record["files"].values()]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise StoreError(f"{path / RECORD}: not a whole record; delete {path} to build it again") from None
        return artifact, record

    def _held(self, request: Request) -> Artifact | None:
        """What is sealed now, perhaps damaged; None without a record that can be read."""
        try:
            return self._recorded(self.object_path(request))[0]
        except StoreError:
            return None

    def _whole(self, artifact: Artifact) -> bool:
        try:
            self.verify(self.open(artifact.path))
        except StoreError:
            return False
        return True

    def _swap(self, request: Request) -> None:
        """Put what was sealed again into the object's place. A folder cannot be replaced in one step: see below."""
        old = self._old_path(request)
        shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            os.rename(self.object_path(request), old)
        self._put_in_place(request)
        shutil.rmtree(old, ignore_errors=True)

    def _finish_swap(self, request: Request) -> bool:
        """Whether a swap that was killed between its two steps could be finished."""
        if not self._old_path(request).is_dir():
            return False
        self._put_in_place(request)
        return (self.object_path(request) / RECORD).is_file()

    def _put_in_place(self, request: Request) -> None:
        with suppress(FileNotFoundError):  # who waits for the object may have done it
            os.rename(self.again_path(request), self.object_path(request))
        fsync(self.object_path(request).parent)

    def _old_path(self, request: Request) -> Path:
        return self.object_path(request).with_name(request.fingerprint + ".old")

    def _ref_path(self, recipe: str, ref: str) -> Path:
        return self.home / "refs" / recipe / f"{ref}.json"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read: {error}") from None
    return value


def home_folder() -> Path:
    """The state folder: `TEMPER_HOME`, else `.temper` in the working folder. Raises TemperError for one nobody can use.

    Dagster and MLflow put it into database addresses, in which `?` begins their options and `%` an escape.
    """
    home = Path(os.environ.get("TEMPER_HOME") or ".temper").resolve()
    for sign in "?%":
        if sign in str(home):
            raise TemperError(
                f"{home}: a path with '{sign}' cannot be written into a database's address; "
                "set TEMPER_HOME to a folder without it"
            )
    return home
