"""Zip files that say what is not so are refused whole, in one sentence each; what is taken all readers see alike."""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.config import ArchiveSettings
from fedenvoy.workspace.archive import ArchiveError, extract
from support.intake import look
from support.small_disk import free, small_disk
from support.zips import DESCRIPTOR, PLAN, PLAN_NAME, STORED, UTF8, Piece, deflated, large_field, zipped

LIMITS = ArchiveSettings()
MEGABYTE = 2**20
A, B = Piece(b"a.txt", b"first"), Piece(b"b.txt", b"second")
END = b"PK\x05\x06"
NAMED = b"\x01\0\0\0\0"


def refused(place: Path, data: bytes, limits: ArchiveSettings = LIMITS) -> str:
    """Give the sentence by which an archive is refused."""
    sentence = look(data, place, limits)
    assert sentence is not None, "it was unpacked"
    return sentence


def taken(place: Path, data: bytes, limits: ArchiveSettings = LIMITS) -> dict[str, bytes]:
    """Give the files that an archive unpacks to, but for the plan."""
    sentence = look(data, place, limits)
    assert sentence is None, sentence
    top = place / "workspace"
    found = {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}
    found.pop(PLAN_NAME.decode())
    return found


def changed(piece: Piece, **fields: Any) -> Piece:
    return Piece(**{**vars(piece), **fields})


def extra(kind: int, content: bytes) -> bytes:
    return struct.pack("<2H", kind, len(content)) + content


# Layout: every byte belongs to one thing


def test_B38_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """A bomb of this kind unpacks a kilobyte as often as it has entries, and no ratio of one entry tells."""
    inner = zipped([B], plan=False)
    record = inner[: inner.index(b"PK\x01\x02")]
    outer = Piece(b"outer", record, method=STORED)
    inside = zipped([outer]).index(record)
    honest = zipped([outer, changed(B, central={"offset": inside})])
    at = honest.rindex(record)
    without = honest[:at] + honest[at + len(record) :]  # the second entry is only where the first one's content is
    lying = without[:-6] + struct.pack("<L", at) + without[-2:]
    assert "'outer' and 'b.txt' overlap" in refused(tmp_path, lying)


def test_B38_one_piece_of_content_under_two_names_is_refused(tmp_path: Path) -> None:
    assert "another name in its own header" in refused(tmp_path, zipped([A, changed(B, central={"offset": 0})]))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (zipped([changed(A, behind=b"hidden"), B]), "6 bytes behind 'a.txt' belong to no entry"),
        (zipped([changed(A, behind=zipped([B], plan=False)[:47])]), "47 bytes behind 'a.txt' belong to no entry"),
        (zipped([A], between=b"xx"), "2 bytes behind 'a.txt' belong to no entry"),
        (zipped([A], before=b"#!/bin/sh\n"), "its directory is not where it says"),
        (
            zipped([changed(A, central={"offset": 2})], plan=False, before=b"MZ", start=44),
            "2 bytes at its beginning belong to no entry",
        ),
        (zipped([A], behind=b"\0"), "ends neither with a directory"),
        (zipped([A], comment=b"so " + END), "has two ends"),
        (zipped([A], comment=END + bytes(18)), "its directory is not where it says"),
        (zipped([A], length=4), "ends neither with a directory"),
        (zipped([A], count=1), "holds 2 entries and says 1"),
        (zipped([A], count=3), "holds 2 entries and says 3"),
        (zipped([A], here=1), "one part of several"),
        (zipped([A], disk=1, first=1), "one part of several"),
        (zipped([changed(A, central={"disk": 1})]), "one part of several"),
        (zipped([A], size=50), "its directory is not where it says"),
        (zipped([A], start=0, size=0, count=0), "its directory is not where it says"),
        (zipped([changed(A, central={"mark": b"PK\x01\x03"})]), "its directory is damaged"),
        (zipped([changed(A, local={"mark": b"PK\x03\x05"})]), "'a.txt' has no header of its own"),
        (zipped([changed(A, central={"offset": 2**31})]), "'a.txt' begins behind the end"),
        (zipped([changed(A, central={"packed": 2**31})]), "'a.txt' reaches beyond the end"),
        (b"", "empty"),
        (b"PK", "ends neither"),
        (END + bytes(18), "no plan/plan.yaml"),
    ],
)
def test_B38_bytes_that_belong_to_nothing_and_places_that_are_elsewhere_are_refused(
    tmp_path: Path, data: bytes, words: str
) -> None:
    assert words in refused(tmp_path, data)


# One entry, told in two ways


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        (changed(A, local={"name": b"b.txt"}), "'a.txt' has another name in its own header: b'b.txt'"),
        (changed(A, local={"name": b"A.TXT"}), "another name in its own header"),
        (changed(A, local={"name": b"../../etc/passwd"}), "another name in its own header"),
        (changed(A, local={"method": STORED}), "'a.txt' is another in its own header"),
        (changed(A, local={"flags": 0}), "is another in its own header"),
        (changed(A, local={"flags": UTF8 | 1}), "is another in its own header"),
        (changed(A, local={"flags": UTF8 | DESCRIPTOR}), "is another in its own header"),
        (changed(A, local={"crc": 1}), "is another in its own header"),
        (changed(A, local={"size": 1}), "is another in its own header"),
        (changed(A, local={"packed": 1}), "is another in its own header"),
        (changed(A, descriptor=16, local={"size": 1}), "is another in its own header"),
        (changed(A, local={"size": 0xFFFFFFFF}), "is another in its own header"),
        (changed(A, local={"size": 0xFFFFFFFF, "extra": large_field()}), "the sizes of 'a.txt' are damaged"),
        (changed(A, local={"extra": extra(0x7075, NAMED + b"b.txt")}), "is another in its own header"),
        (changed(A, central={"extra": extra(0x7075, NAMED + b"b.txt")}), "names 'a.txt' in two ways"),
        (changed(A, central={"extra": large_field(1) * 2}), "the extra fields of 'a.txt' are damaged"),
        (changed(A, central={"extra": b"\1\0\xff\xff"}), "the extra fields of 'a.txt' are damaged"),
        (changed(A, local={"extra": b"\1\0\xff\xff"}), "the extra fields of 'a.txt' are damaged"),
        (changed(A, descriptor=16, behind=b"x"), "not followed by its sizes"),
        (changed(A, flags=UTF8 | DESCRIPTOR), "not followed by its sizes"),
        (changed(A, flags=UTF8 | DESCRIPTOR, behind=b"PK\x07\x08" + bytes(12)), "not followed by its sizes"),
        (changed(A, central={"version": 100}, local={"version": 100}), "needs a newer reader"),
    ],
)
def test_B38_an_entry_that_is_told_in_two_ways_is_refused(tmp_path: Path, piece: Piece, words: str) -> None:
    assert words in refused(tmp_path, zipped([piece]))


# Content that is not what was said


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        (changed(A, packed=deflated(b"first") + b"x"), "the content of 'a.txt' does not end where it should"),
        (changed(A, packed=deflated(b"first") * 2), "does not end where it should"),
        (changed(A, packed=deflated(b"first")[:-1]), "does not end where it should"),
        (changed(A, packed=b""), "does not end where it should"),
        (changed(A, packed=b"\xff" * 20), "the content of 'a.txt' is damaged"),
        (changed(A, packed=deflated(b"other")), "'a.txt' does not have the checksum"),
        (changed(A, packed=deflated(b"first and more")), "'a.txt' is larger than its directory says"),
        (changed(A, packed=deflated(b"f")), "'a.txt' is smaller than its directory says"),
        (changed(A, packed=deflated(bytes(2**22))), "'a.txt' is larger than its directory says"),
        (changed(A, method=STORED, packed=b"first and more"), "'a.txt' is larger than its directory says"),
        (changed(A, method=STORED, packed=b"fir"), "'a.txt' is smaller than its directory says"),
    ],
)
def test_B38_content_that_is_not_what_the_directory_said_is_refused(tmp_path: Path, piece: Piece, words: str) -> None:
    assert words in refused(tmp_path, zipped([piece, B]))


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        (changed(A, flags=UTF8 | 1), "encrypted: 'a.txt'"),
        (changed(A, flags=UTF8 | 0x40), "encrypted: 'a.txt'"),
        (changed(A, flags=UTF8 | 0x2000), "encrypted: 'a.txt'"),
        (changed(A, method=9), "'a.txt' is packed by a method other than deflate (number 9)"),
        (changed(A, method=93), "other than deflate (number 93)"),
        (changed(A, mode=stat.S_IFLNK | 0o777), "a link or a device: 'a.txt'"),
        (changed(A, mode=stat.S_IFIFO), "a link or a device: 'a.txt'"),
        (changed(A, mode=stat.S_IFDIR | 0o755), "of 'a.txt' both that it is a directory and that it is a file"),
        (Piece(b"dir/", b"", mode=stat.S_IFREG), "of 'dir/' both"),
        (Piece(b"dir/", b"content", mode=0), "a directory with content of its own: 'dir/'"),
        (Piece(b"dir/", b"", STORED, mode=0, packed=b"hidden"), "a directory with content of its own: 'dir/'"),
    ],
)
def test_B38_what_is_no_plain_file_or_directory_is_refused(tmp_path: Path, piece: Piece, words: str) -> None:
    assert words in refused(tmp_path, zipped([piece]))


# Names


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        (b"caf\x82", 0, r"the name b'caf\x82' is not ASCII, and does not say what it is"),
        ("caf\u00e9".encode(), 0, "is not ASCII"),
        (b"\xff\xfe", UTF8, "is not UTF-8"),
        (b"\xed\xa0\x80", UTF8, "is not UTF-8"),
        (b"a\xc0\xafb", UTF8, "is not UTF-8"),
        (b"a\0.txt", UTF8, "a control character"),
        (b"a\x7f", UTF8, "a control character"),
        ("a\u2028b".encode(), UTF8, "a control character"),
        ("photo\u202egpj.exe".encode(), UTF8, "a control character"),
        (b"", UTF8, "a file without a name"),
        (b".", UTF8, "a file without a name"),
        (b"/", UTF8, "absolute"),
        (b"c:/windows", UTF8, "a Windows path"),
        (b"a/../b", UTF8, "outside its own directory: 'a/../b'"),
        (b"../a", UTF8, "outside its own directory"),
        (b"..", UTF8, "outside its own directory"),
        (b"x" * 256, UTF8, "too long a path"),
        ("\u00e9".encode() * 128, UTF8, "the 255 bytes that Linux takes"),
        (b"x" * 60_000, UTF8, "too long a path"),
    ],
)
def test_B38_a_name_that_is_no_fit_path_is_refused(tmp_path: Path, name: bytes, flags: int, words: str) -> None:
    assert words in refused(tmp_path, zipped([Piece(name, flags=flags)]))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((b"a", b"a"), "holds 'a' twice"),
        ((b"a", b"./a"), "holds './a' twice"),
        ((b"a/b", b"a//b"), "holds 'a//b' twice"),
        ((b"a/", b"a"), "twice"),
        ((b"a", b"a/"), "twice"),
        ((b"a", b"a/b"), "uses a file as a directory: 'a'"),
        ((b"a/b", b"a"), "uses a file as a directory: 'a'"),
        ((b"a/b/c", b"a/x", b"a/b"), "uses a file as a directory: 'a/b'"),
        ((b"x/A", b"x/a"), "spells one path in two ways: 'x/A' and 'x/a'"),
        ((b"src/a", b"SRC/b"), "spells one path in two ways: 'src' and 'SRC'"),
        (("stra\u00dfe".encode(), b"STRASSE"), "in two ways"),
        (("\u00e9".encode(), "e\u0301".encode()), "in two ways"),
        (("\u212a".encode(), b"k"), "in two ways"),
        (("a\u200bb".encode(), b"ab"), "in two ways"),
    ],
)
def test_B38_names_that_are_one_file_on_some_disk_are_refused(
    tmp_path: Path, names: tuple[bytes, ...], words: str
) -> None:
    pieces = [Piece(name, b"", mode=0, method=STORED) for name in names]
    assert words in refused(tmp_path, zipped(pieces))


# Limits: each names the entry and the setting


@pytest.mark.parametrize(
    ("data", "setting", "value", "words"),
    [
        (zipped([Piece(b"big", bytes(1001))]), "max_file_bytes", 1000, "'big' unpacks to 1001 bytes; at most 1000"),
        (zipped([Piece(b"big", bytes(1001))]), "max_unpacked_bytes", 1000, "up to 'big'"),
        (zipped([Piece(b"big", bytes(2**25))]), "max_ratio", 100, "up to 'big'"),
        (zipped([Piece(b"d/" * 9 + b"x")]), "max_depth", 9, "has 10 parts; at most 9"),
        (zipped([Piece(b"d/" * 9 + b"x")]), "max_path", 18, "has 19 bytes; at most 18"),
        (zipped([A, B]), "max_entries", 2, "more than 2 files and directories"),
        (zipped([A, B]), "max_bytes", 200, "larger than the 200 bytes"),
    ],
)
def test_B38_a_limit_names_what_breaks_it_and_the_setting(
    tmp_path: Path, data: bytes, setting: str, value: int, words: str
) -> None:
    quiet = dict.fromkeys(("max_file_bytes", "max_unpacked_bytes", "max_ratio", "max_depth", "max_path"), 0)
    quiet |= {"max_entries": 0, "max_bytes": 0}
    assert taken(tmp_path, data, ArchiveSettings(**quiet))
    assert taken(tmp_path, data, ArchiveSettings(**quiet | {setting: value * 11 if value > 99 else value + 1}))
    sentence = refused(tmp_path, data, ArchiveSettings(**quiet | {setting: value}))
    assert words in sentence
    assert f"(agent.archive.{setting})" in sentence


def test_a_path_that_only_the_disk_finds_too_long_is_refused_as_the_archive_s_fault(tmp_path: Path) -> None:
    name = b"/".join([b"x" * 200] * 30)
    assert "too long a path for this disk" in refused(tmp_path, zipped([Piece(name)]), ArchiveSettings(max_path=0))


# The disk


def test_B38_an_archive_for_which_there_is_no_room_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2 * MEGABYTE) as disk:
        room = free(disk)
        sentence = refused(disk, zipped([Piece(b"big", bytes(3 * MEGABYTE))]))
        assert f"needs {3 * MEGABYTE + 4096} bytes" in sentence
        assert "are free on the disk of" in sentence
        assert abs(free(disk) - room) < 64 * 1024
        with pytest.raises(ArchiveError) as caught:
            extract(disk / "archive.zip", disk, LIMITS)
        assert caught.value.code == "disk"


def test_B38_a_disk_that_fills_meanwhile_is_told_as_the_disks_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", 2 * MEGABYTE) as disk:
        roomy = os.statvfs(tmp_path)
        monkeypatch.setattr(os, "statvfs", lambda _path: roomy)
        pieces = [Piece(b"%d" % number, bytes(MEGABYTE)) for number in range(3)]
        (disk / "a.zip").write_bytes(zipped(pieces))
        (disk / "out").mkdir()
        with pytest.raises(ArchiveError, match="the disk is full: the unpacked archive") as caught:
            extract(disk / "a.zip", disk / "out", LIMITS)
    assert caught.value.code == "disk"


# Threads


def test_a_failure_in_one_file_ends_the_others(tmp_path: Path) -> None:
    pieces = [Piece(b"%d" % number, os.urandom(MEGABYTE)) for number in range(8)]
    pieces[5] = changed(pieces[5], packed=deflated(bytes(MEGABYTE)))
    assert "'5' does not have the checksum" in refused(tmp_path, zipped(pieces))


def test_many_large_files_come_out_as_they_went_in(tmp_path: Path) -> None:
    contents = {str(number): os.urandom(2 * MEGABYTE + number) for number in range(6)}
    pieces = [
        Piece(name.encode(), content, method=8 * (index % 2)) for index, (name, content) in enumerate(contents.items())
    ]
    assert taken(tmp_path, zipped(pieces)) == contents


def test_unpacking_is_cancelled_between_two_pieces(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped([Piece(b"%d" % number, bytes(4 * MEGABYTE)) for number in range(4)]))
    (tmp_path / "out").mkdir()
    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(Cancelled):
        extract(tmp_path / "a.zip", tmp_path / "out", LIMITS, cancel)


# What is taken


@pytest.mark.parametrize("length", [12, 16, 20, 24])
def test_sizes_behind_the_content_are_read_in_each_of_their_forms(tmp_path: Path, length: int) -> None:
    assert taken(tmp_path, zipped([changed(A, descriptor=length), B])) == {"a.txt": b"first", "b.txt": b"second"}


@pytest.mark.parametrize(
    "data",
    [
        zipped([A], large={}),
        zipped([changed(A, central={"size": 0xFFFFFFFF, "extra": large_field(5)})]),
        zipped([changed(A, local={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF, "extra": large_field(5, 7)})]),
        zipped([A], comment=b"a comment"),
        zipped([changed(A, central={"extra": extra(0x7075, NAMED + b"a.txt"), "comment": b"about it"})]),
        zipped([changed(A, flags=0)]),
        zipped([changed(A, local={"extra": b"\0\0\0"})]),
        zipped([Piece(b"./", b"", mode=0), changed(A, name=b"./a.txt")]),
    ],
    ids=["large records", "a large size", "large sizes in front", "comment", "the same name", "ASCII", "padding", "./"],
)
def test_forms_that_real_writers_use_are_taken(tmp_path: Path, data: bytes) -> None:
    assert taken(tmp_path, data) == {"a.txt": b"first"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (zipped([A], large={"count": 1, "here": 1}), "holds 2 entries and says 1"),
        (zipped([A], large={"where": 0}), "its large end record is not where it says"),
        (zipped([A], large={"mark": b"PK\x06\x09"}), "its large end record is damaged"),
        (zipped([A], large={"length": 45}), "its large end record is damaged"),
        (zipped([A], large={"disks": 2}), "its large end record is not where it says"),
        (zipped([A], large={"start": 2**62}), "its directory is not where it says"),
        (zipped([A], large={}, count=5, here=5), "its two end records differ"),
        (zipped([changed(A, central={"size": 0xFFFFFFFF, "extra": large_field(2**62)})]), "unpacks to"),
        (zipped([changed(A, central={"packed": 0xFFFFFFFF, "extra": large_field(2**62)})]), "reaches beyond"),
        (zipped([changed(A, central={"offset": 0xFFFFFFFF, "extra": large_field(2**62)})]), "begins behind"),
    ],
)
def test_B38_large_records_that_lie_are_refused(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in refused(tmp_path, data)


class OneWay(io.BytesIO):
    """A file that cannot go back, as a pipe: what is written gets its sizes behind it."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


@pytest.mark.parametrize("make", [io.BytesIO, OneWay])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_python_writes_is_taken(tmp_path: Path, make: Callable[[], io.BytesIO], method: int) -> None:
    out = make()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("save/", b"")
        archive.writestr(PLAN_NAME.decode(), PLAN)
        archive.writestr("\u6d4b/\u8bd5.py", b"x = 1\n" * 1000)
        archive.writestr("empty", b"")
        with archive.open("large", "w", force_zip64=True) as file:
            file.write(bytes(3 * MEGABYTE))
    found = taken(tmp_path, out.getvalue())
    assert found == {"\u6d4b/\u8bd5.py": b"x = 1\n" * 1000, "empty": b"", "large": bytes(3 * MEGABYTE)}
    assert (tmp_path / "workspace" / "save").is_dir()


def test_what_openfl_packs_with_is_taken(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "plan").mkdir(parents=True)
    (source / "plan" / "plan.yaml").write_bytes(PLAN)
    (source / "src" / "deep").mkdir(parents=True)
    (source / "src" / "deep" / "code.py").write_text("x = 1\n")
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", str(source)))
    assert taken(tmp_path, packed.read_bytes()) == {"src/deep/code.py": b"x = 1\n"}
