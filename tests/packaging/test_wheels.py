"""`make wheels`: what a wheel holds, what its files need, and that it runs where it is installed. The first build of a machine takes zig minutes."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packaging import elf

OLDEST_GLIBC = (2, 28)
SYSTEM_LIBRARIES = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "ld-linux-aarch64.so.1", "ld-linux-x86-64.so.2"}
TOOLS = [name for name in ("ziglang", "scikit_build_core") if importlib.util.find_spec(name) is None]
TOOLS += [name for name in ("make", "cmake", "ninja") if not shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(TOOLS), reason=f"wheels are built with {', '.join(TOOLS)}: not installed here")]


@pytest.fixture(scope="module", params=["aarch64", "x86_64"])
def wheel(request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(machine, wheel) as `make wheels` builds it, with the environment that runs the tests."""
    out = tmp_path_factory.mktemp("wheels")
    # -o: that environment may be another than the Makefile's own
    command = ["make", "-o", ".venv-dev/installed", f"wheel-{request.param}", f"BIN={Path(sys.executable).parent}", f"DIST={out}"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (built,) = out.iterdir()
    return request.param, built


def test_reader_finds_what_the_interpreter_needs() -> None:
    """The reader on a file that is known to be dynamic: without this the checks below could pass by finding nothing."""
    if sys.platform != "linux":
        pytest.skip("ELF is Linux's format")
    library = Path(next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/libm.so" in line or "/libm-" in line))
    found = elf.read(library.read_bytes())
    assert found.machine == {"x86_64": elf.X86_64, "aarch64": elf.AARCH64}[platform.machine()]
    assert "libc.so.6" in found.libraries
    assert found.newest("GLIBC_") >= (2, 2)


def test_name_and_tag_claim_one_machine(wheel: tuple[str, Path]) -> None:
    machine, path = wheel
    assert path.name.endswith(f"-py3-none-manylinux_2_28_{machine}.whl")
    with zipfile.ZipFile(path) as archive:
        (meta,) = [n for n in archive.namelist() if n.endswith(".dist-info/WHEEL")]
        tags = [line for line in archive.read(meta).decode().splitlines() if line.startswith("Tag: ")]
    assert tags == [f"Tag: py3-none-manylinux_2_28_{machine}"]


def test_contents(wheel: tuple[str, Path]) -> None:
    _, path = wheel
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        modes = {i.filename: i.external_attr >> 16 for i in archive.infolist()}
    sources = {"_kernels/CMakeLists.txt", "_kernels/include/qig.h", "_kernels/src/gguf.c"}
    for needed in {"lib/libqig.so", "bin/qig", "presets/qig-nano.toml", "cli/__init__.py"} | sources:
        assert f"qig_edge/{needed}" in names
    assert modes["qig_edge/bin/qig"] & 0o111
    tops = {n.partition("/")[0] for n in names}
    assert len(tops) == 2 and "qig_edge" in tops, "one import package, and nothing beside it"
    assert not [n for n in names if "__pycache__" in n or n.endswith((".o", ".a"))]


def test_what_its_files_need(wheel: tuple[str, Path]) -> None:
    machine, path = wheel
    files: dict[str, elf.Elf] = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            if data[:4] == b"\x7fELF":
                files[name] = elf.read(data)
    assert set(files) == {"qig_edge/lib/libqig.so", "qig_edge/bin/qig"}
    for name, found in files.items():
        assert found.machine == {"x86_64": elf.X86_64, "aarch64": elf.AARCH64}[machine], name
        assert found.newest("GLIBC_") <= OLDEST_GLIBC, (name, sorted(found.versions))
        assert found.libraries <= SYSTEM_LIBRARIES, name
    library, program = files["qig_edge/lib/libqig.so"], files["qig_edge/bin/qig"]
    assert library.newest("GLIBC_") >= (2, 2), "a library that needs no glibc at all was not read right"
    assert not program.libraries and not program.interpreter, "the program is static"


def test_installed_it_runs(wheel: tuple[str, Path], tmp_path: Path) -> None:
    machine, path = wheel
    if sys.platform != "linux" or platform.machine() != machine:
        pytest.skip(f"a wheel for {machine} does not install on {platform.machine()}")
    place = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(place), str(path)]
    subprocess.run(pip, check=True, capture_output=True, timeout=300)
    code = (
        "from qig_edge.devices.host import kernel_sources, library_path, program_path\n"
        "from qig_edge.runtime.native import isa_list\n"
        "print(library_path(), program_path(), kernel_sources(), isa_list(), sep='\\n')"
    )
    # -S: without the environment's packages, among them the tree under test
    env = {**os.environ, "PYTHONPATH": str(place)}
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    library, program, kernels, isas = done.stdout.splitlines()
    assert all(part.startswith(str(place)) for part in (library, program, kernels))
    assert "ref" in isas
    help_text = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60)
    assert help_text.returncode == 0, help_text.stderr
    assert "qig" in help_text.stdout + help_text.stderr
