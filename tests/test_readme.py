"""README.md tells the truth: its make targets, files, commands and options exist, its cheap commands run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.M | re.S)
SHELL = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines() if line.strip()]
QIG = [line for line in SHELL if re.search(r"\bqig-edge\b", line) and "install" not in line]
# What a run of the suite can afford: no training, no benchmark, no dialogue with a terminal, no file that the reader brings.
DEAR = (
    r"qig-edge (train|ablate|convert|bench|build|data|pull|models|diagnose|deploy|devices)\b"
    r"|model\.gguf|model-onnx|run/step-|/bin/qig-edge|qig-edge chat$"
)
CHEAP = [line for line in QIG if not re.search(DEAR, line)]


def arguments(line: str) -> list[str]:
    """What follows the last `qig-edge` of a line, as the shell would split it."""
    return shlex.split(re.split(r"\bqig-edge\b", line)[-1])


def run(args: list[str], cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    # The shell's own python may be another one; the tree under test may not be installed in it.
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    command = [sys.executable, "-m", "qig_edge.cli", *args]
    return subprocess.run(command, cwd=cwd, env=env, input=stdin, capture_output=True, text=True, timeout=300)


def test_the_readme_has_commands() -> None:
    assert len(QIG) > 10
    assert len(CHEAP) >= 3


@pytest.mark.parametrize("line", QIG)
def test_commands_and_options_exist(line: str, tmp_path: Path) -> None:
    name, *rest = arguments(line) or ["--help"]
    done = run([name, "--help"], tmp_path)
    assert done.returncode == 0, done.stderr
    for option in [a.partition("=")[0] for a in rest if re.fullmatch(r"--?[a-z].*", a)]:
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", done.stdout), f"{name} has no {option}:\n{done.stdout}"


@pytest.mark.parametrize("line", CHEAP)
def test_cheap_commands_run(line: str, tmp_path: Path) -> None:
    piped = re.match(r"echo (.*?) \| ", line)
    done = run(arguments(line), tmp_path, " ".join(shlex.split(piped.group(1))) + "\n" if piped else "")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not list(tmp_path.iterdir())


def test_data_command_runs(tmp_path: Path) -> None:
    """The line that makes a corpus, with fewer records."""
    line = next(line for line in QIG if "qig-edge data" in line)
    done = run([re.sub(r"^20000$", "20", a) for a in arguments(line)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "corpus.jsonl").read_text("utf-8").splitlines()) == 20


def test_python_block_runs(tmp_path: Path) -> None:
    blocks = [text for language, text in BLOCKS if language == "python"]
    assert blocks
    for text in blocks:
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
        done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


def test_make_targets_exist(repository: Path) -> None:
    targets = set(re.findall(r"\bmake ([\w-]+)", README))
    assert {"demo", "test", "lint", "wheels", "kernels-report"} <= targets
    makefile = (repository / "Makefile").read_text("utf-8")
    assert not {t for t in targets if not re.search(rf"^{t}:", makefile, re.M)}


def test_links_lead_somewhere(repository: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) >= 5
    assert not [link for link in links if not (repository / link).exists()]


def test_folders_named_exist(repository: Path) -> None:
    folders = re.findall(r"^    (\w+)/  ", README, re.M)
    assert len(folders) >= 5
    assert not [f for f in folders if not (repository / f).is_dir()]
