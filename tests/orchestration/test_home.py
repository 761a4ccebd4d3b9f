"""The state folder: what a path may hold."""

from pathlib import Path

import pytest

from orchestration.command import main
from orchestration.home import prepare_home
from recipes.errors import TemperError


@pytest.mark.parametrize("sign", ["?", "%"])
def test_a_home_that_no_database_address_can_hold_is_refused_before_anything_is_made(
    sign: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / f"what{sign}20now"
    monkeypatch.setenv("TEMPER_HOME", str(home))
    with pytest.raises(TemperError, match="set TEMPER_HOME to a folder without it"):
        prepare_home()
    assert not home.exists()


def test_the_command_says_so_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "a?b"))
    assert main(["run", "demo"]) == 2
    said = capsys.readouterr().err
    assert "a?b: a path with '?'" in said and "Traceback" not in said
