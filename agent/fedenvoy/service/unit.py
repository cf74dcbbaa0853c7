"""The unit file for systemd, with the path of this installation in it."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

from fedenvoy.errors import Exit

__all__ = ["NAME", "PASSING", "unit_text"]

NAME = "fedenvoy@.service"
"""What the file is called."""

PASSING = frozenset({Exit.OK, Exit.FAILED, Exit.STORE})
"""Exit codes after which another start may end otherwise by itself; after any other, somebody must change something."""

_PROGRAM = "/opt/fedenvoy/bin/fedenvoy"
"""The program's path in the template."""


def unit_text(program: Path | None = None) -> str:
    """Give the unit file.

    Args:
        program: The `fedenvoy` to start; None: the one of this installation.

    """
    text = (resources.files("fedenvoy") / "templates" / NAME).read_text(encoding="utf-8")
    return text.replace(_PROGRAM, _quoted(program or Path(sys.executable).with_name("fedenvoy")))


def _quoted(program: Path) -> str:
    """Write a path as systemd reads it as one word, without specifiers or variables."""
    word = str(program).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{word}"' if any(c.isspace() or c in "\"'\\;" for c in word) else word
