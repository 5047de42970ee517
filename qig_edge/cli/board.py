"""A word to whoever chats on a board that its firmware slows down: once, and nothing on other machines."""

from __future__ import annotations

import sys
from pathlib import Path

from qig_edge.bench.machine import ROOT, pi_flags


class BoardWatch:
    """Looks at a Raspberry Pi's flags whenever it is asked, below `root`, until it had something to say."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root, self._said = root, False

    def warn(self) -> None:
        """Prints one line on stderr the first time that the board is under-voltage or throttled at the moment."""
        found = None if self._said else pi_flags(self._root)
        if found and found["now"]:
            self._said = True
            print(
                f"warning: this board reports {', '.join(found['now'])}: it runs slower than it could (a stronger power supply, or cooling)",
                file=sys.stderr,
            )
