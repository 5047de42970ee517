"""One problem, and the words and spelling that its families share."""

from __future__ import annotations

import dataclasses
from typing import Any

SOURCE = "qig-puzzles"

# Short and common: each becomes one token of a small vocabulary. Where an answer is copied from a prompt it follows a blank there too,
# because byte-level BPE knows a word after a blank and the same word at the start of a line as two tokens.
NAMES = ("Ann Ben Cal Dan Eva Fay Gus Hal Ian Jim Kim Leo Mia Ned Ora Pat Ray Sam Tom Una Val Wes Zoe Bob").split()
NOUNS = (
    "ant bat bee cat cow dog eel elk emu fly fox hen owl pig ram rat ape hog yak cub pen cup hat key map jar box bag "
    "fan mat net pan pin pot rug saw sock tie toy van duck fish frog goat lamp leaf ring shoe"
).split()
ITEMS = "pens cups hats keys maps jars bags nuts figs eggs pins toys".split()


@dataclasses.dataclass(frozen=True)
class Problem:
    """A line with a question and its answer, one word or number.

    key names the instance whatever the order in which it lists things, so that two spellings of one problem are one instance. choices is the
    number of answers that the prompt leaves open (2 for yes or no), 0 where it offers none to guess from.
    """

    family: str
    level: int
    key: str
    prompt: str
    answer: str
    choices: int = 0

    @property
    def chance(self) -> float:
        """Probability that a guess among the choices is right."""
        return 1 / self.choices if self.choices else 0.0

    @property
    def text(self) -> str:
        """What a model is trained on: prompt, answer, newline."""
        return f"{self.prompt} {self.answer}\n"

    def record(self, with_text: bool) -> dict[str, Any]:
        """The fields of a JSON line; without text it is nothing that training would read."""
        fields = {"family": self.family, "level": self.level, "prompt": self.prompt, "answer": self.answer}
        return {**({"text": self.text} if with_text else {}), **fields, "source": SOURCE}


def spelled(n: int) -> str:
    """A number digit by digit ("4 0 7"): byte-level BPE merges digits by frequency, and each number would be a word of its own."""
    return " ".join(str(n))
