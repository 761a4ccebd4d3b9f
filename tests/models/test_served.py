"""What the model reads is the same in training, in evaluation and behind a server, to the byte."""

from pathlib import Path

import pytest

from models.local import load_model
from models.template import ChatTemplate
from training.invariants.rendering import as_served

ASKED = "What is\r\n 2 + 2?\t\u4f60\u597d "


@pytest.mark.invariants
def test_a_prompt_is_what_training_saw_and_what_a_server_renders(tiny_base: Path) -> None:
    asked = {"role": "user", "content": ASKED}
    evaluated = load_model(tiny_base, "float32", batch_size=1).chat_prompt(ASKED)
    assert evaluated == as_served(tiny_base, [asked], generation_prompt=True)
    template = ChatTemplate.load(tiny_base)
    trained_on, supervised = template.encode([asked, {"role": "assistant", "content": "Four."}])
    assert template.tokenizer.decode(trained_on[: supervised.index(True)]) == evaluated
