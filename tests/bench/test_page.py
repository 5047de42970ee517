"""The bench page: whole in itself, honest axes, and looked at by a browser at the width of a desk and of a phone."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from qig_edge.bench.page import page, write_page
from qig_edge.bench.report import lines
from qig_edge.bench.svg import chart, labels, linear, logarithmic
from tests.bench.chromium import Browser, browser, program
from tests.bench.rows import decode, full_row, predicted
from tests.conftest import wanted

VOID = {"meta", "link", "br"}
# What lies beyond the window, or is drawn outside its own figure, or is too small to be read; and how many drawings there are.
LOOK = """(() => {
  const wide = document.documentElement.clientWidth;
  const out = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > wide + 0.5).map(e => e.outerHTML.slice(0, 120));
  const cut = [], small = [];
  for (const svg of document.querySelectorAll('svg')) {
    const box = svg.getBoundingClientRect();
    for (const t of svg.querySelectorAll('text, path, circle, rect')) {
      const b = t.getBoundingClientRect();
      if (b.left < box.left - 1 || b.right > box.right + 1 || b.top < box.top - 1 || b.bottom > box.bottom + 1) cut.push(t.outerHTML.slice(0, 120));
      if (t.tagName === 'text' && 12 * box.width / svg.viewBox.baseVal.width < 10) small.push(t.textContent);
    }
    const ticks = [...svg.querySelectorAll('.tick')].map(t => t.getBoundingClientRect());
    for (const a of ticks) for (const b of ticks)
      if (a !== b && a.left < b.right && b.left < a.right && a.top < b.bottom - 3 && b.top < a.bottom - 3)
        cut.push('ticks overlap in ' + svg.getAttribute('aria-label'));
  }
  return {scroll: document.documentElement.scrollWidth, wide, out, cut, small, drawings: document.querySelectorAll('svg').length,
          ground: getComputedStyle(document.body).backgroundColor};
})()"""


def bare() -> dict[str, Any]:
    """A machine that tells nothing, and another engine."""
    row = full_row()
    for test in row["result"]["decode"]:
        test |= dict.fromkeys(("bytes_per_token", "bytes_per_second", "ceiling_fraction", "agency", "blocks_run"))
    row["own_state"] = {key: value if key == "of" else [None] * len(value) for key, value in row["own_state"].items()}
    for sample in row["sustained"]["samples"]:
        sample |= {"temperature_c": None, "frequency_mhz": None, "watts": None, "throttled": [], "throttle_count": None}
    row["sustained"]["energy_reason"] = "no RAPL packages in /sys/class/powercap; no vcgencmd; no battery"
    row["energy"] = {"joules_per_token": None, "watts": None, "idle_watts": None, "source": None, "reason": "no meter"}
    row["hw"] |= {"ipc": None, "reason": "hidden"}
    return row


def fast() -> dict[str, Any]:
    """Large numbers, one depth, long words, what an HTML page could stumble over."""
    row = full_row()
    row["result"]["name"] = "<script>alert('x')</script>&" + "long" * 30
    row["result"]["decode"] = [decode(0, 123456.7, 2.2e6, 3e11)]
    row["result"]["prefill"]["tokens_per_second"]["median"] = 1234567.0
    row["machine"]["features"] = ["f" * 300]
    row["sustained"] = None
    return row


ROWS = {"full": full_row, "bare": bare, "fast": fast, "predicted": predicted}


class Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag


@pytest.mark.parametrize("kind", ROWS)
def test_whole_in_itself(kind: str) -> None:
    text = page([ROWS[kind]()])
    parser = Balanced()
    parser.feed(text)
    assert parser.open == [] and parser.seen > 100
    assert "default-src 'none'" in text and not re.search(r"https?://|<script|@import|url\(", text.replace("&lt;script&gt;", ""))
    assert "nan" not in re.sub(r"[\w-]*nan[o\w]+", "", text.lower()), "a number that is none"


def test_marks_and_reasons() -> None:
    row = full_row()
    row["interrupted"] = row["sustained"]["interrupted"] = True
    row["throttling"] = {"throttled": True, "why": "under-voltage"}
    text = page([row])
    assert 'class="badge">INTERRUPTED<' in text and 'class="badge">THROTTLED<' in text and "PREDICTED" not in text
    shown = page([predicted()])
    assert 'class="badge">PREDICTED<' in shown and "Predictions, no measurements" in shown and "Measurements" not in shown
    assert shown.index("PREDICTED: nothing was measured") < shown.index("of the ceiling")  # before anything that follows from it
    rates = [said for what, value, said in lines(predicted()) if value != "-" and what.startswith(("prefill", "decode", "peak", "bytes", "read"))]
    assert len(rates) > 3 and all("PREDICTED" in said for said in rates)
    text = page([bare()])
    assert "Not shown: temperature (no sensor is readable" in text and "power (no RAPL packages" in text
    assert "does not tell what a token makes it read" in text
    cut = full_row()
    cut["sustained"] |= {"samples": [], "interrupted": True}
    assert "interrupted before the first sample" in page([cut])
    nothing = full_row()
    for test in nothing["result"]["decode"]:
        test["fits"] = False
    assert "no decode test fits" in page([nothing])


def test_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("older")
    broken = copy.deepcopy(full_row())
    del broken["result"]["decode"]
    with pytest.raises(KeyError):
        write_page([broken], target)
    assert target.read_text() == "older" and [p.name for p in tmp_path.iterdir()] == ["page.html"]
    write_page([full_row(), fast()], target)
    assert target.read_text("utf-8").count("<section>") == 2 and [p.name for p in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("values", [[0.0], [5.0], [1e-7], [3.0, 4.0], [2.5e9, 1.0], [0.1, 0.30000000000000004], [99.99999999, 100.0]])
def test_axes(values: list[float]) -> None:
    axis = linear("x", values)
    assert axis.low == 0 and axis.high >= max(values) and 2 <= len(axis.ticks) <= 8
    assert all(0 <= axis.at(v) <= 1 + 1e-9 for v in (*values, *axis.ticks)) and len(set(labels(axis.ticks))) == len(axis.ticks)
    if min(values) > 0:
        log = logarithmic("x", values)
        assert log.low <= min(values) * (1 + 1e-9) and log.high >= max(values) * (1 - 1e-9) and "logarithmic" in log.label and len(log.ticks) >= 2
        assert all(-1e-9 <= log.at(v) <= 1 + 1e-9 for v in (*values, *log.ticks))


def test_labels() -> None:
    assert labels([0, 5000, 10000]) == ["0", "5k", "10k"] and labels([0, 2500, 5000]) == ["0", "2,500", "5,000"]
    assert labels([0, 5e6, 1e7]) == ["0", "5M", "10M"] and labels([0, 0.05]) == ["0", "0.05"]


def test_a_gap_is_a_gap() -> None:
    from qig_edge.bench.svg import Series

    drawn = chart(linear("x", [3.0]), linear("y", [3.0]), [Series("s", [(0, 1.0), (1, None), (2, 2.0), (3, 3.0)])], "says")
    path = re.search(r'class="line c1" d="([^"]*)"', drawn)
    assert path and path.group(1).count("M") == 2 and path.group(1).count("L") == 1


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = program()
    if executable is None:
        wanted("Chromium, which tells how the page lies in a window,")
    with browser(executable, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (320, "light")])
def test_in_a_browser(chromium: Browser, kind: str, width: int, scheme: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_page([ROWS[kind]()], file)
    seen = chromium.see(file, width, LOOK, scheme)
    assert seen.errors == [] and seen.requests == [file.as_uri()]
    found = seen.value
    assert width - 20 <= found["wide"] <= width  # a scroll bar takes its place on a desk
    assert found["scroll"] <= found["wide"] and found["out"] == [] and found["cut"] == []
    assert found["drawings"] >= 3 and (width < 390 or found["small"] == [])
    light = sum(map(int, re.findall(r"\d+", found["ground"])[:3])) > 600
    assert light == (scheme == "light")


def test_the_browser_would_tell(chromium: Browser, tmp_path: Path) -> None:
    """A page with each fault that the test above looks for."""
    file = tmp_path / "bad.html"
    file.write_text(
        "<meta charset=utf-8><meta name=viewport content='width=device-width'><body>"
        "<img src='https://127.0.0.1:9/x.png'><div style='width:900px'>wide</div>"
        "<svg viewBox='0 0 400 100' width=200><text x=390 y=50>beyond the edge</text></svg><script>console.error('told')</script>"
    )
    seen = chromium.see(file, 390, LOOK)
    assert any("told" in e for e in seen.errors) and len(seen.requests) == 2
    assert seen.value["scroll"] > 390 and seen.value["out"] and seen.value["cut"] and seen.value["small"]
