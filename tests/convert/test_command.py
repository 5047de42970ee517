"""qig-edge convert: what it writes and says, what it refuses, and that nothing is left behind when it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qig_edge.cli import main
from qig_edge.cli.convert import stoppable
from qig_edge.convert import verify
from qig_edge.runtime.native import NativeModel
from qig_edge.train import checkpoint
from tests.convert.tiny import TWINS, random_kernel, tiny_config, tiny_tokenizer

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two checkpoints."""
    run = tmp_path_factory.mktemp("runs") / "little"
    for step, seed in ((10, 5), (20, 6)):
        checkpoint.write(run / f"step-{step:08d}", random_kernel(tiny_config(), seed), tiny_tokenizer(), None)
    return run


def convert(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["convert", *map(str, args)])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.mark.parametrize(
    ("option", "suffix", "kl"),
    [
        (None, "q4_0", 1.0),
        ("--q4", "q4_0", 1.0),
        ("--q8", "q8_0", 0.01),
        ("--f16", "f16", 1e-3),
        ("--f32", "f32", 1e-9),
    ],
)
def test_types(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    run_folder: Path,
    option: str | None,
    suffix: str,
    kl: float,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert convert(run_folder, *([option] if option else []), "--json") == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert facts["file"] == f"little-{suffix}.gguf"
    assert facts["checkpoint"].endswith("step-00000020")
    assert -1e-12 <= facts["kl"] <= kl
    assert facts["top1"] > 0.6
    assert abs(facts["file_bits_per_byte"] / facts["checkpoint_bits_per_byte"] - 1) < 0.05
    path = tmp_path / facts["file"]
    assert facts["file_bytes"] == path.stat().st_size
    bits = {"q4_0": (4.5, 9), "q8_0": (8.5, 9), "f16": (16, 16.5), "f32": (32, 32)}[suffix]
    assert bits[0] <= facts["bits_per_weight"] <= bits[1]
    assert "KL divergence" in err and "built-in text" in err
    assert list(tmp_path.iterdir()) == [path]
    with NativeModel(path) as model:
        assert (model.info.name, model.info.n_params) == ("little", facts["parameters"])


def test_path_on_stdout_name_and_no_verify(tmp_path: Path, capsys: Output, run_folder: Path) -> None:
    target = tmp_path / "x.gguf"
    assert convert(run_folder / "step-00000010", "--f32", "-o", target, "--name", "Ümlaut", "--no-verify") == 0
    out, err = capsys.readouterr()
    assert out == f"{target}\n"
    assert "KL" not in err and "bits a weight" in err
    with NativeModel(target) as model:
        assert model.info.name == "Ümlaut"


def test_held_out_documents_of_the_run(tmp_path: Path, capsys: Output, run_folder: Path) -> None:
    """Beside a run's checkpoints lie its shards: the same tokens that training reports on."""
    import shutil

    from qig_edge.train.evaluate import bits_per_byte
    from qig_edge.train.shards import prepare
    from qig_edge.train.sources import Source

    run = tmp_path / "run"
    shutil.copytree(run_folder / "step-00000020", run / "step-00000020")
    texts = [
        f"The {a} saw the {b} on the hill."
        for a in ("fox", "hen", "cat", "cow", "owl")
        for b in ("sun", "sea", "rain", "tree", "bird")
    ]
    (tmp_path / "d.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in texts * 2), "utf-8")
    _, shards = prepare(
        run / "shards", [Source(str(tmp_path / "d.jsonl"))], run_folder / "step-00000020", 300, 300, 10_000
    )
    assert convert(run, "--f32", "-o", tmp_path / "m.gguf", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["text"] == f"held-out documents of {run / 'shards'}"
    (shard,) = shards.values()
    assert facts["tokens"] == len(shard.validation) - 1 > 50
    model = checkpoint.load_model(run)
    trained = bits_per_byte(lambda ids: model(ids).logits.detach(), shards, model.config.context_length)["all"]
    # the bytes of the very first token are in the one count and not in the other
    assert facts["checkpoint_bits_per_byte"] == pytest.approx(trained, rel=0.02)


def test_text_to_compare_on(tmp_path: Path, capsys: Output, run_folder: Path) -> None:
    (tmp_path / "t.txt").write_text("The hen ran over the hill, ünd so on. " * 10, "utf-8")
    assert convert(run_folder, "-o", tmp_path / "m.gguf", "--verify-text", tmp_path / "t.txt", "--json") == 0
    assert json.loads(capsys.readouterr().out)["text"] == str(tmp_path / "t.txt")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    for name, message in (("bad.txt", "is not UTF-8"), ("none.txt", "No such file"), ("empty.txt", "too short")):
        (tmp_path / "empty.txt").write_text("")
        assert convert(run_folder, "-o", tmp_path / "n.gguf", "--verify-text", tmp_path / name) == 2
        assert message in one_line(capsys)
        assert not (tmp_path / "n.gguf").exists()


def test_a_gate_chosen_after_training(tmp_path: Path, capsys: Output, run_folder: Path) -> None:
    """The file holds it, and the comparison is with the checkpoint as it was trained: a gate that costs is seen, or refused."""
    loose, out = tmp_path / "loose.toml", tmp_path / "m.gguf"
    loose.write_text('what = "w"\nsuffix = "s"\nmax_kl = 100\n[types]\n"*" = "f32"\n', "utf-8")
    plain = ("--ffn-down", "dense", "-o", out)
    assert convert(run_folder, "--f32", *plain, "--set", "gate.margin=0.5") == 2
    assert "passes max_kl" in one_line(capsys) and not out.exists()
    assert convert(run_folder, "--recipe", loose, *plain, "--set", "gate.margin=0.5", "--json") == 0
    assert json.loads(capsys.readouterr().out)["kl"] > 1e-4
    with NativeModel(out) as model:
        assert model.settings()["gate.margin"] == [0.5]
    for given, message in (
        ("regime.low=1", "what a file can be given here is gate.margin or gate.threshold"),
        ("gate.margin=much", "a number is needed"),
        ("gate.margin=-1", "gate_margin = -1.0 must be 0 (off) or a positive number of nats"),
        ("gate.margin", "KEY=VALUE"),
    ):
        assert convert(run_folder, *plain, "--force", "--set", given) == 2
        assert message in one_line(capsys)


def one_line(capsys: Output) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1, err
    return err


def test_refusals(tmp_path: Path, capsys: Output, run_folder: Path) -> None:
    target = tmp_path / "m.gguf"
    twin = tmp_path / "twin"
    config = tiny_config(attention="dot", basin_dim=0)
    checkpoint.write(twin, random_twin(config), tiny_tokenizer(), None)
    (tmp_path / "file").write_text("x")
    torn = tmp_path / "torn"
    checkpoint.write(torn, random_kernel(tiny_config(), 1), tiny_tokenizer(), None)
    (torn / "model.safetensors").write_bytes((torn / "model.safetensors").read_bytes()[:-100])
    other = tmp_path / "other"
    checkpoint.write(other, random_kernel(tiny_config(), 1), tiny_tokenizer(), None)
    told = (other / "config.json").read_text("utf-8")
    (other / "config.json").write_text(told.replace('"vocab_size": 300', '"vocab_size": 320'), "utf-8")
    cases: list[tuple[list[Any], str]] = [
        ([run_folder, "--q4", "--f32"], "--q4 and --f32 exclude each other"),
        ([twin], "attention = 'dot' with decay = True has no GGUF form"),
        ([tmp_path / "none"], "it does not exist"),
        ([tmp_path / "file"], "it is a file"),
        ([tmp_path], "neither step-* folders nor"),
        ([torn], "does not hold this model's weights"),
        ([other], "does not hold the weights that its config.json describes: size mismatch for embedding.table"),
        ([run_folder, "--no-verify", "--verify-text", "x"], "exclude each other"),
    ]
    for args, message in cases:
        assert convert(*args, "-o", target) == 2
        assert message in one_line(capsys)
    for out, message in ((tmp_path, "is a folder"), (tmp_path / "no" / "m.gguf", "there is no folder")):
        assert convert(run_folder, "-o", out) == 2
        assert message in one_line(capsys)
    assert not target.exists()
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name]


def random_twin(config: Any) -> Any:
    from qig_edge.model.kernel import Kernel

    return Kernel(config)


def test_a_dense_twin_becomes_a_file_of_the_llama_layout(tmp_path: Path, capsys: Output) -> None:
    from gguf import GGUFReader

    target, folder = tmp_path / "twin.gguf", tmp_path / "twin"
    config = tiny_config(**TWINS["twin"])
    checkpoint.write(folder, random_kernel(config, 1), tiny_tokenizer(), None)
    assert convert(folder, "--ffn-down", "sparse", "-o", target) == 2
    assert "--ffn-down sparse is for QIG models" in one_line(capsys)
    for recipe, kl in (("--f32", 1e-6), ("--q4", 0.1)):
        assert convert(folder, recipe, "--json", "--force", "-o", target) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["ffn_down"] == "dense" and facts["kl"] <= kl and facts["parameters"] == config.param_counts()["total"]
    with NativeModel(target) as native:
        info = native.info
        assert (info.architecture, info.basin_dim, info.head_rank, info.file_type) == ("arcee", 0, 0, "Q4_0")
        assert native.eot is not None and native.metadata("tokenizer.chat_template")
        assert not any("attn_temp" in t.name or t.name == "output.weight" for t in native.tensors())
    keys = GGUFReader(target).fields
    wanted = {
        "arcee.rope.dimension_count": config.head_dim,
        "arcee.attention.head_count_kv": config.n_kv_heads,
        "arcee.feed_forward_length": config.hidden_dim,
        "arcee.vocab_size": config.vocab_size,
    }
    assert {key: int(keys[key].parts[-1][0]) for key in wanted} == wanted


def test_a_file_is_replaced_only_by_force(tmp_path: Path, capsys: Output, run_folder: Path) -> None:
    target = tmp_path / "m.gguf"
    target.write_bytes(b"precious")
    assert convert(run_folder, "-o", target) == 2
    assert "exists" in one_line(capsys)
    assert target.read_bytes() == b"precious"
    assert convert(run_folder, "-o", target, "--force", "--no-verify") == 0
    NativeModel(target).close()


def test_a_file_that_computes_nonsense_is_not_kept(
    tmp_path: Path, capsys: Output, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qig_edge.runtime.native import NativeSession

    target = tmp_path / "m.gguf"
    target.write_bytes(b"old")
    monkeypatch.setattr(NativeSession, "eval_all", lambda self, ids: np.full((len(ids), 300), np.nan, np.float32))
    assert convert(run_folder, "-o", target, "--force") == 2
    assert "not finite" in capsys.readouterr().err
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


FULL = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); from qig_edge.cli import main; main(sys.argv[1:])"


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits there")
def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path, run_folder: Path, repository: Path) -> None:
    """A limit on file sizes stands for the full disk: writes fail half way, in gguf's buffers."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, "convert", str(run_folder), "--f32", "-o", str(tmp_path / "m.gguf")],
        capture_output=True, text=True, cwd=repository,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: cannot write '{tmp_path / 'm.gguf'}': "), line
    assert "File too large" in line or "it is full, or a limit holds" in line
    assert not list(tmp_path.iterdir())


SLOW = """
import signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup hands down that it is ignored
from qig_edge.convert import gguf_writer
real = gguf_writer._encode
def slow(*args):
    print('writing', flush=True)
    time.sleep(0.2)
    return real(*args)
gguf_writer._encode = slow
from qig_edge.cli import main
from qig_edge.cli.convert import stoppable
main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stays_one_whatever_is_made_of_it(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), stoppable():
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        except KeyboardInterrupt:
            raise ValueError("an exporter's") from None
    assert signal.getsignal(number) is before
    with pytest.raises(ValueError, match="by itself"), stoppable():
        raise ValueError("by itself")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_leaves_nothing(tmp_path: Path, run_folder: Path, repository: Path, number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "convert", str(run_folder), "-o", str(tmp_path / "m.gguf")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=repository, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == "writing\n"
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_the_built_in_text_is_plain_prose() -> None:
    assert 2500 < len(verify.PLAIN_TEXT.encode()) < 4000
    assert verify.PLAIN_TEXT.count(". ") > 15
    assert verify.PLAIN_TEXT.isascii()
