"""The chat templates that TRL ships: which can be trained from, and whether what is learned of them is right.

`python -m benchmarks.templates` puts a small byte-level tokenizer around each text template of the installed TRL and
encodes conversations of one to four turns with it, with and without a system prompt, thoughts and tools. What is
learned is compared with a second way of finding it and, where a template marks what the model writes
(`{% generation %}`), with transformers' own mask of the assistant; every prompt with the text that was trained. The
last line is one JSON object: `templates`, `trained`, `refused_by_name`, `mask_mismatches`, `prompt_parity_mismatches`.
A template is trained if it takes all plain conversations of its families of roles; `--verbose` names every refusal.
"""

import argparse
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from lineage.errors import CorpusError
from models.messages import Message
from models.template import ChatTemplate
from models.tool_rendering import PROBE_TOOLS

_SPECIAL = re.compile(
    r"<\|[^|<>{}\n]{1,40}\|>|<｜[^｜\n]{1,40}｜>|</?s>|<(?:bos|eos|start_of_turn|end_of_turn|end_of_utterance)>"
    r"|\[/?(?:INST|gMASK|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT)\]|<sop>|<turn\|>|<\|turn>"
    r"|<\|[a-z_]+>|<[a-z_]+\|>"
)
"""How the control tokens of today's tokenizers look."""

_MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")


class Case(NamedTuple):
    """A conversation to learn, by what it shows. plain: whether a template has to take it to count as trained."""

    name: str
    messages: list[Message]
    tools: str | None
    plain: bool


def said(role: str, content: str, **more: str) -> Message:
    return {"role": role, "content": content, **more}


def turns(count: int, thinking: Sequence[int] = ()) -> list[Message]:
    """count: questions with their answers; those named in `thinking` have thoughts."""
    found = []
    for index in range(count):
        answer = f"It is {index + 5}.\n\n- so\n- it is"
        thoughts = f"<think>\nLet me see {index}:\n\nfirst\n</think>\n\n" if index in thinking else ""
        found += [said("user", f"What is {index} + 5?"), said("assistant", thoughts + answer)]
    return found


_SYSTEM = said("system", "Be brief.")
_CALL = json.dumps([{"name": "probe_function", "arguments": {"probe_key": "zwü"}}])


def cases() -> Iterator[Case]:
    for count in range(1, 5):
        yield Case(f"{count} turns", turns(count), None, True)
        yield Case(f"system, {count} turns", [_SYSTEM, *turns(count)], None, False)
        yield Case(f"{count} turns, thoughts", turns(count, range(count)), None, False)
    yield Case("3 turns, thoughts in the first", turns(3, [0]), None, False)
    yield Case("3 turns, thoughts in the last", turns(3, [2]), None, False)
    asked = said("user", "And 9?")
    called = [asked, said("assistant", "", tool_calls=_CALL), said("tool", '{"sum": 14}', name="probe_function")]
    yield Case("call", [*called, said("assistant", "14.")], PROBE_TOOLS, False)
    thought = said("assistant", "<think>\nI add\n</think>", tool_calls=_CALL)
    yield Case("call, thoughts", [asked, thought, *called[2:], said("assistant", "14.")], PROBE_TOOLS, False)
    yield Case("system, turn, call", [_SYSTEM, *turns(1), *called, said("assistant", "14.")], PROBE_TOOLS, False)
    yield Case("functions without a call", turns(2), PROBE_TOOLS, False)


def shipped() -> list[Path]:
    """The templates of the installed TRL, by name."""
    return sorted(Path(str(distribution("trl").locate_file("trl/chat_templates"))).glob("*.jinja"))


def stand_in(template: str, folder: Path) -> Path:
    """A checkpoint folder without weights: a byte-level tokenizer with the control tokens that this template writes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = sorted({*_SPECIAL.findall(template), "<eos>", *(["<bos>"] if "bos_token" in template else [])})
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300 + len(special),
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["What is it? It is five.\n\nLet me see: first so it is. user assistant system"], trainer)
    bos = "<bos>" if "<bos>" in special else None
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=bos, eos_token="<eos>", pad_token="<eos>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


class Found(NamedTuple):
    """What became of one case with one template."""

    refused: str | None = None
    mask_mismatches: int = 0
    prompt_mismatches: int = 0


def tried(template: ChatTemplate, case: Case) -> Found:
    """Learn a conversation and look at every row of it. Raises nothing that a template may cause."""
    if template.left_out(case.messages, case.tools) is not None:
        return Found(f"left out: {template.tools_problem}")
    try:
        [rows] = template.rendered([case.messages], [case.tools])
        encoded = [template.encode_rendered(row) for row in rows]
    except CorpusError as error:
        return Found(str(error))
    masks = prompts = 0
    learned = []
    for row, (ids, supervised) in zip(rows, encoded, strict=True):
        masks += template.parity(row.messages, (ids, supervised), case.tools) is not None
        masks += not _marked_alike(template, row.messages, case.tools, ids, supervised)
        for index, message in enumerate(row.messages):
            if message["role"] == "assistant" and message.get("weight") != "0":
                learned.append(index)
                prompts += not _asked_alike(template, row.messages, index, case.tools, ids)
        masks += _masked_wrongly(template, row.messages, case.tools)
    masks += sorted(learned) != [index for index, message in enumerate(case.messages) if message["role"] == "assistant"]
    return Found(None, masks, prompts)


def _masked_wrongly(template: ChatTemplate, messages: Sequence[Message], tools: str | None) -> bool:
    """Whether another way finds another mask where thoughts are not to be learned; none where that is refused."""
    try:
        encoded = template.encode(messages, tools, mask=True)
    except CorpusError:
        return False
    return template.parity(messages, encoded, tools, mask=True) is not None


def _asked_alike(
    template: ChatTemplate, messages: Sequence[Message], index: int, tools: str | None, ids: Sequence[int]
) -> bool:
    """Whether the row begins with a prompt that transformers writes for this turn, thinking or not."""
    asked = (
        template.encode_by_library(messages[:index], generation_prompt=True, tools=tools, thinking=thinking)
        for thinking in (False, True)
    )
    return any(list(ids[: len(prompt)]) == prompt for prompt in asked)


def _marked_alike(
    template: ChatTemplate, messages: Sequence[Message], tools: str | None, ids: Sequence[int], ours: Sequence[bool]
) -> bool:
    """Whether what is learned is what the template marks, where it marks anything, but for the borders of a turn.

    A run of learned tokens may begin before the marks, with what no prompt supplies, and ends with the token that ends
    the turn, marked or not. Marks may begin before it, with empty thoughts that a prompt supplies, and end behind it.
    """
    if not _MARKED.search(template.tokenizer.chat_template):
        return True
    written, marked = template.marked(messages, tools)
    if written != list(ids):  # where its prompts open thoughts it writes none of these: its marks are elsewhere
        return True
    pairs = list(zip(ours, marked, ids, strict=True))
    for learned, run in groupby(pairs, lambda pair: pair[0]):
        marks = [marked for _, marked, _ in run]
        if learned and not all(marks[marks.index(True) : -1] if any(marks) else [False]):
            return False
    inside = [[own for own, _, _ in run] for marked, run in groupby(pairs, lambda pair: pair[1]) if marked]
    return all(sum(own for own, _ in groupby(part)) <= 1 for part in inside)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of templates; all if none is given")
    parser.add_argument("--verbose", action="store_true", help="name every refusal and mismatch")
    arguments = parser.parse_args()
    files = [file for file in shipped() if not arguments.names or file.stem in arguments.names]
    trained = refused = masks = prompts = 0
    with tempfile.TemporaryDirectory() as scratch:
        for file in files:
            found = _of_template(file, Path(scratch))
            why = (
                found if isinstance(found, str) else next((f.refused for c, f in found if c.plain and f.refused), None)
            )
            print(f"{file.stem:34}", "trained" if why is None else f"refused: {why}")
            trained += why is None
            refused += why is not None
            for case, one in found if not isinstance(found, str) else ():
                masks += one.mask_mismatches
                prompts += one.prompt_mismatches
                if arguments.verbose and (one.refused or one.mask_mismatches or one.prompt_mismatches):
                    print(f"    {case.name:32} {one.refused or one[1:]}")
    told = {"templates": len(files), "trained": trained, "refused_by_name": refused}
    print(json.dumps({**told, "mask_mismatches": masks, "prompt_parity_mismatches": prompts}))


def _of_template(file: Path, scratch: Path) -> str | list[tuple[Case, Found]]:
    try:
        template = ChatTemplate.load(stand_in(file.read_text(encoding="utf-8"), scratch / file.stem))
    except CorpusError as error:
        return str(error)
    return [(case, tried(template, case)) for case in cases()]


if __name__ == "__main__":
    main()
