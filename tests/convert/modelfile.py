"""Reads a Modelfile by the grammar that Ollama documents: lines "INSTRUCTION arguments", whose text may stand in one or three quotation marks (over
several lines with three), and comments."""

from __future__ import annotations

import re

INSTRUCTIONS = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE")
# documented parameters: name -> what its value is
PARAMETERS = {
    "num_ctx": int, "repeat_last_n": int, "repeat_penalty": float, "temperature": float, "seed": int, "stop": str,
    "num_predict": int, "top_k": int, "top_p": float, "min_p": float,
}  # fmt: skip
ONCE = ("TEMPLATE", "SYSTEM")


class Malformed(ValueError):
    pass


def parse(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """(instruction, argument) in order, of PARAMETER "name value"; and the comments. Raises Malformed."""
    found: list[tuple[str, str]] = []
    comments = []
    rest = text
    while rest:
        line, _, after = rest.partition("\n")
        if not line.strip():
            rest = after
            continue
        if line.startswith("#"):
            comments.append(line.removeprefix("#").strip())
            rest = after
            continue
        match = re.match(r"([A-Za-z]+)[ \t]+", rest)
        if not match or match.group(1).upper() not in INSTRUCTIONS:
            raise Malformed(f"no instruction: {line!r}")
        word = match.group(1).upper()
        rest = rest[match.end() :]
        name = ""
        if word == "PARAMETER":
            parameter = re.match(r"(\w+)[ \t]+", rest)
            if not parameter or parameter.group(1) not in PARAMETERS:
                raise Malformed(f"no parameter: {line!r}")
            name = parameter.group(1)
            rest = rest[parameter.end() :]
        value, rest = _argument(rest)
        if not value:
            raise Malformed(f"{word} without an argument")
        if name:
            PARAMETERS[name](value)
            value = f"{name} {value}"
        found.append((word, value))
    words = [w for w, _ in found]
    if "FROM" not in words:
        raise Malformed("no FROM")
    if any(words.count(w) > 1 for w in ONCE):
        raise Malformed("an instruction stands twice")
    return found, comments


def _argument(rest: str) -> tuple[str, str]:
    """The argument at the start of a text, and what follows its line."""
    for mark in ('"""', '"'):
        if rest.startswith(mark):
            end = rest.find(mark, len(mark))
            value = rest[len(mark) : end]
            line, _, after = rest[end + len(mark) :].partition("\n")
            if end < 0 or line.strip() or (mark == '"' and "\n" in value):
                raise Malformed(f"quotation marks do not close: {rest[:40]!r}")
            return value, after
    value, _, after = rest.partition("\n")
    return value.strip(), after
