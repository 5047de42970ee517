"""Cycles of the ARM kernels' inner loops, predicted without an ARM machine: nothing here runs them.

    python kernels/tools/arm_cycles.py          prints the table of docs/kernels.md; needs ziglang and llvm-mca 17 or newer
    python kernels/tools/arm_cycles.py --toml   prints the rows of engine libqig in qig_edge/bench/kernels.toml

Each kernel is compiled as for its processor, its loops are found in the assembly (the shortest way round that does the work: no odd sizes),
and two predictions are made of each: llvm-mca's, and the bound that the Cortex-A72's instruction throughputs (A72_PIPES) set, in which waiting for
memory, for other instructions and for room in a queue costs nothing. A loop's work is told from its instructions: what it multiplies and how many
scales it converts.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

KERNELS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(KERNELS.parent))

from qig_edge.devices.crossbuild import FLAGS, cmake_lists, source_flags  # noqa: E402
from qig_edge.errors import DeviceError, MissingExtra  # noqa: E402

TARGET = "aarch64-linux-musl"
OLDEST_MCA = 17  # the first with a model of the Neoverse N1, which is the A76's nearest; the A72 has the A57's model in all of them
ITERATIONS = 200
KEY = 128  # entries of a key or a value in the table


@dataclass(frozen=True)
class Processor:
    """name; zig's and llvm-mca's names; note: what llvm-mca's model is a model of."""

    name: str
    zig: str
    mca: str
    note: str


A72 = Processor("Cortex-A72", "cortex_a72-aes-sha2", "cortex-a72", "the Cortex-A57's model")
A76 = Processor("Cortex-A76", "cortex_a76", "neoverse-n1", "the Neoverse N1's model")
A710 = Processor("Cortex-A710", "cortex_a710", "neoverse-n2", "the Neoverse N2's model")
A53 = Processor("Cortex-A53", "cortex_a53-aes-sha2", "cortex-a53", "its own model")
PROCESSORS = {"neon": A72, "neon_dotprod": A76, "neon_i8mm": A710}
# Instruction sets of a processor, the best last: a loop that the best has not is the plain one, compiled for that processor all the same.
SETS = {A72: ("neon",), A76: ("neon", "neon_dotprod"), A53: ("neon",)}
SOURCES = ("matmul_quantized.c", "overlap.c", "mix.c", "score.c")

# Goals: cycles per 32 weights of a matrix-vector product at most; multiply-accumulates a cycle of a matrix product at least.
GOALS = {
    ("matmul_q4_0", "neon", 1): "at most 12 cycles",
    ("matmul_q4_0", "neon", 4): "at least 5 MAC a cycle",
    ("matmul_q4_0", "neon_dotprod", 1): "at most 5 cycles",
}

# The Cortex-A72, instruction by instruction: how many cycles of which pipe. F0 and F1 are the vector pipes, V is either of them, L loads, S stores.
# One multiply-long a cycle (8 multiply-accumulates) is measured; so is that half conversion is slow; the rest is taken over from its predecessor, the
# Cortex-A57, where no better is known, and was not checked on a board. Float vectors of 128 bits take both vector pipes.
A72_PIPES: tuple[tuple[str, dict[str, float]], ...] = (
    (r"[su]ml[as]l2?|[su]mull2?", {"F0": 1}),
    (r"mul|mla|mls", {"F0": 2}),
    (r"[su]adalp|[su]aba", {"F1": 1}),
    (r"[su]shl|[su]shr|shl|[su]shll2?|shrn2?|[su]sra", {"F1": 1}),
    (r"[su]addlv|addv|[su]maxv|fmaxv|fmaxnmv", {"F1": 2}),
    (r"fcvtl2?|fcvtn2?", {"V": 3}),
    (r"fsqrt|fdiv", {"F1": 30}),
    (r"fmla|fmls|fmul|fadd|fsub|faddp|fmax(nm)?|fmin(nm)?|[su]cvtf|fcvt\w+|frint\w|fabd|fneg|fabs", {"V": 2}),
    (r"ld1", {"L": 1, "V": 1}),
    (r"ldp", {"L": 2}),
    (r"ldr\w*|ldur\w*|prfm|prfum", {"L": 1}),
    (r"st\w+", {"S": 1}),
)
A72_DECODE = 3  # instructions a cycle


@dataclass
class Loop:
    """The instructions of one way round a loop, labels left out."""

    body: list[str]

    def count(self, pattern: str) -> int:
        """Instructions whose text starts with the pattern."""
        return sum(bool(re.match(rf"(?:{pattern})(?![a-z0-9])", line)) for line in self.body)

    def lanes(self, pattern: str) -> int:
        """The same, of 128-bit float vectors only."""
        return sum(bool(re.match(rf"(?:{pattern})\s+v\d+\.4s", line)) for line in self.body)


@dataclass
class Row:
    """One line of the table: cycles are of `loop`, per: how many units of work (32 weights, or a key) one way round does; macs likewise."""

    kernel: str
    isa: str
    what: str
    columns: int
    loop: Loop
    units: float
    macs: int
    cycles: float = 0.0
    bound: float | None = None
    limit: str = ""


@dataclass
class Function:
    """Basic blocks by number: instructions, and the numbers of those that may follow."""

    name: str
    blocks: list[list[str]] = field(default_factory=list)
    follows: list[list[int]] = field(default_factory=list)


def mca() -> tuple[str, int]:
    """Path and major version of the newest llvm-mca. Raises DeviceError where there is none new enough."""
    found: list[tuple[int, str]] = []
    for name in ("llvm-mca", *(f"llvm-mca-{v}" for v in range(OLDEST_MCA, OLDEST_MCA + 20))):
        path = shutil.which(name)
        if path:
            told = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            version = re.search(r"LLVM version (\d+)", told)
            found.append((int(version[1]) if version else 0, path))
    newest = max(found, default=(0, ""))
    if newest[0] < OLDEST_MCA:
        has = f"{newest[1]} is version {newest[0]}" if found else "there is none here"
        raise DeviceError(f"llvm-mca {OLDEST_MCA} or newer is needed, {has}: apt install llvm-19")
    return newest[1], newest[0]


def assembly(source: str, flags: list[str], processor: Processor) -> str:
    """Assembly of one source file. Raises DeviceError where it does not compile, MissingExtra without ziglang."""
    try:
        import ziglang  # noqa: F401
    except ImportError:
        raise MissingExtra("compiling for ARM", "cross") from None
    with tempfile.TemporaryDirectory(prefix="qig-cycles-") as scratch:
        out = Path(scratch) / "out.s"
        command = [sys.executable, "-m", "ziglang", "cc", "-target", TARGET, f"-mcpu={processor.zig}", *FLAGS, *flags, "-g0", "-S"]
        command += [f"-I{KERNELS / 'include'}", f"-I{KERNELS / 'src'}", str(KERNELS / source), "-o", str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise DeviceError(f"{source} does not compile for {processor.name}: {done.stderr.strip().splitlines()[0]}")
        return out.read_text("utf-8")


BRANCH = re.compile(r"(b\.\w+|blr|bl|b|cbn?z|tbn?z|ret)\b(?:.*?(\.L\w+))?\s*$")


def functions(text: str) -> list[Function]:
    """The global functions of an assembly text as graphs of basic blocks."""
    found: list[Function] = []
    labels: dict[str, int] = {}
    ends: list[tuple[str, str | None]] = []  # how each block ends: the branch and its label

    def close() -> None:
        if not found:
            return
        f = found[-1]
        for number, (kind, label) in enumerate(ends):
            after = [labels[label]] if label in labels else []
            if kind not in ("b", "ret") and number + 1 < len(f.blocks):
                after.append(number + 1)
            f.follows.append(after)
        labels.clear()
        ends.clear()

    for raw in text.splitlines():
        line = raw.split("//")[0].strip()
        label = re.match(r"([\w.$]+):$", line)
        if label and not label[1].startswith("."):
            close()
            found.append(Function(label[1], [[]]))
            ends.append(("", None))
        elif label and found:
            if found[-1].blocks[-1]:
                found[-1].blocks.append([])
                ends.append(("", None))
            labels[label[1]] = len(found[-1].blocks) - 1
        elif line and not line.startswith(".") and found:
            found[-1].blocks[-1].append(re.sub(r"\s+", " ", line))
            branch = BRANCH.match(line)
            if branch and branch[1] not in ("bl", "blr"):
                ends[-1] = (branch[1], branch[2])
                found[-1].blocks.append([])
                ends.append(("", None))
    close()
    return found


def ways(f: Function) -> Iterator[list[int]]:
    """Every way round every loop that calls nothing, as block numbers: from where a backward edge leads, forward, to that edge."""

    def walk(way: list[int]) -> Iterator[list[int]]:
        for after in f.follows[way[-1]]:
            if after == way[0]:
                yield way
            elif after > way[-1] and not calls(f, after):
                yield from walk([*way, after])

    for head in sorted({after for number, follows in enumerate(f.follows) for after in follows if after <= number}):
        if not calls(f, head):
            yield from walk([head])


def calls(f: Function, block: int) -> bool:
    """Whether a block calls another function."""
    return any(re.match(r"blr? ", line) for line in f.blocks[block])


def loop_of(f: Function, way: list[int]) -> Loop:
    """The instructions of a way."""
    return Loop([line for b in way for line in f.blocks[b]])


def shortest(f: Function, through: Callable[[Loop], bool]) -> list[int] | None:
    """The shortest way round a loop through a block of which the test holds: the plain case, without what the code does for odd sizes."""
    found = [w for w in ways(f) if any(through(Loop(f.blocks[b])) for b in w)]
    return min(found, key=lambda w: len(loop_of(f, w).body), default=None)


def matmul_rows(kernel: str, isa: str, f: Function) -> list[Row]:
    """Rows of 1 and of 4 columns: one column as its rows come from memory (with prefetch), four as they find their rows in the cache."""
    rows: dict[int, Row] = {}
    for way in ways(f):
        loop = loop_of(f, way)
        blocks = 4 * loop.count("fcvtl")  # a conversion serves the scales of four blocks
        columns = 4 * loop.lanes("fmla") // blocks if blocks else 0
        fetches = bool(loop.count("prfm|prfum"))
        if len(way) > 1 or columns not in (1, 4) or fetches != (columns == 1):
            continue
        what = "matrix product, 4 rows x 4 columns" if columns > 1 else f"matrix-vector, {blocks // 4} x 4 blocks"
        if columns not in rows or blocks > rows[columns].units:
            rows[columns] = Row(kernel, isa, what, columns, loop, blocks, 32 * blocks * columns)
    return [rows[c] for c in sorted(rows)] if len(rows) == 2 else []


def overlap_rows(kernel: str, isa: str, f: Function) -> list[Row]:
    """A group of four keys: the way round the outer loop, with the inner loop as often as a key of KEY entries needs it."""
    steps = [w[0] for w in ways(f) if len(w) == 1]
    outer = [w for w in ways(f) if any(b in w[1:] for b in steps)]
    if len(steps) != 1 or not outer:
        return []
    way = min(outer, key=lambda w: len(loop_of(f, w).body))
    step = 16 * loop_of(f, [steps[0]]).count(r"smlal2|sdot") // 4  # entries of each of the four keys
    body = [line for b in way for line in f.blocks[b] * (KEY // step if b == steps[0] else 1)]
    return [Row(kernel, isa, f"key of {KEY}", 1, Loop(body), 4, 4 * KEY)]


def mix_rows(kernel: str, isa: str, f: Function) -> list[Row]:
    """One value of KEY entries: a way round the loop over keys does 32 channels."""
    way = shortest(f, lambda block: block.lanes("fmla") == 8)
    return [Row(kernel, isa, f"value of {KEY}", 1, Loop(loop_of(f, way).body * (KEY // 32)), 1, KEY)] if way else []


def score_rows(kernel: str, isa: str, f: Function) -> list[Row]:
    """Four keys that pass the gates, metric bures: the pass with the square root and the one with exp."""
    distance, weight = shortest(f, lambda block: block.count("fsqrt") > 0), shortest(f, lambda block: block.count("frintn") > 0)
    if not distance or not weight:
        return []
    return [Row(kernel, isa, "key, bures", 1, Loop(loop_of(f, distance).body + loop_of(f, weight).body), 4, 0)]


READERS = {"matmul_q4_0": matmul_rows, "matmul_q8_0": matmul_rows, "overlap_i8": overlap_rows, "mix_i8": mix_rows, "score": score_rows}


def predict(loop: Loop, tool: str, processor: Processor) -> float:
    """Cycles of one way round in a long run of them, by llvm-mca."""
    command = [tool, "-mtriple=aarch64", f"-mcpu={processor.mca}", f"-iterations={ITERATIONS}"]
    done = subprocess.run(command, input="\n".join(loop.body) + "\n", capture_output=True, text=True)
    cycles = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    if done.returncode or not cycles:
        raise DeviceError(f"llvm-mca: {(done.stderr.strip().splitlines() or ['no cycles in its answer'])[0]}")
    return int(cycles[1]) / ITERATIONS


def a72_bound(loop: Loop) -> tuple[float, str]:
    """Cycles below which the A72's throughputs do not let one way round go, and what sets them."""
    pipes = dict.fromkeys(("F0", "F1", "V", "L", "S", "I"), 0.0)
    for line in loop.body:
        for name, cycles in a72_pipes(line).items():
            pipes[name] += cycles
    limits = {
        "decoding": len(loop.body) / A72_DECODE,
        "multiplies": pipes["F0"],
        "shifts and widening": pipes["F1"],
        "vector pipes": (pipes["F0"] + pipes["F1"] + pipes["V"]) / 2,
        "loads": pipes["L"],
        "integers": pipes["I"] / 2,
    }
    limit = max(limits, key=lambda k: limits[k])
    return limits[limit], limit


def a72_pipes(line: str) -> dict[str, float]:
    """What one instruction takes of the A72."""
    name, _, operands = line.partition(" ")
    vector = bool(re.search(r"\bv\d+\.", operands))
    memory = "[" in operands
    for pattern, pipes in A72_PIPES:
        if re.fullmatch(pattern, name) and (vector or memory or name.startswith("f")):
            return pipes
    if vector or name.startswith("f"):
        return {"L": 1} if name == "fmov" and re.search(r"\b[wx]\d", operands) else {"V": 1}
    return {"I": 0 if BRANCH.match(line) else 1}


def loops(isa: str, processor: Processor) -> list[Row]:
    """The rows of one instruction set on a processor, predicted. Raises DeviceError where a kernel's loops are not found: a change of its code has to
    be followed here."""
    tool, _ = mca()
    rows: list[Row] = []
    for source, flags in source_flags(cmake_lists(KERNELS / "cmake"), "aarch64").items():
        if (source.split("/")[2] if source.count("/") == 3 else "") != isa or not source.endswith(SOURCES):
            continue
        for f in functions(assembly(source, flags, processor)):
            name = re.fullmatch(rf"qig_(\w+)__{isa}", f.name)
            if not name or name[1] not in READERS:
                continue
            found = READERS[name[1]](name[1], isa, f)
            if not found:
                raise DeviceError(f"{source}: no loop of {f.name} was recognised")
            rows += found
    for row in rows:
        row.cycles = predict(row.loop, tool, processor)
        if processor is A72:
            row.bound, row.limit = a72_bound(row.loop)
    return sorted(rows, key=lambda r: (list(READERS).index(r.kernel), r.columns))


def table() -> list[Row]:
    """Every row of docs/kernels.md."""
    return [row for isa, processor in PROCESSORS.items() for row in loops(isa, processor)]


def toml(processor: Processor) -> str:
    """A processor's rows as qig_edge/bench/kernels.toml has them."""
    cycles = {(r.kernel, r.columns): f"{r.cycles / r.units:.1f}" for isa in SETS[processor] for r in loops(isa, processor)}
    products = {kind: f"[{cycles[f'matmul_{kind}', 1]}, {cycles[f'matmul_{kind}', 4]}]" for kind in ("q4_0", "q8_0")}
    lines = ["[[kernels]]", f'processor = "{processor.name}"', 'engine = "libqig"', f'source = "llvm-mca, {processor.note}"']
    lines.append("weights = { " + ", ".join(f"{kind} = {pair}" for kind, pair in products.items()) + " }")
    lines += [f"{name} = {cycles[kernel, 1]}" for name, kernel in (("key", "overlap_i8"), ("value", "mix_i8"), ("score", "score"))]
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """The table and what its columns mean."""
    _, version = mca()
    lines = [
        "Predicted, not measured: no ARM machine was there. Loops as zig compiles them for the processor, llvm-mca of LLVM "
        f"{version}; " + "; ".join(f"{p.name}: {p.note}" for p in PROCESSORS.values()) + ". Everything is in the first-level cache.",
        "`throughputs`: the bound that the Cortex-A72's instruction throughputs set, and what sets it: one multiply-long (8 MAC) a cycle and three",
        "instructions decoded a cycle; what else the table in `kernels/tools/arm_cycles.py` holds is mostly the A57's too.",
        "A unit is 32 weights of a matrix, or one key.",
        "",
        "| kernel | processor | loop | instructions | cycles a unit | MAC a cycle | throughputs: cycles a unit | MAC a cycle | goal |",
        "|---|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for r in rows_with_goals(table()):
        lines.append(r)
    return "\n".join(lines) + "\n"


def rows_with_goals(rows: list[Row]) -> list[str]:
    """Lines of the table."""
    out = []
    for r in rows:
        macs = f"{r.macs / r.cycles:.1f}" if r.macs else ""
        bound = [f"{r.bound / r.units:.1f} ({r.limit})", f"{r.macs / r.bound:.1f}" if r.macs else ""] if r.bound else ["", ""]
        cells = [f"`qig_{r.kernel}__{r.isa}`", PROCESSORS[r.isa].name, r.what, str(len(r.loop.body)), f"{r.cycles / r.units:.1f}", macs, *bound]
        out.append("| " + " | ".join([*cells, GOALS.get((r.kernel, r.isa, r.columns), "")]) + " |")
    return out


if __name__ == "__main__":
    try:
        print("\n".join(toml(p) for p in SETS) if sys.argv[1:] == ["--toml"] else markdown(), end="")
    except (DeviceError, MissingExtra) as e:
        sys.exit(f"error: {e}")
