"""The alias is not believed alone: how registry and ledger come to differ, and that the message says the mend."""

import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from assets.tracking import Tracker
from evaluation.registry.agreement import Disagreement, adopt
from evaluation.registry.ledger import Ledger
from evaluation.registry.promotion import champion, registry_client
from jobs.logged_models import DIGEST
from lineage.errors import EvaluationError, Unreachable
from lineage.store import Artifact
from tests.evaluation.made_promotions import (
    MODEL,
    checkpoint,
    crown,
    decision,
    elsewhere,
    register,
    started,
    succeed,
    uri,
)

ROOT = Path(__file__).parents[2]


def ledger(home: Path) -> Ledger:
    return Ledger.of(home, MODEL)


def refusal(home: Path, reference: Artifact | None = None) -> str:
    """What asking for the champion and promoting another candidate both say; the ledger has no line more."""
    lines = ledger(home).entries()
    third = checkpoint(home, "third")
    with pytest.raises(Disagreement) as asked:
        champion(uri(home), home, MODEL)
    with pytest.raises(Disagreement) as promoted:
        register(home, third, decision(third, reference=reference), "d3")
    assert str(asked.value) == str(promoted.value)
    assert ledger(home).entries() == lines
    return str(asked.value)


def mend(message: str) -> None:
    """Do what the message says, word for word."""
    import mlflow

    said = message.partition("to mend it: ")[2].partition("\n")[0]
    for call in said.split(" and "):
        eval(call, {"mlflow": mlflow})


def accept(home: Path, message: str) -> None:
    """Do what the message says for a registry that is right."""
    command = re.search(r"(python -c '.*)' adds it|(mv \S+ \S+);", message)
    assert command is not None
    words = shlex.split(command[0].removesuffix(" adds it").removesuffix(";"))
    words[0] = sys.executable if words[0] == "python" else words[0]
    subprocess.run(words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)


def who(home: Path) -> str | None:
    found = champion(uri(home), home, MODEL)
    return found and found.checkpoint_digest


def test_a_deleted_version_is_not_no_champion(home: Path) -> None:
    (old,) = crown(home, "old")
    registry_client(uri(home)).delete_model_version(MODEL, "1")
    said = refusal(home)
    assert f"version 1, checkpoint {old.digest[:12]}, since 20" in said
    assert "no version has the alias champion, version 1 is not there" in said
    assert "restore the registry's database from a backup made after 20" in said
    accept(home, said)
    assert who(home) is None and not ledger(home).path.exists()


def test_a_deleted_model_is_not_no_champion(home: Path) -> None:
    crown(home, "old")
    registry_client(uri(home)).delete_registered_model(MODEL)
    assert "no model of this name, and no other, version 1 is not there" in refusal(home)


def test_a_renamed_model_gets_its_name_back(home: Path) -> None:
    (old,) = crown(home, "old")
    registry_client(uri(home)).rename_registered_model(MODEL, "renamed")
    said = refusal(home)
    assert "that checkpoint is version 1 of 'renamed'" in said
    mend(said)
    assert who(home) == old.digest


@pytest.mark.parametrize("how", ["lost", "empty"])
def test_a_new_database_is_not_no_champion(home: Path, empty_database: Path, how: str) -> None:
    elsewhere(crown, home, "old")
    database = home / "mlflow" / "mlflow.db"
    shutil.copy(empty_database, database) if how == "lost" else database.write_bytes(b"")
    said = refusal(home)
    assert "no model of this name, and no other" in said and "restore the registry's database" in said


def test_a_database_with_another_champion_is_not_believed(home: Path, tmp_path: Path, empty_database: Path) -> None:
    other = tmp_path / "other"
    (other / "mlflow").mkdir(parents=True)
    shutil.copy(empty_database, other / "mlflow" / "mlflow.db")
    elsewhere(crown, other, "theirs")
    elsewhere(crown, home, "old")
    shutil.copy(other / "mlflow" / "mlflow.db", home / "mlflow" / "mlflow.db")
    said = refusal(home)
    theirs, old = checkpoint(other, "theirs"), checkpoint(home, "old")
    assert f"registry {uri(home)}: the champion is version 1, checkpoint {theirs.digest[:12]}" in said
    assert f"the champion is version 1, checkpoint {old.digest[:12]}" in said
    with pytest.raises(EvaluationError, match="version 1 is no checkpoint of this home"):
        adopt(uri(home), home, MODEL)


def test_an_alias_that_was_moved_by_hand_is_set_back(home: Path) -> None:
    _, new = crown(home, "old", "new")
    registry_client(uri(home)).set_registered_model_alias(MODEL, "champion", "1")
    said = refusal(home, checkpoint(home, "old"))
    assert "the champion is version 1" in said and "version 2 is there" in said
    mend(said)
    assert who(home) == new.digest


def test_an_alias_that_was_moved_on_purpose_is_adopted_and_the_ledger_keeps_its_lines(home: Path) -> None:
    old, _ = crown(home, "old", "new")
    registry_client(uri(home)).set_registered_model_alias(MODEL, "champion", "1")
    accept(home, refusal(home))
    assert who(home) == old.digest
    lines = ledger(home).entries()
    assert [(line.state, line.version, line.verdict) for line in lines[-2:]] == [
        ("committed", "2", "pass"),
        ("committed", "1", "adopted"),
    ]
    third = checkpoint(home, "third")
    assert register(home, third, decision(third, reference=old), "d3").aliases == ["champion"]


def test_an_alias_that_was_deleted_by_hand_is_set_back(home: Path) -> None:
    (old,) = crown(home, "old")
    registry_client(uri(home)).delete_registered_model_alias(MODEL, "champion")
    said = refusal(home)
    assert "no version has the alias champion, version 1 is there" in said
    mend(said)
    assert who(home) == old.digest


def test_an_alias_on_a_version_that_no_promotion_made_is_not_believed(home: Path) -> None:
    (old,) = crown(home, "old")
    client = registry_client(uri(home))
    foreign = client.create_model_version(MODEL, str(home))
    client.set_registered_model_alias(MODEL, "champion", foreign.version)
    said = refusal(home)
    assert "the champion is version 2, which no promotion made" in said and "adopt" not in said
    mend(said)
    assert who(home) == old.digest


def test_a_database_older_than_the_ledger_is_not_believed(home: Path) -> None:
    database, backup = home / "mlflow" / "mlflow.db", home / "backup.db"
    elsewhere(crown, home, "old")
    shutil.copy(database, backup)
    elsewhere(succeed, home)
    shutil.copy(backup, database)
    said = refusal(home, checkpoint(home, "old"))
    assert "registry" in said and "the champion is version 1" in said and "version 2 is not there" in said
    assert "restore the registry's database from a backup made after 20" in said


def test_a_digest_that_was_changed_by_hand_is_set_back(home: Path) -> None:
    (old,) = crown(home, "old")
    registry_client(uri(home)).set_model_version_tag(MODEL, "1", DIGEST, "0" * 64)
    said = refusal(home)
    assert "the champion is version 1, checkpoint 000000000000" in said
    mend(said)
    assert who(home) == old.digest


def test_a_deleted_logged_model_is_noticed_and_brought_back(home: Path) -> None:
    (old,) = crown(home, "old")
    client = registry_client(uri(home))
    model_id = client.get_model_version_by_alias(MODEL, "champion").source.removeprefix("models:/")
    client.delete_logged_model(model_id)
    with pytest.raises(Disagreement, match=f"the LoggedModel {model_id} is deleted"):
        register(home, old, decision(old))
    words = shlex.split(refusal(home).partition("to mend it: ")[2].partition(" (its files")[0])
    assert words[:2] == ["sqlite3", str(home / "mlflow" / "mlflow.db")]
    with sqlite3.connect(words[1]) as database:
        database.execute(words[2])
    assert who(home) == old.digest


def test_a_lost_file_of_the_champion_is_noticed_and_logged_again(home: Path) -> None:
    (old,) = crown(home, "old")
    (weights,) = (home / "mlflow" / "artifacts").rglob("model.safetensors")
    weights.unlink()
    said = refusal(home)
    assert f"{weights} is not there" in said
    mend(said)
    assert who(home) == old.digest and weights.is_file()


def test_a_moved_home_is_told_how_its_files_are_found(home: Path) -> None:
    before = home / "before"
    (before / "mlflow").mkdir(parents=True)
    shutil.copy(home / "mlflow" / "mlflow.db", before / "mlflow" / "mlflow.db")
    elsewhere(crown, before, "old")
    after = before.rename(home / "after")
    said = refusal(after)
    command = shlex.split(said.rpartition("old place: ")[2])
    assert command == ["ln", "-s", str(after), str(before)]
    subprocess.run(command, check=True)
    assert who(after) == checkpoint(after, "old").digest


@pytest.mark.parametrize("kept", [0, 2])
def test_a_ledger_that_was_lost_or_cut_short_is_not_believed_either(home: Path, kept: int) -> None:
    crown(home, "old", "new")
    path = ledger(home).path
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:kept]))
    said = refusal(home, checkpoint(home, "old") if kept else None)
    assert ("version 1, checkpoint" if kept else "no champion") in said
    assert "the champion is version 2" in said
    assert kept or "two homes cannot promote into one" in said
    path.write_bytes(whole)
    assert who(home) == checkpoint(home, "new").digest


def test_another_homes_champion_on_one_server_is_refused(home: Path, tmp_path: Path) -> None:
    crown(home, "old")
    theirs = tmp_path / "second"
    with pytest.raises(Disagreement, match=r"give the recipe a promotion\.registered_model of its own"):
        champion(uri(home), theirs, MODEL)


def test_an_interrupted_promotion_is_not_undone_in_another_database(home: Path, empty_database: Path) -> None:
    elsewhere(crown, home, "old")
    killed = started(home, crash_at="7")
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    database, whole = home / "mlflow" / "mlflow.db", home / "whole.db"
    shutil.move(database, whole)
    shutil.copy(empty_database, database)
    assert "no model of this name" in refusal(home, checkpoint(home, "old"))
    shutil.move(whole, database)
    elsewhere(succeed, home)
    assert [line.state for line in ledger(home).entries()] == ["intent", "committed"] * 2


@pytest.mark.parametrize("damage", ["half", "garbage"])
def test_a_damaged_database_is_said_in_one_sentence_with_its_mend(home: Path, damage: str) -> None:
    elsewhere(crown, home, "old")
    database, before = home / "mlflow" / "mlflow.db", (home / "mlflow" / "mlflow.db").read_bytes()
    database.write_bytes(before[: len(before) // 2] if damage == "half" else b"not a database" * 1000)
    for ask in (lambda: champion(uri(home), home, MODEL), Tracker(home).check):
        with pytest.raises(Unreachable) as said:
            ask()
        assert str(said.value).startswith(f"MLflow at {uri(home)} is damaged (")
        assert "\n" not in str(said.value) and "restore it from a backup" in str(said.value)
    command = shlex.split(str(said.value).rpartition("registered again: ")[2])
    subprocess.run(command, check=True)
    assert "no model of this name" in refusal(home)


def test_damage_inside_a_database_is_said_where_it_is_met(home: Path) -> None:
    database = home / "mlflow" / "mlflow.db"
    whole = bytearray(database.read_bytes())
    size = int.from_bytes(whole[16:18], "big")
    for page in range(size, len(whole), size):
        whole[page] = 7  # no kind of page
    database.write_bytes(whole)
    with pytest.raises(Unreachable, match="is damaged"):
        champion(uri(home), home, MODEL)
