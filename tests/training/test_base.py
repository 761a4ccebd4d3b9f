"""A released model becomes the base checkpoint, unless it brings code or lacks what later stages need."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from jobs.job import Job
from jobs.run_log import RunLog
from lineage.errors import TrainingError
from recipes.errors import DONE
from training.stages import base


def job_for(release: Path, home: Path, **changes: str) -> Job:
    section = {"uri": f"{release.name}/*", "licence": "none", "dtype": "bfloat16", **changes}
    return Job(
        kind="base",
        recipe="tiny",
        node="base",
        ref="base",
        home=home,
        payload={"node": "base", "config": section},
        config={"model": section, "folder": str(release.parent), "cache": str(home / "cache")},
        execution={},
        inputs={},
    )


@pytest.fixture
def release(tiny_base: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    shutil.copytree(tiny_base, folder)
    (folder / ".record.json").unlink()
    return folder


def make(job: Job, work: Path) -> None:
    work.mkdir()
    base.run(job, work, RunLog(), threading.Event())


def test_a_folder_becomes_a_checkpoint_in_the_recipes_type(release: Path, tmp_path: Path, tiny_base: Path) -> None:
    import torch
    from made_jobs import run_here
    from transformers import AutoModelForCausalLM

    job = job_for(release, tmp_path / "home")
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    assert found.failed_checks == []
    names = {p.name for p in found.path.iterdir()} - {".record.json"}
    assert names == {p.name for p in tiny_base.iterdir()} - {".record.json"}
    made, given = (AutoModelForCausalLM.from_pretrained(p).state_dict() for p in (found.path, tiny_base))
    assert all(torch.equal(made[name], given[name].bfloat16()) for name in given)
    assert (found.path / "chat_template.jinja").read_bytes() == (tiny_base / "chat_template.jinja").read_bytes()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling_mine.py"])
def test_pickles_and_code_are_refused(release: Path, tmp_path: Path, name: str) -> None:
    (release / name).write_bytes(b"")
    with pytest.raises(TrainingError, match=name):
        make(job_for(release, tmp_path), tmp_path / "work")


def test_remote_code_in_the_configuration_is_refused(release: Path, tmp_path: Path) -> None:
    config = json.loads((release / "config.json").read_text(encoding="utf-8"))
    (release / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x.Y"}}), encoding="utf-8")
    with pytest.raises(TrainingError, match="auto_map"):
        make(job_for(release, tmp_path), tmp_path / "work")


def test_a_template_of_the_recipe_replaces_the_models_own(release: Path, tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    (tmp_path / "mine.jinja").write_text(template, encoding="utf-8")
    make(job_for(release, tmp_path, chat_template="mine.jinja"), tmp_path / "work")
    assert (tmp_path / "work" / "chat_template.jinja").read_text(encoding="utf-8") == template


def test_a_bare_model_stops_where_the_recipes_template_ends_a_turn(release: Path, tmp_path: Path) -> None:
    settings = json.loads((release / "generation_config.json").read_text(encoding="utf-8"))
    (release / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": 0}), encoding="utf-8")
    shutil.copyfile(release / "chat_template.jinja", tmp_path / "own.jinja")
    job = job_for(release, tmp_path, chat_template="own.jinja")
    make(job, tmp_path / "work")
    made = json.loads((tmp_path / "work" / "generation_config.json").read_text(encoding="utf-8"))
    assert made["eos_token_id"] == [0, settings["eos_token_id"]]
