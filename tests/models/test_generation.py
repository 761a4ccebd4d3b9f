"""Greedy decoding in batches."""

from dataclasses import replace
from pathlib import Path

import pytest

from lineage.errors import EvaluationError
from models.answering import LoadedModel, generate
from models.local import load_model

PROMPTS = ["One", "A longer prompt, with more words", "Three small ones", "Say it again, please", "x y"]


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> LoadedModel:
    """A tiny model whose output layer is not its input layer, so that it does not repeat its last token."""
    import torch

    loaded = load_model(tiny_base, "float32", 2)
    head = loaded.model.get_output_embeddings()
    generator = torch.Generator().manual_seed(0)
    head.weight = torch.nn.Parameter(torch.randn(head.weight.shape, generator=generator))
    return loaded


def answers(model: LoadedModel, max_new_tokens: int = 12) -> list[str]:
    return [response.text for response in generate(model, PROMPTS, max_new_tokens, lambda done: None)]


def by_transformers(model: LoadedModel, max_new_tokens: int) -> list[list[int]]:
    from transformers import GenerationConfig

    found = []
    for prompt in PROMPTS:
        ids = model.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        config = GenerationConfig(
            do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=sorted(model.stop_ids), pad_token_id=0
        )
        found.append(model.model.generate(**ids, generation_config=config)[0, ids["input_ids"].shape[1] :].tolist())
    return found


def test_answers_are_those_of_transformers_one_by_one(model: LoadedModel) -> None:
    expected = model.tokenizer.batch_decode(by_transformers(model, 12), skip_special_tokens=True)
    assert len(set(expected)) == len(PROMPTS)
    assert answers(model) == expected


def test_a_loaded_model_attends_without_plans_of_shapes(tiny_base: Path) -> None:
    import torch

    torch.backends.cuda.enable_cudnn_sdp(True)
    load_model(tiny_base, "float32", 2)
    assert not torch.backends.cuda.cudnn_sdp_enabled() and torch.backends.cuda.flash_sdp_enabled()


def test_an_answer_ends_at_a_stop_token_and_the_batch_goes_on(model: LoadedModel) -> None:
    free = by_transformers(model, 12)
    stopping = replace(model, stop_ids=frozenset({free[1][3], free[3][6]}))
    responses = generate(stopping, PROMPTS, 12, lambda done: None)
    expected = [next((i for i, token in enumerate(tokens) if token in stopping.stop_ids), 12) for tokens in free]
    assert [response.tokens for response in responses] == expected
    assert [response.cut for response in responses] == [count == 12 for count in expected]
    assert min(expected) < 12 == max(expected)


def test_an_answer_ends_before_a_text_that_ends_it_as_by_lm_eval(model: LoadedModel) -> None:
    from lm_eval.models.utils import postprocess_generated_text

    free = answers(model)
    until = [free[1][4:8], free[3][-6:-3], "never"]
    ours = generate(model, PROMPTS, 12, lambda done: None, until)
    assert [response.text for response in ours] == [postprocess_generated_text(text, until, None) for text in free]
    assert ours[1].text == free[1].partition(until[0])[0] != free[1]
    assert not ours[1].cut and ours[1].tokens < 12


def test_answers_in_fp32_do_not_depend_on_the_batch(model: LoadedModel) -> None:
    assert answers(model) == answers(replace(model, batch_size=5)) == answers(replace(model, batch_size=1))


def test_the_checkpoints_own_generation_settings_do_not_apply(model: LoadedModel) -> None:
    before = answers(model)
    model.model.generation_config.update(repetition_penalty=5.0, do_sample=True, temperature=3.0)
    assert answers(model) == before


def test_work_done_is_told_and_never_falls(model: LoadedModel) -> None:
    told: list[int] = []
    generate(model, PROMPTS, 6, told.append)
    assert told == sorted(told)
    assert told[-1] == len(PROMPTS)


def test_an_answer_that_may_not_fit_is_refused_before_the_first_token(model: LoadedModel) -> None:
    def tick(done: int) -> None:
        pytest.fail("a token was generated")

    with pytest.raises(EvaluationError, match="exceed the model's context of"):
        generate(model, PROMPTS, model.context, tick)
