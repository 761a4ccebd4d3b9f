"""Promotion: from a decision to a registered model version and its alias, in steps that a crash cannot split.

A checkpoint becomes one version of the recipe's registered model, with unchanged bytes. On `pass` it takes
the alias `champion` and the old champion `previous`; on any other verdict it takes `challenger` and says
why in its tags. Under one file lock:

  1 read the champion, as ledger and registry agree; a decision that was made against another one is stale and
    stops here
  2 verify the checkpoint's bytes against its record
  3 find or create the version, and verify the bytes that were logged
  4 write the intent to the ledger
  5 tag the version
  6 move `previous` to the old champion
  7 move `champion` to the new one: the commit point, one row in the registry's database
  8 read it back
  9 write to the ledger that it is done

A crash leaves the champion exactly old or new. The next call, before anything else, finishes what passed
step 7 and undoes what did not. Doing the same decision again changes nothing. Where ledger and registry differ
otherwise, nothing moves (`evaluation.registry.agreement`).

The lock and the ledger lie under the home folder. MLflow's aliases have no compare-and-swap, so two homes cannot
promote into one server's registered model: the champion of the one is in no ledger of the other, which is refused.

`TEMPER_CRASH_AT=<step>` kills the process at the end of that step: that is how this is tested.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from evaluation.gating.decision import Decision
from evaluation.registry.agreement import agreed, stands_on
from evaluation.registry.ledger import Entry, Ledger
from evaluation.registry.registered import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    Registered,
    aliased,
    find_or_create,
    registry_client,
    version_with,
)
from jobs.mlflow_names import version_tags
from lineage.errors import EvaluationError
from lineage.store import Artifact, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient


class StaleDecision(EvaluationError):
    """The champion is no longer the one that the decision was made against."""


@dataclass(frozen=True)
class Champion:
    """The version under the alias `champion` and what its tags say.

    Paths are relative to the home folder; `reference_report` is what this champion was judged against.
    """

    version: str
    source: str
    checkpoint_digest: str
    checkpoint_path: str
    decision_digest: str
    reference_report: str | None
    tags: dict[str, str]


@dataclass(frozen=True)
class Promoted:
    """What the registry holds after `promote`; `changed` is False when it held it already."""

    registered_model: str
    version: str
    source: str
    aliases: list[str]
    verdict: str
    changed: bool


def champion(uri: str, home: Path, registered_model: str) -> Champion | None:
    """The current champion, an interrupted promotion being settled first; None while there is none.

    Raises Disagreement where ledger and registry do not say the same.
    """
    home = home.resolve()
    client, ledger = registry_client(uri), Ledger.of(home, registered_model)
    with ledger.locked():
        version = _settled(client, uri, home, registered_model, ledger)
    if version is None:
        return None
    tags = version.tags
    return Champion(
        version=version.version,
        source=version.source,
        checkpoint_digest=version.checkpoint_digest,
        checkpoint_path=tags.get("temper.checkpoint_path", ""),
        decision_digest=tags.get("temper.decision_digest", ""),
        reference_report=tags.get("temper.reference_report"),
        tags=tags,
    )


def promote(
    uri: str,
    home: Path,
    registered_model: str,
    checkpoint: Artifact,
    decision: Decision,
    decision_digest: str,
    reports: Mapping[str, Path],
    tags: Mapping[str, str],
) -> Promoted:
    """Register `checkpoint` and give it the alias that the decision earned.

    reports: report folders under `home` by role (candidate, reference, anchor), kept as tags
    `temper.<role>_report`. tags: more tags for the version (links, recipe, run). A checkpoint that
    is champion already stays as it is, whatever the decision. Raises Disagreement, StaleDecision, EvaluationError
    for bytes that are not those recorded, StoreError for a damaged artefact.
    """
    home = home.resolve()
    if decision.reports["candidate"]["checkpoint_digest"] != checkpoint.digest:
        raise EvaluationError(f"{checkpoint.path}: the decision is about another checkpoint than this one")
    client, ledger = registry_client(uri), Ledger.of(home, registered_model)
    with ledger.locked():
        now = _settled(client, uri, home, registered_model, ledger)
        if now is not None and now.checkpoint_digest == checkpoint.digest:
            return _as_it_is(client, now, decision)
        alias: Literal["champion", "challenger"] = "champion" if decision.verdict == "pass" else "challenger"
        if alias == CHAMPION:
            _refuse_stale(decision, now)
        elif (known := aliased(client, registered_model, CHALLENGER)) and _holds(known, checkpoint, decision_digest):
            return _as_it_is(client, known, decision)
        _crash_point(1)
        Store(home).verify(checkpoint)
        _crash_point(2)
        every_tag = version_tags({**tags, **_tags(home, checkpoint, decision, decision_digest, reports)})
        version = find_or_create(client, uri, home, registered_model, checkpoint, every_tag)
        _crash_point(3)
        digest = checkpoint.digest
        move = _Move(client, registered_model, ledger, now, version, digest, decision, decision_digest, every_tag)
        move.crown() if alias == CHAMPION else move.challenge()
        return _as_it_is(client, version, decision, changed=True)


@dataclass(frozen=True)
class _Move:
    """Steps 4 to 9 for one version; `before` is the champion until then."""

    client: "MlflowClient"
    name: str
    ledger: Ledger
    before: Registered | None
    version: Registered
    checkpoint_digest: str
    decision: Decision
    decision_digest: str
    tags: Mapping[str, str]

    def crown(self) -> None:
        intent = self._record("intent")
        _crash_point(4)
        self._tag()
        _crash_point(5)
        if self.before is not None:
            self.client.set_registered_model_alias(self.name, PREVIOUS, self.before.version)
        _crash_point(6)
        self.client.set_registered_model_alias(self.name, CHAMPION, self.version.version)
        _crash_point(7)
        _finish(self.client, self.name, self.ledger, intent)

    def challenge(self) -> None:
        self._record("challenger")
        self._tag()
        self.client.set_registered_model_alias(self.name, CHALLENGER, self.version.version)

    def _record(self, state: Literal["intent", "challenger"]) -> Entry:
        previous = aliased(self.client, self.name, PREVIOUS)
        return self.ledger.append(
            state,
            version=self.version.version,
            checkpoint_digest=self.checkpoint_digest,
            decision_digest=self.decision_digest,
            verdict=self.decision.verdict,
            reasons=self.decision.reasons,
            champion_before=self.before.version if self.before else None,
            previous_before=previous.version if previous else None,
        )

    def _tag(self) -> None:
        for key, value in self.tags.items():
            if self.version.tags.get(key) != value:
                self.client.set_model_version_tag(self.name, self.version.version, key, value)


def _settled(client: "MlflowClient", uri: str, home: Path, name: str, ledger: Ledger) -> Registered | None:
    """The champion, as ledger and registry agree once an interrupted promotion is finished or undone."""
    _recover(client, name, ledger)
    return agreed(client, uri, home, name, ledger)


def _recover(client: "MlflowClient", name: str, ledger: Ledger) -> None:
    """Finish an interrupted promotion that had moved the champion; undo one that had not.

    Neither where the registry is not as either would have left it: then the intent stays open.
    """
    intent = ledger.open_intent()
    if intent is None:
        return
    now, before = aliased(client, name, CHAMPION), ledger.champion()
    if stands_on(now, intent):
        _finish(client, name, ledger, intent)
        return
    first = now is None and version_with(client, name, intent.checkpoint_digest) is not None
    if not (stands_on(now, before) if before is not None else first):
        return
    previous = aliased(client, name, PREVIOUS)
    if previous is not None and previous.version != intent.previous_before:
        if intent.previous_before is None:
            client.delete_registered_model_alias(name, PREVIOUS)
        else:
            client.set_registered_model_alias(name, PREVIOUS, intent.previous_before)
    ledger.resolve(intent, "aborted")


def _finish(client: "MlflowClient", name: str, ledger: Ledger, intent: Entry) -> None:
    """Steps 8 and 9: a champion is no challenger; read back; write that it is done."""
    challenger = aliased(client, name, CHALLENGER)
    if challenger is not None and challenger.version == intent.version:
        client.delete_registered_model_alias(name, CHALLENGER)
    now = aliased(client, name, CHAMPION)
    if now is None or now.version != intent.version:
        raise EvaluationError(f"{name}: champion is version {now and now.version} though {intent.version} was set")
    _crash_point(8)
    ledger.resolve(intent, "committed")
    _crash_point(9)


def _refuse_stale(decision: Decision, now: Registered | None) -> None:
    judged = decision.reports["reference"]["checkpoint_digest"] if decision.reference_kind == CHAMPION else None
    held = now.checkpoint_digest if now is not None else None
    if judged != held:
        against = f"champion {judged[:12]}" if judged else "base, as if there were no champion"
        holds = f"the champion is {held[:12]}" if held else "there is no champion"
        raise StaleDecision(
            f"the decision compares with {against}, but {holds} by now; "
            "make the reference report and the decision again"
        )


def _holds(version: Registered, checkpoint: Artifact, decision_digest: str) -> bool:
    held = (version.checkpoint_digest, version.tags.get("temper.decision_digest"))
    return held == (checkpoint.digest, decision_digest)


def _tags(
    home: Path, checkpoint: Artifact, decision: Decision, decision_digest: str, reports: Mapping[str, Path]
) -> dict[str, str]:
    """What a version says about itself; paths relative to home, so that home can move."""
    relative = {role: path.resolve().relative_to(home).as_posix() for role, path in reports.items()}
    return {
        "temper.recipe": checkpoint.recipe,
        "temper.node": checkpoint.node,
        "temper.fingerprint": checkpoint.fingerprint,
        "temper.checkpoint_digest": checkpoint.digest,
        "temper.checkpoint_path": checkpoint.path.resolve().relative_to(home).as_posix(),
        "temper.decision_digest": decision_digest,
        "temper.verdict": decision.verdict,
        "temper.reasons": "\n".join(decision.reasons),
        **{f"temper.{role}_report": path for role, path in relative.items()},
    }


def _as_it_is(client: "MlflowClient", version: Registered, decision: Decision, *, changed: bool = False) -> Promoted:
    fresh = client.get_model_version(version.name, version.version)
    return Promoted(
        registered_model=fresh.name,
        version=str(fresh.version),
        source=fresh.source,
        aliases=sorted(fresh.aliases),
        verdict=decision.verdict,
        changed=changed,
    )


def _crash_point(step: int) -> None:
    if os.environ.get("TEMPER_CRASH_AT") == str(step):
        os.kill(os.getpid(), signal.SIGKILL)
