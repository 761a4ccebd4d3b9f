"""What a person reads where ledger and registry differ: what each says, what sets it right, what accepts it.

The commands in these messages can be run as they are. Nothing here changes anything.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from evaluation.registry.ledger import Entry
from evaluation.registry.registered import CHAMPION, Registered, logged_of, version_numbered, versions_with
from jobs.logged_models import DIGEST
from jobs.mlflow_uri import public
from lineage.store import Artifact

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SHOWN = 12
"""Characters of a digest that tell two apart."""
_ARTIFACTS = Path("mlflow", "artifacts")
"""Where a home keeps MLflow's files (`jobs.mlflow_store.experiment_id`)."""


@dataclass(frozen=True)
class OnChampion:
    """known: the ledger's champion. now: the version under the registry's alias. They are not the same."""

    client: "MlflowClient"
    uri: str
    home: Path
    name: str
    ledger: Path
    known: Entry | None
    now: Registered | None

    def message(self) -> str:
        held = version_numbered(self.client, self.name, self.known.version) if self.known else None
        renamed = self._renamed() if held is None else None
        lines = [
            f"{self.name}: ledger and registry differ on the champion; until they agree nothing is promoted.",
            f"  ledger {self.ledger}: {_known(self.known)}",
            f"  registry {public(self.uri)}: {self._registered(held, renamed)}",
            f"  to mend it: {self._mend(held, renamed)}",
        ]
        return "\n".join([*lines, *(f"  or, {way}" for way in (self._accept(),) if way)])

    def _renamed(self) -> Registered | None:
        """The ledger's version under another model's name."""
        found = versions_with(self.client, self.known.checkpoint_digest) if self.known else []
        others = [version for version in found if version.name != self.name]
        return next((version for version in others if self.known and version.version == self.known.version), None)

    def _registered(self, held: Registered | None, renamed: Registered | None) -> str:
        models = [model.name for model in self.client.search_registered_models()]
        if self.now is not None:
            says = [f"the champion is version {self.now.version}, {_checkpoint(self.now)}"]
        elif self.name in models:
            says = [f"no version has the alias {CHAMPION}"]
        else:
            says = ["no model of this name" if models else "no model of this name, and no other"]
        if self.known is not None and (self.now is None or self.now.version != self.known.version):
            there = _checkpoint(held) if held else "not there"
            same = held is not None and held.checkpoint_digest == self.known.checkpoint_digest
            says.append(f"version {self.known.version} is {'there' if same else there}")
        if renamed is not None:
            says.append(f"that checkpoint is version {renamed.version} of '{renamed.name}'")
        return ", ".join(says)

    def _mend(self, held: Registered | None, renamed: Registered | None) -> str:
        if self.known is None:
            return (
                f"if this home promoted that champion, restore {self.ledger} from a copy (a home that is moved takes "
                "its `ledger` folder along); if another home did, give the recipe a promotion.registered_model of its "
                "own, since two homes cannot promote into one"
            )
        if held is not None and self._is_known(held):
            return " and ".join(self._call(call) for call in self._put_right(held, self.known))
        if renamed is not None and self.now is None:
            return self._call(f"rename_registered_model({renamed.name!r}, {self.name!r})")
        return f"restore the registry's database from a backup made after {self.known.at}"

    def _put_right(self, held: Registered, known: Entry) -> list[str]:
        """Calls that give the ledger's version its digest and its alias back."""
        calls = []
        if held.checkpoint_digest != known.checkpoint_digest:
            calls.append(
                f"set_model_version_tag({self.name!r}, {held.version!r}, {DIGEST!r}, {known.checkpoint_digest!r})"
            )
        if self.now is not None and self.now.version == held.version:
            return calls
        if known.state == "intent":  # whether it had moved the alias is not known: without one it is undone
            return [*calls, f"delete_registered_model_alias({self.name!r}, {CHAMPION!r})"]
        return [*calls, f"set_registered_model_alias({self.name!r}, {CHAMPION!r}, {held.version!r})"]

    def _is_known(self, held: Registered) -> bool:
        """Whether the version holds the ledger's checkpoint, by its own tag or by that of the files that it has."""
        assert self.known is not None
        if held.checkpoint_digest == self.known.checkpoint_digest:
            return True
        model = logged_of(self.client, held)
        return model is not None and model.tags.get(DIGEST) == self.known.checkpoint_digest

    def _accept(self) -> str | None:
        """What a person does who knows that the registry is right and the ledger is not."""
        if self.now is None and self.known is not None:
            aside = self.ledger.with_name(f"{self.ledger.name}.{self.known.hash[:8]}")
            return (
                "to have no champion, so that the next candidate is compared with base: "
                f"{shlex.join(['mv', str(self.ledger), str(aside)])}; who was champion when is in that file alone then"
            )
        if self.now is None or not self.now.checkpoint_digest:
            return None
        adopt = f"adopt({public(self.uri)!r}, Path({str(self.home)!r}), {self.name!r})"
        code = f"from pathlib import Path; from evaluation.registry.agreement import adopt; {adopt}"
        return f"if the registry is right: {shlex.join(['python', '-c', code])} adds it to the ledger as your word"

    def _call(self, call: str) -> str:
        return f"mlflow.MlflowClient({public(self.uri)!r}).{call}"


def on_deleted_model(uri: str, version: Registered) -> str:
    """The LoggedModel that holds the champion's files is deleted."""
    mend = "restore the registry's database from a backup"
    if (database := uri.removeprefix("sqlite:///")) != uri:
        where = f"WHERE model_id = '{version.model_id}'"
        update = f"UPDATE logged_models SET lifecycle_stage = 'active' {where}"  # noqa: S608 # shown, never run
        command = shlex.join(["sqlite3", database, update])
        mend = f"{command} (its files stay until `mlflow gc`); else {mend}"
    return _lost(version, f"the LoggedModel {version.model_id} is deleted", mend)


def on_lost_file(
    uri: str, home: Path, version: Registered, file: str, location: str, checkpoint: Artifact | None
) -> str:
    """A file of the champion is not at `location` as the checkpoint has it; perhaps because the home was moved."""
    place = Path(unquote(urlsplit(location).path))
    noted = next((parent for parent in place.parents if parent / _ARTIFACTS in place.parents), home)
    if noted != home and (home / place.relative_to(noted) / file).is_file():
        link = shlex.join(["ln", "-s", str(home), str(noted)])
        mend = f"this home was moved: move it back, or lead to it from its old place: {link}"
    elif checkpoint is not None:
        call = f"log_model_artifact({version.model_id!r}, {str(checkpoint.path / file)!r})"
        mend = f"mlflow.MlflowClient({public(uri)!r}).{call}"
    else:
        mend = "restore it from a backup"
    return _lost(version, f"{location}/{file} is not there as it was registered", mend)


def _lost(version: Registered, what: str, mend: str) -> str:
    return (
        f"{version.name}: the champion, version {version.version}, has lost its files in MLflow: {what}; until "
        f"they are back nothing is promoted.\n  to mend it: {mend}"
    )


def _known(known: Entry | None) -> str:
    if known is None:
        return "no champion"
    what = f"version {known.version}, checkpoint {known.checkpoint_digest[:_SHOWN]}"
    if known.state == "intent":
        return f"{what}, whose promotion was begun {known.at} and not finished"
    return f"the champion is {what}, since {known.at}"


def _checkpoint(version: Registered) -> str:
    digest = version.checkpoint_digest
    return f"checkpoint {digest[:_SHOWN]}" if digest else "which no promotion made"
