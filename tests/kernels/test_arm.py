"""The ARM kernel sets under emulation: each processor runs the sets that it has and no other, every kernel passes its tests there, and the
program writes the golden text.

Emulation shows that the kernels are right, never how fast they are. One static build, as in the wheel for aarch64, for processors from the oldest on.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from qig_edge.devices.emulate import EMULATORS, greedy_text, run_program
from qig_edge.errors import DeviceError

# qemu's name of a processor -> the kernel sets that it runs, best first. "max" has every instruction that qemu knows.
CPUS = {
    "cortex-a72": ["neon", "ref"],
    "cortex-a76": ["neon_dotprod", "neon", "ref"],
    "max": ["neon_i8mm", "neon_dotprod", "neon", "ref"],
}
SETS = CPUS["max"]
# Where the kernels of a set are tested: on the oldest processor that has it, once. The emulator runs the same instructions on the others.
OLDEST = {isa: next(cpu for cpu, sets in CPUS.items() if isa in sets) for isa in SETS}
# A test program and a set that it runs: every kernel, and sessions at their limits (ref is no more of ARM than of this machine: kernels alone).
RUNS = [("test_ops", isa) for isa in reversed(SETS)] + [("test_limits", isa) for isa in SETS if isa != "ref"]
Done = subprocess.CompletedProcess[str]
GOLDEN = Path(__file__).resolve().parents[1] / "golden"
FILES = {"f32": GOLDEN / "golden-f32.gguf", "q8": GOLDEN / "golden-q8_0.gguf", "q4": GOLDEN / "golden-q4_0.gguf"}
TOKENS = 24
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
MISSING = [name for name in ("cmake", "ninja") if not shutil.which(name, path=PATH)]
MISSING += ["ziglang"] if importlib.util.find_spec("ziglang") is None else []
MISSING += [] if any(map(shutil.which, EMULATORS)) else ["qemu-user-static"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=f"not run under emulation: no {', '.join(MISSING)}")]


@pytest.fixture(scope="module")
def programs(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with static aarch64 `qig`, `test_ops` and `test_limits`."""
    build = tmp_path_factory.mktemp("aarch64")
    kernels = repository / "kernels"
    configure = ["cmake", "-S", str(kernels), "-B", str(build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DQIG_STATIC=ON"]
    configure += [f"-DCMAKE_TOOLCHAIN_FILE={kernels / 'cmake' / 'zig.cmake'}", f"-DQIG_PYTHON={sys.executable}"]
    configure += ["-DQIG_ZIG_TARGET=aarch64-linux-musl"]
    for command in (configure, ["cmake", "--build", str(build), "--target", "qig_program", "test_ops", "test_limits"]):
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": PATH}, timeout=1500)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        assert "warning:" not in done.stdout, done.stdout[-4000:]
    return build


def on(cpu: str, program: Path) -> list[str]:
    """The command that runs a program on qemu's model of a processor."""
    emulator = next(path for name in EMULATORS if (path := shutil.which(name)))
    return [emulator, "-cpu", cpu, str(program)]


@pytest.mark.parametrize("cpu", CPUS)
def test_a_processor_has_its_sets_and_no_other(cpu: str, programs: Path) -> None:
    qig, file = on(cpu, programs / "qig"), str(FILES["q4"])
    told = json.loads(run_program([*qig, "info", file, "--json"]))
    assert told["isa_list"].split(",") == CPUS[cpu]
    assert told["isa"] == CPUS[cpu][0]
    for isa in SETS:
        generate = [*qig, "generate", file, "-p", "a", "-n", "1", "--greedy", "-t", "1", "--isa", isa]
        if isa in CPUS[cpu]:
            run_program(generate)
        else:
            with pytest.raises(DeviceError, match=isa):
                run_program(generate)


@pytest.fixture(scope="module")
def runs(programs: Path) -> Iterator[dict[tuple[str, str], Future[Done]]]:
    """The test programs on their processors, two at a time."""

    def run(program: str, isa: str) -> Done:
        command = [*on(OLDEST[isa], programs / program), "20240229", isa]
        return subprocess.run(command, capture_output=True, text=True, timeout=1500)

    with ThreadPoolExecutor(2) as pool:
        yield {(program, isa): pool.submit(run, program, isa) for program, isa in RUNS}
        pool.shutdown(cancel_futures=True)


def passed(done: Done, isa: str) -> str:
    """What the program printed."""
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    assert f"kernel sets here: {','.join(CPUS[OLDEST[isa]])}" in done.stdout
    return done.stdout


@pytest.mark.parametrize("isa", SETS)
def test_every_kernel_passes_where_its_instructions_are(
    isa: str, runs: dict[tuple[str, str], Future[Done]], repository: Path
) -> None:
    lines = passed(runs["test_ops", isa].result(), isa)
    ran = re.findall(r"^qig_(\w+)__(\w+) +(\d+) cases, (\d+) not finite$", lines, re.M)
    listed = re.findall(rf"^QIG_KERNEL\((\w+), \w+, {isa}\)", (repository / "kernels" / "kernels.inc").read_text(), re.M)
    assert len(listed) >= 2 and [op for op, _, _, _ in ran] == listed
    assert all(name == isa and int(cases) > 0 and int(bad) > 0 for _, name, cases, bad in ran)


@pytest.mark.parametrize("isa", [isa for program, isa in RUNS if program == "test_limits"])
def test_sessions_stand_their_limits(isa: str, runs: dict[tuple[str, str], Future[Done]]) -> None:
    lines = passed(runs["test_limits", isa].result(), isa)
    match = re.search(r"^test_limits: (\d+) cases, 0 failed$", lines, re.M)
    assert match and int(match[1]) > 100


@pytest.mark.parametrize("cpu", CPUS)
def test_the_program_writes_the_golden_text(cpu: str, programs: Path) -> None:
    expected: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text("utf-8"))
    compared = 0
    for recipe, path in FILES.items():
        for prompt, wanted in zip(expected["prompts"], expected["greedy"][recipe], strict=True):
            if "text" not in prompt or any(tie["step"] < TOKENS for tie in wanted["near_ties"]):
                continue  # a near-tie may fall either way
            text = greedy_text(on(cpu, programs / "qig"), path, TOKENS, prompt["text"])
            assert wanted["text"].startswith(text.removeprefix(prompt["text"]).rstrip("\n")), (text, wanted["text"])
            assert len(text) > len(prompt["text"]) + 10
            compared += 1
    assert compared >= 3


@pytest.mark.parametrize("recipe", ["q8", "q4"])
def test_sets_give_the_same_floats(recipe: str, programs: Path) -> None:
    """The sets above neon differ from it in integer sums only, which are exact: not one bit of any record may differ."""
    command = [*on("max", programs / "qig"), "generate", str(FILES[recipe]), "-p", "The little fox", "-n", str(TOKENS)]
    command += ["--greedy", "-t", "1", "--telemetry-json"]
    records = {isa: run_program([*command, "--isa", isa]) for isa in SETS if isa != "ref"}
    assert len(records) == 3 and len(records["neon"].splitlines()) >= TOKENS // 2
    assert records["neon_dotprod"] == records["neon"]
    assert records["neon_i8mm"] == records["neon"]
