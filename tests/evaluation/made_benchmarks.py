"""Rows in the shape of each benchmark's own files, made up: none of them is an item of a benchmark."""

import json
from typing import Any

PRO_CATEGORIES = (
    *("biology", "business", "chemistry", "computer science", "economics", "engineering", "health", "history", "law"),
    *("math", "other", "philosophy", "physics", "psychology"),
)

MMLU_PRO: list[dict[str, Any]] = [
    {
        "question_id": number,
        "question": f"Which {word} is wet?",
        "options": ["rain", "sand", f"a {word} of stone", "a lamp"][: 4 - number % 2],
        "answer": "A",
        "answer_index": 0,
        "cot_content": "",
        "category": category,
        "src": "made up",
    }
    for number, (category, word) in enumerate(
        [("biology", "leaf"), ("computer science", "disk"), ("biology", "root"), ("law", "court")]
    )
]
MMLU_PRO_EXAMPLES: list[dict[str, Any]] = [
    {
        "question": f"Example {number} of {category}?",
        "options": ["yes", "no"],
        "answer": "B",
        "cot_content": "A: Let's think step by step. It is no. The answer is (B).",
        "category": category,
    }
    for category in PRO_CATEGORIES
    for number in range(5)
]
GPQA: list[dict[str, Any]] = [
    {
        "Question": f"What is {number} made of?",
        "Correct Answer": "ink ",
        "Incorrect Answer 1": "tea  leaves",
        "Incorrect Answer 2": "dust",
        "Incorrect Answer 3": f"salt {number}",
        "High-level domain": "Chemistry" if number % 2 else "Physics",
        "Record ID": f"rec{number}",
    }
    for number in range(6)
]
GSM8K: list[dict[str, Any]] = [
    {
        "question": f"Ann has {n} nuts and finds 1,000 more. How many has she?",
        "answer": f"She has {n} + 1000.\n#### {n + 1000:,}",
    }
    for n in (3, 5, 8)
]
AIME24: list[dict[str, Any]] = [
    {"ID": f"2024-I-{n}", "Problem": f"Find the remainder of {n} by 7.", "Answer": n % 7, "Solution": ""}
    for n in (20, 33)
]
AIME25: list[dict[str, Any]] = [{"id": "0", "problem": "Turn by an angle.", "answer": "336^\\circ"}]
TRUTHFULQA: list[dict[str, Any]] = [
    {
        "question": f"Do {animal} read?",
        "mc1_targets": {"choices": ["No", "Yes, at night", "Only maps"], "labels": [1, 0, 0]},
        "mc2_targets": {"choices": ["No", "They do not", "Yes, at night"], "labels": [1, 1, 0]},
    }
    for animal in ("cats", "owls", "moles")
]
ARC: list[dict[str, Any]] = [
    {
        "id": f"made_{number}",
        "question": f"Which of these carries {what}?",
        "choices": {
            "text": ["a wire of copper", "rope", "a shelf"][: 3 - number % 2],
            "label": labels[: 3 - number % 2],
        },
        "answerKey": labels[number % 2],
    }
    for number, (what, labels) in enumerate(
        [("current", ["A", "B", "C"]), ("a swing", ["1", "2", "3"]), ("heat", list("ABC"))]
    )
]
HUMANEVAL: list[dict[str, Any]] = [
    {
        "task_id": f"Made/{n}",
        "prompt": f'def plus(a):\n    """Add {n}."""\n',
        "canonical_solution": f"    return a + {n}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {n + 1}\n",
        "entry_point": "plus",
    }
    for n in range(3)
]
BFCL: list[dict[str, Any]] = [
    {
        "id": "simple_python_0",
        "question": [[{"role": "user", "content": "Set an alarm for seven in Rome, loudly."}]],
        "function": [
            {
                "name": "clock.set_alarm",
                "description": "Sets an alarm.",
                "parameters": {
                    "type": "dict",
                    "properties": {
                        "hour": {"type": "integer", "description": "0 to 23"},
                        "place": {"type": "string", "description": "a city"},
                        "volume": {"type": "float", "description": "0 to 1"},
                    },
                    "required": ["hour", "place"],
                },
            }
        ],
    },
    {
        "id": "irrelevance_3",
        "question": [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is love?"}]],
        "function": [{"name": "add", "description": "Adds.", "parameters": {"type": "dict", "properties": {}}}],
    },
]
BFCL_ANSWERS: list[dict[str, Any]] = [
    {
        "id": "simple_python_0",
        "ground_truth": [{"clock.set_alarm": {"hour": [7], "place": ["Rome"], "volume": [1.0, ""]}}],
    }
]
TEXTS: list[dict[str, Any]] = [
    {"text": "The quick brown fox jumps over the lazy dog. " * 3},
    {"text": json.dumps({"a": 1, "ä": [2, 3]}, ensure_ascii=False)},
    {"text": "Rivers run to the sea, and the sea is never full."},
]
