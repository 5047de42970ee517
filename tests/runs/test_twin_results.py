"""The page of results is one that runs/twin_results.py fills."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results.md"


def run(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, ROOT / "runs" / "twin_results.py", *map(str, args)], capture_output=True, text=True, timeout=120)


def test_the_page_has_every_table_and_no_other() -> None:
    script = (ROOT / "runs" / "twin_results.py").read_text("utf-8")
    (made,) = re.findall(r"for f in \(([\w, ]+)\)\n", script)
    page = PAGE.read_text("utf-8")
    assert re.findall(r"<!-- (\w+) -->\n\|", page) == made.split(", ")
    assert page.count("<!-- end -->") == len(made.split(", "))
    for picture in re.findall(r"\]\((results-[\w.]+)\)", page):
        assert picture in {f"results-{part}.png" for part in ("training", "puzzles")} and (PAGE.parent / picture).is_file()


def test_a_folder_without_a_finished_size_is_named_and_the_page_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_bytes(PAGE.read_bytes())
    done = run(tmp_path, page)
    assert done.returncode == 1 and "1m-speed.json, 3m-speed.json are missing" in done.stderr
    assert page.read_bytes() == PAGE.read_bytes()
