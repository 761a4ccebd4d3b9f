"""A source cut into blocks that several workers can read at once.

Where the cuts lie depends on the files and on `block_bytes` alone, never on the number of workers, so that what
is made block by block is the same with one worker and with many. Rows are read by `lines.read_block`.
"""

from collections.abc import Iterator, Sequence

from corpora.reading.containers import container_of
from corpora.reading.lines import read_block
from corpora.reading.row import Block
from corpora.reading.streams import encoding_of
from corpora.sources.raw import RawFile

__all__ = ["Block", "blocks", "read_block"]

_CHUNK = 1 << 20


def blocks(files: Sequence[RawFile], block_bytes: int) -> list[Block]:
    """The files as blocks, in order: lines in pieces of at least `block_bytes` that end at a line end, others whole.

    Cut are `.jsonl` and `.txt` that are UTF-8 and not compressed; they are read once, to number their lines.
    Raises CorpusError for an unknown kind of file.
    """
    return [block for file in files for block in (_cut(file, block_bytes) if _cuttable(file) else [Block(file)])]


def _cuttable(file: RawFile) -> bool:
    container = container_of(file)
    if container.kind not in ("lines", "text") or container.compression:
        return False
    with file.path.open("rb") as opened:
        return encoding_of(opened.read(4))[0] == "utf-8"


def _cut(file: RawFile, block_bytes: int) -> Iterator[Block]:
    start, line, position, lines = 0, 1, 0, 0
    with file.path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            begin = 0
            while (stop := chunk.find(b"\n", max(begin, start + block_bytes - position - 1)) + 1) > 0:
                lines += chunk.count(b"\n", begin, stop)
                yield Block(file, start, position + stop, line)
                start, line, lines, begin = position + stop, line + lines, 0, stop
            lines += chunk.count(b"\n", begin)
            position += len(chunk)
    if start < position:
        yield Block(file, start, position, line)
