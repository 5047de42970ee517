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
    """Folder with static aarch64 `qig` and `test_ops`."""
    build = tmp_path_factory.mktemp("aarch64")
    kernels = repository / "kernels"
    configure = ["cmake", "-S", str(kernels), "-B", str(build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DQIG_STATIC=ON"]
    configure += [f"-DCMAKE_TOOLCHAIN_FILE={kernels / 'cmake' / 'zig.cmake'}", f"-DQIG_PYTHON={sys.executable}"]
    configure += ["-DQIG_ZIG_TARGET=aarch64-linux-musl"]
    for command in (configure, ["cmake", "--build", str(build), "--target", "qig_program", "test_ops"]):
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


@pytest.mark.parametrize("cpu", CPUS)
def test_every_kernel_passes_where_its_instructions_are(cpu: str, programs: Path) -> None:
    done = subprocess.run(on(cpu, programs / "test_ops"), capture_output=True, text=True, timeout=1500)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    assert f"kernel sets here: {','.join(CPUS[cpu])}" in done.stdout
    ran = {(m[2], m[1]): int(m[3]) for m in re.finditer(r"^qig_(\w+)__(\w+) +(\d+) cases$", done.stdout, re.M)}
    skipped = {m[1] for m in re.finditer(r"^qig_\w+__(\w+) +skipped", done.stdout, re.M)}
    assert {isa for isa, _ in ran} == set(CPUS[cpu]) and all(ran.values())
    assert skipped == set(SETS) - set(CPUS[cpu])
    assert {("neon", "matmul_q4_0"), ("neon", "mix_i8"), ("ref", "score")} <= ran.keys()


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
