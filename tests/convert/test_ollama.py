"""convert --ollama: the folder, and a Modelfile that its grammar reads back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import gguf
import pytest

from qig_edge.cli import main
from qig_edge.convert import ollama
from qig_edge.runtime.native import NativeModel
from qig_edge.train import checkpoint
from qig_edge.train.tokenizer import CHAT_TEMPLATE
from tests.convert.modelfile import Malformed, parse
from tests.convert.tiny import DEPTHS, TWINS, random_kernel, tiny_config, tiny_tokenizer

Output = pytest.CaptureFixture[str]
QUICK = ("--q8", "--no-verify", "--ffn-down", "dense")


def convert(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["convert", *map(str, args)])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def folder_of(tmp_path: Path, **fields: object) -> Path:
    folder = tmp_path / "little" / "step-00000003"
    checkpoint.write(folder, random_kernel(tiny_config(**fields), 2), tiny_tokenizer(), None)
    return folder


def test_a_qig_models_folder(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = folder_of(tmp_path, **DEPTHS["everything"])
    system = 'Be brief.\nSay "yes" or no.'
    assert convert(folder, "--ollama", *QUICK, "--system", system, "--license", "CC-BY-4.0") == 0
    out, err = capsys.readouterr()
    assert out == "little-q8_0-ollama\n" and "stock Ollama cannot run a QIG model" in err
    assert sorted(p.name for p in Path("little-q8_0-ollama").iterdir()) == ["Modelfile", "little-q8_0-ollama.gguf"]
    text = Path("little-q8_0-ollama", "Modelfile").read_text("utf-8")
    found, comments = parse(text)
    assert found == [
        ("FROM", "./little-q8_0-ollama.gguf"),
        ("PARAMETER", "temperature 0.7"),
        ("PARAMETER", "top_k 40"),
        ("PARAMETER", "top_p 0.95"),
        ("PARAMETER", "num_ctx 64"),
        ("PARAMETER", "stop <|end|>"),
        ("PARAMETER", "stop <|endoftext|>"),
        ("TEMPLATE", ollama.TEMPLATE),
        ("SYSTEM", system),
        ("LICENSE", "CC-BY-4.0"),
    ]
    assert comments[0].startswith("stock Ollama cannot run a QIG model")
    assert any("Stock Ollama ignores them" in c for c in comments)
    told = dict(c.split() for c in comments if c.split()[0] in ollama.NAMES)
    assert list(told) == list(ollama.NAMES) and told["show_telemetry"] == "false"
    path = Path("little-q8_0-ollama", "little-q8_0-ollama.gguf")
    NativeModel(path).close()
    fields = gguf.GGUFReader(path).fields
    numbers = 0
    for name in ollama.NAMES[:-1]:
        assert float(told[name]) == pytest.approx(fields[f"qig.parameters.{name}"].contents(), rel=1e-3)
        numbers += 1
    assert numbers == 5 and fields["qig.parameters.show_telemetry"].contents() is False
    assert fields["general.license"].contents() == "CC-BY-4.0"


def test_a_twins_folder_and_parts_that_are_off(tmp_path: Path, capsys: Output) -> None:
    twin = folder_of(tmp_path / "twin", **TWINS["twin"])
    assert convert(twin, "--ollama", *QUICK, "-o", tmp_path / "o") == 0
    assert "architecture 'arcee'" in capsys.readouterr().err
    found, comments = parse((tmp_path / "o" / "Modelfile").read_text("utf-8"))
    assert len(comments) == 1 and comments[0].startswith("stock Ollama runs it where")
    assert "SYSTEM" not in [w for w, _ in found] and "LICENSE" not in [w for w, _ in found]
    plain = folder_of(tmp_path / "plain")
    assert convert(plain, "--ollama", *QUICK, "-o", tmp_path / "o", "--force", "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["parameters_of_qig"]) == ["attention_temperature", "show_telemetry"]
    _, comments = parse((tmp_path / "o" / "Modelfile").read_text("utf-8"))
    assert [c.split()[1] for c in comments if c.startswith(("decoherence", "linear", "breakdown", "code_rate"))] == ["off"] * 4
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["Modelfile", "o.gguf"]


def test_the_template_says_what_the_chat_format_does() -> None:
    """Both templates on the same conversation; Go's has a range, fields and text alone."""
    import jinja2

    messages = [("system", "Be kind."), ("user", "Why?"), ("assistant", "So."), ("user", "Oh.")]
    match = re.fullmatch(r"\{\{ range \.Messages \}\}(.*)\{\{ end \}\}(.*)", ollama.TEMPLATE)
    assert match
    ours = "".join(match.group(1).replace("{{ .Role }}", r).replace("{{ .Content }}", c) for r, c in messages) + match.group(2)
    theirs = jinja2.Template(CHAT_TEMPLATE).render(
        messages=[{"role": r, "content": c} for r, c in messages], add_generation_prompt=True
    )
    assert "{{" not in ours and ours == theirs


def test_refusals(tmp_path: Path, capsys: Output) -> None:
    folder = folder_of(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("precious")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "Modelfile").write_text("FROM x\n")
    cases = (
        (["--ollama", "-o", tmp_path / "mine", "--force"], "is there and is no folder that --ollama wrote"),
        (["--ollama", "-o", tmp_path / "ours"], "exists: choose another name with -o"),
        (["--ollama", "-o", tmp_path / "no" / "o"], "there is no folder"),
        (["--ollama", "-o", tmp_path / "o", "--system", 'a """ b'], "three quotation marks"),
        (["-o", tmp_path / "o", "--system", "a"], "--system is of --ollama"),
        (["--ollama", "--measure"], "--ollama and --measure exclude each other"),
    )
    before = sorted(p for p in tmp_path.rglob("*"))
    for args, message in cases:
        assert convert(folder, *QUICK[1:] if "--measure" in args else QUICK, *args) == 2
        out, err = capsys.readouterr()
        assert out == "" and message in err and err.count("\n") == 1, err
    assert sorted(p for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "text",
    [
        "PARAMETER temperature 1\n", "FROM x\nTEMPERATURE 1\n", "FROM x\nPARAMETER warmth 1\n", 'FROM x\nSYSTEM """a\n',
        "FROM x\nPARAMETER num_ctx many\n", 'FROM x\nSYSTEM "a"\nSYSTEM "b"\n', "FROM x\nSYSTEM\n", 'FROM x\nSYSTEM """a""" b\n',
    ],
)  # fmt: skip
def test_the_grammar_refuses(text: str) -> None:
    with pytest.raises((Malformed, ValueError)):
        parse(text)
