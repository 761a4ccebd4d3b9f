"""Many rows at a time into token ids and loss masks, as flat arrays: what `ChatTemplate.encode_rendered` says of one.

The mask follows from where each token lies (`tokens`). A row whose tokens do not spell its text, or with a token
across the border of an assistant turn, is encoded by that function itself, which knows better or says why not.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from models.rendering import Encoded
from models.template import ChatTemplate
from models.tokens import BulkTokenizer
from models.turns import Rendered

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class EncodedRows(NamedTuple):
    """Ids of several rows, one row behind the other (int32), for each whether the loss counts it (bool), and where
    those of each row end (int64)."""

    ids: "Array"
    supervised: "Array"
    ends: "Array"


def encode_rendered(template: ChatTemplate, tokenizer: BulkTokenizer, rendered: Sequence[Rendered]) -> EncodedRows:
    """tokenizer: the template's. Raises CorpusError like `ChatTemplate.encode_rendered`."""
    import numpy as np

    texts = [row.text.encode() for row in rendered]
    tokens = tokenizer.encode([row.text for row in rendered])
    bounds = np.append(0, tokens.ends)
    spelled, upto = tokenizer.spelled(tokens.ids)
    starts = upto[bounds]
    wrong = _misspelled(texts, spelled, starts.tolist())
    spans = _spans(rendered, texts, starts[:-1], wrong)
    supervised, melted = _mask(spans, upto)
    wrong[melted] = True
    found = EncodedRows(tokens.ids, supervised, tokens.ends)
    others = {row: template.encode_rendered(rendered[row]) for row in np.flatnonzero(wrong).tolist()}
    return _with_rows(found, others) if others else found


def _misspelled(texts: Sequence[bytes], spelled: bytes, bounds: Sequence[int]) -> "Array":
    """Which texts are not what their tokens spell, whose bytes lie between `bounds`."""
    import numpy as np

    pieces = (spelled[start:end] for start, end in pairwise(bounds))
    return np.array([piece != text for piece, text in zip(pieces, texts, strict=True)], bool)


def _spans(rendered: Sequence[Rendered], texts: Sequence[bytes], starts: "Array", wrong: "Array") -> "Array":
    """Row, first byte and the byte behind the last of all assistant turns of rows that are not wrong (int64; n, 3).

    Bytes are counted over all rows. starts: of each row's bytes.
    """
    import numpy as np

    found = []
    for row, (one, raw, start, skip) in enumerate(zip(rendered, texts, starts.tolist(), wrong.tolist(), strict=True)):
        for span in one.spans if not skip else ():
            first, end = span if len(raw) == len(one.text) else (len(one.text[:place].encode()) for place in span)
            found.append((row, start + first, start + end))
    return np.array(found, np.int64).reshape(-1, 3)


def _mask(spans: "Array", upto: "Array") -> tuple["Array", "Array"]:
    """Which tokens lie in a span, and the rows that have a token across a span's border.

    upto: bytes of all tokens before each one and before the end.
    """
    import numpy as np

    rows, begins, ends = spans.T
    first, last = np.searchsorted(upto, begins), np.searchsorted(upto, ends)
    melted = (upto[first] != begins) | (upto[last] != ends)
    change = np.zeros(len(upto), np.int32)
    np.add.at(change, first, 1)
    np.add.at(change, last, -1)
    return np.cumsum(change)[:-1] > 0, rows[melted]


def _with_rows(found: EncodedRows, others: Mapping[int, Encoded]) -> EncodedRows:
    """The same with some rows as they were encoded one by one."""
    import numpy as np

    ids, supervised = (np.split(array, found.ends[:-1]) for array in found[:2])
    for row, (own, mask) in others.items():
        ids[row], supervised[row] = np.array(own, np.int32), np.array(mask, bool)
    return EncodedRows(np.concatenate(ids), np.concatenate(supervised), np.cumsum([len(own) for own in ids]))
