"""The rules of the house: file sizes, words that stay out, declared dependencies, a light command line."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qig_edge import __version__
from qig_edge.cli import COMMANDS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDERS = ("qig_edge", "kernels", "tests", "docs", "runs", ".ci")
TEXT = {".py", ".c", ".h", ".inc", ".md", ".toml", ".cmake", ".txt", ".sh", ".yml", ".json", ""}
MOST_LINES = {".py": 600, ".c": 800, ".h": 800}
# Written in pieces, so that this file passes its own check.
MACHINE = re.compile(
    "|".join(
        (
            "(?<![\\w.])/" + "(?:work|root|opt/pypi|opt/wheels)/",
            "/" + "home/\\w+/",
            "\\.\\./" + "shared/",
            "PIP_" + "INDEX|PIP_" + "FIND|index" + "-url|find" + "-links",
            "(?:artifactory|devpi|nexus)" + "[.:/]",
        )
    )
)
UNFINISHED = re.compile("TO" + "DO|FIX" + "ME|XX" + "X\\b|NotImplemented" + "Error")
# Import name -> name on the package index, where they differ.
INDEX_NAMES = {
    "curvlinops": "curvlinops-for-pytorch",
    "huggingface_hub": "huggingface-hub",
    "llama_cpp": "llama-cpp-python",
    "lm_eval": "lm-eval",
    "optimum": "optimum-onnx",
}
HEAVY = ("torch", "transformers", "tokenizers", "datasets", "numpy", "gguf", "matplotlib", "onnx", "requests", "lm_eval")


def files(repository: Path, suffixes: set[str]) -> Iterator[Path]:
    """Text files of the tree, without what builds leave in it."""
    found = [p for p in repository.iterdir() if p.is_file()]
    for folder in FOLDERS:
        found += (repository / folder).rglob("*")
    for path in sorted(found):
        built = path.relative_to(repository).parts[:2] in (
            ("qig_edge", "lib"),
            ("qig_edge", "bin"),
            ("qig_edge", "_kernels"),
        )
        if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts and not built:
            yield path


def test_files_stay_readable_in_one_sitting(repository: Path) -> None:
    sizes = {
        p.relative_to(repository): len(p.read_text("utf-8").splitlines()) for p in files(repository, set(MOST_LINES))
    }
    assert len(sizes) > 30
    assert not {str(p): n for p, n in sizes.items() if n >= MOST_LINES[p.suffix]}


def test_no_word_of_one_machine_or_registry(repository: Path) -> None:
    found, read = [], 0
    for path in files(repository, TEXT):
        name = str(path.relative_to(repository))
        read += 1
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            if MACHINE.search(line) and name != ".ci/run":
                found.append(f"{name}:{number}: {line.strip()[:120]}")
    assert read > 40
    assert not found


def test_nothing_is_left_unfinished(repository: Path) -> None:
    code = [p for p in files(repository, {".py", ".c", ".h", ".inc", ".cmake"})]
    assert len(code) > 30
    assert not [
        f"{p.relative_to(repository)}: {m.group()}" for p in code if (m := UNFINISHED.search(p.read_text("utf-8")))
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="a Windows clone holds links as text files")
@pytest.mark.parametrize("door", ["convert", "bench", "devices"])
def test_doors_at_the_top_lead_into_the_package(repository: Path, door: str) -> None:
    link = repository / door
    assert link.is_symlink()
    assert link.readlink() == Path("qig_edge") / door
    assert (link / "__init__.py").is_file()


def project(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]


def index_name(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name, requirement
    return name.group().lower().replace("_", "-")


def test_every_import_is_declared(repository: Path) -> None:
    """Imports of the package are the standard library's, its own, or named by a dependency or an extra."""
    meta = project(repository)
    declared = {index_name(r) for rs in (meta["dependencies"], *meta["optional-dependencies"].values()) for r in rs}
    seen: dict[str, str] = {}
    for path in files(repository, {".py"}):
        if path.relative_to(repository).parts[0] != "qig_edge":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            seen.update({n.partition(".")[0]: str(path.relative_to(repository)) for n in names})
    third = {n: where for n, where in seen.items() if n not in sys.stdlib_module_names and n != "qig_edge"}
    assert {"typer", "numpy"} <= set(third)
    third.pop("click", None)  # typer's own foundation
    assert not {
        n: where
        for n, where in third.items()
        if INDEX_NAMES.get(n, n).replace("_", "-") not in declared and n != "tomllib"
    }


def test_every_extra_that_an_error_names_exists(repository: Path) -> None:
    extras = set(project(repository)["optional-dependencies"])
    named = set()
    for path in files(repository, {".py"}):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "MissingExtra"
                and len(node.args) == 2
            ):
                assert isinstance(node.args[1], ast.Constant), f"{path}:{node.lineno}: name the extra in full"
                named.add(node.args[1].value)
    assert named
    assert named <= extras


def test_one_version(repository: Path) -> None:
    found = re.search(r"project\(qig VERSION (\S+)", (repository / "kernels" / "CMakeLists.txt").read_text("utf-8"))
    assert found and found.group(1) == __version__


def modules_after(code: str) -> set[str]:
    """Names in sys.modules after a fresh interpreter ran code."""
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit as e:\n    assert not e.code, e.code\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize("args", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    loaded = modules_after(f"from qig_edge.cli import main; main({args!r})")
    assert "qig_edge.cli" in loaded
    assert not sorted(loaded & set(HEAVY))


def test_the_package_imports_nothing() -> None:
    # an editable install finds the package through a hook of its own, which imports from the standard library
    loaded = {m.split(".")[0] for m in modules_after("import qig_edge") - modules_after("pass")}
    assert not {m for m in loaded - sys.stdlib_module_names if m != "qig_edge" and "editable" not in m}
