"""One module for each thing that is measured; `PARTS` names them in the order of the report.

A further part is a module with `measure(bed) -> tuple[Series, ...]` and a line here.
"""

from __future__ import annotations

__all__ = ["PARTS"]

PARTS = (
    "start",
    "idle",
    "dispatch",
    "intake",
    "fifty",
    "stop",
    "registry_window",
    "outage",
    "frozen",
    "journal",
    "relay",
    "environment",
    "walls",
)
"""The modules of this package, by name; each is loaded when it is to run."""
