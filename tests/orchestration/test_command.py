"""`temper` as people and programs meet it: real processes, exit codes, one line for a mistake, JSON, a new recipe."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from recipes.load import SHIPPED, load_recipe, recipe_schema
from tests.corpora.made import talk, write_jsonl
from tests.corpora.made_duplicates import prose
from tests.orchestration.project import ROOT

_COMMANDS = ("run", "evaluate", "check", "new", "inspect", "preview", "compare", "dev", "label", "job", "schema")
_HEAVY = {
    *("torch", "transformers", "datasets", "dagster", "mlflow", "pyarrow", "numpy", "scipy", "numba", "lm_eval"),
    *("pydantic", "rich", "yaml", "httpx", "requests"),
}


def temper(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "orchestration", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=cwd or ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [(["--help"], _HEAVY), (["--version"], _HEAVY), (["run", "--help"], _HEAVY - {"pydantic"})],  # typer's own
)
def test_help_loads_nothing_heavy(arguments: list[str], heavy: set[str]) -> None:
    code = f"""import sys; from orchestration.command import main; main({arguments})
print(*sorted(set(sys.modules) & {heavy!r}), file=sys.stderr)"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


def test_help_names_every_command_and_exit_code_and_each_command_has_an_example() -> None:
    said = temper("--help").stdout
    assert all(f"\n  {name} " in said for name in _COMMANDS)
    assert all(f"\n    {code} " in said for code in (0, 1, 2, 75)) and "NO_COLOR" in said
    code = f"from orchestration.command import main\nfor name in {_COMMANDS!r}: main([name, '--help'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(f"\n    temper {name}" in done.stdout for name in _COMMANDS)


def test_the_shell_completes_commands_and_shipped_recipes() -> None:
    asked = {"_TEMPER_COMPLETE": "complete_bash", "COMP_WORDS": "temper run ", "COMP_CWORD": "2"}
    assert {"demo", "identity-dpo"} <= set(temper(**asked).stdout.split())
    assert temper("--version").stdout.startswith("temper 0.")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("check", "nowhere.yaml"), 2, "nowhere.yaml: no such file"),
        (("run", "nothing"), 2, "no recipe is called 'nothing'"),
        (("run", "demo", "--set", "beta=1"), 2, "--set beta=1: expected STAGE.FIELD=VALUE"),
        (("job", "nowhere.json"), 2, "nowhere.json: No such file"),
        (("job", "pyproject.toml"), 2, "pyproject.toml: not a job"),
        (("schema", "-o", "/nowhere/at/all"), 2, "/nowhere/at/all: No such file"),
        (("new", "Loud!"), 2, "Loud!: a recipe's name has up to 63 small letters"),
        (("label", "Loud!"), 2, "Loud!: the name of labels has up to 63 small letters"),
        (("label", "tone", "--candidates", "tries"), 2, "expected either --answers, or --recipe and --candidates"),
        (("label", "nobodys", "--list"), 2, "no labels are called 'nobodys'"),
        (("new", "quiet"), 2, "--data is not given"),
    ],
)
def test_a_mistake_is_one_line_and_its_status(arguments: tuple[str, ...], status: int, said: str) -> None:
    done = temper(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(said) and done.stderr.count("\n") == 1


def test_what_is_no_command_or_option_is_refused_with_the_nearest() -> None:
    done = temper("chek")
    assert done.returncode == 2 and "Did you mean 'check'" in done.stderr
    assert temper("check", "--nothing").returncode == 2


def test_check_answers_people_programs_and_those_who_want_only_mistakes(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((SHIPPED / "demo.yaml").read_text(encoding="utf-8").replace("warmup_share", "warmup_shar"))
    done = temper("check", "demo", wrong, "--json")
    good, bad = json.loads(done.stdout)
    assert done.returncode == 2 and done.stderr == ""
    assert good["ok"] and good["stages"] == ["sft", "dpo"] and len(good["guards"]) == 4
    assert not bad["ok"] and "did you mean 'warmup_share'?" in bad["problems"][0]
    assert (temper("check", "demo", "-q").stdout, temper("-q", "check", "demo").returncode) == ("", 0)
    assert "raised here" in temper("run", wrong, "-v").stderr


def test_a_program_reads_what_a_file_is_and_a_person_without_colours_or_text(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [*(talk(f"Why {i}?", "Rivers.") for i in range(9)), {"messages": []}])
    found = json.loads(temper("inspect", file, "--json", TEMPER_HOME=str(tmp_path)).stdout)
    assert (found["format"], found["kind"], found["good"], found["bad"]) == ("chatml", "conversation", 9, 1)
    assert len(found["first"]) == 3 and found["whole"]
    plain = {"TEMPER_HOME": str(tmp_path), "NO_COLOR": "1", "FORCE_COLOR": "1"}
    hidden = temper("inspect", file, "--hide-text", **plain).stdout
    assert "9 good, 1 for quarantine" in hidden and "Rivers" not in hidden and "\x1b[3" not in hidden


def test_schema_writes_what_editors_read(tmp_path: Path) -> None:
    assert temper("schema", "-o", tmp_path / "s.json").returncode == 0
    assert (tmp_path / "s.json").read_bytes() == (SHIPPED / "recipe.schema.json").read_bytes()
    assert json.loads(temper("schema").stdout) == recipe_schema()


def test_ctrl_c_is_one_line_and_its_own_status(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.yaml")
    command = [sys.executable, "-m", "orchestration", "check", str(tmp_path / "endless.yaml")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        writer = os.open(tmp_path / "endless.yaml", os.O_WRONLY)  # returns once the command reads
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 75
        os.close(writer)
        assert process.stderr is not None and process.stderr.read() == "Interrupted.\n"


def _answers(texts: list[str]) -> list[dict[str, Any]]:
    return [{"prompt": f"And {text[:20]}?", "response": text} for text in texts]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with conversations, preference pairs, documents and a place for a model."""
    said = [" ".join(prose(seed, 40)) for seed in range(240)]
    write_jsonl(tmp_path / "talk.jsonl", [talk(f"Tell me of {text[:20]}.", text) for text in said[:100]])
    pairs = [{"prompt": f"And {text[:20]}?", "chosen": text, "rejected": "No."} for text in said[100:140]]
    write_jsonl(tmp_path / "pairs.jsonl", pairs)
    write_jsonl(tmp_path / "thumbs.jsonl", [{**one, "label": True} for one in _answers(said[:30])])
    write_jsonl(tmp_path / "rated.jsonl", [{**one, "rating": 4} for one in _answers(said[:30])])
    (tmp_path / "docs.txt").write_text("\n".join(said[140:]), encoding="utf-8")
    how = "Hold the key of device {} for nine seconds, let it go, and wait until the lamp beside it turns green again."
    faq = [talk(f"How do I set device {number} back to how it was?", how.format(number)) for number in range(100)]
    write_jsonl(tmp_path / "faq.jsonl", faq)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("data", "stages"),
    [
        (["talk.jsonl"], ["sft"]),
        (["talk.jsonl", "pairs.jsonl"], ["sft", "dpo"]),
        (["docs.txt", "talk.jsonl"], ["pretrain", "sft"]),
        (["pairs.jsonl"], ["orpo"]),
        (["thumbs.jsonl", "talk.jsonl", "rated.jsonl"], ["sft", "dpo", "kto"]),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_new_recipe_is_valid_and_has_the_stages_of_its_rows(
    files: Path, data: list[str], stages: list[str], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corpora.commands.new import recipe_file, write_recipe

    monkeypatch.chdir(files)
    monkeypatch.setenv("TEMPER_HOME", str(files / "home"))
    (files / "mine").mkdir()
    write_recipe(recipe_file("mine/bot"), data, "model", device, "internal")
    recipe = load_recipe(files / "mine" / "bot.yaml")
    assert list(recipe.stages) == stages and recipe.promotion.candidate == stages[-1]
    assert {source.uri for source in recipe.sources.values()} == {f"../{name}" for name in data}


def test_no_row_that_a_new_recipe_holds_out_is_trained_on(files: Path) -> None:
    """Also of rows that are all made from one template."""
    options = ("--data", "talk.jsonl", "docs.txt", "faq.jsonl", "--model", "model", "--device", "cpu")
    home = {"TEMPER_HOME": str(files / "home")}
    done = temper("new", "bot", *options, cwd=files, **home)
    assert done.returncode == 0, done.stderr
    assert temper("check", "bot.yaml", cwd=files).returncode == 0
    again = temper("new", "bot", *options, cwd=files, **home)
    assert again.returncode == 2 and again.stderr.startswith("bot.yaml: is there already")
    fields: Any = yaml.safe_load((files / "bot.yaml").read_text(encoding="utf-8"))
    del fields["evaluation"]["tasks"]["mmlu"], fields["promotion"]["guards"]  # from the package index
    (files / "bot.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    found = json.loads(temper("preview", "bot.yaml", "--json", cwd=files, **home).stdout)
    held_out = (files / "bot_held_out.jsonl").read_text(encoding="utf-8").splitlines()
    assert sum(source["contaminated"] for source in found.values()) == len(held_out) == 30
    assert sum(source["kept"] for source in found.values()) == 270


def test_a_person_is_asked_for_what_no_option_says(files: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "orchestration", "new", "asked", "--device", "cpu"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TEMPER_HOME": str(files / "home")}
    os.write(ours, b"talk.jsonl nobody.jsonl\ntalk.jsonl pairs.jsonl\nhome\nmodel\n")
    done = subprocess.run(command, cwd=files, env=env, stdin=theirs, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "nobody.jsonl: no such file"
    assert "model 'home': no such folder; else hf://ORG/NAME, or smollm2" in done.stderr
    assert list(load_recipe(files / "asked.yaml").stages) == ["sft", "dpo"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("description: a\x07", "unacceptable character #x0007"),
        ("a: " + 5000 * "[", "beyond what can be read"),
        ("seed: " + 9999 * "9", "Exceeds the limit"),
        ("? [a, b]\n: 1", ":1:3: a key is one value, no list"),
    ],
)
def test_yaml_that_cannot_be_read_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    done = temper("check", "own.yaml", cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("own.yaml") and message in done.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--data", "both.jsonl", "--model", "model"), "both.jsonl: 100 of 200 rows cannot be used as chatml"),
        (("--data", "", "--model", "model"), "no empty name"),
        (("--data", "talk.jsonl", "--model", "home"), "model 'home': no such folder"),
        (("--data", "talk.jsonl", "--model", "empty"), "the folder has no weights"),
        (("--data", "talk.jsonl", "--model", "hf://nobody"), "a model of the hub is hf://ORG/NAME"),
    ],
)
def test_what_no_recipe_can_be_made_of_is_refused(files: Path, more: tuple[str, ...], message: str) -> None:
    write_jsonl(files / "both.jsonl", [talk("q", f"a {number}") for number in range(100)] + 100 * [{"odd": 1}])
    (files / "empty").mkdir()
    done = temper("new", "bot", *more, "--device", "cpu", cwd=files, TEMPER_HOME=str(files / "home"))
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert not (files / "bot.yaml").exists()


def test_a_recipe_whose_files_are_gone_is_refused_and_its_preview_fails(files: Path) -> None:
    options = ("--data", "talk.jsonl", "docs.txt", "--model", "model", "--device", "cpu")
    home = {"TEMPER_HOME": str(files / "home")}
    assert temper("new", "bot", *options, cwd=files, **home).returncode == 0
    (files / "docs.txt").unlink()
    done = temper("check", "bot.yaml", cwd=files, **home)
    assert done.returncode == 2 and done.stderr.startswith("bot.yaml: sources.docs.uri: docs.txt: no such file")
    fields: Any = yaml.safe_load((files / "bot.yaml").read_text(encoding="utf-8"))
    del fields["evaluation"]["tasks"]["mmlu"], fields["promotion"]["guards"]  # from the package index
    (files / "bot.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    assert temper("preview", "bot.yaml", "--json", cwd=files, **home).returncode == 1


def test_a_kind_that_is_none_is_told_by_the_nearest(files: Path) -> None:
    options = ("--data", "talk.jsonl", "--model", "model", "--device", "cpu")
    assert temper("new", "bot", *options, cwd=files, TEMPER_HOME=str(files / "home")).returncode == 0
    text = (files / "bot.yaml").read_text(encoding="utf-8")
    (files / "bot.yaml").write_text(text.replace("kind: sft", "kind: sftt"), encoding="utf-8")
    done = temper("check", "bot.yaml", cwd=files)
    assert done.returncode == 2 and "stages.sft.kind: 'sftt' is none of" in done.stderr
    assert done.stderr.rstrip().endswith("did you mean 'sft'?")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("candidate: sft", "candidate: stf"), "promotion.candidate: 'stf' is no checkpoint; did you mean 'sft'?"),
        (("start: base", "start: bass"), "is none of the checkpoints before it ['base']; did you mean 'base'?"),
        (("mixture: chat", "mixture: chta"), "stages.sft.mixture: 'chta' is not a mixture; did you mean 'chat'?"),
    ],
)
def test_a_name_that_is_none_is_told_by_the_nearest(files: Path, wrong: tuple[str, str], message: str) -> None:
    options = ("--data", "talk.jsonl", "--model", "model", "--device", "cpu")
    assert temper("new", "bot", *options, cwd=files, TEMPER_HOME=str(files / "home")).returncode == 0
    text = (files / "bot.yaml").read_text(encoding="utf-8")
    assert wrong[0] in text
    (files / "bot.yaml").write_text(text.replace(*wrong), encoding="utf-8")
    assert message in temper("check", "bot.yaml", cwd=files).stderr


def test_output_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "orchestration", "schema"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "output: No space left on device\n")
