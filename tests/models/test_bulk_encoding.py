"""Many rows at a time: the ids of the checkpoint's own tokenizer, the mask of `ChatTemplate.encode`, to the token."""

import re
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from corpora.mixing.documents import DocumentTokenizer
from lineage.errors import CorpusError
from models.bulk_encoding import EncodedRows, encode_rendered
from models.messages import Message
from models.template import ChatTemplate
from models.tokens import BulkTokenizer
from tests.models.test_rendering import CALLING, CHATML, TALK, TOOLS, WITH_TOOLS, with_template

_TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("   \n\t'aeiou.,-12345éß中文の🤗\u0301\u200d<|>_"),
    ),
    max_size=60,
)


@pytest.fixture(scope="module")
def smollm2(tiny_base: Path) -> ChatTemplate:
    return ChatTemplate.load(tiny_base)


@pytest.fixture(scope="module")
def bulk(smollm2: ChatTemplate) -> BulkTokenizer:
    return BulkTokenizer(smollm2.tokenizer)


def encoded(template: ChatTemplate, bulk: BulkTokenizer, rows: Sequence[Sequence[Message]], tools: Any) -> EncodedRows:
    return encode_rendered(template, bulk, [one for own in template.rendered(rows, tools) for one in own])


def by_row(template: ChatTemplate, bulk: BulkTokenizer, rows: Sequence[Sequence[Message]], tools: Any = None) -> Any:
    """What is found of rows in one go, and what `encode` says of each."""
    tools = tools or [None] * len(rows)
    found = encoded(template, bulk, rows, tools)
    bounds = [0, *found.ends.tolist()]
    pieces = [(found.ids[a:b].tolist(), found.supervised[a:b].tolist()) for a, b in pairwise(bounds)]
    return pieces, [template.encode(row, own) for row, own in zip(rows, tools, strict=True)]


def test_the_fast_tokenizer_is_used_and_its_tokens_spell_the_text(bulk: BulkTokenizer) -> None:
    assert bulk._fast is not None
    text = "Twö <|im_end|>\n\n  words, 12 中文 🤗"
    spelled, upto = bulk.spelled(bulk.encode([text]).ids)
    assert spelled == text.encode() and upto[-1] == len(spelled)


def test_a_byte_that_the_vocabulary_lacks_is_left_out_as_the_tokenizer_does(bulk: BulkTokenizer) -> None:
    texts = ["before \U00040000 behind", "another"]
    assert bulk.encode(texts).ids.tolist() == bulk._by_reference(texts, True).ids.tolist()
    assert len(bulk.spelled(bulk.encode(texts[:1]).ids)[0]) < len(texts[0].encode())


@settings(max_examples=100, deadline=None)
@given(st.lists(_TEXT, max_size=6), st.booleans())
def test_ids_are_those_of_the_checkpoints_own_tokenizer(bulk: BulkTokenizer, texts: list[str], control: bool) -> None:
    texts = [*texts, "".join(texts), f"<|im_start|>{'<|im_end|>'.join(texts)}"]
    for found, expected in zip(bulk.encode(texts, control=control), bulk._by_reference(texts, control), strict=True):
        assert found.tolist() == expected.tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_TEXT.map(str.strip), min_size=2, max_size=5), min_size=1, max_size=4))
def test_rows_are_encoded_as_each_one_alone(smollm2: ChatTemplate, bulk: BulkTokenizer, texts: list[list[str]]) -> None:
    roles = ("user", "assistant")
    rows = [[{"role": roles[n % 2], "content": text} for n, text in enumerate(row)] for row in texts]
    rows = [row[: len(row) // 2 * 2] for row in rows if not smollm2.controls(row)]
    try:
        found, expected = by_row(smollm2, bulk, [*rows, TALK])
    except CorpusError as error:  # a control character may melt into the header before it
        assert "melt together" in str(error)
        return
    assert found == expected


def test_conversations_with_and_without_tools_in_one_go(tiny_base: Path, tmp_path: Path, bulk: BulkTokenizer) -> None:
    template = with_template(tiny_base, tmp_path / "tools", WITH_TOOLS)
    found, expected = by_row(template, bulk, [TALK, CALLING, TALK[:2], CALLING], [None, TOOLS, None, None])
    assert found == expected
    assert encoded(template, bulk, [], []).ids.tolist() == []


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (CHATML.replace("m.content", "m.content | upper"), "changes the words of a message"),
        (CHATML.replace("{% for", "{{ raise_exception('odd') }}{% for", 1), "refuses a conversation of"),
        (CHATML.replace("assistant\n'", "assistant '").replace("m.role + '\n'", "m.role + ' '"), "melt together"),
    ],
)
def test_what_one_row_is_refused_for_many_are(
    tiny_base: Path, tmp_path: Path, bulk: BulkTokenizer, template: str, said: str
) -> None:
    with pytest.raises(CorpusError, match=said):
        encoded(with_template(tiny_base, tmp_path / "bad", template), bulk, [TALK, TALK[:2]], [None, None])


def test_tokens_that_stand_for_no_bytes_are_placed_by_the_tokenizer_itself(tiny_base: Path, tmp_path: Path) -> None:
    """As those of SentencePiece: a space is U+2581, and the text begins with one that is not there."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<|im_start|>", "<|im_end|>"]
    said = [re.sub(r"<\|.*?\|>", " ", str(TALK))]
    tokenizer.train_from_iterator(said, trainers.BpeTrainer(vocab_size=200, special_tokens=special))
    shutil.copytree(tiny_base, tmp_path / "sp")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<|im_end|>", pad_token="<|im_end|>"
    ).save_pretrained(tmp_path / "sp")
    (tmp_path / "sp" / "chat_template.jinja").write_text(CHATML)
    template = ChatTemplate.load(tmp_path / "sp")
    bulk = BulkTokenizer(template.tokenizer)
    rows = [[{"role": "user", "content": "and red"}, {"role": "assistant", "content": "At dusk"}], TALK[:2]]
    found, expected = by_row(template, bulk, rows)
    assert found == expected and sum(found[0][1])


def test_documents_end_with_their_token_and_forge_none(tiny_base: Path) -> None:
    tokenizer = DocumentTokenizer.load(tiny_base, "<|endoftext|>")
    texts = ["one <|endoftext|> two", "", "drei <|im_end|>"]
    found = tokenizer.encode_all(texts)
    bounds = [0, *found.ends.tolist()]
    pieces = [found.ids[a:b].tolist() for a, b in pairwise(bounds)]
    assert pieces == [tokenizer.encode_one(text) for text in texts]
    assert found.ids.tolist().count(tokenizer.end_id) == 3
