"""What must hold of the intake whatever comes in; the property of the fuzzers and of every hostile archive."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from pathlib import Path

from fedenvoy.cancel import Cancel
from fedenvoy.config import ArchiveSettings
from fedenvoy.workspace.intake import ArchiveError, receive, unpack

SMALL = ArchiveSettings(
    max_bytes=2**20,
    max_unpacked_bytes=2**20,
    max_entries=50,
    max_ratio=1000,
    max_file_bytes=2**19,
    max_path=200,
    max_depth=9,
)
"""Limits that let a fuzzer go through thousands of archives."""

_LONGEST_SENTENCE = 1200


def look(data: bytes, place: Path, limits: ArchiveSettings = SMALL) -> str | None:
    """Take an archive in as the agent does; give the sentence by which it is refused, None when it is taken.

    Args:
        data: The archive.
        place: A directory, which may hold what an earlier look left.
        limits: What is accepted.

    Raises:
        AssertionError: Something is left of what was refused, lies outside, is no plain file or directory, breaks a
            limit, or is not what other readers of zip files see.

    """
    archive, workspace = place / "archive.zip", place / "workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    outside = _listing(place) - {"archive.zip"}
    sentence = _take(data, archive, workspace, limits)
    assert _listing(place) - {"archive.zip", "workspace"} == outside, "something lies outside"
    if sentence is None:
        _check_files(workspace, limits)
        _check_other_readers(archive, workspace)
    else:
        assert not workspace.exists(), f"something is left of what was refused: {sentence}"
        _check_sentence(sentence)
    return sentence


def _take(data: bytes, archive: Path, workspace: Path, limits: ArchiveSettings) -> str | None:
    try:
        digest = receive(iter([data[: len(data) // 2], data[len(data) // 2 :]]), archive, limits, Cancel())
        unpack(archive, digest, workspace, limits)
    except ArchiveError as error:
        return str(error)
    return None


def _listing(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


def _check_sentence(sentence: str) -> None:
    assert sentence
    assert len(sentence) < _LONGEST_SENTENCE, sentence
    assert sentence.isprintable(), repr(sentence)


def _check_files(workspace: Path, limits: ArchiveSettings) -> None:
    total = number = 0
    for directory, directories, files in os.walk(workspace):
        for name in (*directories, *files):
            path = Path(directory, name)
            told = path.lstat()
            if stat.S_ISREG(told.st_mode):
                assert stat.S_IMODE(told.st_mode) in {0o600, 0o700}, path
                assert told.st_nlink == 1, path
                assert not limits.max_file_bytes or told.st_size <= limits.max_file_bytes, path
                total += told.st_size
                number += 1
            else:
                assert told.st_mode == stat.S_IFDIR | 0o700, path
            relative = path.relative_to(workspace)
            assert not limits.max_depth or len(relative.parts) <= limits.max_depth, path
            assert not limits.max_path or len(os.fsencode(relative)) <= limits.max_path, path
    assert not limits.max_unpacked_bytes or total <= limits.max_unpacked_bytes
    assert not limits.max_entries or number <= limits.max_entries


def _check_other_readers(archive: Path, workspace: Path) -> None:
    """Python's own reader, which OpenFL uses, must see the same files with the same content."""
    with zipfile.ZipFile(archive) as opened:
        entries = [entry for entry in opened.infolist() if not entry.is_dir()]
        seen = {str(Path(entry.filename)): opened.read(entry) for entry in entries}
    assert len(seen) == len(entries)
    ours = {str(path.relative_to(workspace)): path.read_bytes() for path in workspace.rglob("*") if path.is_file()}
    assert ours == seen
