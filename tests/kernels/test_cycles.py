"""kernels/tools: loops are found in assembly, their work is told from their instructions, the ARM kernels keep to their goals."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from qig_edge.errors import DeviceError

TOOLS = Path(__file__).resolve().parents[2] / "kernels" / "tools"


def tool(name: str) -> ModuleType:
    """A script of kernels/tools as a module."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


ASSEMBLY = """
    .text
qig_matmul_q4_0__neon:      // @qig_matmul_q4_0__neon
    cbz w0, .LBB0_4
.LBB0_1:                    // outer
    mov x9, x1
.LBB0_2:                    // inner, itself
    prfm pldl1keep, [x9, x2]
    ldr q0, [x9], #16
    fcvtl v1.4s, v1.4h
    smull v2.8h, v0.8b, v3.8b
    smlal2 v2.8h, v0.16b, v3.16b
    sadalp v4.4s, v2.8h
    fmla v5.4s, v4.4s, v1.4s
    subs x3, x3, #1
    b.ne .LBB0_2
// %bb.3:
    bl memcpy
    b .LBB0_1
.LBB0_4:
    ret
"""


def test_a_loop_is_found_with_its_work() -> None:
    cycles = tool("arm_cycles")
    (f,) = cycles.functions(ASSEMBLY)
    found = list(cycles.ways(f))
    assert f.name == "qig_matmul_q4_0__neon" and len(found) == 1, "the outer loop calls a function"
    loop = cycles.loop_of(f, found[0])
    assert len(loop.body) == 9 and loop.count("smull|smlal2") == 2 and loop.count("smlal") == 0
    # by hand: 2 multiplies on F0, 1 on F1, 3 + 2 cycles of either: 8 of two pipes; 9 instructions of 3 a cycle
    assert cycles.a72_bound(loop) == (4.0, "vector pipes")
    assert cycles.shortest(f, lambda block: block.count("sadalp") > 0) == found[0]
    assert cycles.shortest(f, lambda block: block.count("tbl") > 0) is None


def test_a_loop_with_two_ways_is_followed_the_shorter_one() -> None:
    cycles = tool("arm_cycles")
    text = "f:\n.LA:\n add x0, x0, #1\n cbz x1, .LB\n mul x2, x2, x2\n mul x2, x2, x2\n.LB:\n fmla v0.4s, v1.4s, v2.4s\n cbnz x3, .LA\n ret\n"
    (f,) = cycles.functions(text.replace(".L", ".LBB"))
    assert len(list(cycles.ways(f))) == 2
    way = cycles.shortest(f, lambda block: block.lanes("fmla") == 1)
    assert [line.split()[0] for line in cycles.loop_of(f, way).body] == ["add", "cbz", "fmla", "cbnz"]


def test_rows_of_the_benchmark_are_read() -> None:
    report = tool("report")
    text = (
        "kernel shape set us GB/s ceiling of it GMAC/s of n=1\n"
        "qig_matmul_q4_0__avx2   768 x 3072 x 2  L1   1.50  10.00  40.00   25%  60.00  1.30\n"
        "qig_matmul_q4_0__avx2   768 x 3072 x 2  memory   99.50  8.00  16.00   50%  30.00  1.20\n"
        "qig_add__avx2           768             cache   0.10\n"
    )
    rows = report.read(text)
    assert list(rows) == [("qig_matmul_q4_0__avx2", "768 x 3072 x 2"), ("qig_add__avx2", "768")]
    lines = report.table(rows).splitlines()
    assert lines[2] == "| `qig_matmul_q4_0__avx2` | 768 x 3072 x 2 | 99.50 | 10.00 |  | 8.00 | 50% | 60.00 |  | 30.00 | 1.20 |"
    assert lines[3].startswith("| `qig_add__avx2` | 768 | 0.10 |")
    for broken in ("header\n", "header\nqig_add__avx2 768 nowhere 1.0\n"):
        with pytest.raises(DeviceError):
            report.read(broken)


@pytest.mark.slow
def test_the_arm_kernels_keep_to_their_goals() -> None:
    """Predicted by llvm-mca, not measured: the same compiler gives the same numbers."""
    cycles = tool("arm_cycles")
    pytest.importorskip("ziglang")
    try:
        cycles.mca()
    except DeviceError as e:
        pytest.skip(str(e))
    rows = {(r.kernel, r.isa, r.columns): r for r in cycles.table()}
    assert len(rows) == 16 and cycles.GOALS.keys() <= rows.keys()
    a_unit = {key: r.cycles / r.units for key, r in rows.items()}
    assert a_unit["matmul_q4_0", "neon", 1] <= 12
    product = rows["matmul_q4_0", "neon", 4]
    assert product.macs / product.cycles >= 5
    assert a_unit["matmul_q4_0", "neon_dotprod", 1] <= 5
    for key, r in rows.items():
        assert r.isa != "neon" or r.bound > 0
        assert 1 < a_unit[key] < 200, key


@pytest.mark.slow
def test_predictions_take_the_cycles_that_the_tool_tells() -> None:
    cycles = tool("arm_cycles")
    pytest.importorskip("ziglang")
    try:
        cycles.mca()
    except DeviceError as e:
        pytest.skip(str(e))
    data = (TOOLS.parents[1] / "qig_edge" / "bench" / "kernels.toml").read_text("utf-8")
    assert len(cycles.SETS) == 3
    for processor in cycles.SETS:
        assert cycles.toml(processor) in data, f"older than python kernels/tools/arm_cycles.py --toml: {processor.name}"
