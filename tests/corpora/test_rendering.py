"""The chat template: two independent masks agree, for any ChatML-like template, and bad templates are refused."""

import shutil
from pathlib import Path

import pytest

from corpora.raw import CorpusError
from corpora.reading.conversations import Message
from corpora.rendering import ChatTemplate

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TALK: list[Message] = [
    {"role": "user", "content": "Why is the sky blue?"},
    {"role": "assistant", "content": "Rayleigh scattering \U0001f600.\n\n- one\n- twö"},
    {"role": "user", "content": "  and\tred? "},
    {"role": "assistant", "content": "At dusk"},
]


def with_template(base: Path, folder: Path, template: str) -> ChatTemplate:
    shutil.copytree(base, folder)
    (folder / "chat_template.jinja").write_text(template)
    return ChatTemplate.load(folder)


@pytest.fixture(scope="module")
def smollm2(tiny_base: Path) -> ChatTemplate:
    return ChatTemplate.load(tiny_base)


@pytest.mark.invariants
@pytest.mark.parametrize("messages", [TALK[:2], TALK, [{"role": "system", "content": "Be brief."}, *TALK]])
@pytest.mark.parametrize("default_system", [True, False])
def test_both_masks_and_the_library_agree(
    tiny_base: Path, tmp_path: Path, smollm2: ChatTemplate, messages: list[Message], default_system: bool
) -> None:
    template = smollm2 if default_system else with_template(tiny_base, tmp_path / "chatml", CHATML)
    assert template.encode(messages) == template.encode_by_prefix(messages)
    assert template.encode(messages)[0] == template.encode_by_library(messages)
    assert template.parity(messages) is None


@pytest.mark.invariants
def test_supervised_are_the_words_and_their_end_of_turn_alone(smollm2: ChatTemplate) -> None:
    ids, supervised = smollm2.encode(TALK)
    counted = smollm2.tokenizer.decode([i for i, counts in zip(ids, supervised, strict=True) if counts])
    assert counted == f"{TALK[1]['content']}<|im_end|>{TALK[3]['content']}<|im_end|>"
    assert sum(i == smollm2.end_of_turn_id and c for i, c in zip(ids, supervised, strict=True)) == 2


def test_a_prompt_and_its_answer_make_the_whole(smollm2: ChatTemplate) -> None:
    prompt = smollm2.prompt_ids(TALK[:3])
    answer = smollm2.answer_ids(TALK[:3], TALK[3], prompt)
    whole = smollm2.encode(TALK)[0]
    assert whole[: len(prompt) + len(answer)] == prompt + answer
    assert answer[-1] == smollm2.end_of_turn_id
    assert smollm2.tokenizer.decode(whole[len(prompt) + len(answer) :]) == "\n"


def test_words_that_spell_a_control_token_are_noticed(smollm2: ChatTemplate) -> None:
    assert smollm2.controls([{"role": "user", "content": "end it <|im_end|> here"}])
    assert not smollm2.controls(TALK)
    assert not smollm2.controls([{"role": "user", "content": "cat <filename> > out"}])


def test_the_digest_follows_the_template(tiny_base: Path, tmp_path: Path, smollm2: ChatTemplate) -> None:
    other = with_template(tiny_base, tmp_path / "other", CHATML)
    assert other.digest != smollm2.digest
    assert with_template(tiny_base, tmp_path / "same", CHATML).digest == other.digest


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (CHATML.replace("<|im_end|>", "</s>"), "puts no special token after an assistant turn"),
        (CHATML.replace("m.content", "m.content | upper"), "changes the words of a message"),
        (CHATML.replace("messages %}", "messages[-1:] %}", 1), "leaves out or reorders messages"),
        (CHATML.replace("{% for", "{{ raise_exception('odd') }}{% for", 1), "refuses a conversation of"),
        (CHATML.replace("assistant\n'", "assistant '").replace("m.role + '\n'", "m.role + ' '"), "melt together"),
    ],
)
def test_a_template_that_cannot_be_trained_on_is_refused(
    tiny_base: Path, tmp_path: Path, template: str, said: str
) -> None:
    with pytest.raises(CorpusError, match=said):
        with_template(tiny_base, tmp_path / "bad", template).encode(TALK)


def test_a_template_that_rewrites_earlier_turns_is_not_prefix_stable(tiny_base: Path, tmp_path: Path) -> None:
    counting = "{{ '<|im_start|>' ~ messages | length ~ ' turns<|im_end|>' }}" + CHATML
    template = with_template(tiny_base, tmp_path / "counting", counting)
    with pytest.raises(CorpusError, match="not prefix-stable"):
        template.encode_by_prefix(TALK)
    assert "not prefix-stable" in (template.parity(TALK) or "")


def test_a_generation_prompt_that_training_never_saw_is_found(tiny_base: Path, tmp_path: Path) -> None:
    thinking = CHATML.replace("assistant\n' }}{% endif", "assistant\nSure: ' }}{% endif")
    assert "not prefix-stable" in (with_template(tiny_base, tmp_path / "t", thinking).parity(TALK) or "")


def test_a_folder_without_a_template_is_named(tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "bare")
    (tmp_path / "bare" / "chat_template.jinja").unlink()
    with pytest.raises(CorpusError, match=r"has no chat template; name one in model\.chat_template"):
        ChatTemplate.load(tmp_path / "bare")
