"""Pretraining text as tokens: each document in full, then one token that ends it.

What a document's own words spell is text: a control token written out in them is encoded as the characters that it
is made of, so that no document can forge the border to the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lineage.errors import CorpusError
from lineage.hashing import file_digest, fingerprint
from models import load
from models.tokens import BulkTokenizer, Tokens


@dataclass(frozen=True)
class DocumentTokenizer:
    """A checkpoint's tokenizer for plain text. `end_id` is the token behind each document."""

    tokenizer: Any
    end_id: int
    digest: str

    @classmethod
    def load(cls, checkpoint: Path, end_of_text: str | None) -> "DocumentTokenizer":
        """end_of_text: by default the tokenizer's own end of sequence. Raises CorpusError if there is no such token."""
        tokenizer = load.tokenizer(checkpoint)
        if not tokenizer.is_fast or not (checkpoint / "tokenizer.json").is_file():
            raise CorpusError(f"{checkpoint}: has no tokenizer.json, which documents are tokenised with")
        special = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        wanted = end_of_text or tokenizer.eos_token
        if wanted not in special:
            raise CorpusError(
                f"{checkpoint}: end_of_text {wanted!r} is none of its special tokens: {', '.join(sorted(special))}"
            )
        identity = {"end_of_text": wanted, "tokenizer": file_digest(checkpoint / "tokenizer.json")}
        return cls(tokenizer, special[wanted], fingerprint(identity))

    def encode_all(self, texts: Sequence[str]) -> Tokens:
        """Ids of each text with the token that ends it."""
        import numpy as np

        found = self._bulk.encode(texts, control=False)
        ids = np.insert(found.ids, found.ends, np.int32(self.end_id))
        return Tokens(ids, found.ends + np.arange(1, len(texts) + 1))

    def encode_one(self, text: str) -> list[int]:
        """The same of one text, as the library's users would call it."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [*ids, self.end_id]

    @cached_property
    def _bulk(self) -> BulkTokenizer:
        return BulkTokenizer(self.tokenizer)
