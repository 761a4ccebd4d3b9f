"""A model of a recipe's own: the tokenizer is of the stated size and exact, the weights are drawn by seed."""

import math
from pathlib import Path
from typing import Any

import pytest
from made_jobs import pretrain_job, run_here

from corpora.mixing.documents import DocumentTokenizer
from corpora.tables.tables import ROWS, clean_schema, writing
from jobs.job import Job, JobInput
from lineage.store import Artifact
from models.template import ChatTemplate
from recipes.errors import DONE, REFUSED
from recipes.execution import Execution
from recipes.load import SHIPPED
from recipes.schema import identity
from recipes.scratch import FromScratch
from tests import tiny

TEXTS = [tiny.conversation(index)[1]["content"] + f" Ünïcode 語 {index * 37} <|im_end|>\n\tend" for index in range(120)]
SECTION: dict[str, Any] = {
    "architecture": "llama",
    "sizes": {"hidden": 32, "layers": 2, "heads": 4, "kv_heads": 2, "mlp": 64, "positions": 128},
    "seed": 3,
    "tokenizer": {
        "sources": ["pages", "talks"],
        "vocabulary": 310,
        "end_of_text": "<|endoftext|>",
        "pad": "<|pad|>",
        "special_tokens": ["<|im_start|>", "<|im_end|>"],
        "chat_template": "templates/chatml.jinja",
    },
}


def write_clean(folder: Path, kind: str) -> None:
    rows: dict[str, list[dict[str, Any]]] = {
        "document": [{"text": text} for text in TEXTS],
        "conversation": [{"messages": tiny.conversation(index)} for index in range(40)],
        "preference": [{"prompt": [], "chosen": [], "rejected": []}],
    }
    with writing(folder / ROWS, clean_schema(kind), {"kind": kind, "sensitive": False}) as table:
        for number, row in enumerate(rows[kind]):
            table.add({"id": f"{number:064x}", **row})


def job_for(home: Path, talks: str = "conversation", **changes: Any) -> Job:
    section = FromScratch.model_validate({**SECTION, **changes})
    kinds = {"pages": "document", "talks": talks}
    corpora = {
        f"clean/{name}": tiny.sealed(home, f"clean/{name}", lambda work, kind=kind: write_clean(work, kind), kind=kind)
        for name, kind in kinds.items()
    }
    return Job(
        kind="scratch",
        recipe="tiny",
        node="base",
        ref="base",
        home=home,
        payload={"node": "base", "config": identity(section)},
        config={"model": section.model_dump(mode="json"), "folder": str(SHIPPED)},
        execution=Execution(threads=1).model_dump(mode="json"),
        inputs={name: JobInput.of(artifact) for name, artifact in corpora.items()},
    )


def made(job: Job) -> Artifact:
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    assert found.failed_checks == []
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return made(job_for(tmp_path_factory.mktemp("scratch")))


def test_the_vocabulary_is_the_stated_one_and_every_text_comes_back(base: Artifact) -> None:
    tokenizer = DocumentTokenizer.load(base.path, None)
    assert len(tokenizer.tokenizer) == 310
    assert tokenizer.tokenizer.convert_tokens_to_ids(SECTION["tokenizer"]["special_tokens"]) == [2, 3]
    assert (tokenizer.end_id, tokenizer.tokenizer.pad_token_id) == (0, 1)
    one_by_one = [tokenizer.encode_one(text) for text in TEXTS]
    assert tokenizer.encode_all(TEXTS).ids.tolist() == [token for ids in one_by_one for token in ids]
    for text, ids in zip(TEXTS, one_by_one, strict=True):
        assert ids[-1] == 0 and not set(ids[:-1]) & {0, 1, 2, 3}
        assert tokenizer.tokenizer.decode(ids[:-1]) == text


def test_a_number_is_a_row_of_digits(base: Artifact) -> None:
    tokenizer = ChatTemplate.load(base.path).tokenizer
    assert tokenizer.tokenize("1234") == ["1", "2", "3", "4"]


def test_the_template_is_the_recipes_and_an_answer_can_end(base: Artifact) -> None:
    template = ChatTemplate.load(base.path)
    assert template.end_of_turn == "<|im_end|>"
    assert template.parity(tiny.conversation(5)) is None
    assert base.metrics["checks"]["end_of_turn_stops"]["passed"]


def test_the_untrained_model_knows_nothing(base: Artifact) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base.path)
    ids = torch.arange(300)[None] % 310
    assert float(model(ids[:, :128], labels=ids[:, :128]).loss.detach()) == pytest.approx(math.log(310), abs=0.1)


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_other_weights(
    base: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    assert made(job_for(tmp_path / "again")).digest == base.digest
    other = made(job_for(tmp_path / "other", seed=4)).path
    assert (other / "tokenizer.json").read_bytes() == (base.path / "tokenizer.json").read_bytes()
    assert (other / "model.safetensors").read_bytes() != (base.path / "model.safetensors").read_bytes()


def test_both_architectures_and_both_types_are_made(base: Artifact, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    rounded = made(job_for(tmp_path / "bf16", dtype="bfloat16"))
    ours, theirs = (AutoModelForCausalLM.from_pretrained(a.path).state_dict() for a in (rounded, base))
    assert all(torch.equal(ours[name], theirs[name].bfloat16()) for name in theirs)
    qwen = AutoModelForCausalLM.from_pretrained(made(job_for(tmp_path / "qwen", architecture="qwen2")).path)
    assert qwen.config.model_type == "qwen2"
    assert qwen.config.rope_parameters["rope_theta"] == 10_000


def test_it_can_be_pretrained(base: Artifact, tmp_path: Path) -> None:
    job = pretrain_job(base.path, tmp_path, epochs=4.0)
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    assert found.failed_checks == []
    held = found.metrics["validation_perplexity"]
    assert held["after"] < held["before"] == pytest.approx(310, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tokenizer": {**SECTION["tokenizer"], "vocabulary": 30_000}},
            "model.tokenizer.vocabulary: the text gives",
        ),
        (
            {"tokenizer": {**SECTION["tokenizer"], "chat_template": "none.jinja"}},
            "none.jinja: No such file",
        ),
        ({"talks": "preference"}, "'talks' holds preference rows; a tokenizer is trained on documents or"),
    ],
)
def test_what_cannot_be_made_is_one_message(
    changes: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(job_for(tmp_path, **changes)) == REFUSED
    assert message in capsys.readouterr().out
