"""qig-edge convert --distil llama: what a student takes over, that it learns its teacher's attention, that stock llama.cpp runs its file."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qig_edge.cli import main
from qig_edge.convert.distil import distil
from qig_edge.convert.student import CONSTANT, EXTRA, begin, full_depth, inputs, student_config, widened
from qig_edge.errors import CheckpointError
from qig_edge.model.kernel import Kernel
from qig_edge.runtime.native import NativeModel
from qig_edge.train import checkpoint
from qig_edge.train.shards import Mixture, Shard
from tests.convert.modelfile import parse
from tests.convert.tiny import DEPTHS, KINDS, TWINS, VOCAB, random_kernel, tiny_config, tiny_tokenizer, write

Output = pytest.CaptureFixture[str]
SHAPE: dict[str, Any] = {"d_model": 32, "head_dim": 16, "n_heads": 2, "n_kv_heads": 1, "hidden_dim": 64}
WORDS = [f"The {a} saw the {b} on the hill." for a in ("fox", "hen", "cat", "cow") for b in ("sun", "sea", "rain", "tree", "bird")]


def text(seed: int = 0, n: int = 4000) -> dict[str, Shard]:
    """Random tokens, as a source."""
    return {"t": Shard("t", np.random.default_rng(seed).integers(5, VOCAB, n).astype(np.uint16), np.zeros(0, np.uint16), 0)}


def agreement(plain: Kernel, student: Kernel, ids: torch.Tensor) -> float:
    """Mean KL of the rows of all blocks, the student's on the teacher's states."""
    positions = torch.arange(ids.shape[1])
    r, total = plain.coupling(positions), 0.0
    with torch.no_grad():
        for ours, theirs, states in zip(student.blocks, plain.blocks, inputs(plain, ids), strict=True):
            p = theirs.attn.log_weights(theirs.attn_norm(states), positions, r).clamp_min(-30)
            q = ours.attn.log_weights(ours.attn_norm(widened(states)), positions, r).clamp_min(-30)
            total += (p.exp() * (p - q)).sum(-1).mean().item()
    return total / len(plain.blocks)


@pytest.mark.parametrize("kind", ["pure", "own head", "learnt gates, code rate, roles", "diagonal, phases", "one head a group"])
def test_a_student_is_its_teacher_but_for_attention(kind: str) -> None:
    """With one token there is nothing to attend to: student and teacher agree, but for what EXTRA channels do to a mean square."""
    teacher = random_kernel(tiny_config(**KINDS[kind]), 1)
    plain = full_depth(teacher)
    with torch.no_grad():
        student = begin(plain, torch.randint(5, VOCAB, (2, 32)))
        ids = torch.randint(5, VOCAB, (40, 1))
        expected, found = plain(ids).logits, student(ids).logits
    assert torch.equal(plain(ids).logits, expected)
    assert student.config == student_config(plain.config) and (student.embedding.table[:, -EXTRA:] == CONSTANT).all()
    error = (found - expected).abs().mean() / expected.std()
    # projecting roles out before the norm shortens a state by more than can be folded into a matrix
    assert error <= (0.15 if teacher.symmetry is not None else 0.03), error


@pytest.mark.parametrize("kind", ["everything", "recursion", "exits", "regimes"])
def test_full_depth_has_every_block_and_no_decision(kind: str) -> None:
    teacher = random_kernel(tiny_config(**DEPTHS[kind]), 1)
    plain, config = full_depth(teacher), teacher.config
    assert not plain.watches and len(plain.blocks) == config.n_layers + config.recursion_min_loops
    for n, block in enumerate(plain.blocks):
        wanted = teacher.blocks[n] if n < config.n_layers else teacher.integrator.block  # type: ignore[union-attr]
        assert torch.equal(block.attn.q.weight, wanted.attn.q.weight) and torch.equal(block.ffn.down.weight, wanted.ffn.down.weight)


def test_log_weights_are_those_of_the_forward_pass() -> None:
    """The rows that a student learns are the rows that the teacher attends by, gates included."""
    teacher = random_kernel(tiny_config(**KINDS["pure, gates"], n_layers=1), 2)
    ids = torch.randint(5, VOCAB, (2, 20))
    block, positions = teacher.blocks[0], torch.arange(20)
    with torch.no_grad():
        x = block.attn_norm(teacher.embedding(ids))
        weights = block.attn.log_weights(x, positions, teacher.coupling(positions)).exp()
        assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5) and (weights == 0).any()
        v = block.attn.v(x).view(2, 20, 2, -1).transpose(1, 2).repeat_interleave(2, 1)
        out = block.attn.o((weights @ v).transpose(1, 2).reshape(2, 20, -1))
        from qig_edge.model.attention import Look

        expected, *_ = block.attn(x, positions, None, Look(teacher.coupling(positions)))
    assert (out - expected).abs().max() <= 1e-5


def test_a_student_learns_rows_and_words() -> None:
    teacher = random_kernel(tiny_config(**SHAPE), 3).requires_grad_(False)
    mixture = Mixture(text(), {"t": 1.0}, 64, 0)
    phases: list[str] = []
    seen: list[tuple[int, int, str]] = []
    rows: list[float] = []
    held_out = torch.from_numpy(text(1)["t"].train[:128].astype(np.int64)).view(2, 64)
    plain = full_depth(teacher)

    def between(phase: str, student: Kernel) -> None:
        phases.append(phase)
        rows.append(agreement(plain, student, held_out))

    before = {name: w.clone() for name, w in teacher.state_dict().items()}
    made = distil(teacher, mixture, 50 * 4096, lambda *told: seen.append(told), between)
    assert phases == ["copied", "rows", "words"] and made.tokens == 50 * 4096 == seen[-1][0] == seen[-1][1]
    print(f"rows {rows}, told {made.rows}, words {made.words}")
    assert made.rows[1] <= 0.8 * made.rows[0] and rows[1] <= 0.8 * rows[0]
    assert made.words[1] <= 0.8 * made.words[0]
    assert all(torch.equal(w, before[name]) for name, w in teacher.state_dict().items()), "the teacher stays as it was"


def test_a_dense_twin_needs_no_student() -> None:
    with pytest.raises(CheckpointError, match="without --distil"):
        full_depth(random_kernel(tiny_config(**TWINS["twin"]), 1))


def test_a_head_of_its_own_in_both_engines(tmp_path: Path) -> None:
    """A twin whose head is a matrix of its own, as a student's is: output.weight, in libqig and in llama.cpp."""
    config = tiny_config(**TWINS["twin"], head_rank=64)
    model, ids = random_kernel(config, 1), [int(t) for t in np.random.default_rng(1).integers(5, VOCAB, 30)]
    assert config.whole_head and config.param_counts()["total"] == sum(p.numel() for p in model.parameters())
    write(tmp_path / "m.gguf", model, "f32")
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    with NativeModel(tmp_path / "m.gguf") as opened, opened.session(n_threads=1, cache_type="f32") as session:
        assert {"output.weight", "token_embd.weight"} <= {t.name for t in opened.tensors()}
        assert np.abs(session.eval_all(ids) - expected).max() <= 1e-4
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    from qig_edge.runtime.llama import LlamaModel

    with LlamaModel(tmp_path / "m.gguf") as stock, stock.session(n_threads=1) as other:
        assert np.abs(other.eval_all(ids) - expected).mean() <= 0.005 * expected.std()


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one checkpoint and a text beside it."""
    run = tmp_path_factory.mktemp("runs") / "little"
    checkpoint.write(run / "step-00000010", random_kernel(tiny_config(**SHAPE), 5), tiny_tokenizer(), None)
    (run / "text.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in WORDS * 20), "utf-8")
    return run


def convert(*args: Any) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["convert", *map(str, args)])
    return int(stopped.value.code or 0)


def one_line(capsys: Output) -> str:
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    return err


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, run_folder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    learning = ("--distil", "llama", "--data", run_folder / "text.jsonl", "--tokens", 12_000)
    assert convert(run_folder, "--q8", *learning, "--license", "CC0-1.0", "--json") == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    path = tmp_path / "little-llama-q8_0.gguf"
    assert facts["file"] == path.name and list(tmp_path.iterdir()) == [path]
    assert "telemetry" in err and "adaptive depth" in err
    bits = facts["bits_per_byte"]
    assert set(bits) == {"teacher", "copied", "rows", "words", "libqig", "llama.cpp"} and all(b is None or b > 1 for b in bits.values())
    assert abs(bits["libqig"] / bits["words"] - 1) <= 0.02
    with NativeModel(path) as opened:
        assert (opened.info.architecture, opened.info.name, opened.eot) == ("arcee", "little-llama", 4)
        weights = run_folder / "step-00000010" / "model.safetensors"
        assert opened.metadata("qig.checkpoint.sha256") == hashlib.sha256(weights.read_bytes()).hexdigest()
        assert opened.metadata("qig.recipe") == "q8" and opened.metadata("general.license") == "CC0-1.0"
    assert facts["calibrated_on"] == "the text it learnt from"
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    assert abs(bits["llama.cpp"] / bits["words"] - 1) <= 0.02


def test_a_students_folder_for_ollama(tmp_path: Path, capsys: Output, run_folder: Path) -> None:
    learning = ("--distil", "llama", "--data", run_folder / "text.jsonl", "--tokens", 4096)
    assert convert(run_folder, "--q8", "--ollama", *learning, "--system", "Be kind.", "-o", tmp_path / "o") == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'o'}\n" and "knows the architecture 'arcee'" in err and "telemetry" in err
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["Modelfile", "o.gguf"]
    found, _ = parse((tmp_path / "o" / "Modelfile").read_text("utf-8"))
    assert ("FROM", "./o.gguf") in found and ("SYSTEM", "Be kind.") in found
    with NativeModel(tmp_path / "o" / "o.gguf") as opened:
        assert opened.info.architecture == "arcee" and opened.metadata("general.base_model.0.name") == "little"


def test_refusals(tmp_path: Path, capsys: Output, run_folder: Path) -> None:
    target, words = tmp_path / "m.gguf", run_folder / "text.jsonl"
    checkpoint.write(tmp_path / "twin", random_kernel(tiny_config(**TWINS["twin"]), 1), tiny_tokenizer(), None)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("The fox.")
    cases: list[tuple[list[Any], str]] = [
        ([run_folder, "--distil", "mamba", "--data", words], "--distil 'mamba' must be llama"),
        ([run_folder, "--distil", "llama"], "there is no text to learn from"),
        ([run_folder, "--distil", "llama", "--data", tmp_path / "none.txt"], "does not exist"),
        ([run_folder, "--distil", "llama", "--data", tmp_path / "empty.txt"], "is empty"),
        ([run_folder, "--distil", "llama", "--data", tmp_path / "short.txt"], "too small"),
        ([run_folder, "--distil", "llama", "--data", words, "--tokens", "0"], "--tokens 0"),
        ([run_folder, "--distil", "llama", "--data", words, "--ffn-down", "dense"], "--distil goes without"),
        ([run_folder, "--distil", "llama", "--data", words, "--onnx"], "--distil and --onnx exclude each other"),
        ([run_folder, "--data", words], "they go with --distil llama"),
        ([tmp_path / "twin", "--distil", "llama", "--data", words], "a dense twin is of the llama layout already"),
        ([tmp_path, "--distil", "llama", "--data", words], "no checkpoint at"),
    ]
    for args, message in cases:
        assert convert(*args, "-o", target) == 2, args
        assert message in one_line(capsys)
    assert not target.exists() and not [p for p in tmp_path.iterdir() if "partial" in p.name]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_interrupted_leaves_nothing(tmp_path: Path, run_folder: Path, repository: Path) -> None:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()
    program = (
        f"import tempfile; tempfile.tempdir = {str(scratch)!r}\n"
        "import sys\nfrom qig_edge.convert import distil\nreal = distil._rows\n"
        "def told(*a):\n    print('learning', flush=True)\n    return real(*a)\n"
        "distil._rows = told\nfrom qig_edge.cli import main\nmain(sys.argv[1:])\n"
    )
    args = ["--distil", "llama", "--data", str(run_folder / "text.jsonl"), "-o", str(out / "m.gguf")]
    process = subprocess.Popen(
        [sys.executable, "-c", program, "convert", str(run_folder), *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=repository,
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == "learning\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert not list(out.iterdir()) and not list(scratch.iterdir())
