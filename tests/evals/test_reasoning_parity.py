"""The suite "reasoning" against lm-evaluation-harness's own model class for transformers, on the golden checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="lm-eval is not installed: extra eval")
pytest.importorskip("torch", reason="torch is not installed: extra train")

from lm_eval.api.instance import Instance  # noqa: E402

from qig_edge.evals.opening import open_evaluated  # noqa: E402
from qig_edge.evals.reasoning.model import BackendLM  # noqa: E402
from qig_edge.evals.suites import Options, run  # noqa: E402
from tests.evals.items import write_sets  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
ENGINES = {"torch": GOLDEN / "checkpoint", "native": GOLDEN / "golden-f32.gguf"}
TASKS = ("arc_easy", "arc_challenge:train", "hellaswag", "piqa")
NEAR = 1e-3  # nats: what float32 sums of up to 128 tokens may differ by between engines


@pytest.fixture(scope="module")
def reference() -> Any:
    """The harness's model for transformers on the golden checkpoint."""
    pytest.importorskip("accelerate", reason="accelerate is not installed: lm-eval's own model class needs it")
    import transformers
    from lm_eval.models.huggingface import HFLM

    import qig_edge.hf  # noqa: F401

    checkpoint = GOLDEN / "checkpoint"
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, max_length=128)


@contextlib.contextmanager
def ours(engine: str) -> Iterator[BackendLM]:
    with open_evaluated(ENGINES[engine]) as model:
        session = model.session(n_threads=1)
        with contextlib.closing(session):
            yield BackendLM(model, session, lambda done, total: None)


def requests(kind: str, *args: tuple[Any, ...]) -> list[Instance]:
    return [Instance(request_type=kind, doc={}, arguments=a, idx=0, metadata=("made up", i, 1)) for i, a in enumerate(args)]


def harness_items(monkeypatch: pytest.MonkeyPatch, reference: Any, folder: Path) -> list[tuple[Any, Any]]:
    """Every request of the suite with the answer of the harness's own model."""
    asked: list[Any] = []
    answered = BackendLM.loglikelihood

    def seen(self: BackendLM, instances: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        asked.extend(instances)
        return answered(self, instances)

    monkeypatch.setattr(BackendLM, "loglikelihood", seen)
    with open_evaluated(ENGINES["native"]) as model:
        run("reasoning", model, Options(tasks=TASKS, data_dir=folder, threads=1))
    monkeypatch.undo()
    return list(zip([i.args for i in asked], reference.loglikelihood(asked, disable_tqdm=True), strict=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_likelihoods_are_those_of_the_harness(
    monkeypatch: pytest.MonkeyPatch, reference: Any, tmp_path: Path, engine: str
) -> None:
    pairs = harness_items(monkeypatch, reference, write_sets(tmp_path))
    assert len(pairs) == 4 * 4 * 3 + 2 * 4
    pairs += zip(
        [(c, a) for c, a in (("", "Once upon a time"), ("The dog ", "barked."), ("x " * 200, "and so on"))],
        reference.loglikelihood(
            requests("loglikelihood", ("", "Once upon a time"), ("The dog ", "barked."), ("x " * 200, "and so on")),
            disable_tqdm=True,
        ),
        strict=True,
    )
    with ours(engine) as model:
        found = model.loglikelihood(requests("loglikelihood", *(args for args, _ in pairs)))
        assert model.cut == 1
    for (args, (value, greedy)), (got, is_greedy) in zip(pairs, found, strict=True):
        assert abs(got - value) < NEAR, args
        assert is_greedy == greedy, args


@pytest.mark.parametrize("engine", ENGINES)
def test_scores_are_those_of_the_harness(reference: Any, tmp_path: Path, engine: str) -> None:
    from lm_eval.evaluator import evaluate

    from qig_edge.evals.reasoning.sets import choose, read
    from qig_edge.evals.reasoning.suite import _tasks

    folder = write_sets(tmp_path)
    chosen = choose(TASKS, folder)
    tables = {c.name: {s: read(c.name, f) for s, f in c.files.items()} for c in chosen}
    theirs = evaluate(reference, {"tasks": _tasks(chosen, tables)}, limit=3, bootstrap_iters=1)
    assert theirs is not None
    with open_evaluated(ENGINES[engine]) as model:
        found = run("reasoning", model, Options(limit=3, tasks=TASKS, data_dir=folder, threads=1)).to_dict()["tasks"]
    assert set(found) == set(TASKS)
    for label, told in found.items():
        row, samples = theirs["results"][label.partition(":")[0]], theirs["samples"][label.partition(":")[0]]
        for metric in ("acc", "acc_norm"):
            assert told["metrics"][metric]["value"] == row[f"{metric},none"], (label, metric)
            assert told["metrics"][metric]["stderr"] == pytest.approx(row[f"{metric}_stderr,none"], abs=1e-12)
            assert told["by_item"][metric] == [s[metric] for s in samples] and len(samples) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_written_text_and_whole_texts_are_those_of_the_harness(reference: Any, engine: str) -> None:
    tale = "Once upon a time there was a dog. " * 12  # more than one window
    contexts = ["Once upon a time", "Question: What is 2 + 2?\nAnswer:", "The dog ran. " * 30]
    how = {"until": ["\n", "dog"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 24}
    theirs = reference.generate_until(requests("generate_until", *((c, dict(how)) for c in contexts)), disable_tqdm=True)
    rolling = reference.loglikelihood_rolling(requests("loglikelihood_rolling", (tale,), ("Hi.",)), disable_tqdm=True)
    with ours(engine) as model:
        assert model.generate_until(requests("generate_until", *((c, dict(how)) for c in contexts))) == theirs
        found = model.loglikelihood_rolling(requests("loglikelihood_rolling", (tale,), ("Hi.",)))
    assert any(theirs) and len(found) == len(rolling) == 2
    assert all(abs(a - b) < NEAR for a, b in zip(found, rolling, strict=True)), (found, rolling)


def test_on_the_local_sets(reference: Any, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real items: ten of each set that fits the context, torch and libqig against the harness's own model."""
    asked: list[Any] = []
    answered = BackendLM.loglikelihood

    def seen(self: BackendLM, instances: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        found = answered(self, instances)
        asked.append(list(zip(instances, found, strict=True)))
        return found

    monkeypatch.setattr(BackendLM, "loglikelihood", seen)
    tasks = ("arc_easy", "arc_challenge:train", "hellaswag")
    results = []
    for engine in ENGINES.values():
        with open_evaluated(engine) as model:
            results.append(run("reasoning", model, Options(limit=10, tasks=tasks, data_dir=data_dir / "eval", threads=1)))
    a, b = (r.to_dict()["tasks"] for r in results)
    assert {n: t["by_item"] for n, t in a.items()} == {n: t["by_item"] for n, t in b.items()}
    theirs = reference.loglikelihood([i for i, _ in asked[0]], disable_tqdm=True)
    assert len(theirs) == 120 == len(asked[1])
    for found in asked:
        worst = max(abs(x - y) for (_, (x, _)), (y, _) in zip(found, theirs, strict=True))
        assert worst < NEAR, worst
        assert [g for _, (_, g) in found] == [g for _, g in theirs]
