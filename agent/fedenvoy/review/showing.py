"""What people are shown of an experiment that waits: made once, from the archive as it came, and bounded.

It is made before anybody looks, so that looking costs the agent nothing, and so that all see the same.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path

from fedenvoy.review.case import ReviewCase
from fedenvoy.review.differences import compare
from fedenvoy.review.inspection import inspect

__all__ = ["MOST", "shown"]

MOST = 900_000
"""Bytes of each text, as JSON has it: all of them together fit into one answer."""
_LONGEST_ESCAPE = 12


def shown(case: ReviewCase, last: tuple[Path, str] | None) -> dict[str, str]:
    """Make the texts.

    Args:
        case: The experiment.
        last: The archive of this name that was approved last, and its SHA-256; None where there is none.

    Returns:
        Texts by name: `plan`, `requirements` (locked, where they are), `content`, `changes`. Those may hold anything
        that the archive holds; who prints them escapes them.

    Raises:
        OSError: The workspace cannot be read.

    """
    texts = {
        "plan": case.plan_path.read_bytes().decode("utf-8", "backslashreplace"),
        "requirements": case.lock or case.requirements,
        "content": inspect(case.workspace, case.plan).text(),
        "changes": _changes(case, last),
    }
    return {name: _cut(text) for name, text in texts.items()}


def _changes(case: ReviewCase, last: tuple[Path, str] | None) -> str:
    """Tell what is another than in the last approved archive; everything, where there is none."""
    if last is None:
        with tempfile.TemporaryDirectory() as nothing:
            text = compare(Path(nothing), case.workspace).text()
        return f"No archive of this name was approved before, or it is not kept any more: all of it is new.\n{text}"
    archive, digest = last
    if digest == case.digest:
        return "Exactly this archive was approved last."
    try:
        text = compare(archive, case.workspace).text()
    except zipfile.BadZipFile as error:
        return f"The archive that was approved last cannot be read: {error}."
    return f"Compared with the archive that was approved last, sha256 {digest}:\n{text}"


def _cut(text: str) -> str:
    """Give what there is room for; of a text in another script less than there might be."""
    if len(json.dumps(text[:MOST])) <= MOST and len(text) <= MOST:
        return text
    length = MOST if text[:MOST].isascii() else MOST // _LONGEST_ESCAPE
    length = length if len(json.dumps(text[:length])) <= MOST else MOST // _LONGEST_ESCAPE
    return f"{text[:length]}\n(cut: {len(text) - length} characters more)\n"
