"""A node of a recipe's graph as a value: what it is made from, what counts for its identity, how it is made.

Whoever asks what is stale, what a run would make or where an artefact comes from walks over nodes; whoever makes an
artefact gives a node what it is made from and carries out what it says. No scheduler is known here.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineage.hashing import fingerprint
from lineage.store import Artifact, Request, Store

_CODE_VERSION_CHARACTERS = 12


class Markdown(str):
    """Text that is shown to people as Markdown."""


def as_code(text: str) -> str:
    """Words of data or of a model, for Markdown: one line of code, in which nothing is a link or a picture."""
    return f"`{json.dumps(text, ensure_ascii=False)[1:-1].replace('`', 'ˋ')}`" if text else ""


@dataclass(frozen=True)
class Given:
    """What a node is made from at one time. artefacts: those of its upstream nodes, by name. tracking: MLflow's URI."""

    store: Store
    artefacts: Mapping[str, Artifact] = field(default_factory=dict)
    tracking: str = ""

    def __getitem__(self, name: str) -> Artifact:
        return self.artefacts[name]

    @property
    def cache(self) -> Path:
        """Where downloads are kept."""
        return self.store.home / "cache"


class Node(ABC):
    """One node. Its kinds, each in the table of its subject, say what is their own.

    name: below the recipe's, as `clean/chat`; what points to the newest artefact is called so, too. kind: what the
    payload calls it. checks: the kind that its checks are declared under, None without checks. job: the kind of job
    that makes it in a process of its own; None if `make` does, in the process that asks. informative, unfinished: as
    `Store.build` takes them. logged: files that the MLflow run keeps, too. overridden: it is not as the recipe says.
    """

    kind: str
    checks: str | None = None
    formats: frozenset[str] = frozenset({"parquet"})
    job: str | None = None
    gpu = False
    automatic = False
    launchable = False
    informative: tuple[str, ...] = ()
    unfinished: str | None = None
    logged: tuple[str, ...] = ()
    overridden = False
    observes: tuple[str, ...] = ()

    def __init__(
        self, recipe: str, name: str, description: str, upstream: tuple[str, ...] = (), *, folder: str | None = None
    ) -> None:
        """folder: where its artefacts lie in the store below the recipe, if not under its own name."""
        self.recipe, self.name, self.description = recipe, name, description
        self.upstream, self.folder = tuple(dict.fromkeys(upstream)), folder or name

    @abstractmethod
    def version(self) -> Mapping[str, Any]:
        """What decides whether code or recipe have changed, without looking at any input."""

    def identity(self, given: Given) -> Mapping[str, Any]:
        """What counts beside kind and inputs: the section of the recipe and the versions of algorithms."""
        return self.version()

    def takes(self, given: Given) -> Mapping[str, Artifact]:
        """The artefacts that count as inputs, by the name of the input."""
        return {name: given[name] for name in self.upstream}

    def outside(self, given: Given) -> Mapping[str, str]:
        """Digests, by the name of the input, of what counts and is no artefact as a whole."""
        return {}

    @abstractmethod
    def config(self, given: Given) -> dict[str, Any]:
        """What the record keeps, and what a job reads."""

    def execution(self) -> dict[str, Any]:
        """How a job is to run."""
        return {}

    def make(self, given: Given, work: Path) -> dict[str, Any]:
        """Write the artefact into the empty folder `work`; returns its metrics. Of nodes that no job makes."""
        raise NotImplementedError

    def settled(self, given: Given) -> Given:
        """What it is made from where only a look at the time says so."""
        return given

    def stands_in(self, given: Given) -> Artifact | None:
        """An artefact that is there and serves in the place of one that would be made."""
        return None

    def asked(self, overrides: Mapping[str, Any]) -> "Node":
        """The node as a launch asks for it, with these fields in its section of the recipe."""
        return self

    def shown(self, given: Given, artifact: Artifact) -> Mapping[str, Any]:
        """What people look at beside the metrics."""
        return {}

    @property
    def code_version(self) -> str:
        return version_of(self.version())

    def inputs(self, given: Given) -> dict[str, str]:
        """Digest by input."""
        return {name: artifact.digest for name, artifact in self.takes(given).items()} | dict(self.outside(given))

    def request(self, given: Given) -> Request:
        """What is asked for: by its fingerprint the artefact is found, or known to be stale."""
        payload = {"node": self.kind, **self.identity(given), "inputs": self.inputs(given)}
        overridden = self.overridden or any(artifact.overridden for artifact in given.artefacts.values())
        return Request(self.recipe, self.folder, payload, overridden)


def version_of(facts: Mapping[str, Any]) -> str:
    """A short fingerprint by which Dagster shows that code or recipe is newer than an artefact."""
    return fingerprint(facts)[:_CODE_VERSION_CHARACTERS]
