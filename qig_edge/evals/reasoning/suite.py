"""The suite "reasoning": GSM8K, ARC, HellaSwag and PIQA with lm-evaluation-harness's own task definitions and metrics.

- acc: the likeliest choice is the right one; acc_norm: the likeliest by ln p over characters of the choice; both of the tokens after the question;
- exact_match, of GSM8K: the number after "####" (strict-match) or the last one in the text (flexible-extract) is that of the solution, five solved
  examples before the question;
- standard errors are the harness's: of a mean over items (None for a single one). chance: mean of 1 / choices, 0 where an answer is written;
- for intelligence per compute a task counts by one metric, acc_norm or strict-match, and ARC-easy and ARC-challenge are its levels.

Items come from local files (qig_edge.evals.reasoning.sets) or, without a folder, from the Hugging Face hub. The first options.limit items of
each task are asked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.errors import ConfigError, DataError, MissingExtra
from qig_edge.evals.ipc import factors
from qig_edge.evals.reasoning.kept import Kept
from qig_edge.evals.reasoning.sets import SETS, Chosen, choose, read
from qig_edge.evals.suites import Options, Scored, Table
from qig_edge.runtime.backend import Backend

if TYPE_CHECKING:
    from lm_eval.api.task import Task

SEED = 1234  # of the solved examples: the harness's own


@dataclasses.dataclass(frozen=True)
class Found:
    """One task. metrics: name -> (value, standard error); items: name -> the value of each item; file: None for the hub's."""

    task: str
    split: str
    file: str | None
    version: Any
    examples: int
    chance: float
    metrics: dict[str, tuple[float, float | None]]
    items: dict[str, list[float]]

    @property
    def count(self) -> int:
        return len(next(iter(self.items.values())))

    def to_dict(self) -> dict[str, Any]:
        return {
            "split": self.split,
            "file": self.file,
            "version": self.version,
            "items": self.count,
            "examples": self.examples,
            "chance": self.chance,
            "metrics": {name: {"value": value, "stderr": error} for name, (value, error) in self.metrics.items()},
            "by_item": self.items,
        }


@dataclasses.dataclass(frozen=True)
class Reasoning:
    """Every task asked; harness: its version; n_ctx in tokens; cut: requests whose context was cut on the left, of `requests`; resumed: answers
    that an interrupted run had left; evaluated: tokens given to the model."""

    found: dict[str, Found]
    harness: str
    n_ctx: int
    requests: int
    cut: int
    resumed: int
    evaluated: int

    @property
    def scored(self) -> list[Scored]:
        """Every item by its task's one metric; chance is the task's."""
        out = []
        for label, f in self.found.items():
            of = SETS[f.task]
            out += [Scored(label, of.level, f.chance, bool(value)) for value in f.items[of.metric]]
        return out

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "suite": "reasoning",
            "lm_eval": self.harness,
            "context": self.n_ctx,
            "requests": self.requests,
            "contexts_cut": self.cut,
            "answers_resumed": self.resumed,
            "tokens_evaluated": self.evaluated,
            "tasks": {label: found.to_dict() for label, found in self.found.items()},
            "ipc": factors(self.scored),
        }

    def tables(self) -> list[Table]:
        """Value and standard error of every metric."""
        rows = [
            (
                label,
                metric,
                f"{100 * value:.1f}",
                "-" if error is None else f"{100 * error:.1f}",
                f"{100 * f.chance:.1f}",
                str(f.count),
                str(f.examples),
            )
            for label, f in self.found.items()
            for metric, (value, error) in f.metrics.items()
        ]
        columns = ("task", "metric", "%", "stderr", "chance", "items", "shots")
        return [Table(f"reasoning, lm-evaluation-harness {self.harness}", columns, tuple(rows))]

    def notes(self) -> list[str]:
        """Where scores are not the published kind, and what was taken over."""
        notes = []
        for label, f in self.found.items():
            usual = SETS[f.task].split
            if f.split != usual:
                notes.append(f"{label}: split '{f.split}'; scores are published on '{usual}'.")
            if f.file is not None and Path(f.file).stem != f"{f.task}_{f.split}":
                notes.append(f"{label}: items of {f.file}.")
        if self.cut:
            notes.append(f"{self.cut} of {self.requests} requests did not fit the context of {self.n_ctx} tokens: they were cut on the left.")
        if self.resumed:
            notes.append(f"{self.resumed} answers were kept from a run that was interrupted.")
        return notes


def run(backend: Backend, options: Options) -> Reasoning:
    """Asks the first options.limit items of each of options.tasks.

    Raises MissingExtra without the harness; ConfigError for an unknown task, options of other suites, and a model whose tokenizer or context does
    not hold a text; DataError for data that are missing, empty or damaged.
    """
    options.refuse("reasoning", "levels", "seed", "data", "held_out", "stride")
    chosen = choose(options.tasks, options.data_dir)
    if options.data_dir is not None:  # read when the libraries are imported: nothing may be asked of a network
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    try:
        import lm_eval
    except ImportError:
        raise MissingExtra("the reasoning suite", "eval") from None
    from lm_eval.evaluator import evaluate

    from qig_edge.evals.reasoning.model import BackendLM

    tables = {c.name: {s: read(c.name, file) for s, file in c.files.items()} for c in chosen}
    kept: Kept | None = None
    done = False
    session = backend.session(n_threads=options.threads)
    try:
        with _quiet():
            tasks = _tasks(chosen, tables)
            kept = _kept(chosen, tables, options, lm_eval.__version__)
            model = BackendLM(backend, session, options.progress, kept)
            told = evaluate(model, {"tasks": dict(tasks)}, limit=options.limit, bootstrap_iters=1)
        done = True
        assert told is not None
        found = {c.label: _found(c, tasks[c.name], told) for c in chosen}
        requests = sum(len(task.instances) for task in tasks.values())
        resumed = kept.found if kept else 0
        return Reasoning(found, lm_eval.__version__, session.n_ctx, requests, model.cut, resumed, model.evaluated)
    finally:
        session.close()
        if kept:
            kept.close(done)


def _kept(chosen: list[Chosen], tables: dict[str, Any], options: Options, version: str) -> Kept | None:
    if not options.identity:
        return None
    from qig_edge.evals.reasoning.kept import digest

    asked = {c.label: digest(tables[c.name]) for c in chosen}
    return Kept({"model": dict(options.identity), "lm_eval": version, "tasks": asked, "limit": options.limit})


def _tasks(chosen: list[Chosen], tables: dict[str, dict[str, list[dict[str, Any]]]]) -> dict[str, Task]:
    """The harness's tasks by name, with their data. Raises DataError where the hub does not give them."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    base = Path(lm_eval.__file__).parent / "tasks"
    manager = TaskManager(include_defaults=False, include_path=[base / f for f in sorted({s.folder for s in SETS.values()})])
    out = {}
    for c in chosen:
        spec: dict[str, Any] = {"task": c.name, "test_split": c.split}
        if c.files:
            # without solved examples no other split is needed, nor asked for
            spec |= {"validation_split": None, "training_split": None, "custom_dataset": _dataset(tables[c.name])}
        try:
            task = manager.load([{"group": "reasoning", "task": [spec]}])["tasks"][c.name]
        except (OSError, ValueError, KeyError, IndexError) as e:
            if c.files:
                raise
            reason = (str(e).strip().splitlines() or [type(e).__name__])[0][:200]
            raise DataError(f"the hub does not give the items of '{c.name}' ({reason}): --data-dir DIR reads local files") from None
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=SEED)
        shots, solved = task.get_config("num_fewshot"), SETS[c.name].examples
        if shots and solved in c.files and len(tables[c.name][solved]) <= shots:  # one may be the question itself
            raise DataError(f"'{c.files[solved]}' has too few items: task '{c.name}' takes {shots} solved examples from it, beside the question")
        out[c.name] = task
    return out


def _dataset(splits: dict[str, list[dict[str, Any]]]) -> Any:
    def made(**_: Any) -> Any:
        import datasets

        return datasets.DatasetDict({split: datasets.Dataset.from_list(rows) for split, rows in splits.items()})

    return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the harness's own bars, warnings and the hub's retries: what concerns the reader is in the result's notes, or an error."""
    import datasets
    from lm_eval.api import task

    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    bar, bars = task.tqdm, datasets.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    task.tqdm = lambda items, **_: items
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        task.tqdm = bar
        if not bars:
            datasets.enable_progress_bars()


def _found(chosen: Chosen, task: Task, told: Any) -> Found:
    """What the harness tells of one task: "acc,none" is acc, "exact_match,strict-match" exact_match, strict-match."""
    row, samples = told["results"][chosen.name], told["samples"][chosen.name]
    metrics: dict[str, tuple[float, float | None]] = {}
    items: dict[str, list[float]] = {}
    for key, value in row.items():
        metric, comma, filtered = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        name = metric if filtered == "none" else f"{metric}, {filtered}"
        error = row.get(f"{metric}_stderr,{filtered}")
        metrics[name] = float(value), float(error) if isinstance(error, float) else None
        items[name] = [float(s[metric]) for s in samples if s["filter"] == filtered]
    if not metrics:
        raise ConfigError(f"lm-evaluation-harness scored nothing of task '{chosen.name}'")
    first = [s for s in samples if s["filter"] == samples[0]["filter"]]
    choices = [len(s["arguments"]) for s in first] if task.OUTPUT_TYPE == "multiple_choice" else []
    chance = sum(1 / n for n in choices) / len(choices) if choices else 0.0
    file = chosen.files[chosen.split].name if chosen.files else None
    return Found(chosen.name, chosen.split, file, task.VERSION, int(task.get_config("num_fewshot")), chance, metrics, items)
