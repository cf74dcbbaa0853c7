"""What an archive costs in memory: a few buffers, however large it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from support.sources import source_path
from support.zips import Piece, zipped

MEGABYTE = 2**20
MOST_KIB = 32 * 1024

RECEIVE = """
import sys
from itertools import repeat
from pathlib import Path
from fedenvoy.cancel import Cancel
from fedenvoy.config import ArchiveSettings
from fedenvoy.workspace.intake import receive
chunk, path = bytes(2**21), Path(sys.argv[1])
def take(chunks):
    receive(repeat(chunk, chunks), path, ArchiveSettings(max_bytes=0), Cancel())
    path.unlink()
work = lambda: take(int(sys.argv[2]) // 2)
take(3)
"""
UNPACK = """
import sys
from pathlib import Path
from fedenvoy.config import ArchiveSettings
from fedenvoy.workspace.archive import extract
none = ArchiveSettings(max_unpacked_bytes=0, max_ratio=0, max_file_bytes=0)
work = lambda: extract(Path(sys.argv[1]), Path(sys.argv[1]).parent, none)
"""
MEASURE = """
import resource
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def growth(program: str, *arguments: str) -> int:
    """Give the KiB by which a process grows while it does its work."""
    done = subprocess.run(
        [sys.executable, "-c", program + MEASURE, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": source_path()},
    )
    return int(done.stdout)


def write_zeros(path: Path, files: int, megabytes: int) -> None:
    """Write an archive of files that hold zeros; the packed form is made once, for it is the same in each."""
    packer, crc, zeros = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS), 0, bytes(MEGABYTE)
    packed = b"".join(packer.compress(zeros) for _ in range(megabytes)) + packer.flush()
    for _ in range(megabytes):
        crc = zlib.crc32(zeros, crc)
    told = {"crc": crc, "size": megabytes * MEGABYTE}
    pieces = [Piece(b"%d.bin" % number, b"", packed=packed, local=told, central=told) for number in range(files)]
    path.write_bytes(zipped(pieces))


def unpack_zeros(place: Path, files: int, megabytes: int) -> int:
    """Unpack so many files of zeros; give the KiB that it took."""
    place.mkdir()
    write_zeros(place / "archive.zip", files, megabytes)
    grown = growth(UNPACK, str(place / "archive.zip"))
    assert [path.stat().st_size for path in place.glob("*.bin")] == [megabytes * MEGABYTE] * files
    shutil.rmtree(place)
    return grown


def test_B27_an_archive_costs_the_same_memory_whatever_it_unpacks_to(tmp_path: Path) -> None:
    assert unpack_zeros(tmp_path / "unpack", 3, 64) < MOST_KIB


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_B27_ten_gigabytes_cost_less_than_32_megabytes_of_memory(tmp_path: Path) -> None:
    assert growth(RECEIVE, str(tmp_path / "archive.zip"), "10240") < MOST_KIB
    assert unpack_zeros(tmp_path / "unpack", 10, 1024) < MOST_KIB


def test_memory_does_not_grow_with_what_is_received(tmp_path: Path) -> None:
    assert growth(RECEIVE, str(tmp_path / "archive.zip"), "128") < MOST_KIB // 2
