"""The command line: help, versions, errors in one line, pipes and interrupts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import qig_edge.cli as cli
from qig_edge import __version__
from qig_edge.devices import host

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "qig_edge.cli"]
Run = Callable[..., Any]  # the fixture of conftest.py: code, out, err


def spawn(*args: object, **more: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.Popen([*COMMAND, *map(str, args)], env=environment, **pipes)  # type: ignore[call-overload,no-any-return]


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'gguf', 'rich', 'torch', 'psutil', 'qig_edge.runtime', 'qig_edge.bench', 'qig_edge.devices'}"
    script = (
        "import sys, qig_edge.cli as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit as e: assert not e.code\n"
        f"print('imported', *sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    *listed, imported = done.stdout.splitlines()
    assert imported == "imported"
    for name, (_, text) in cli.COMMANDS.items():
        assert any(line.split() and line.split()[0] == name for line in listed), name
        assert text.split()[0] in done.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(qig_edge: Run, name: str) -> None:
    code, out, err = qig_edge(name, "--help")
    assert code == 0 and out.startswith(f"Usage: qig-edge {name}") and not err


def test_version_and_no_arguments(qig_edge: Run) -> None:
    assert qig_edge("--version") == (0, f"qig-edge {__version__}\n", "")
    code, out, _ = qig_edge()
    assert code == 0 and out.startswith("Usage: qig-edge")


# name: arguments, and what the line must hold. {model} is a good file, {text}, {empty}, {torn} are bad ones, {tmp} a folder.
BAD = {
    "a text file": ("chat {text} -p x", "not a GGUF"),
    "an empty file": ("chat {empty} -p x", "empty.gguf"),
    "a truncated file": ("generate {torn} -p x", "torn.gguf"),
    "a missing model": ("chat {tmp}/none.gguf -p x", "no such model file"),
    "a missing model for bench": ("bench {tmp}/none.gguf", "no such model file"),
    "drafts of a model without them": ("generate {model} -p x --draft 3", "this model has no draft"),
    "drafts of a model without them, chat": ("chat {model} -p x --draft 1", "this model has no draft"),
    "drafts of a model without them, bench": ("bench {model} --draft", "this model has no draft"),
    "a draft length out of range": (
        "generate {model} -p x --draft 9",
        "--draft 9: auto, off, or a whole number from 1 to 8",
    ),
    "a word for a draft length": ("chat {model} -p x --draft many", "--draft many: auto, off"),
    "a text file for bench": ("bench {text}", "not a GGUF"),
    "a folder": ("info {tmp}", "is a folder"),
    "an unknown preset": ("info --preset qig-nanno", "did you mean 'qig-nano'?"),
    "an unknown preset for bench": ("bench --random qig-1b", "unknown preset 'qig-1b'"),
    "a preset and a model": ("info {model} --preset qig-nano", "--preset"),
    "a preset and a model for bench": ("bench {model} --random qig-nano", "--random"),
    "no measured tokens": ("bench {model} --decode 0", "--decode"),
    "a word for depths": ("bench {model} --depths deep", "depths = 'deep'"),
    "an unknown device": (
        "bench {model} --device rpi9",
        "unknown device 'rpi9' (devices: android, laptop, old-laptop, rpi-zero2w, rpi4, rpi5; or a profile's FILE.toml)",
    ),
    "an unknown target": ("build --target rpi9", "unknown target 'rpi9' (targets: android, old-laptop, rpi-zero2w, rpi4, rpi5, host)"),
    "an output folder that is none": ("build --target host -o {tmp}/no/qig", "no folder"),
    "an unknown kernel set": ("chat {model} -p x --isa sse2", "isa = 'sse2' must be one of auto, "),
    "a negative temperature": ("chat {model} -p x --temperature -1", "--temperature"),
    "a temperature of nan": ("chat {model} -p x --temperature nan", "temperature"),
    "an unknown setting": (
        "generate {model} -p x --set gate.marjin=4",
        "unknown setting 'gate.marjin' (known: gate.margin",
    ),
    "a setting out of range": (
        "chat {model} -p x --set gate.margin=-1",
        "gate.margin = '-1' must be a number of at least 0",
    ),
    "a setting that is no number": ("info {model} --set gate.margin=wide", "gate.margin = 'wide'"),
    "a setting of a missing component": (
        "bench {model} --set regime.low=0.2",
        "regime.low cannot be set: the model has no regime detector",
    ),
    "a setting without a value": ("generate {model} -p x --set gate.margin", "--set gate.margin: KEY=VALUE"),
    "a setting and a preset": ("info --preset qig-nano --set gate.margin=4", "--preset"),
    "an unknown setting for a device": ("bench {model} --device rpi4 --set gate.marjin=4", "gate.marjin"),
    "drafts for a device": ("bench {model} --device rpi4 --draft", "--draft and --isa belong to a measurement: they go without --device rpi4"),
    "a kernel set for a device": ("bench {model} --device rpi4 --isa ref", "they go without --device rpi4"),
    "two kinds of JSON": ("generate {model} -p x --json --telemetry-json", "one of them"),
    "a text that is not there for bench": ("bench {model} --text {tmp}/none.txt", "none.txt"),
    "a large top-p": ("chat {model} -p x --top-p 1.5", "--top-p"),
    "a zero top-p": ("chat {model} -p x --top-p 0", "top_p = 0"),
    "no tokens": ("generate {model} -p x -n 0", "--max-tokens"),
    "many threads": ("generate {model} -p x -t 1000", "--threads"),
    "many threads for the prompt": ("generate {model} -p x -tb 1000", "--threads-batch"),
    "a word for threads": ("chat {model} -p x -tb two", "--threads-batch"),
    "threads for a prefill that is not measured": ("bench {model} --draft -tb 2", "--threads-batch"),
    "the same of a peer": ("bench {model} --peer llama.cpp -tb 2", "--threads-batch"),
    "a word for a number": ("generate {model} -p x -n many", "--max-tokens"),
    "a long prompt": ("generate {model} -p {long}", "the context has room for 64"),
    "a long message": ("chat {model} -p {long}", "the context has room for 63"),
    "a long system prompt": ("chat {model} -p x --system {long}", "more than half of the context of 64"),
    "an empty prompt": ("generate {model} -p {nothing}", "empty"),
    "an unknown option": ("chat --colour", "No such option: --colour"),
    "an unknown command": ("tchat", "No such command 'tchat'"),
    "a kind of data": ("data poems -o {tmp}/x.jsonl", "poems"),
    "no records": ("data tales -n 0 -o {tmp}/x.jsonl", "--count"),
    "a data folder that is none": ("data tales -n 1 -o {tmp}/no/x.jsonl", "No such file or directory"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_are_one_line_and_exit_code_2(qig_edge: Run, tmp_path: Path, tiny_model: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("just words, no model\n" * 9)
    (tmp_path / "empty.gguf").write_bytes(b"")
    (tmp_path / "torn.gguf").write_bytes(tiny_model.read_bytes()[:1000])
    words = {"tmp": tmp_path, "model": tiny_model, "text": tmp_path / "notes.txt", "long": "x" * 300, "nothing": ""}
    words |= {"empty": tmp_path / "empty.gguf", "torn": tmp_path / "torn.gguf"}
    line, expected = BAD[name]
    before = sorted(tmp_path.iterdir())
    code, out, err = qig_edge(*(word.format(**words) for word in line.split()))
    assert code == 2 and not out
    assert err.startswith("error: ") and err.count("\n") == 1 and expected in err, err
    assert sorted(tmp_path.iterdir()) == before


def test_a_32_bit_system(qig_edge: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qig_edge.runtime import prototypes

    prototypes.library.cache_clear()
    monkeypatch.setattr(host, "pointer_bits", lambda: 32)
    for args in (["chat", tiny_model, "-p", "x"], ["bench", tiny_model], ["info", tiny_model]):
        code, _, err = qig_edge(*args)
        assert code == 2 and err.startswith("error: this is a 32-bit system") and err.count("\n") == 1


def test_errors_of_the_system_are_one_line(qig_edge: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/there/file")

    assert cli.guarded(full) == 2

    def interrupted() -> None:
        raise KeyboardInterrupt

    assert cli.guarded(interrupted) == 130


def test_the_shipped_model_is_missed_by_name(qig_edge: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from qig_edge.runtime import assets

    monkeypatch.setattr(assets, "SHIPPED", "no-such-model.gguf")
    code, _, err = qig_edge("chat", "-p", "x")
    assert code == 2 and "shipped model (no-such-model.gguf) is not in this installation" in err


def test_info_of_a_file(qig_edge: Run, tiny_model: Path) -> None:
    code, out, err = qig_edge("info", tiny_model, "--json", "--tensors")
    facts = json.loads(out)
    assert (
        code == 0
        and not err
        and facts["d_model"] == 64
        and facts["file_type"] == "Q4_0"
        and facts["isa"] in facts["isa_available"]
    )
    assert 4.5 <= facts["bits_per_weight"] < 5.5 and len(facts["tensors"]) == facts["tensor_count"] > 10
    code, out, _ = qig_edge("info", tiny_model, "--tensors")
    assert code == 0 and "blk.1.ffn_down.weight" in out and "bits_per_weight" in out


@pytest.mark.parametrize("name", ["qig-nano", "qig-100m", "qig-recursive-50m", "dense-nano", "jarvis-12m"])
def test_info_of_a_preset(qig_edge: Run, name: str) -> None:
    code, out, _ = qig_edge("info", "--preset", name, "--json")
    facts = json.loads(out)
    parts = dict(facts["parameters"])
    assert code == 0 and parts.pop("total") == sum(parts.values()) > 0
    sizes = facts["weight_bytes"]
    assert sizes["Q4_0"] < sizes["Q8_0"] < sizes["F16"] and sizes["F16"] >= 2 * facts["parameters"]["total"]
    memory = facts["fp16_inference_bytes"]
    assert memory["total"] == memory["weights"] + memory["cache"] + memory["activations"]
    assert name != "qig-100m" or memory["total"] < 400e6
    code, out, _ = qig_edge("info", "--preset", name)
    assert code == 0 and "attention" in out and "fp16_inference_bytes" in out


def test_preset_bytes_equal_a_files(qig_edge: Run, tmp_path: Path) -> None:
    from qig_edge.bench.random_model import random_model
    from qig_edge.cli.info import preset_facts
    from qig_edge.runtime.native import NativeModel

    with NativeModel(random_model("qig-nano", tmp_path)) as model:
        assert sum(t.bytes for t in model.tensors()) == preset_facts("qig-nano")["weight_bytes"]["Q4_0"]


def test_generate_is_text_on_stdout_and_status_on_stderr(qig_edge: Run, tiny_model: Path) -> None:
    args = ["generate", tiny_model, "-p", "Once", "-n", 12, "--seed", 3, "-t", 1]
    code, out, err = qig_edge(*args)
    assert code == 0 and out.startswith("Once") and len(out) > 5 and not err
    assert qig_edge(*args).out == out
    code, again, err = qig_edge(*args, "--stats", "--telemetry")
    assert again == out and "tok/s" in err and "first token" in err and "memory" in err
    assert err.count("\n") == 1 + 12 + 2 and "phi 0." in err and "geometric 100%" in err


def test_generate_as_json(qig_edge: Run, tiny_model: Path) -> None:
    args = ["generate", tiny_model, "-p", "Once", "-n", 12, "--seed", 3, "-t", 1]
    text = qig_edge(*args).out
    code, out, err = qig_edge(*args, "--json")
    told = json.loads(out)
    assert code == 0 and not err and out.count("\n") == 1 and "Once" + told["text"] + "\n" == text
    assert told["tokens"] == 12 and told["end"] == "length" and told["uncertain"] is False and told["blocks_run"] == 2
    code, out, err = qig_edge(*args, "--telemetry-json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and not err and len(lines) == 12 and all(line["regime"] == "geometric" for line in lines)
    assert (told["threads"], told["threads_batch"]) == (1, 1)
    told = json.loads(qig_edge(*args, "--json", "-tb", 2).out)
    assert (told["threads"], told["threads_batch"]) == (1, 2)
    assert told["text"].startswith("".join(line["text"] for line in lines))


def test_a_setting_changes_what_is_computed(qig_edge: Run, tiny_model: Path) -> None:
    args = ["generate", tiny_model, "-p", "Once", "-n", 12, "--seed", 3, "-t", 1, "--json"]
    code, out, _ = qig_edge(*args, "--set", "gate.margin=9", "--set", "gate.margin=1")  # the last one counts
    assert code == 0 and json.loads(out)["agency"] < 1 == json.loads(qig_edge(*args).out)["agency"]
    code, out, _ = qig_edge("info", tiny_model, "--json", "--set", "gate.margin=1.5")
    assert code == 0 and json.loads(out)["settings"] == {"gate.margin": [1.5], "gate.threshold": [0.0]}


def test_chat_answers_one_prompt(qig_edge: Run, tiny_model: Path) -> None:
    code, out, err = qig_edge("chat", tiny_model, "-p", "hi", "-n", 8, "--seed", 1, "--stats", "--telemetry")
    assert code == 0 and out.endswith("\n") and not out.startswith("> ") and err.count("\n") == 2


def test_chat_through_a_pipe_keeps_the_conversation(tiny_model: Path) -> None:
    def talk(text: str) -> tuple[str, str]:
        process = spawn("chat", tiny_model, "-n", 6, "--seed", 5, "-t", 1, "--stats", stdin=subprocess.PIPE)
        out, err = process.communicate(text.encode())
        assert process.returncode == 0, err
        return out.decode(), err.decode()

    out, err = talk("hi\n\nthere\n")
    assert err.count("tok/s") + err.count("not measurable") >= 2 and "> " not in err
    assert [int(n) for n in re.findall(r"prefill (\d+) tokens", err)] == [5, 9]
    assert talk("hi\n")[0] == out[: len(talk("hi\n")[0])]


def test_the_reader_of_a_pipe_may_leave(tiny_model: Path) -> None:
    process = spawn("generate", tiny_model, "-p", "x", "-n", 10000000, "-t", 1, "--temp", 0)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(20)
    process.stdout.close()
    assert process.wait(60) == 1 and process.stderr.read() == b""
    process.stderr.close()


def test_interrupt_stops_the_answer_and_the_talk_goes_on(tiny_model: Path) -> None:
    endless = ("-n", 10000000, "--ctx", 1 << 20, "--temp", 0, "--repeat-penalty", 1)
    process = spawn("chat", tiny_model, *endless, "-t", 1, "--stats", stdin=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    for message in (b"hello\n", b"again\n"):
        process.stdin.write(message)
        process.stdin.flush()
        assert process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        assert b"(stopped)" in process.stderr.readline()
        while not process.stdout.read1(1 << 20).endswith(b"\n"):  # type: ignore[attr-defined]
            pass
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()
    process.stderr.close()


def test_a_second_interrupt_leaves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from qig_edge.cli.chat import _answer
    from qig_edge.runtime.stream import Stop

    class Endless:
        stop = Stop()
        pieces = 0

        def answer(self, message: str) -> Iterator[str]:
            while True:
                self.pieces += 1
                os.kill(os.getpid(), signal.SIGINT)
                yield "x"

    before, chat = signal.getsignal(signal.SIGINT), Endless()
    assert cli.guarded(lambda: _answer(chat, "hi")) == 130  # type: ignore[arg-type]
    assert chat.pieces == 2 and chat.stop.asked and signal.getsignal(signal.SIGINT) is before


def test_interrupt_while_generating(tiny_model: Path) -> None:
    process = spawn("generate", tiny_model, "-p", "x", "-n", 10000000, "-t", 1, "--temp", 0)
    assert process.stdout is not None and process.stdout.read(10)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == b""


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from qig_edge.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "args", [["data", "tales", "-n", "500", "-o", "{tmp}/x.jsonl"], ["bench", "--random", "qig-nano"]]
)
def test_a_file_that_cannot_grow(tmp_path: Path, args: list[str]) -> None:
    (tmp_path / "qig-edge").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
    filled = [a.format(tmp=tmp_path) for a in args]
    done = subprocess.run([sys.executable, "-c", FULL_DISK, *filled], capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and not done.stdout
    assert (
        done.stderr.startswith(f"error: {tmp_path}/")
        and "File too large" in done.stderr
        and done.stderr.count("\n") == 1
    ), done.stderr
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_data_is_json_lines(qig_edge: Run, tmp_path: Path) -> None:
    out_file = tmp_path / "talk.jsonl"
    code, out, _ = qig_edge("data", "talk", "facts", "-n", 30, "--seed", 4, "-o", out_file)
    records = [json.loads(line) for line in out_file.read_text("utf-8").splitlines()]
    assert code == 0 and out == f"{out_file}\n" and len(records) == 30
    assert {"messages" in r for r in records} == {True, False}
    before = out_file.read_bytes()
    assert qig_edge("data", "talk", "facts", "-n", 30, "--seed", 4, "-o", out_file).code == 0
    assert out_file.read_bytes() == before and list(tmp_path.iterdir()) == [out_file]
