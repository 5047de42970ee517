"""Intelligence per compute of a bench row: reasoning and adaptability come from an evaluation of the same model, parameters and time from the row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qig_edge.bench.identity import model_hash
from qig_edge.errors import DataError

FACTORS = ("reasoning", "adaptability")


def load_evaluation(path: Path) -> dict[str, Any]:
    """What `qig-edge eval MODEL --suite puzzles --json`, or --suite reasoning, wrote. Raises DataError for a file that cannot be read or is
    something else."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as e:
        raise DataError(f"--eval '{path}': {e.strerror}") from None
    except (UnicodeDecodeError, ValueError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("ipc"), dict) or not isinstance(found.get("model"), dict):
        raise DataError(f"--eval '{path}': is nothing that 'qig-edge eval MODEL --suite puzzles --json' wrote, or --suite reasoning")
    factors, model = found["ipc"], found["model"]
    numbers, texts = [factors.get(name) for name in FACTORS], [found.get("suite"), factors.get("why")]
    if not isinstance(model.get("sha256"), str) or any(isinstance(n, bool) or not isinstance(n, (int, float, type(None))) for n in numbers):
        raise DataError(f"--eval '{path}': lacks the model's hash or the factors reasoning and adaptability")
    if not all(isinstance(text, (str, type(None))) for text in texts):
        raise DataError(f"--eval '{path}': the suite's name or the reason why IPC is undefined is no text")
    return found


def check_same(model: Path, evaluation: dict[str, Any]) -> None:
    """Raises DataError where the evaluation is of another model."""
    theirs, ours = evaluation["model"]["sha256"], model_hash(model)
    if theirs != ours:
        name = evaluation["model"].get("name")
        raise DataError(f"--eval: is of another model ({name}, SHA-256 {theirs[:12]}...) than '{model}' ({ours[:12]}...)")


def with_evaluation(row: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
    """The row of the same model (check_same) with IPC and its four factors."""
    factors, why = evaluation["ipc"], evaluation["ipc"].get("why")
    reasoning, adaptability = (factors.get(name) for name in FACTORS)
    decoded = [d for d in row["result"]["decode"] if d["fits"]]
    seconds = 1 / decoded[0]["tokens_per_second"]["median"] if decoded else None
    parameters = row["result"]["n_params"]
    if why is None and seconds is None:
        why = "no decode test fits the context"
    value = None
    if why is None and None not in (reasoning, adaptability) and seconds is not None:
        value = reasoning * adaptability / (parameters / 1e6 * seconds)
    told = {"value": value, "reasoning": reasoning, "adaptability": adaptability, "parameters": parameters, "seconds_per_token": seconds}
    told["suite"] = evaluation.get("suite")
    return {**row, "ipc": {**told, "reason": None if value is not None else f"undefined: {why}"}}
