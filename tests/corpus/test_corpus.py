"""The generated corpus: determinism, form, and the mechanical side of good English."""

import json
import random
import re

import pytest

from qig_edge.corpus.generate import KINDS, records, write
from qig_edge.corpus.minis import mini
from qig_edge.corpus.spin import article, spin
from qig_edge.corpus.tales import PLOTS, tale

N = 5000
SOURCES = {"tales": "qig-tales", "talk": "qig-talk", "facts": "qig-facts"}


@pytest.fixture(scope="module")
def sample() -> dict[str, list[dict]]:
    return {kind: list(records(N, 7, (kind,))) for kind in KINDS}


def texts(record: dict) -> list[str]:
    return [record["text"]] if "text" in record else [m["content"] for m in record["messages"]]


def test_same_seed_same_records():
    assert list(records(300, 3)) == list(records(300, 3))
    assert list(records(300, 3)) != list(records(300, 4))
    alone = list(records(50, 3, ("talk",)))
    assert [r for r in records(150, 3) if r["source"] == "qig-talk"] == alone


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="poems.*tales"):
        list(records(1, 1, ("poems",)))


@pytest.mark.parametrize("kind", KINDS)
def test_form(sample, kind):
    for r in sample[kind]:
        assert json.loads(json.dumps(r)) == r
        assert r["source"] == SOURCES[kind]
        assert set(r) == ({"messages", "source"} if kind == "talk" else {"text", "source"})


def test_roles_alternate(sample):
    for r in sample["talk"]:
        roles = [m["role"] for m in r["messages"]]
        if roles[0] == "system":
            roles = roles[1:]
        assert roles and len(roles) % 2 == 0 and len(roles) <= 8
        assert roles == ["user", "assistant"] * (len(roles) // 2)


@pytest.mark.parametrize("kind", KINDS)
def test_distinct(sample, kind):
    share = len({json.dumps(r) for r in sample[kind]}) / N
    assert share > 0.95, share


BAD = {
    "slot or alternative left": r"[{}\[\]|]",
    "double blank": r"  ",
    "blank before a mark": r" [.,!?;:]",
    "doubled mark": r"[,;:][.,!?;:]|[!?][.,]|(?<!\.)\.[,!?]|(?<!\.)\.\.(?!\.)",
    "doubled word": r"\b(?!had\b|that\b)([A-Za-z]+) \1\b",
    "mark outside the quotation": r'[\w!?]"[.,]',
    "lower case after a full stop": r'(?<!\.\.)\. "?[a-z]',
    "capital article inside": r"[a-z,] (An?|The) [a-z]",
    "None": r"\bNone\b",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", BAD)
def test_mechanics(sample, kind, what):
    for r in sample[kind]:
        said = texts(r)
        # A user may type without capitals or marks; the answers may not.
        if kind == "talk" and what in ("lower case after a full stop", "doubled word"):
            said = [m["content"] for m in r["messages"] if m["role"] == "assistant"]
        for t in said:
            assert not (m := re.search(BAD[what], t)), (m[0], t)


@pytest.mark.parametrize("kind", KINDS)
def test_articles_agree(sample, kind):
    for r in sample[kind]:
        for t in texts(r):
            for m in re.finditer(r"\b([Aa]n?) ([A-Za-z]+)", t):
                assert m[1].lower() == article(m[2]), (m[0], t)


@pytest.mark.parametrize("kind", KINDS)
def test_quotes_pair_and_texts_end(sample, kind):
    for r in sample[kind]:
        for t in texts(r):
            assert t == t.strip() and t.count('"') % 2 == 0, t
        assert re.search(r'[.!?]"?$', texts(r)[-1]), texts(r)[-1]


def test_tales_have_a_fit_length(sample):
    lengths = [len(r["text"].split()) for r in sample["tales"]]
    assert min(lengths) >= 60 and max(lengths) <= 260
    assert 120 < sum(lengths) / N < 220


def test_every_plot_reads_with_every_cast():
    rng = random.Random(11)
    for plot in PLOTS:
        for _ in range(20):
            t = tale(rng, plot_name=plot["name"])
            assert t["slots"]["h"] in t["text"]


def test_requested_characters_are_in_the_tale():
    rng = random.Random(5)
    for _ in range(300):
        text = tale(rng, hero="fox", friend="owl")["text"]
        assert "fox" in text and "owl" in text, text
        text, _, _ = mini(rng, "girl", "turtle")
        assert "girl" in text and "turtle" in text, text


def test_never_human(sample):
    for r in sample["talk"]:
        for m in r["messages"]:
            if m["role"] == "assistant":
                assert not re.search(r"\bI am (a |an )?(human|person|girl|boy|man|woman)\b", m["content"])


def test_one_sentence_is_obeyed(sample):
    seen = 0
    for r in sample["talk"]:
        first = r["messages"][0]
        if first["role"] == "system" and "one sentence" in first["content"]:
            seen += 1
            for m in r["messages"][2::2]:
                assert len(re.findall(r"[.!?](?=\"?(\s|$))", m["content"])) == 1, m["content"]
    assert seen > 50


def test_spin_names_a_missing_slot():
    with pytest.raises(KeyError, match="nobody"):
        spin(random.Random(0), "Hello, {nobody}.")
    assert spin(random.Random(0), "it was a [old|old] hat . a useful one") == "It was an old hat. A useful one"


def test_write_stops_when_it_repeats(tmp_path):
    n, size = write(tmp_path / "f.jsonl", "facts", 1, 0.05)
    lines = (tmp_path / "f.jsonl").read_text().splitlines()
    assert n == len(lines) == len(set(lines)) and size >= 50_000
