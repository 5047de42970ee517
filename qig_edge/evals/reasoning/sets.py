"""The question sets: which files hold them, and their items in the columns that lm-evaluation-harness expects.

A local set is one file a split, TASK_SPLIT.jsonl, one item a line; what follows SPLIT in the name is free (hellaswag_val_first_half.jsonl). Items
are those of the hub's sets, or a shorter form of the same:

    arc_easy, arc_challenge   {question, choices: {text, label}, answerKey}         or {question, choices: [..], gold: 0}
    hellaswag                 {activity_label, ctx_a, ctx_b, endings, label}        or {ctx, endings, label}, ctx "activity: text"
    piqa                      {goal, sol1, sol2, label}
    gsm8k                     {question, answer}, the answer ending in "#### N"

`query` may stand for `question`, with "Question: " before it. Of the short form of HellaSwag the beginning of the last sentence, which the long one
keeps apart (ctx_b), is what stands in lower case after the last end of a sentence.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qig_edge.errors import ConfigError, DataError

SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
MARKS = re.compile(r"\[.*?\]")
BEGUN = re.compile(r"(?<=[.!?\"')]) (?P<begun>[a-z][^.!?]*)$")


@dataclasses.dataclass(frozen=True)
class Set:
    """folder: of its definition in lm-evaluation-harness; split and metric: those that scores are published on; row: an item as the harness wants
    it, KeyError, TypeError or ValueError where it is none; examples: the split that solved examples before the question come from, None without any;
    level: of difficulty, larger is harder, None where there is no easier or harder set of the same kind."""

    folder: str
    split: str
    metric: str
    form: str
    row: Callable[[dict[str, Any]], dict[str, Any]]
    examples: str | None = None
    level: int | None = None


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A task, the split of it that is scored, and by split its local files (empty: the hub's)."""

    name: str
    split: str
    files: dict[str, Path]

    @property
    def label(self) -> str:
        """As --tasks names it: the split where it is not the usual one."""
        return self.name if self.split == SETS[self.name].split else f"{self.name}:{self.split}"


def _arc(item: dict[str, Any]) -> dict[str, Any]:
    question = item["question"] if "question" in item else item["query"].removeprefix("Question: ")
    choices = item["choices"]
    if isinstance(choices, dict):
        texts, labels, key = choices["text"], [_label(x) for x in choices["label"]], _label(item["answerKey"])
    else:
        texts = choices
        labels = [chr(ord("A") + i) for i in range(len(texts))]
        key = labels[_index(item["gold"], texts)]
    if len(texts) != len(labels) or len(texts) < 2 or key not in labels:
        raise ValueError("choices")
    return {"question": _text(question), "choices": {"text": [_text(t) for t in texts], "label": labels}, "answerKey": key}


def _hellaswag(item: dict[str, Any]) -> dict[str, Any]:
    endings = [_text(e) for e in item["endings"]]
    if not all(MARKS.sub("", e).strip() for e in endings):  # the harness takes marks out
        raise ValueError("endings")
    label = str(_index(int(_label(item["label"])), endings))
    if "ctx_a" in item:
        parts = {name: _whole(item[name]) for name in ("activity_label", "ctx_a", "ctx_b")}
        return {**parts, "endings": endings, "label": label}
    activity, colon, text = _text(item["ctx"]).partition(": ")
    if not colon:
        raise ValueError("ctx")
    begun = BEGUN.search(text)
    first, rest = (text[: begun.start()], begun["begun"]) if begun else (text, "")
    return {"activity_label": activity, "ctx_a": first, "ctx_b": rest, "endings": endings, "label": label}


def _piqa(item: dict[str, Any]) -> dict[str, Any]:
    texts = {name: _text(item[name]) for name in ("goal", "sol1", "sol2")}
    return {**texts, "label": _index(int(_label(item["label"])), (1, 2))}


def _gsm8k(item: dict[str, Any]) -> dict[str, Any]:
    answer = _text(item["answer"])
    if "#### " not in answer:
        raise ValueError("answer")
    return {"question": _text(item["question"]), "answer": answer}


def _whole(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    value.encode()  # ValueError for half a character
    return value


def _label(value: Any) -> str:
    """A name or number of a choice, as sets write it either way."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise TypeError("label")
    return str(value)


def _text(value: Any) -> str:
    if not _whole(value).strip():
        raise ValueError("empty text")
    return str(value)


def _index(value: Any, among: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < len(among):
        raise ValueError("index")
    return value


ARC = "question, choices and answerKey or gold"
SETS = {
    "gsm8k": Set("gsm8k", "test", "exact_match, strict-match", "question and answer (ending in '#### N')", _gsm8k, "train"),
    "arc_easy": Set("arc", "test", "acc_norm", ARC, _arc, level=1),
    "arc_challenge": Set("arc", "test", "acc_norm", ARC, _arc, level=2),
    "hellaswag": Set("hellaswag", "validation", "acc_norm", "endings, label and ctx or activity_label, ctx_a, ctx_b", _hellaswag),
    "piqa": Set("piqa", "validation", "acc_norm", "goal, sol1, sol2 and label", _piqa),
}


def choose(tasks: tuple[str, ...], folder: Path | None) -> list[Chosen]:
    """The tasks to run: those named (TASK or TASK:SPLIT), or without names all that have their usual split in `folder`, all there are without one.

    Raises ConfigError for an unknown task or split or one named twice, DataError for a folder or file that is not there.
    """
    if folder is not None and not folder.is_dir():
        raise DataError(f"--data-dir '{folder}' is no folder")
    if not tasks and folder is not None:
        found = [name for name, s in SETS.items() if _files(folder, name, s.split)]
        if not found:
            wanted = ", ".join(f"{name}_{s.split}.jsonl" for name, s in SETS.items())
            raise DataError(f"--data-dir '{folder}' holds none of {wanted}")
        tasks = tuple(found)
    chosen = [_chosen(text, folder) for text in tasks or SETS]
    names = [c.name for c in chosen]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"--tasks names '{name}' more than once")
    return chosen


def _chosen(text: str, folder: Path | None) -> Chosen:
    name, colon, split = text.partition(":")
    if name not in SETS:
        raise ConfigError(f"unknown task '{name}' (tasks: {', '.join(SETS)})")
    if colon and split not in SPLITS:
        raise ConfigError(f"--tasks {text}: split '{split}' must be one of {', '.join(SPLITS)}")
    split = split or SETS[name].split
    if folder is None:
        return Chosen(name, split, {})
    needed = dict.fromkeys((split, SETS[name].examples or split))
    return Chosen(name, split, {s: _file(folder, name, s) for s in needed})


def _files(folder: Path, name: str, split: str) -> list[Path]:
    pattern = re.compile(f"{name}_(?:{'|'.join(SPLITS[split])})(?:_.*)?\\.jsonl")
    return sorted(p for p in folder.iterdir() if p.is_file() and pattern.fullmatch(p.name))


def _file(folder: Path, name: str, split: str) -> Path:
    found = _files(folder, name, split)
    if len(found) > 1:
        raise DataError(f"split '{split}' of '{name}' is in several files of '{folder}': {', '.join(p.name for p in found)}")
    if not found:
        others = [s for s in SPLITS if _files(folder, name, s)]
        hint = f"; there is another split: --tasks {name}:{others[0]}" if others and split == SETS[name].split else ""
        raise DataError(f"'{folder}' has no {name}_{split}.jsonl, which task '{name}' needs{hint}")
    return found[0]


def read(name: str, file: Path) -> list[dict[str, Any]]:
    """The items of a local file in the harness's columns. Raises DataError for a file without items, or with a line that is none."""
    rows = []
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    rows.append(SETS[name].row(json.loads(line)))
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    raise DataError(f"'{file}' line {number} is no item of '{name}': it needs {SETS[name].form}") from None
    except OSError as e:
        raise DataError(f"cannot read '{file}': {e.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"'{file}' is no UTF-8 text") from None
    if not rows:
        raise DataError(f"'{file}' has no items: task '{name}' needs at least one")
    return rows
