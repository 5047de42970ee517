"""Decoding without a pause: costs with a meter of our own, samples over time, and what a real Ctrl-C leaves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qig_edge.bench import steady
from qig_edge.bench.energy import Meter, NoMeter
from qig_edge.bench.own_state import FIELDS, own_state
from qig_edge.bench.steady import costs, kept, sustained
from qig_edge.bench.timing import random_tokens
from qig_edge.runtime.native import NativeModel, NativeSession

IDS = random_tokens(320, 16)


class TenWatts:
    """Ten watts, whatever happens."""

    source = "ten watts"

    def __init__(self) -> None:
        self.begin = time.monotonic()

    def read(self) -> float:
        return 10 * (time.monotonic() - self.begin)


def no_meter() -> Meter:
    raise NoMeter("nothing measures here")


@pytest.fixture()
def session(tiny_model: Path) -> Iterator[NativeSession]:
    with NativeModel(tiny_model) as model, model.session(n_ctx=16, n_threads=1) as opened:
        yield opened


def test_costs_with_a_meter(tiny_model: Path) -> None:
    def short(model: NativeModel) -> NativeSession:
        return model.session(n_ctx=16, n_threads=1)

    found = costs(lambda: NativeModel(tiny_model), short, IDS, 16, meter=TenWatts, seconds=0.2, idle_seconds=0.05)
    energy = found["energy"]
    # the meter's clock begins before the bench's and ends after it: more than ten watts, by what lies between
    assert energy["watts"] > 9.9 and energy["idle_watts"] > 0
    assert energy["joules_per_token"] > 0 and energy["source"] == "ten watts" and energy["reason"] is None
    hw = found["hw"]
    assert (hw["ipc"] is None) == (hw["reason"] is not None) and (hw["ipc"] is None or 0 < hw["ipc"] < 16)


def test_costs_without_anything_decode_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_counter(kind: int, what: int) -> None:
        raise steady.NoCounter("hidden")

    monkeypatch.setattr(steady, "Counter", no_counter)
    found = costs(lambda: pytest.fail("opened"), lambda m: pytest.fail("opened"), IDS, 16, meter=no_meter)
    assert found["energy"]["joules_per_token"] is None and found["energy"]["reason"] == "nothing measures here"
    assert found["hw"]["ipc"] is None and found["hw"]["reason"] == "hidden"


def test_samples_over_time(session: NativeSession) -> None:
    told: list[tuple[int, int, str]] = []
    run = sustained(session, IDS, 16, 0.01, interval=0.1, meter=TenWatts, progress=lambda *at: told.append(at))
    samples = run["samples"]
    assert 1 <= len(samples) <= 7 and len(told) >= len(samples) - 1 and not run["interrupted"] and run["minutes"] == 0.01
    for sample in samples:
        assert sample["tokens"] > 0 and sample["tokens_per_second"] > 0 and sample["watts"] > 0
    assert samples == sorted(samples, key=lambda s: s["seconds"]) and run["energy_reason"] is None


def test_without_a_meter(session: NativeSession) -> None:
    run = sustained(session, IDS, 16, 0.002, interval=60, meter=no_meter)
    assert len(run["samples"]) == 1  # shorter than an interval, and all there is
    assert run["samples"][0]["watts"] is None and run["energy_reason"] == "nothing measures here" and run["kept"] is None


def test_kept() -> None:
    assert kept([10.0, 10.0, 9.0]) is None
    assert kept([10.0, 10.0, 7.0, 5.0]) == pytest.approx(0.6)
    assert kept([100.0] * 50 + [80.0] * 50) == 0.8


def test_own_state(tiny_model: Path, tmp_path: Path) -> None:
    with NativeModel(tiny_model) as model:
        with contextlib.closing(model.session(n_ctx=64, n_threads=1)) as opened:
            found = own_state(model, opened, "A fox", None)
        assert found["of"] == "'A fox' and the model's own continuation"
        lengths = {len(found[name]) for name in FIELDS}
        assert len(lengths) == 1 and len("A fox") <= lengths.pop() <= 64
        assert all(0 <= v <= 1 for v in found["phi"] if v is not None)
        text = tmp_path / "words.txt"
        text.write_text("A fox ran.\n")
        with contextlib.closing(model.session(n_ctx=64, n_threads=1)) as opened:
            assert len(own_state(model, opened, "", text)["phi"]) == 64
    json.dumps(found, allow_nan=False)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals there")
@pytest.mark.parametrize("at", ["before", "within"])
def test_ctrl_c_leaves_what_there_is(at: str, tiny_model: Path, tmp_path: Path) -> None:
    """An hour is asked for; SIGINT, as a terminal sends it, ends it."""
    page = tmp_path / "page.html"
    arguments = ["bench", tiny_model, "--suite", "sustained", "--minutes", "60", "--prefill", "8", "--decode", "8", "--repeat", "2"]
    arguments += ["--json", "--html", page]
    started = tmp_path / "started"
    # a pipe has no progress bar to watch: a file says that decoding has begun
    script = (
        "import sys, pathlib, threading\n"
        "from qig_edge.bench import steady\n"
        "plain = steady.sustained\n"
        "def sustained(*given, **named):\n"
        "    threading.Timer(0.5, pathlib.Path(sys.argv[1]).touch).start()\n"
        "    return plain(*given, **named)\n"
        "steady.sustained = sustained\n"
        "from qig_edge.cli import main\n"
        "main(sys.argv[2:])\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", script, str(started), *map(str, arguments)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        if at == "within":
            for _ in range(1200):
                if started.exists() or process.poll() is not None:
                    break
                time.sleep(0.05)
            assert started.exists()
        else:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    if at == "before":
        assert process.returncode != 0 and out == "" and not page.exists()
        return
    assert process.returncode == 130, err
    row = json.loads(out)
    assert row["interrupted"] and row["sustained"]["interrupted"] and row["sustained"]["minutes"] == 60
    assert len(row["sustained"]["samples"]) >= 1 and row["sustained"]["samples"][0]["tokens"] > 0
    assert row["result"]["decode"][0]["fits"] and len(row["result"]["decode"][0]["tokens_per_second"]["samples"]) == 2
    assert "INTERRUPTED" in page.read_text("utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "started"]
