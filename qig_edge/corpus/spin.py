"""Template expansion: nested alternatives, named slots, and the repairs that make the result proper prose.

A template is ordinary text in which `[a|b|c]` means one of a, b, c (they nest, and an empty one is allowed)
and `{slot}` is replaced from a dictionary. Slots may hold further alternatives.
"""

import random
import re
from collections.abc import Mapping

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"\b([Aa])n? (?=([A-Za-z]+))")
_SENTENCE = re.compile(r'(^|\n|[.!?] "?|\." "?|[!?]" ")([a-z])')
_AN = ("hour", "honest")
_A = ("use", "uni", "one", "once", "uku", "eu")


def article(word: str) -> str:
    """`a` or `an`, by the first sound of the word."""
    low = word.lower()
    if low.startswith(_AN):
        return "an"
    if low.startswith(_A):
        return "a"
    return "an" if low[0] in "aeiou" else "a"


def tidy(text: str) -> str:
    """Collapse blanks, choose a/an, and start every sentence with a capital."""
    text = re.sub(r"[ \t]*\n[ \t]*", "\n", text)
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
    text = re.sub(r"\n{2,}", "\n\n", text)
    text = re.sub(r" {2,}", " ", text)
    text = re.sub(r" ([,.!?;])", r"\1", text).strip()
    text = _ARTICLE.sub(lambda m: (m[1] if article(m[2]) == "a" else m[1] + "n") + " ", text)
    return _SENTENCE.sub(lambda m: m[1] + m[2].upper(), text)


def spin(rng: random.Random, text: str, slots: Mapping[str, str] | None = None) -> str:
    """One random reading of the template. A slot that is missing raises KeyError."""
    slots = slots or {}
    for _ in range(40):
        n = 1
        while n:
            text, n = _CHOICE.subn(lambda m: rng.choice(m[1].split("|")), text)
        text, n = _SLOT.subn(lambda m: str(slots[m[1]]), text)
        if not n:
            return tidy(text)
    raise ValueError(f"template does not settle: {text[:80]!r}")
