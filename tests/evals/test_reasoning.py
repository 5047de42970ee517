"""The suite "reasoning" on made-up items: its data, what it asks of a model, and going on after an interrupt."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lm_eval", reason="lm-eval is not installed: extra eval")

from lm_eval.api.instance import Instance  # noqa: E402

from qig_edge.errors import ConfigError, DataError  # noqa: E402
from qig_edge.evals.reasoning.kept import Kept, cache_folder  # noqa: E402
from qig_edge.evals.reasoning.model import BackendLM  # noqa: E402
from qig_edge.evals.reasoning.sets import SETS, choose, read  # noqa: E402
from qig_edge.evals.reasoning.suite import Found, Reasoning  # noqa: E402
from qig_edge.evals.suites import Options, run  # noqa: E402
from tests.evals.items import ARC, GSM8K, HELLASWAG, PIQA, write_lines, write_sets  # noqa: E402
from tests.evals.scoring import EOS, ScoringBackend  # noqa: E402

CHOICES = ("arc_easy", "arc_challenge:train", "hellaswag", "piqa")


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    return write_sets(tmp_path)


def asked(backend: ScoringBackend, folder: Path, tasks: tuple[str, ...] = CHOICES, **options: Any) -> dict[str, Any]:
    out = run("reasoning", backend, Options(tasks=tasks, data_dir=folder, **options)).to_dict()
    assert backend.open == 0 and json.loads(json.dumps(out, allow_nan=False)) == out
    return out


def requests(*pairs: tuple[Any, ...]) -> list[Instance]:
    return [Instance(request_type="loglikelihood", doc={}, arguments=p, idx=0, metadata=("made up", i, 1)) for i, p in enumerate(pairs)]


def lm(backend: ScoringBackend) -> BackendLM:
    return BackendLM(backend, backend.session(), lambda done, total: None)


def test_scores_of_choices_are_sums_over_their_tokens(sets: Path) -> None:
    """Every number again from the definition: ln p byte by byte on a fresh session, argmax, and by characters."""
    backend = ScoringBackend()
    tasks = asked(backend, sets)["tasks"]
    assert list(tasks) == list(CHOICES) and all(t["items"] == 4 for t in tasks.values())
    for label, prompts in {
        "piqa": [(f"Question: {d['goal']}\nAnswer:", (d["sol1"], d["sol2"]), d["label"]) for d in PIQA],
        "arc_easy": [
            ("Question: What do plants need to grow?\nAnswer:", ARC[0]["choices"], 1),
            ("Question: Which animal can fly?\nAnswer:", ARC[1]["choices"], 0),
            ("Question: Ice is water that is\nAnswer:", ("hot", "old", "dry", "frozen"), 3),
            ("Question: The sun gives us\nAnswer:", ARC[3]["choices"], 0),
        ],
        "hellaswag": [
            ("Walking the dog: A man opens a door. He", HELLASWAG[0]["endings"], 1),
            ("Making tea: A woman fills a kettle. The woman", ("boils the water.", " sleeps.", "eats the kettle.", "runs."), 0),
            ("Home: How to wash a cup. Take a cup. Fill it with water.", HELLASWAG[2]["endings"], 0),
            ("Painting: A girl takes a brush. She", HELLASWAG[3]["endings"], 0),
        ],
    }.items():
        plain, by_length = [], []
        for context, choices, gold in prompts:
            sums = [alone(backend, context, f" {choice}") for choice in choices]
            plain.append(float(np.argmax(sums) == gold))
            by_length.append(float(np.argmax([s / len(c) for s, c in zip(sums, choices, strict=True)]) == gold))
        assert tasks[label]["by_item"] == {"acc": plain, "acc_norm": by_length}, label
        share = sum(plain) / 4
        assert tasks[label]["metrics"]["acc"] == {
            "value": share,
            "stderr": pytest.approx(math.sqrt(share * (1 - share) / 3)),  # of the sample: n - 1
        }
    assert [t["chance"] for t in tasks.values()] == [0.25, 0.25, 0.25, 0.5]


def alone(backend: ScoringBackend, context: str, continuation: str) -> float:
    session = backend.session()
    session.eval(list(context.encode()))
    total = 0.0
    for byte in continuation.encode():
        row = session.logits().astype(np.float64)
        total += row[byte] - np.log(np.exp(row).sum())
        session.eval([byte])
    session.close()
    return total


def test_a_context_is_evaluated_once() -> None:
    backend = ScoringBackend()
    model = lm(backend)
    context, answers = "Question: " + "long " * 60 + "\nAnswer:", (" yes", " no", " perhaps", " yes, it is")
    found = model.loglikelihood(requests(*((context, a) for a in answers)))
    # the context but its last byte once, then that byte and all but the last of each answer: "yes, it is" begins with "yes"
    assert backend.evaluated == model.evaluated == len(context) - 1 + sum(len(a) for a in answers)
    assert [x for x, _ in found] == pytest.approx([alone(backend, context, a) for a in answers], abs=1e-9)


def test_an_answer_that_is_greedy_is_told() -> None:
    def mind(text: bytes) -> int:
        return b"Q: yes"[len(text)] if len(text) < 6 else EOS

    found = lm(ScoringBackend(mind)).loglikelihood(requests(("Q:", " yes"), ("Q:", " yet"), ("Q: ", "yes")))
    assert [greedy for _, greedy in found] == [True, False, True]
    assert found[0][0] == found[2][0] == pytest.approx(4 * math.log(0.8), abs=1e-6)


def test_gsm8k_writes_its_answer_after_five_examples(sets: Path) -> None:
    seen = []

    def mind(text: bytes) -> int:
        question = text.decode().rsplit("Question: ", 1)[1]
        asked_for, _, written = question.partition("\nAnswer:")
        if not written:
            seen.append(text.decode())
        n = int(asked_for.split()[2])
        right = n != 2  # one wrong
        line = f" It is {n + 2 if right else 0}.\n#### {n + 2 if right else 0}Question: again".encode()
        return line[len(written.encode())]

    told = asked(ScoringBackend(mind), sets, ("gsm8k",))["tasks"]["gsm8k"]
    assert told["items"] == 3 and told["examples"] == 5 and told["chance"] == 0
    assert told["by_item"] == {"exact_match, strict-match": [1, 0, 1], "exact_match, flexible-extract": [1, 0, 1]}
    assert told["metrics"]["exact_match, strict-match"]["value"] == pytest.approx(2 / 3)
    assert len(seen) == 3 and all(p.count("Question: ") == 6 and p.count("#### ") == 5 for p in seen)


def test_intelligence_per_compute_of_known_answers(sets: Path) -> None:
    """All of ARC-easy and PIQA, two of four of ARC-challenge, two of three of GSM8K: 1, 1, 1/3 and 2/3 above chance."""
    hard = [{"question": f"Which number is {n}?", "choices": ["ten", "six", "two", "one"], "gold": 0} for n in range(4)]
    write_lines(sets / "arc_challenge_train.jsonl", hard)
    says = {str(i.get("question", i.get("query"))).removeprefix("Question: "): _right(i) for i in ARC}
    says |= {str(d["goal"]): str(d["sol2" if d["label"] else "sol1"]) for d in PIQA}
    says |= {d["question"]: "ten" if n < 2 else "six" for n, d in enumerate(hard)}
    says |= {d["question"]: f"#### {n + 2}" if n != 2 else f"{n + 2} eggs" for n, d in enumerate(GSM8K, 1)}  # right, but not as it is to be said

    def mind(text: bytes) -> int:
        question, _, written = text.decode().rpartition("Question: ")[2].partition("\nAnswer:")
        said = f" {says.get(question, '')}\nQuestion:".encode()
        return said[len(written)] if len(written) < len(said) else EOS

    tasks = ("gsm8k", "arc_easy", "arc_challenge:train", "piqa")
    found = asked(ScoringBackend(mind), sets, tasks)
    assert {n: next(iter(t["by_item"].values())) for n, t in found["tasks"].items()} == {
        "gsm8k": [1, 0, 1], "arc_easy": [1] * 4, "arc_challenge:train": [1, 1, 0, 0], "piqa": [1] * 4,
    }  # fmt: skip
    assert found["tasks"]["gsm8k"]["by_item"]["exact_match, flexible-extract"] == [1, 1, 1]
    assert found["ipc"] == {"reasoning": pytest.approx((1 + 1 + 1 / 3 + 2 / 3) / 4), "adaptability": pytest.approx(1 / 3), "why": None}
    missing = asked(ScoringBackend(mind), sets, ("arc_easy", "piqa"))["ipc"]
    assert missing == {"reasoning": 1, "adaptability": None, "why": "adaptability is undefined: one level only, arc_easy"}


def _right(item: dict[str, Any]) -> str:
    choices = item["choices"]
    return str(choices["text"][choices["label"].index(item["answerKey"])] if isinstance(choices, dict) else choices[item["gold"]])


def test_of_each_task_one_metric_counts(sets: Path) -> None:
    """Over several models that know nothing, the block is what acc_norm says, and says so where acc says otherwise."""
    differed = 0
    for n_ctx in (40, 60):  # what is cut from a question changes a model's mind that hangs on its last bytes and their number
        found = asked(ScoringBackend(n_ctx=n_ctx), sets)
        above = [sum((x - t["chance"]) / (1 - t["chance"]) for x in t["by_item"]["acc_norm"]) / 4 for t in found["tasks"].values()]
        assert found["ipc"]["reasoning"] == pytest.approx(sum(above) / 4)
        differed += any(t["by_item"]["acc"] != t["by_item"]["acc_norm"] for t in found["tasks"].values())
    assert differed > 0


def test_a_model_at_chance_has_no_intelligence_to_divide(sets: Path) -> None:
    """Every second right of two choices, every fourth of four."""
    items = {"arc_easy": 40, "arc_challenge": 40, "hellaswag": 40, "piqa": 40}
    found = {
        name: Found(name, SETS[name].split, None, 1, 0, c, {}, {"acc": [1.0] * n, "acc_norm": [float(i % round(1 / c) == 0) for i in range(n)]})
        for (name, n), c in zip(items.items(), (0.25, 0.25, 0.25, 0.5), strict=True)
    }
    told = Reasoning(found, "0", 128, 0, 0, 0, 0).to_dict()["ipc"]
    assert told == {"reasoning": 0, "adaptability": None, "why": "reasoning cannot be told from chance"}


def test_context_is_cut_on_the_left_and_said(sets: Path) -> None:
    backend = ScoringBackend(n_ctx=50)
    result = run("reasoning", backend, Options(tasks=("piqa",), data_dir=sets))
    assert 0 < result.to_dict()["contexts_cut"] < 8
    assert "did not fit the context of 50 tokens: they were cut on the left" in result.notes()[-1]
    context, answer = "0123456789" * 7, " an answer"
    cut = (context + answer)[-51:].removesuffix(answer)
    (found,) = lm(backend).loglikelihood(requests((context, answer)))
    assert found[0] == pytest.approx(alone(ScoringBackend(), cut, answer), abs=1e-9)


def test_texts_that_a_model_cannot_take(sets: Path) -> None:
    with pytest.raises(ConfigError, match="tokenizer cannot encode the text 'j"):
        asked(ScoringBackend(alphabet=lambda b: b != ord("j")), sets, ("piqa",))
    with pytest.raises(ConfigError, match="an answer of 11 tokens does not fit the model's context of 10"):
        lm(ScoringBackend(n_ctx=10)).loglikelihood(requests(("q", "x" * 11)))
    with pytest.raises(ConfigError, match="task 'gsm8k' lets a model write 256 tokens, more than its context of 256 holds"):
        asked(ScoringBackend(n_ctx=256), sets, ("gsm8k",))


def test_local_sets_ask_nothing_of_a_network(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*address: Any) -> None:
        raise AssertionError(f"a connection to {address}")

    monkeypatch.setattr("socket.socket.connect", refused)
    monkeypatch.setattr("socket.getaddrinfo", refused)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert asked(ScoringBackend(), sets)["requests"] == 3 * 4 * 4 + 4 * 2
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_one_item_has_no_standard_error(sets: Path) -> None:
    result = run("reasoning", ScoringBackend(), Options(limit=1, tasks=("piqa",), data_dir=sets))
    assert result.to_dict()["tasks"]["piqa"]["metrics"]["acc"]["stderr"] is None
    assert all(len(row) == len(t.columns) for t in result.tables() for row in t.rows)


def test_without_names_all_sets_that_are_there(sets: Path) -> None:
    assert [c.label for c in choose((), sets)] == ["gsm8k", "arc_easy", "hellaswag", "piqa"]  # ARC-challenge has its train split alone
    notes = run("reasoning", ScoringBackend(), Options(tasks=("arc_challenge:train", "hellaswag"), data_dir=sets)).notes()
    assert notes == [
        "arc_challenge:train: split 'train'; scores are published on 'test'.",
        "hellaswag: items of hellaswag_val_first_half.jsonl.",
    ]


@pytest.mark.parametrize("name", SETS)
def test_items_of_another_shape_are_refused_by_line(tmp_path: Path, name: str) -> None:
    good = {"gsm8k": GSM8K, "hellaswag": HELLASWAG, "piqa": PIQA}.get(name, ARC)
    path = tmp_path / f"{name}.jsonl"
    assert len(read(name, write_lines(path, good))) == len(good)
    bad: list[Any] = [3, [], {}, {"question": "q"}, None]
    for item in good[:3]:
        for key in item:
            bad += [{k: v for k, v in item.items() if k != key}, item | {key: 7.5}, item | {key: ""}, item | {key: [""]}]
    bad = [b for b in bad if not isinstance(b, dict) or not {"id"} >= set(b).symmetric_difference(good[2]) or b.get("id") == "made-up-3"]
    refused = 0
    for item in bad:
        try:
            rows = read(name, write_lines(path, [good[0], item]))
        except DataError as e:
            assert f"line 2 is no item of '{name}': it needs " in str(e)
            refused += 1
        else:  # a column that the harness has no use for, or an empty ctx_b
            assert isinstance(item, dict) and len(rows) == 2
    assert refused > 10
    write_lines(path, [])
    with pytest.raises(DataError, match="has no items"):
        read(name, path)


def test_items_that_would_break_the_harness_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for name, item in (
        ("hellaswag", HELLASWAG[1] | {"endings": ["[step]", "b", "c", "d"]}),
        ("hellaswag", HELLASWAG[1] | {"label": 4}),
        ("hellaswag", HELLASWAG[1] | {"label": "-1"}),
        ("piqa", PIQA[0] | {"label": 0.5}),
        ("piqa", PIQA[0] | {"label": True}),
        ("piqa", PIQA[0] | {"goal": "half a character: \ud800"}),
        ("arc_easy", ARC[2] | {"answerKey": "E"}),
        ("arc_easy", ARC[0] | {"choices": ["one"], "gold": 0}),
        ("gsm8k", GSM8K[0] | {"answer": "seven"}),
    ):
        with pytest.raises(DataError, match=f"line 2 is no item of '{name}'"):
            read(name, write_lines(path, [{"arc_easy": ARC, "piqa": PIQA, "gsm8k": GSM8K, "hellaswag": HELLASWAG}[name][0], item]))
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="line 1 is no item"):
        read("piqa", path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="no UTF-8"):
        read("piqa", path)


def test_too_few_solved_examples(sets: Path) -> None:
    write_lines(sets / "gsm8k_train.jsonl", GSM8K[:5])
    with pytest.raises(DataError, match="gsm8k_train.jsonl' has too few items: task 'gsm8k' takes 5 solved examples"):
        asked(ScoringBackend(), sets, ("gsm8k",))


IDENTITY = {"sha256": "00"}


def interrupted(folder: Path, after: int, backend: ScoringBackend, identity: dict[str, str] = IDENTITY) -> None:
    def progress(done: int, total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked(backend, folder, ("piqa",), progress=progress, identity=identity)
    assert backend.open == 0


def test_an_interrupted_run_goes_on(sets: Path) -> None:
    whole = asked(ScoringBackend(), sets, ("piqa",))
    first = ScoringBackend()
    interrupted(sets, 5, first)
    (file,) = cache_folder().iterdir()
    assert len(file.read_text().splitlines()) == 5
    file.write_text(file.read_text() + '["torn by a power c')
    other = asked(ScoringBackend(), sets, ("piqa",), identity={"sha256": "01"})
    assert other["answers_resumed"] == 0 and file.exists()
    assert asked(ScoringBackend(), sets, ("piqa",), limit=3, identity=IDENTITY)["answers_resumed"] == 0 and file.exists()
    second = ScoringBackend()
    again = asked(second, sets, ("piqa",), identity=IDENTITY)
    assert again["answers_resumed"] == 5 and again["tasks"] == whole["tasks"]
    assert 0 < second.evaluated < first.evaluated
    assert not list(cache_folder().iterdir())


def test_kept_answers_belong_to_their_items(sets: Path) -> None:
    interrupted(sets, 5, ScoringBackend())
    write_lines(sets / "piqa_validation.jsonl", [PIQA[0] | {"goal": "Open a tin."}, *PIQA[1:]])
    assert asked(ScoringBackend(), sets, ("piqa",), identity=IDENTITY)["answers_resumed"] == 0
    for file in cache_folder().iterdir():
        file.unlink()


def test_a_cache_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("qig_edge.evals.reasoning.kept.cache_folder", lambda: tmp_path / "file" / "eval")
    with pytest.raises(DataError, match="answers cannot be kept in"):
        Kept({"model": 1})
