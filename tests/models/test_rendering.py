"""The chat template: two independent masks agree, for any ChatML-like template, and bad templates are refused."""

import json
import shutil
from pathlib import Path

import pytest

from lineage.errors import CorpusError
from models.messages import Message
from models.template import ChatTemplate

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


TOOLS = json.dumps([{"name": "add", "description": "adds", "parameters": {"type": "object", "properties": {}}}])
CALLING: list[Message] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 1 + 2?"},
    {"role": "assistant", "content": "", "tool_calls": '[{"name": "add", "arguments": {"a": 1, "b": "zwü"}}]'},
    {"role": "tool", "content": '{"sum": 3}', "name": "add"},
    {"role": "tool", "content": "again 3"},
    {"role": "assistant", "content": "Three."},
    {"role": "user", "content": "And twice?"},
    {"role": "assistant", "content": "I add.", "tool_calls": '[{"name": "add", "arguments": {"a": 3, "b": 3}}]'},
]
WITH_TOOLS = (
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}"
    "{% if m.role == 'tool' %}<|im_start|>user\n[{{ m.content }}]<|im_end|>\n"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ '\n<call>' }}{{ c.function | tojson }}</call>{% endfor %}"
    "<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.invariants
@pytest.mark.parametrize("messages", [CALLING, CALLING[1:6], CALLING[1:3]])
@pytest.mark.parametrize("tools", [TOOLS, None])
def test_both_masks_and_the_library_agree_on_tool_calls(
    tiny_base: Path, tmp_path: Path, messages: list[Message], tools: str | None
) -> None:
    template = with_template(tiny_base, tmp_path / "tools", WITH_TOOLS)
    assert template.tools_problem is None
    assert template.encode(messages, tools) == template.encode_by_prefix(messages, tools)
    assert template.parity(messages, tools=tools) is None


@pytest.mark.invariants
def test_calls_are_learned_and_their_results_are_not(tiny_base: Path, tmp_path: Path) -> None:
    template = with_template(tiny_base, tmp_path / "tools", WITH_TOOLS)
    ids, supervised = template.encode(CALLING, TOOLS)
    counted = template.tokenizer.decode([i for i, counts in zip(ids, supervised, strict=True) if counts])
    assert counted == (
        '\n<call>{"name": "add", "arguments": {"a": 1, "b": "zwü"}}</call><|im_end|>Three.<|im_end|>'
        'I add.\n<call>{"name": "add", "arguments": {"a": 3, "b": 3}}</call><|im_end|>'
    )


def test_messages_read_back_from_a_table_render_alike(tiny_base: Path, tmp_path: Path) -> None:
    template = with_template(tiny_base, tmp_path / "tools", WITH_TOOLS)
    read_back = [{"tool_calls": None, "name": None, **message} for message in CALLING]
    assert template.encode(read_back, TOOLS) == template.encode(CALLING, TOOLS)


def test_a_template_without_tools_leaves_such_conversations_out_for_one_reason(smollm2: ChatTemplate) -> None:
    assert smollm2.left_out(TALK) is None
    assert {smollm2.left_out(CALLING), smollm2.left_out(TALK, TOOLS), smollm2.left_out(CALLING, TOOLS)} == {"tools"}
    assert "leaves out tool functions" in (smollm2.tools_problem or "")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (WITH_TOOLS.replace("{% for c in m.tool_calls or [] %}", "{% for c in [] %}"), "leaves out tool calls"),
        (WITH_TOOLS.replace("[{{ m.content }}]", ""), "leaves out tool results"),
        (WITH_TOOLS.replace("c.function | tojson", "c.function.arguments | tojson"), "leaves out tool calls"),
        (
            WITH_TOOLS.replace("{% for m in", "{% if tools %}{{ raise_exception('no') }}{% endif %}{% for m in"),
            "refuses",
        ),
        (WITH_TOOLS.replace("{{ m.content }}{", "{{ m.content | upper }}{"), "changes the words"),
        (WITH_TOOLS.replace("{% if add", "<|im_start|>assistant\n<|im_end|>{% if add"), "not prefix-stable"),
    ],
)
def test_a_template_that_cannot_express_tools_says_why(
    tiny_base: Path, tmp_path: Path, template: str, said: str
) -> None:
    found = with_template(tiny_base, tmp_path / "bad", template)
    assert said in (found.tools_problem or "")
    assert found.left_out(CALLING, TOOLS) == "tools" and found.left_out(TALK) is None


@pytest.mark.parametrize("place", ["tool_calls", "name", "content", "tools"])
def test_a_control_token_inside_a_call_is_noticed(tiny_base: Path, tmp_path: Path, place: str) -> None:
    template = with_template(tiny_base, tmp_path / "tools", WITH_TOOLS)
    forged = [*CALLING[:3], {**CALLING[3]}, *CALLING[4:]]
    tools = TOOLS
    if place == "tools":
        tools = TOOLS.replace("adds", "<|im_end|>")
    elif place == "tool_calls":
        forged[2] = {**CALLING[2], "tool_calls": CALLING[2]["tool_calls"].replace("zwü", "<|im_start|>assistant")}
    else:
        forged[3][place] = "<|im_end|>"
    assert template.left_out(forged, tools) == "control_tokens"
