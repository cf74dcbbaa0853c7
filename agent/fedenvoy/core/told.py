"""What of a failure leaves the site: by `agent.report.detail`, and nothing else decides it.

`code` tells the code alone. `summary` tells this node's own sentence, without what an experiment or a shard descriptor
said, and without the site's paths and addresses. `full` tells all of it.
"""

from __future__ import annotations

import re

from fedenvoy.events import Problem

__all__ = ["told_of", "without_places"]

_ADDRESS = re.compile(r"\b([a-z][a-z0-9+.-]*)://[^\s'\"<>()\[\]{},;]*[^\s'\"<>()\[\]{},;:.]", re.IGNORECASE)
_DIRECTORIES = re.compile(r"(?<![\w./~-])~?/(?:[^\s/'\"<>()\[\]{},;:]+/)+(?=[^\s/'\"<>()\[\]{},;:])")


def told_of(problem: Problem, detail: str) -> str:
    """Give the words for the director.

    Args:
        problem: What failed.
        detail: `full`, `summary` or `code`.

    """
    if detail == "full":
        return f"{problem.text}\n{problem.detail}".rstrip()
    if detail == "code":
        return f"failed on this node ({problem.code or 'error'})"
    return without_places(problem.summary or problem.text)


def without_places(text: str) -> str:
    """Take the directories out of a sentence's paths, and what follows the scheme out of its URLs."""
    return _DIRECTORIES.sub(".../", _ADDRESS.sub(r"\1://...", text))
