"""Writes src/unicode_tables.h: letters, numbers and white space as the regular expressions of `tokenizers` see them.

    python kernels/tools/unicode_tables.py            asks the installed `tokenizers` about every code point and writes the header
    python kernels/tools/unicode_tables.py --check    the same, but only says whether the committed header agrees (exit code 1 if not)

The library, not Python's unicodedata, is asked, because the two follow different versions of Unicode, and a tokenizer that disagrees with
the one a model was trained with on a single letter feeds it other tokens.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HEADER = Path(__file__).resolve().parent.parent / "src" / "unicode_tables.h"
OTHER, LETTER, NUMBER, SPACE = range(4)


def classify() -> list[int]:
    """Class of each code point, surrogates included (as OTHER: no valid text holds one)."""
    from tokenizers import pre_tokenizers

    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)

    def joins(before: str, char: str) -> bool:
        return len(split.pre_tokenize_str(before + char)) == 1

    classes = []
    for code in range(0x110000):
        if 0xD800 <= code <= 0xDFFF:
            classes.append(OTHER)
            continue
        char = chr(code)
        # Two characters of one class are one piece, and white space joins nothing that stands before it.
        found = [kind for kind, before in ((LETTER, "a"), (NUMBER, "1"), (OTHER, "!")) if joins(before, char)]
        if len(found) > 1:
            raise SystemExit(f"U+{code:04X} joins more than one class: {found}")
        classes.append(found[0] if found else SPACE)
    return classes


def render(classes: list[int]) -> str:
    """The header's text: one entry for each code point whose class differs from that of the one before it."""
    import tokenizers

    starts = [c for c in range(len(classes)) if c == 0 or classes[c] != classes[c - 1]]
    entries = [f"0x{start | classes[start] << 24:08x}," for start in starts]
    lines = [" ".join(entries[i : i + 10]) for i in range(0, len(entries), 10)]
    return "\n".join(
        [
            f"/* Written by kernels/tools/unicode_tables.py from tokenizers {tokenizers.__version__}; do not edit.",
            " * Runs of code points of one class: first code point, and the qig_char_class in the top byte. */",
            "#ifndef QIG_UNICODE_TABLES_H",
            "#define QIG_UNICODE_TABLES_H",
            "",
            "#include <stdint.h>",
            "",
            f"#define QIG_N_UNICODE_RUNS {len(entries)}",
            "",
            "static const uint32_t qig_unicode_runs[QIG_N_UNICODE_RUNS] = {",
            *lines,
            "};",
            "",
            "#endif",
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed header instead of writing it")
    args = parser.parse_args()
    text = render(classify())
    if args.check:
        # The first line names the library's version: another version with the same classes agrees.
        same = HEADER.read_text("utf-8").splitlines()[1:] == text.splitlines()[1:]
        print(f"{HEADER.name}: {'agrees' if same else 'DISAGREES'} with the installed tokenizers", file=sys.stderr)
        return 0 if same else 1
    partial = HEADER.with_suffix(".h.partial")
    partial.write_text(text, "utf-8")
    partial.replace(HEADER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
