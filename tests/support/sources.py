"""Where a program that a test starts finds the fedenvoy that is tested, installed or not."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import fedenvoy
import fedenvoy_statecharts


def source_path() -> str:
    """Give the PYTHONPATH that a program needs; empty where fedenvoy is installed.

    Site-packages never belong on it: an experiment's interpreter inherits the variable, and would find this
    environment's packages before its own.
    """
    roots = {Path(module.__file__ or "").parents[1] for module in (fedenvoy, fedenvoy_statecharts)}
    installed = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    return os.pathsep.join(map(str, sorted(roots - installed)))
