"""A tokenizer of a recipe's own: byte-level BPE, trained on clean corpora.

Bytes are its alphabet, so every text can be written in it and comes back as it was. The same texts and settings
give the same file: words are counted, and ties between merges fall by the order of the tokens.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from corpora.tables.tables import ROWS, facts_of, rows_of
from lineage.checks import Check, check
from lineage.errors import TrainingError
from recipes.scratch import TrainedTokenizer

_ROWS = 256


def texts_of(corpora: Mapping[str, Path]) -> Iterator[list[str]]:
    """The texts of each row of clean corpora, source after source by name: a document, or a conversation's messages.

    Raises TrainingError if a corpus holds other rows.
    """
    for source, folder in sorted(corpora.items()):
        kind = facts_of(folder / ROWS)["kind"]
        if kind == "document":
            yield from ([row["text"]] for row in rows_of(folder / ROWS, ["text"]))
        elif kind == "conversation":
            rows = rows_of(folder / ROWS, ["messages"])
            yield from ([message["content"] for message in row["messages"]] for row in rows)
        else:
            raise TrainingError(
                f"model.tokenizer.sources: '{source}' holds {kind} rows; a tokenizer is trained on documents or "
                "conversations"
            )


def train(
    section: TrainedTokenizer, corpora: Mapping[str, Path], template: str, positions: int, tick: Callable[[int], None]
) -> Any:
    """The tokenizer, as transformers has it, with the chat template. `tick` is told how many rows were read.

    Raises TrainingError if the texts do not give a vocabulary of the stated size, and whatever `tick` raises.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    trained = Tokenizer(models.BPE())
    # a number is a row of digits: merged ones would make 12 and 13 two words with nothing in common
    bytes_of_words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), bytes_of_words])
    trained.decoder = decoders.ByteLevel()
    trained.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=section.vocabulary,
        special_tokens=section.specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(_batches(texts_of(corpora), tick), trainer)
    if (found := trained.get_vocab_size()) != section.vocabulary:
        raise TrainingError(
            f"model.tokenizer.vocabulary: the text gives {found} tokens, {section.vocabulary} are asked for; "
            "lower it, or name more sources"
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained,
        eos_token=section.end_of_text,
        pad_token=section.pad,
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template
    return tokenizer


def round_trip(tokenizer: Any, corpora: Mapping[str, Path], rows: int) -> Check:
    """Whether the texts of the first rows come back from their tokens as they were, as a check."""
    changed, tokens, size = 0, 0, 0
    for text in (text for texts in islice(texts_of(corpora), rows) for text in texts):
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        changed += tokenizer.decode(ids, clean_up_tokenization_spaces=False) != text
        tokens, size = tokens + len(ids), size + len(text.encode())
    return check(
        changed == 0,
        changed,
        f"texts of the first {rows} rows that do not come back from their tokens "
        f"({size / max(1, tokens):.2f} bytes a token)",
    )


def _batches(rows: Iterator[list[str]], tick: Callable[[int], None]) -> Iterator[list[str]]:
    """The texts in portions of some rows."""
    read = 0
    while portion := list(islice(rows, _ROWS)):
        read += len(portion)
        tick(read)
        yield [text for texts in portion for text in texts]
