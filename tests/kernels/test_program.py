"""The qig program: its text is the package's text, its errors are one line and exit code 2, Ctrl-C stops it."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import gguf
import pytest

from qig_edge.devices.host import program_path
from qig_edge.runtime.backend import Sampling
from qig_edge.runtime.chat import Chat
from qig_edge.runtime.native import NativeModel, isa_list
from qig_edge.runtime.state import FIELDS, REGIMES
from qig_edge.runtime.stream import Stats, generate

_spec = importlib.util.spec_from_file_location("qig_tiny", Path(__file__).with_name("tiny.py"))
assert _spec and _spec.loader
tiny = importlib.util.module_from_spec(_spec)
sys.modules["qig_tiny"] = tiny
_spec.loader.exec_module(tiny)

DRAWN = [
    "--temp",
    "1.2",
    "--top-k",
    "60",
    "--top-p",
    "0.97",
    "--min-p",
    "0.01",
    "--repeat-penalty",
    "1.2",
    "--seed",
    "12",
]
DRAWING = Sampling(temperature=1.2, top_k=60, top_p=0.97, min_p=0.01, repeat_penalty=1.2, seed=12)
LIMIT = 120  # seconds until a hanging program counts as failed


@pytest.fixture
def model(tmp_path: Path) -> Path:
    # every plain token has bytes that this vocabulary can make; invalid UTF-8 comes up all the time
    tiny.write(tmp_path / "m.gguf", tiny.Tiny(type="Q8_0", vocab=262, context=96))
    return tmp_path / "m.gguf"


def run(*args: object, text: str | bytes = b"") -> subprocess.CompletedProcess[bytes]:
    data = text.encode() if isinstance(text, str) else text
    return subprocess.run([program_path(), *map(str, args)], input=data, capture_output=True, timeout=LIMIT)


def ok(*args: object, text: str | bytes = b"") -> bytes:
    done = run(*args, text=text)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_generate_is_the_packages_text(model: Path) -> None:
    cases = 0
    with NativeModel(model) as opened:
        for n, ctx in ((20, 0), (150, 0), (70, 24)):  # the second and the third slide
            with opened.session(n_ctx=ctx) as session:
                want = "Hälp" + "".join(
                    generate(opened, session, "Hälp", sampling=DRAWING, max_tokens=n, stats=Stats())
                )
            got = ok("generate", model, "-p", "Hälp", "-n", n, "--ctx", ctx, *DRAWN)
            assert got.decode("utf-8") == want + "\n"
            assert ok("generate", model, f"-n{n}", f"--ctx={ctx}", *DRAWN, "-t", 3, text="Hälp\n") == got
            cases += 1
    assert cases == 3


def test_chat_is_the_packages_chat(model: Path) -> None:
    questions = ["hello there", "and then?", "go on, please", "why?", "é" * 9, "last"]
    with NativeModel(model) as opened, opened.session() as session:
        chat = Chat(opened, session, system="Be brief.", sampling=DRAWING, max_tokens=24)
        want = "".join("".join(chat.answer(q)) + "\n" for q in questions)
        assert chat.exchanges < len(questions)  # the context has slid
    lines = "\n".join(["", *questions])  # no newline at the end of the last one
    assert ok("chat", model, "--system", "Be brief.", "-n", 24, *DRAWN, text=lines).decode("utf-8") == want
    first = ok("chat", model, "--system", "Be brief.", "-n", 24, *DRAWN, "-p", questions[0]).decode("utf-8")
    assert want.startswith(first) and first


def test_greedy_text_is_the_same_everywhere(model: Path) -> None:
    texts = {
        ok("generate", model, "-p", "abc", "-n", 40, "--greedy", "--isa", isa, "-t", t, "--seed", t)
        for isa in isa_list()
        for t in (1, 2, 3)
    }
    assert len(texts) == 1


def test_thread_counts_change_no_text_and_are_told(model: Path) -> None:
    asked = ("generate", model, "-p", "abc" * 9, "-n", 30, *DRAWN)
    want = ok(*asked, "-t", 1)
    for given, counts in (
        (("-t", 2, "-tb", 3), (2, 3)),
        (("-t3", "-tb2"), (3, 2)),
        (("--threads=2", "--threads-batch=1"), (2, 1)),
        (("-tb", 1, "-t", 2), (2, 1)),
        (("-t", 2), (2, 2)),
    ):
        assert ok(*asked, *given) == want, given
        for program in (run, edge):
            if program is edge and given[0] == "-t3":
                continue  # a value goes apart from -tb there
            told = json.loads(program(*asked, *given, "--json").stdout)
            assert (told["threads"], told["threads_batch"]) == counts and told["text"] == want.decode()[27:-1], given
            err = program(*asked, *given, "--stats").stderr.decode()
            assert f"{counts[0]} threads ({counts[1]} for the prompt)" in err, err
    small = ("bench", model, "--prefill", 20, "--decode", 4, "--depths", "0", "--repeat", 1, "-t", 2, "-tb", 1)
    told = json.loads(ok(*small, "--json"))
    assert (told["threads"], told["threads_batch"]) == (2, 1) and "2 threads (1 for prefill)" in ok(*small).decode()


def test_thread_counts_that_are_not_given_are_sensible(model: Path) -> None:
    told = json.loads(ok("generate", model, "-p", "abc", "-n", 30, *DRAWN, "--json"))
    assert 1 <= told["threads"] <= 8 and 1 <= told["threads_batch"] <= 8
    told = json.loads(ok("generate", model, "-p", "abc", "-n", 30, *DRAWN, "-tb", 3, "--json"))
    assert 1 <= told["threads"] <= 8 and told["threads_batch"] == 3


def test_info(model: Path) -> None:
    told = json.loads(ok("info", model, "--json", "--tensors"))
    with NativeModel(model) as opened:
        assert {k: told[k] for k in ("n_params", "file_bytes", "weight_bytes", "isa", "file_type", "vocab_size")} == {
            k: getattr(opened.info, k)
            for k in ("n_params", "file_bytes", "weight_bytes", "isa", "file_type", "vocab_size")
        }
        assert [t["name"] for t in told["tensors"]] == [t.name for t in opened.tensors()]
    assert told["isa_list"].split(",") == isa_list() and told["chat"] is True
    text = ok("info", model, "--tensors").decode()
    assert "tiny" in text and "blk.1.ffn_down.weight" in text


def edge(*args: object, text: str = "") -> subprocess.CompletedProcess[bytes]:
    """The same command through the package."""
    command = [sys.executable, "-m", "qig_edge.cli", *map(str, args)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return subprocess.run(command, input=text.encode(), capture_output=True, timeout=LIMIT, env=environment)


def same_in_both(*args: object, text: str = "") -> tuple[str, str]:
    """stdout and stderr of a command that both programs print alike."""
    ours, theirs = run(*args, text=text), edge(*args, text=text)
    assert ours.returncode == theirs.returncode == 0, (ours.stderr, theirs.stderr)
    assert ours.stdout.decode() == theirs.stdout.decode() and ours.stderr.decode() == theirs.stderr.decode()
    return ours.stdout.decode(), ours.stderr.decode()


@pytest.mark.parametrize("settings", [(), ("--set", "gate.margin=2")], ids=["as it is", "gated"])
def test_telemetry_is_the_packages(model: Path, settings: tuple[str, ...]) -> None:
    asked = ("-p", "Hälp", "-n", 40, "--ctx", 24, *DRAWN, *settings)  # it slides
    text, table = same_in_both("generate", model, *asked, "--telemetry")
    head, *rows, means = table.splitlines()
    assert len(rows) == 40 and head.split() == ["token", "regime", "phi", "confidence", "surprise", "drift", "blocks", "pairs"]
    assert means.startswith("[mean of 40 tokens: phi 0.") and ("100%" in rows[-1]) == (not settings)
    told, err = same_in_both("generate", model, *asked, "--telemetry-json")
    lines = [json.loads(line) for line in told.splitlines()]
    assert len(lines) == 40 and not err and lines[0]["pos"] == len("Hälp".encode())
    pieces = "".join(line["text"] for line in lines)
    assert text in ("Hälp" + pieces + "\n", "Hälp" + pieces + "\ufffd\n")
    assert same_in_both("generate", model, *asked, "--telemetry-json", "--telemetry") == (told, table)


def test_telemetry_lines_are_the_sessions_records(model: Path) -> None:
    lines = [json.loads(line) for line in ok("generate", model, "-p", "ab", "-n", 5, "--greedy", "--telemetry-json").splitlines()]
    with NativeModel(model) as opened, opened.session() as session:
        list(generate(opened, session, "ab", sampling=Sampling.greedy(), max_tokens=5, stats=Stats()))
        for at, line in enumerate(lines, len(opened.tokenize("ab"))):
            record = session.telemetry(at)
            assert line["pos"] == at and line["token"] == session.tokens[at] and line["regime"] == REGIMES[record.regime]
            assert all(abs(line[name] - getattr(record, name)) <= 1e-8 * abs(line[name]) for name in FIELDS)
    assert len(lines) == 5


def test_chat_tells_means_and_why_it_ended(model: Path) -> None:
    asked = ("chat", model, "-p", "q", "-n", 50, "--ctx", 10, *DRAWN)
    out, err = same_in_both(*asked, "--telemetry")
    assert out.endswith("\n") and err.startswith("[mean of ") and err.count("\n") == 1
    assert json.loads(ok(*asked, "--json"))["end"] == "context"


def test_a_context_of_one_token_slides(model: Path) -> None:
    out, _ = same_in_both("generate", model, "-p", "a", "-n", 8, "--ctx", 1, *DRAWN, "--telemetry-json")
    assert [json.loads(line)["pos"] for line in out.splitlines()] == [0] * 8


def test_json_is_the_packages(model: Path) -> None:
    def facts(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, object]]:
        assert done.returncode == 0, done.stderr
        records = [json.loads(line) for line in done.stdout.splitlines()]
        for record in records:
            for name, value in record.items():
                if name in FIELDS:
                    record[name] = None if value is None else f"{value:.9g}"
            assert record.pop("prefill_s") > 0 and record.pop("decode_s") >= 0
        return records

    threads = ("-t", 2, "-tb", 1)  # else they are measured, and may differ
    asked = ("generate", model, "-p", "Hälp", "-n", 12, *DRAWN, *threads, "--json")
    (record,) = facts(run(*asked))
    assert [record] == facts(edge(*asked)) and record["end"] == "length" and record["uncertain"] is False
    assert "Hälp" + str(record["text"]) + "\n" == ok(*asked[:-1]).decode()
    asked = ("chat", model, "-n", 12, *DRAWN, *threads, "--json")
    records = facts(run(*asked, text="hel\"lo\nä\n"))
    assert records == facts(edge(*asked, text="hel\"lo\nä\n")) and [r["message"] for r in records] == ['hel"lo', "ä"]
    assert list(records[0])[:5] == ["message", "answer", "end", "prompt_tokens", "tokens"]
    broken = json.loads(ok("chat", model, "-n", 3, "--greedy", "--json", text=b"\xe2\x28\n"))
    assert broken["message"] == "\ufffd("


def test_stats_say_what_ran_where_the_model_decides(model: Path) -> None:
    asked = ("generate", model, "-p", "ab", "-n", 9, *DRAWN, "--stats")
    err = run(*asked).stderr.decode()
    assert "answer 9 tokens" in err and "memory" in err and "blocks" not in err and err.count("\n") == 1
    part = r"; blocks [\d.]+ of 2, pairs active \d+%, geometric 100%;"
    gated = [*asked, "--set", "gate.margin=1"]
    found = [re.search(part, done.stderr.decode()) for done in (run(*gated), edge(*gated))]
    assert found[0] and found[1] and found[0].group() == found[1].group()


@pytest.fixture(params=["mark", "pause"])
def moody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> tuple[Path, str]:
    """A model whose regime follows every token's own phi, with thresholds in the middle of the phis that its random weights give."""
    plain = tiny._keys

    def keys(writer: gguf.GGUFWriter, t: tiny.Tiny) -> None:
        plain(writer, t)
        writer.add_uint32("qig.mandatory_blocks", 1)
        for name, value in (("low", 0.43), ("high", 0.56), ("smoothing", 1.0), ("hysteresis", 0.0), ("curvature", 0.0)):
            writer.add_float32(f"qig.regime.{name}", value)
        writer.add_string("qig.regime.on_breakdown", request.param)

    monkeypatch.setattr(tiny, "_keys", keys)
    tiny.write(tmp_path / "m.gguf", tiny.Tiny(type="Q8_0", vocab=262, context=96, layers=3))
    return tmp_path / "m.gguf", request.param


def test_breakdown_marks_or_pauses_in_both(moody: tuple[Path, str]) -> None:
    model, on_breakdown = moody
    asked = ("generate", model, "-p", "Once upon a time", "-n", 60, *DRAWN)
    told = json.loads(ok(*asked, "--json"))
    lines = [json.loads(line) for line in same_in_both(*asked, "--telemetry-json")[0].splitlines()]
    seen = [line["regime"] for line in lines]
    shares = {name: seen.count(name) / len(seen) for name in REGIMES}
    assert told["uncertain"] and seen.count("breakdown") > 0 and all(abs(told["regimes"][n] - shares[n]) <= 1e-8 for n in REGIMES)
    assert abs(told["blocks_run"] - sum(line["blocks_run"] for line in lines) / len(lines)) <= 1e-7
    assert all(line["blocks_run"] == (1 if line["regime"] == "linear" else 3) for line in lines)  # curvature 0: breakdown goes on
    text, err = same_in_both(*asked)
    assert text[len("Once upon a time") : -1] == told["text"]
    if on_breakdown == "pause":
        assert told["end"] == "breakdown" and seen.index("breakdown") == len(seen) - 1 == told["tokens"] - 1 > 0
        assert err == "(the model lost the thread: it stopped)\n"
    else:
        assert told["end"] == "length" and len(set(seen)) == 3 and told["tokens"] == 60
        assert err == f"(uncertain: {seen.count('breakdown')} of 60 tokens in breakdown)\n"
    parts = [re.search(r"; blocks .*?, uncertain;", done.stderr.decode()) for done in (run(*asked, "--stats"), edge(*asked, "--stats"))]
    assert parts[0] and parts[1] and parts[0].group() == parts[1].group() and "breakdown" in parts[0].group()
    talk = "hello there\nand now?\n"
    out, err = same_in_both("chat", model, "-n", 20, *DRAWN, text=talk)
    assert out.count("\n") >= 2 and ("it waits for you)" in err) == (on_breakdown == "pause")


def test_settings_are_in_force_in_both(moody: tuple[Path, str]) -> None:
    model, _ = moody
    changed = ("--set", "regime.high=0.9", "--set", "regime.low=0.125", "--set", "gate.margin=4")
    ours, theirs = (json.loads(done.stdout) for done in (run("info", model, "--json", *changed), edge("info", model, "--json", *changed)))
    assert ours["settings"] == theirs["settings"] and set(ours["settings"]) > {"gate.margin", "regime.curvature", "regime.smoothing"}
    assert [ours["settings"][key] for key in ("gate.margin", "regime.low")] == [[4], [0.125]]
    assert "exit.threshold" not in ours["settings"] and "regime.low               0.125" in ok("info", model, *changed).decode()
    calm = json.loads(ok("generate", model, "-p", "ab", "-n", 20, *DRAWN, *changed, "--json"))
    assert not calm["uncertain"] and calm["end"] == "length"
    bench = ("--prefill", 8, "--decode", 16, "--depths", "0", "--repeat", 1)
    blocks = [
        json.loads(ok("bench", model, "--json", *bench, "--set", f"regime.low={low}"))["decode"][0]["blocks_run"]
        for low in (0, 0.4, 0.55)
    ]
    assert blocks[0] == 3 and blocks[0] > blocks[2] >= 1 and blocks[1] >= blocks[2]


def test_bench_on_a_text(model: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("The fox ran over the hill.\n")
    small = ("--prefill", 8, "--decode", 8, "--depths", "20", "--repeat", 1, "--set", "gate.margin=2")
    told = [json.loads(ok("bench", model, "--json", *small, *more)) for more in ((), ("--text", words))]
    assert [t["tokens"] for t in told] == ["random", str(words)]
    assert 0 < told[1]["decode"][0]["agency"] < 1 and told[0]["decode"][0]["agency"] != told[1]["decode"][0]["agency"]
    with NativeModel(model, settings={"gate.margin": "2"}) as opened, opened.session() as session:
        ids = opened.tokenize(words.read_text())
        session.eval((ids * 2)[:20])
        for token in (ids * 2)[20:28]:
            session.eval([token])
        mean = sum(session.telemetry(at).agency for at in range(20, 28)) / 8
    assert abs(told[1]["decode"][0]["agency"] - mean) <= 1e-6


def test_bench_tells_what_was_left_out(tmp_path: Path) -> None:
    """Beside the decode that leaves keys out, one that reads them all; what was read is what the session says."""
    path = tmp_path / "m.gguf"
    t = tiny.Tiny(type="Q8_0", vocab=262, layers=1, heads=8, kv_heads=4, margin=4.0, context=400)
    tiny.write(path, t)
    small = ("--prefill", 8, "--decode", 4, "--depths", "16,320", "--repeat", 3, "-t", 1)
    shallow, deep = json.loads(ok("bench", path, "--json", *small))["decode"]
    assert "over_all_keys" not in shallow and shallow["keys_sketched"] == 0 and shallow["keys_read"] == shallow["keys_seen"] == 4 * 18.5
    assert len(deep["over_all_keys"]["samples"]) == 3 and deep["over_all_keys"]["min"] > 0
    assert 0 < deep["values_read"] < deep["keys_read"] < deep["keys_seen"] == 4 * 322.5
    assert deep["sketch_bytes"] == deep["keys_sketched"] * (t.head_dim / 2 + 4) > 0
    table = ok("bench", path, *small).decode()
    assert table.count("times as fast as reading all keys") == 1


def test_bench(model: Path) -> None:
    told = json.loads(
        ok("bench", model, "--json", "--prefill", 40, "--decode", 8, "--depths", "0,30,90", "--repeat", 3, "-t", 1)
    )
    assert [d["depth"] for d in told["decode"]] == [0, 30, 90]
    assert [d["fits"] for d in told["decode"]] == [True, True, False]
    for series in (
        told["load_ms"],
        told["first_token"]["ms"],
        told["prefill"]["tokens_per_second"],
        told["decode"][1]["tokens_per_second"],
    ):
        assert len(series["samples"]) == (5 if series is told["load_ms"] else 3)
        assert min(series["samples"]) == series["min"] <= series["median"] <= series["max"] == max(series["samples"])
        assert series["min"] > 0 and abs(series["spread"] - (series["max"] - series["min"])) <= 1e-6 * series["max"]
    with NativeModel(model) as opened, opened.session() as session:
        assert told["cache_bytes"] == session.cache_bytes and told["weight_bytes"] == opened.info.weight_bytes
        cache_row = session.cache_bytes / session.n_ctx
        mean = opened.info.weight_bytes + cache_row * (30 + (1 + 8) / 2)
        assert abs(told["decode"][1]["bytes_per_token"] - mean) <= 1  # nothing is gated: every visible row is read
    assert [d["blocks_run"] for d in told["decode"][:2]] == [2, 2] and [d["agency"] for d in told["decode"][:2]] == [1, 1]
    assert told["peak_rss_bytes"] > 0 and told["bandwidth_bytes_per_second"] > 0
    assert told["peak_rss_bytes"] < told["file_bytes"] + told["cache_bytes"] + 16 * 2**20
    table = ok("bench", model, "--prefill", 500, "--decode", 4, "--depths", "0", "--repeat", 1).decode()
    assert "prefill 500" in table and "does not fit the context of 96" in table and "of the ceiling" in table


@pytest.mark.parametrize(
    "args",
    [
        (), ("frobnicate",), ("generate",), ("generate", "MODEL", "-p", "x", "--frob"), ("generate", "MODEL", "-p"),
        ("generate", "MODEL", "-p", "x", "-n", "0"), ("generate", "MODEL", "-p", "x", "-n", "3x"), ("generate", "MODEL", "-p", "x", "--temp", "nan"),
        ("generate", "MODEL", "-p", "x", "--top-p", "0"), ("generate", "MODEL", "-p", "x", "--seed", "-1"), ("generate", "MODEL", "-p", ""),
        ("generate", "MODEL", "-p", "x" * 200), ("generate", "MODEL", "OTHER", "-p", "x"), ("generate", "MODEL", "-p", "x", "--greedy=1"),
        ("generate", "MODEL", "-p", "x", "--isa", "z80"), ("generate", "MODEL", "-p", "x", "--cache", "f64"), ("generate", "MISSING", "-p", "x"),
        ("generate", "TEXT", "-p", "x"), ("chat", "TEXT"), ("chat", "MODEL", "--system", "s" * 90), ("chat", "MODEL", "-p", "q" * 300),
        ("info", "MISSING"), ("info", "MODEL", "--stats"), ("bench", "MODEL", "--depths", "1,,2"), ("bench", "MODEL", "--depths", "x"),
        ("generate", "MODEL", "-p", "x", "--set", "gate.margin"), ("generate", "MODEL", "-p", "x", "--set", "gate.margin=-1"),
        ("chat", "MODEL", "--set", "gate.margin=many"), ("bench", "MODEL", "--set", "gate.marjin=4"), ("info", "MODEL", "--set", "regime.low=0.2"),
        ("info", "MODEL", "--set", "=4"), ("info", "MODEL", "--set", "k" * 80 + "=4"), ("chat", "MODEL", "--telemetry-json"),
        ("generate", "MODEL", "-p", "x", "--json", "--telemetry-json"), ("bench", "MODEL", "--text", "MISSING"),
        ("bench", "MODEL", "--text", "FOLDER"),
        ("bench", "TEXT", "--json"), ("bench", "MODEL", "--threads", "1000"), ("generate", "FOLDER", "-p", "x"),
        ("bench", "MODEL", "--threads-batch", "257"), ("chat", "MODEL", "-tb", "-1"), ("generate", "MODEL", "-p", "x", "-tb"),
        ("generate", "MODEL", "-p", "x", "-tbx"), ("generate", "MODEL", "-p", "x", "-tx"), ("info", "MODEL", "-tb", "2"),
    ],
    ids=lambda a: " ".join(a)[:50] or "nothing",
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(model: Path, tmp_path: Path, args: tuple[str, ...]) -> None:
    (tmp_path / "text").write_text("Once upon a time\n")
    names = {
        "MODEL": model,
        "OTHER": model,
        "MISSING": tmp_path / "nope.gguf",
        "TEXT": tmp_path / "text",
        "FOLDER": tmp_path,
    }
    done = run(*(names.get(a, a) for a in args))
    assert done.returncode == 2 and done.stdout == b""
    line = done.stderr.decode()
    assert line.startswith("qig: ") and line.count("\n") == 1 and line.endswith("\n") and len(line) < 400, line


def test_help_and_version() -> None:
    assert ok("--version").decode().startswith("qig ")
    assert all(name in ok("--help").decode() for name in ("info", "generate", "chat", "bench"))
    for command in ("info", "generate", "chat", "bench"):
        text = ok(command, "--help").decode()
        assert "--isa" in text and ("--depths" in text) == (command == "bench")


def test_a_full_disk_is_said(model: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with open("/dev/full", "wb") as full:
        small = ("--repeat", "1", "--prefill", "8", "--decode", "2", "--depths", "0")
        for args in (("info", model), ("generate", model, "-p", "x", "-n", "300"), ("bench", model, *small)):
            done = subprocess.run([program_path(), *args], stdout=full, stderr=subprocess.PIPE, timeout=LIMIT)
            assert done.returncode == 2 and b"standard output" in done.stderr and done.stderr.count(b"\n") == 1


def test_interrupt_stops_generate(model: Path) -> None:
    command = [program_path(), "generate", model, "-p", "x", "-n", str(2**20), "--stats", "--temp", "1"]
    for seed in range(20):  # until a seed does not draw the end of text at once
        with subprocess.Popen(
            [*command, "--seed", str(seed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout and process.stderr
            if len(process.stdout.read(200)) == 200:
                process.send_signal(signal.SIGINT)
                rest, err = process.communicate(timeout=LIMIT)
                if b"(end)" in err:
                    continue
                assert process.returncode == 0 and rest.endswith(b"\n") and b"(stopped)" in err, err
                return
    pytest.fail("every seed ended early")


def test_interrupt_while_nobody_reads(tmp_path: Path) -> None:
    """The signal comes while a write waits for room: no character is lost, and it is no failure of the output."""
    tiny.write(tmp_path / "m.gguf", tiny.Tiny(layers=1, context=60000))
    command = [program_path(), "generate", tmp_path / "m.gguf", "-p", "x", "-n", "40000", "--stats", "--greedy", "-t", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        room = fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        end = time.monotonic() + LIMIT
        while _waiting(process.stdout.fileno()) < room - 64 or _state(process.pid) != "S":
            assert time.monotonic() < end and process.poll() is None, "the pipe never filled"
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)  # the handler runs before there is room again
        out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0 and b"(stopped)" in err, err
    assert out.endswith(b"\n") and len(out) < 2 * room


def _waiting(fd: int) -> int:
    """Bytes that can be read from a pipe at once."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4), sys.byteorder)


def _state(pid: int) -> str:
    """R running, S asleep, ..., from /proc."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, *args: object) -> None:
        master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [program_path(), *map(str, args)], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.master, self.seen = master, b""

    def wait_for(self, what: bytes) -> None:
        """Reads until `what` comes after what was waited for before."""
        end = time.monotonic() + LIMIT
        while what not in self.seen:
            assert time.monotonic() < end, f"no {what!r} in {self.seen!r}"
            if select.select([self.master], [], [], 1)[0]:
                self.seen += os.read(self.master, 4096)
        self.seen = self.seen.partition(what)[2]

    def write(self, text: bytes) -> None:
        os.write(self.master, text)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def close(self) -> int:
        code = self.process.wait(timeout=LIMIT)
        os.close(self.master)
        return code


def test_chat_on_a_terminal(model: Path) -> None:
    t = Terminal("chat", model, "-n", "6", "--stats")
    t.wait_for(b"> ")
    t.write(b"hello\n")
    t.wait_for(b"prompt")
    t.wait_for(b"> ")
    t.write(b"x" * 200 + b"\n")  # does not fit: said, and the conversation goes on
    t.wait_for(b"context has room for")
    t.wait_for(b"> ")
    t.interrupt()
    t.wait_for(b"Ctrl-C again")
    t.write(b"again\n")
    t.wait_for(b"prompt")
    t.wait_for(b"> ")
    t.write(b"\x04")
    assert t.close() == 0

    t = Terminal("chat", model)
    t.wait_for(b"> ")
    t.interrupt()
    t.wait_for(b"Ctrl-C again")
    t.interrupt()
    assert t.close() == 0


def test_interrupt_stops_an_answer(tmp_path: Path) -> None:
    tiny.write(tmp_path / "m.gguf", tiny.Tiny(layers=4, d=128, hidden=512, context=60000))  # an answer that lasts
    t = Terminal("chat", tmp_path / "m.gguf", "-n", str(2**20), "--stats", "--greedy", "--ctx", "60000", "-t", "1")
    t.wait_for(b"> ")
    t.write(b"hello\n")
    t.wait_for(b"hello\r\n")
    while len(t.seen) < 50:
        t.seen += os.read(t.master, 4096)
    t.interrupt()
    t.wait_for(b"(stopped)")
    t.wait_for(b"> ")
    t.interrupt()
    assert t.close() == 0
