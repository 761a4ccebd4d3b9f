"""Texts to token ids in bulk, as flat arrays, and which bytes of the texts each token stands for.

A checkpoint's own tokenizer says what is right. fastokens gives the same ids some thirty times as fast; it is used
where it reads the tokenizer and agrees with it on texts made to be difficult, elsewhere the tokenizer's own batch
call. Where a token lies in its text follows from the bytes that it spells: if those of a text's tokens, one behind
the other, are the text, then every border is known to the byte, and nobody has to keep account of offsets.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_NOT_UTF8 = b"\xff"
"""Stands for a token whose bytes are unknown: no text holds it."""

_DIFFICULT = (
    *("", " ", "  \n\n \t x", "a\r\nb\u00a0c\u3000d", "don't I'LL we'Re 'tis", "x" * 300),
    *("1234567 1,234.5 ٣٤٥ ½²", "naïve e\u0301 Straße ŒUVRE ﬁn", "日本語テキスト。中文字符，한국어"),
    *("สวัสดี नमस्ते שלום \u200fمرحبا", "🤗👩\u200d👧🏽🇩🇪 ok", "ΑΣ ας İi ǅ", "\u2028line\u2029par\u0085nel"),
    *("def f(x):\n    return {'a': [x**2, -1]}\n", "https://a.b/c?d=e&f=%20#g", "!!!???...---***"),
    *("_snake_case CamelCase UPPER  double   triple", "\x00\x07\x1b\x7f", "\ufeff\ufffd", "\U0010ffff"),
)


class Tokens(NamedTuple):
    """Ids of several texts, one text behind the other (int32), and where those of each text end (int64)."""

    ids: "Array"
    ends: "Array"


class BulkTokenizer:
    """A fast tokenizer of transformers for many texts at a time."""

    def __init__(self, tokenizer: Any) -> None:
        self._reference = tokenizer.backend_tokenizer
        self._reference.no_truncation()
        self._reference.no_padding()

    def encode(self, texts: Sequence[str], *, control: bool = True) -> Tokens:
        """Ids of texts. control: whether a control token that is spelled out in a text becomes that token."""
        if self._fast is None:
            return self._by_reference(texts, control)
        found = _by_fastokens(self._fast, texts, control)
        return self._by_reference(texts, control) if found is None else found

    def spelled(self, ids: "Array") -> tuple[bytes, "Array"]:
        """The bytes of tokens, one behind the other, and how many of them come before each token and the end."""
        import numpy as np

        spellings, sizes = self._spellings
        upto = np.zeros(len(ids) + 1, np.int64)
        np.cumsum(sizes[ids], out=upto[1:])
        return b"".join(spellings[ids].tolist()), upto

    def _by_reference(self, texts: Sequence[str], control: bool) -> Tokens:
        import numpy as np

        self._reference.encode_special_tokens = not control
        found = [encoding.ids for encoding in self._reference.encode_batch_fast(texts, add_special_tokens=False)]
        self._reference.encode_special_tokens = False
        ids = np.concatenate([np.zeros(0, np.int32), *(np.array(own, np.int32) for own in found)])
        return Tokens(ids, np.cumsum([len(own) for own in found], dtype=np.int64))

    @cached_property
    def _fast(self) -> Any:
        """fastokens, if it can read this tokenizer and agrees with it."""
        import fastokens

        try:
            fast = fastokens.Tokenizer.from_json_str(self._reference.to_str())
        except ValueError:
            return None
        special = [token.content for token in self._reference.get_added_tokens_decoder().values()]
        for text in (*_DIFFICULT, " ".join(_DIFFICULT[:-1]), *(f"a{token} b {token}{token}c" for token in special)):
            for control in (True, False):
                found = _by_fastokens(fast, [text], control)
                if found is not None and found.ids.tolist() != self._by_reference([text], control).ids.tolist():
                    return None
        return fast

    @cached_property
    def _spellings(self) -> tuple["Array", "Array"]:
        """The bytes of every token by its id, if it has the characters that byte-level BPE writes for bytes; how many.

        Otherwise a byte that is in no text.
        """
        import numpy as np

        byte_of = _byte_of_character()
        vocabulary = self._reference.get_vocab(with_added_tokens=False)
        added = {number: token.content for number, token in self._reference.get_added_tokens_decoder().items()}
        spellings = np.full(max([*vocabulary.values(), *added], default=-1) + 1, _NOT_UTF8, object)
        for token, number in vocabulary.items():
            if all(character in byte_of for character in token):
                spellings[number] = bytes(byte_of[character] for character in token)
        for number, content in added.items():
            spellings[number] = content.encode()
        spellings[spellings == b""] = _NOT_UTF8
        return spellings, np.array([len(spelling) for spelling in spellings], np.int64)


def _by_fastokens(fast: Any, texts: Sequence[str], control: bool) -> Tokens | None:
    """None if a text has a byte that the vocabulary lacks: fastokens refuses it, tokenizers leaves it out."""
    import numpy as np

    try:
        ids, offsets = fast.encode_batch_flat(list(texts), add_special_tokens=False, split_special_tokens=not control)
    except ValueError:
        return None
    return Tokens(np.frombuffer(ids, "<u4").astype(np.int32), np.frombuffer(offsets, "<u8")[1:].astype(np.int64))


def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others for characters from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
