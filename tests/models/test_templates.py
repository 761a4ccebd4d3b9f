"""The chat templates that TRL ships, around a small tokenizer: each is trained from as it is used, or refused."""

import json
import random
from datetime import date
from pathlib import Path

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from benchmarks.templates import cases, said, shipped, stand_in, tried, turns
from lineage.errors import CorpusError
from models.dated import pinned
from models.messages import Message
from models.template import ChatTemplate
from models.thoughts import WRITTEN_OUT, dropped, parted
from models.turns import learns
from training.invariants.rendering import as_served

SHIPPED = {file.stem: file for file in shipped()}
REFUSED = {"glm4moe": "puts no special token after an assistant turn"}
"""Templates whose turns have no end."""


def loaded(name: str, folder: Path) -> ChatTemplate:
    return ChatTemplate.load(stand_in(SHIPPED[name].read_text(), folder / name))


def learned(
    template: ChatTemplate, messages: list[Message], tools: str | None = None, *, mask: bool = False
) -> list[str]:
    """What is learned of each row of a conversation, turns parted by a bar."""
    [rows] = template.rendered([messages], [tools], mask=mask)
    found = []
    for row in rows:
        ids, supervised = template.encode_rendered(row)
        assert template.parity(row.messages, (ids, supervised), tools, mask=mask) is None
        told = "".join(template.tokenizer.decode([i]) if own else "|" for i, own in zip(ids, supervised, strict=True))
        found.append("|".join(part for part in told.split("|") if part))
    return found


@pytest.mark.invariants
@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_learned_is_what_the_model_has_to_write(tmp_path: Path, name: str) -> None:
    if name in REFUSED:
        with pytest.raises(CorpusError, match=REFUSED[name]):
            loaded(name, tmp_path)
        return
    template = loaded(name, tmp_path)
    for case in cases():
        found = tried(template, case)
        assert (found.mask_mismatches, found.prompt_mismatches) == (0, 0), case.name
        assert found.refused is None or not case.plain, found.refused


@pytest.mark.parametrize("name", ["deepseek_r1_distill", "deepseekv3"])
def test_where_every_prompt_opens_thoughts_the_answer_stands_behind_it_as_the_model_writes_it(
    tmp_path: Path, name: str
) -> None:
    template, end = loaded(name, tmp_path), "<｜end▁of▁sentence｜>"
    messages = turns(2, [0])
    thoughts, words = parted(messages[1]["content"])
    first, second = template.rendered([messages], [None])[0]
    assert first.text.endswith(f"<｜Assistant｜><think>\n{thoughts}\n</think>\n\n{words}{end}")
    assert first.text[first.spans[0][0] :] == f"{thoughts}\n</think>\n\n{words}{end}"
    assert thoughts not in second.text and second.text.endswith(
        f"<think>\n\n</think>\n\nIt is 6.\n\n- so\n- it is{end}"
    )
    assert learned(template, messages, mask=True)[0] == f"{words}{end}"
    prompt = template.prompt_ids(messages[:1], thinking=True)
    assert template.parted(template.answer_ids(messages[:1], messages[1], prompt), prompt) == (thoughts, words)


PIECES = (
    *("a", "so", "It is", "1", " ", "  x", "\n\n", "\nuser\n", "assistant", "model", "final", "<|"),
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "é🤗", "```py\n  f()\n```"),
)


def odd(rng: random.Random) -> str:
    text = "".join(rng.choices(PIECES, k=rng.randint(1, 6))).rstrip()
    return text if text.strip() else "z"


def odd_talk(rng: random.Random) -> list[Message]:
    """One to four questions in odd words, some answers with thoughts, some that are context alone."""
    messages = [said("system", odd(rng).strip())] if rng.random() < 0.3 else []
    for _ in range(rng.randint(1, 4)):
        thoughts = f"<think>\n{odd(rng).strip()}\n</think>\n\n" if rng.random() < 0.4 else ""
        weight = {"weight": "0"} if rng.random() < 0.15 else {}
        messages += [said("user", odd(rng).strip()), said("assistant", f"{thoughts}{odd(rng)}", **weight)]
    return messages


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize(
    "name", ["qwen3", "qwen3_6", "qwen2_5", "gptoss", "gemma3", "phi3", "llama3_1", "nemotron_3_nano", "muse_glimmer"]
)
def test_odd_words_are_learned_as_they_stand_once_or_refused(tmp_path: Path, name: str, mask: bool) -> None:
    template, rng, taken = loaded(name, tmp_path), random.Random(7), 0
    for _ in range(40):
        messages = odd_talk(rng)
        try:
            [rows] = template.rendered([messages], [None], mask=mask)
            encoded = [template.encode_rendered(row) for row in rows]
        except CorpusError:
            continue
        taken, learned = taken + 1, []
        for row, tokens in zip(rows, encoded, strict=True):
            assert template.parity(row.messages, tokens, mask=mask) is None, messages
            turns_of_row = [place for place, message in enumerate(row.messages) if learns(message)]
            for place, (start, end) in zip(turns_of_row, row.spans, strict=True):
                thoughts, words = parted(messages[place]["content"])
                assert words.strip() in row.text[start:end], messages
                assert mask or (thoughts or "") in row.text[start:end], messages
            learned += turns_of_row
        assert sorted(learned) == [place for place, message in enumerate(messages) if learns(message)]
    assert taken > 10


END = "<|im_end|>"


def test_an_answer_that_changes_once_others_follow_is_learned_in_a_row_of_its_own(tmp_path: Path) -> None:
    template = loaded("qwen3", tmp_path)
    messages = turns(2)
    [rows] = template.rendered([messages], [None])
    assert [len(row.messages) for row in rows] == [2, 4]
    assert [message.get("weight") for message in rows[1].messages] == [None, "0", None, None]
    assert learned(template, messages) == [messages[1]["content"] + END, messages[3]["content"] + END]
    assert rows[0].text.endswith(f"<think>\n\n</think>\n\n{messages[1]['content']}{END}\n")
    assert f"assistant\n{messages[1]['content']}{END}" in rows[1].text
    assert [len(own) for own in loaded("qwen2_5", tmp_path).rendered([messages, messages[:2]], [None, None])] == [1, 1]


@pytest.mark.parametrize("name", ["qwen3", "qwen3_6", "nemotron_3_nano", "glm4moe_training"])
def test_thoughts_are_learned_masked_or_dropped(tmp_path: Path, name: str) -> None:
    template = loaded(name, tmp_path)
    messages = turns(1, [0])
    thoughts, words = parted(messages[1]["content"])
    assert thoughts is not None
    [told] = learned(template, messages)
    assert thoughts in told and words in told and told.count("</think>") == 1
    [masked] = learned(template, messages, mask=True)
    assert masked.startswith(words) and thoughts not in masked
    [without] = learned(template, dropped(messages))
    assert words in without and "think" not in without


def test_thoughts_of_gpt_oss_have_their_channel(tmp_path: Path) -> None:
    template = loaded("gptoss", tmp_path)
    told = learned(template, turns(2, [0]))
    assert told[0].replace("<|", "").startswith("channel")
    [first, second] = template.rendered([turns(2, [0])], [None])[0]
    assert "<|channel|>analysis<|message|>Let me see 0" in first.text and "Let me see" not in second.text
    assert first.text.endswith("<|return|>") and first.text[first.spans[0][0] :].startswith("<|channel|>analysis")
    assert second.text[second.spans[0][0] :].startswith("<|channel|>final<|message|>It is 6.")


def test_turns_that_call_end_with_the_token_of_calls(tmp_path: Path) -> None:
    template = loaded("gptoss", tmp_path)
    call = next(case for case in cases() if case.name == "call")
    [row] = template.rendered([call.messages], [call.tools])[0]
    called, answered = (row.text[start:end] for start, end in row.spans)
    assert called.endswith('"zwü"}<|call|>') and answered == "<|channel|>final<|message|>14.<|return|>"
    assert template.end_ids == set(template.tokenizer.convert_tokens_to_ids(["<|call|>", "<|return|>"]))


def test_words_that_are_context_alone_are_not_learned(tmp_path: Path) -> None:
    template = loaded("qwen2_5", tmp_path)
    first, second = turns(2)[:2], turns(2)[2:]
    messages = [first[0], {**first[1], "weight": "0"}, *second]
    assert learned(template, messages) == [second[1]["content"] + END]
    assert learned(template, [*first, second[0], {**second[1], "weight": "0"}]) == [first[1]["content"] + END]
    assert template.rendered([[first[0], {**first[1], "weight": "0"}]], [None]) == [[]]


def test_of_named_templates_the_default_is_taken(tmp_path: Path) -> None:
    template = loaded("qwen2_5", tmp_path)
    tokenizer = template.tokenizer
    tokenizer.chat_template = {"default": tokenizer.chat_template, "rag": "{{ raise_exception('not this') }}"}
    tokenizer.save_pretrained(tmp_path / "named")
    named = ChatTemplate.load(tmp_path / "named")
    assert named.render(turns(1)) == loaded("qwen2_5", tmp_path).render(turns(1)) and named.digest != template.digest
    tokenizer.chat_template = {"rag": "{{ messages }}"}
    tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(CorpusError, match=r"of its chat templates \(rag\) none is `default`"):
        ChatTemplate.load(tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "written"),
    [("llama3_2", "Today Date: 09 Mar 2031"), ("gptoss", "Current date: 2031-03-09"), ("muse_glimmer", "2031-03-09")],
)
def test_a_template_that_writes_the_date_is_given_the_checkpoints_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, written: str
) -> None:
    template = loaded(name, tmp_path)
    template.tokenizer.init_kwargs["chat_template_date"] = "2031-03-09"
    template.tokenizer.save_pretrained(tmp_path / "later")
    later = ChatTemplate.load(tmp_path / "later")
    assert written in later.render(turns(1)) and written not in template.render(turns(1))
    assert later.render(turns(1), True) == as_served(tmp_path / "later", turns(1), generation_prompt=True)
    assert later.digest != loaded(name, tmp_path).digest
    released = SHIPPED[name].read_text()
    assert (tmp_path / "later" / "chat_template.jinja").read_text().strip() == released.strip()


def test_what_a_template_without_a_date_writes_is_not_touched(tmp_path: Path) -> None:
    template = loaded("qwen3", tmp_path)
    assert template._pinned == {"default": SHIPPED["qwen3"].read_text()}


@pytest.mark.parametrize(
    ("answer", "opened", "found"),
    [
        ("five", False, ("", "five")),
        ("<think>\nhm\n</think>\n\nfive", False, ("hm", "five")),
        ("hm\n</think>\n\nfive", True, ("hm", "five")),
        ("<think>\nhm, and", False, ("hm, and", "")),
        ("hm, and", True, ("hm, and", "")),
        ("a < b <think> c", False, ("", "a < b <think> c")),
        ("say </think> now", False, ("", "say </think> now")),
        ("the tag is </think>", False, ("", "the tag is </think>")),
        ("<thi", False, ("", "")),
        ("hm\n</think>\n\nfive", False, ("hm", "five")),
        ("hm\n</think>\n", False, ("hm", "")),
        ("<", False, ("", "<")),
        ("<think>\nhm\n</think>\n\nfive", True, ("hm", "five")),
    ],
)
def test_an_answer_is_what_was_said_and_not_what_was_thought(answer: str, opened: bool, found: tuple[str, str]) -> None:
    assert WRITTEN_OUT.parted(answer, opened=opened) == found


@pytest.mark.parametrize(
    "name", ["qwen3", "qwen3_6", "gptoss", "nemotron_3_nano", "gemma4_v5", "qwen2_5", "muse_glimmer"]
)
@pytest.mark.parametrize("thinking", [True, False])
def test_what_a_trained_model_writes_is_parted_as_it_was_learned(tmp_path: Path, name: str, thinking: bool) -> None:
    template = loaded(name, tmp_path)
    messages = turns(1, [0] if thinking else [])
    prompt = template.prompt_ids(messages[:1], thinking=thinking)
    ids = template.answer_ids(messages[:1], messages[1], prompt, thinking=thinking)
    thoughts, words = parted(messages[1]["content"])
    assert template.parted(ids, prompt) == (thoughts or "", words)
    for upto in range(2, len(ids)):
        assert not thinking or words.startswith(template.said(ids[:upto], prompt))


def test_a_turn_that_begins_again_behind_results_is_said_without_its_header(tmp_path: Path) -> None:
    template = loaded("diffusion_gemma", tmp_path)
    case = next(case for case in cases() if case.name == "call")
    [row] = template.rendered([case.messages], [case.tools])[0]
    answer = row.text[slice(*row.spans[-1])]
    assert answer.startswith("<|turn>model\n")
    assert template.said(template.tokenise(answer), template.prompt_ids(case.messages[:-1], case.tools)) == "14."


CALLED = json.dumps([{"name": "rain", "arguments": {"city": "Bern"}}])


@pytest.mark.parametrize(
    ("name", "content", "weight"),
    [
        ("llama3_1", "Bern", {}),
        ("llama3_1", "Bern", {"weight": "0"}),
        ("llama3_1", "<think>\nBern\n</think>", {}),
        ("muse_glimmer", "Bern", {}),
    ],
)
def test_words_beside_a_call_are_not_held_by_the_same_words_in_it(
    tmp_path: Path, name: str, content: str, weight: dict[str, str]
) -> None:
    template = loaded(name, tmp_path)
    talk = [said("user", "Where?"), said("assistant", content, tool_calls=CALLED, **weight)]
    talk += [said("tool", "wet", name="rain"), said("assistant", "Wet.")]
    with pytest.raises(CorpusError, match=r"leaves out (thoughts before|words beside) a call"):
        template.rendered([talk], [None])


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("gptoss", " to=functions.rain<|channel|>"),
        ("muse_glimmer", " to=rain<|message|>"),
        ("qwen3", '<tool_call>\n{"name": "rain"'),
        ("gemma4_v5", "<|tool_call>call:rain"),
    ],
)
def test_thoughts_before_a_call_are_masked_up_to_what_calls(tmp_path: Path, name: str, call: str) -> None:
    template = loaded(name, tmp_path)
    talk = [said("user", "Rain?"), said("assistant", "<think>\nI look.\n</think>", tool_calls=CALLED)]
    [masked] = learned(template, talk, mask=True)
    assert masked.lstrip().startswith(call.lstrip()) and "I look" not in masked
    assert "I look." in learned(template, talk)[0]


def test_a_template_that_writes_one_call_of_several_is_heard(tmp_path: Path) -> None:
    template = loaded("gptoss", tmp_path)
    calls = json.dumps([{"name": "rain", "arguments": {"city": city}} for city in ("Bern", "Basel")])
    talk = [said("user", "Rain?"), said("assistant", "", tool_calls=calls)]
    talk += [said("tool", "wet", name="rain"), said("tool", "dry", name="rain"), said("assistant", "Wet, dry.")]
    with pytest.raises(CorpusError, match="leaves out tool calls"):
        template.rendered([talk], [None])
    with pytest.raises(CorpusError, match="leaves out tool calls"):  # whatever other words say
        template.rendered([[said("user", "qz0x qz1x qz2x qz3x"), *talk[1:]]], [None])
    prompt = template.prompt_ids(talk[:1])
    with pytest.raises(CorpusError, match="leaves out tool calls"):
        template.answer_ids(talk[:1], talk[1], prompt)
    both = loaded("qwen3", tmp_path)
    assert "Basel" in learned(both, talk)[0] and both.answer_ids(talk[:1], talk[1], both.prompt_ids(talk[:1]))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("<think>\nhm\n</think>", "puts thoughts behind the call that they come before"),
        ("I look.", "puts what is said beside a call behind its results"),
    ],
)
def test_a_template_that_moves_what_comes_before_a_call_is_heard(tmp_path: Path, content: str, why: str) -> None:
    template = loaded("gemma4", tmp_path)
    talk = [said("user", "Rain?"), said("assistant", content, tool_calls=CALLED)]
    talk += [said("tool", "wet", name="rain"), said("assistant", "Wet.")]
    for mask in (False, True):
        with pytest.raises(CorpusError, match=why):
            template.rendered([talk], [None], mask=mask)


def test_an_end_of_turn_behind_a_blank_is_one(tmp_path: Path) -> None:
    released = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
    )
    template = ChatTemplate.load(stand_in(released, tmp_path / "llama2"))
    assert template.end_of_turn == template.tokenizer.eos_token
    assert learned(template, turns(2)) == ["|".join(f" {m['content']} {template.end_of_turn}" for m in turns(2)[1::2])]


@pytest.mark.parametrize(
    "asked", ["strftime_now('%d %b %Y')", "strftime_now(format='%d %b %Y')", "strftime_now('%d ' ~ '%b %Y')"]
)
def test_the_pinned_date_is_written_in_any_form_that_is_asked_for(asked: str) -> None:
    template = "{%- set form = '%d %b %Y' %}{{ " + asked + " }} {{ strftime_now(form) }} {{ strftime_now('%-d %%d') }}"
    found = ImmutableSandboxedEnvironment().from_string(pinned(template, date(2031, 3, 9))).render()
    assert found == "09 Mar 2031 09 Mar 2031 9 %d"
