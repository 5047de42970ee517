"""Made-up items of every question set, in the formats of the sets."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ARC = [
    {"question": "What do plants need to grow?", "choices": ["sand", "light and water", "noise", "glass"], "gold": 1},
    {"query": "Question: Which animal can fly?", "choices": ["owl", "dog", "fish", "cow"], "gold": 0},
    {
        "id": "made-up-3",
        "question": "Ice is water that is",
        "choices": {"text": ["hot", "old", "dry", "frozen"], "label": ["1", "2", "3", "4"]},
        "answerKey": "4",
    },
    {"question": "The sun gives us", "choices": ["light", "milk", "stones", "rain"], "gold": 0},
]
HELLASWAG = [
    {"ctx": "Walking the dog: A man opens a door. he", "endings": ["barks.", "walks out with a dog.", "is a tree.", "flies."], "label": 1},
    {
        "activity_label": "Making tea",
        "ctx_a": "A woman fills a kettle.",
        "ctx_b": "the woman",
        "endings": ["boils the water.", "[step] sleeps.", "eats the kettle.", "runs."],
        "label": "0",
    },
    {"ctx": "Home: How to wash a cup. Take a cup. Fill it with water.", "endings": ["Rub it.", "Eat it.", "Go.", "Sing."], "label": 0},
    {"ctx": "Painting: A girl takes a brush. she", "endings": ["paints.", "sinks.", "melts.", "rains."], "label": 0},
]
PIQA = [
    {"goal": "Open a jar.", "sol1": "Turn the lid.", "sol2": "Turn the table.", "label": 0},
    {"goal": "Dry a wet floor.", "sol1": "Pour water on it.", "sol2": "Wipe it with a cloth.", "label": 1},
    {"goal": "Cut paper.", "sol1": "Use scissors.", "sol2": "Use a spoon.", "label": 0},
    {"goal": "Light a dark room.", "sol1": "Close the door.", "sol2": "Switch the lamp on.", "label": 1},
]
GSM8K = [
    {"question": f"Ann has {n} eggs and buys 2. How many?", "answer": f"She has {n} + 2 = <<{n}+2={n + 2}>>{n + 2}.\n#### {n + 2}"}
    for n in range(1, 8)
]
FILES = {
    "arc_easy_test": ARC,
    "arc_challenge_train": ARC,
    "hellaswag_val_first_half": HELLASWAG,
    "piqa_validation": PIQA,
    "gsm8k_test": GSM8K[:3],
    "gsm8k_train": GSM8K,
}


def write_lines(path: Path, items: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items), "utf-8")
    return path


def write_sets(folder: Path) -> Path:
    """A folder with a small file of every set."""
    for name, items in FILES.items():
        write_lines(folder / f"{name}.jsonl", items)
    return folder
