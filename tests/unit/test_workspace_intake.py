"""An archive arrives: what is taken in, what is refused, and that nothing is left of what was refused."""

from __future__ import annotations

import errno
import hashlib
import io
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.config import ArchiveSettings
from fedenvoy.ports import ExperimentFiles
from fedenvoy.workspace import sink
from fedenvoy.workspace.intake import ArchiveError, receive, unpack

PLAN = b"aggregator: {settings: {rounds_to_train: 2}}\n"
LIMITS = ArchiveSettings()
Files = dict[str, bytes]


def pack(files: Files, *, plan: bytes | None = PLAN) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in ({"plan/plan.yaml": plan} if plan is not None else {}).items():
            archive.writestr(name, content)
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def take(tmp_path: Path, data: bytes, limits: ArchiveSettings = LIMITS) -> ExperimentFiles:
    """Receive and unpack as the agent does."""
    archive = tmp_path / "archive.zip"
    digest = receive(iter([data]), archive, limits, Cancel())
    return unpack(archive, digest, tmp_path / "workspace", limits)


def refusal(tmp_path: Path, data: bytes, limits: ArchiveSettings = LIMITS) -> str:
    """Give the sentence by which `data` is refused; nothing outside of the workspace may have been written."""
    with pytest.raises(ArchiveError) as caught:
        take(tmp_path, data, limits)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"archive.zip", "workspace"}
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "workspace").rglob("*"))


def special(name: str, **fields: int) -> bytes:
    """Give an archive with one entry whose header fields are set by hand."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("plan/plan.yaml", PLAN)
        entry = zipfile.ZipInfo(name)
        for field, value in fields.items():
            setattr(entry, field, value)
        archive.writestr(entry, b"content")
    return out.getvalue()


# The stream


@pytest.mark.parametrize("sizes", [(1,), (2**21,), (2**21, 1), (2**21, 2**21, 7)])
def test_B26_a_whole_stream_is_written_and_hashed(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    chunks = [bytes([number]) * size for number, size in enumerate(sizes)]
    path = tmp_path / "archive.zip"
    digest = receive(iter(chunks), path, LIMITS, Cancel())
    assert path.read_bytes() == b"".join(chunks)
    assert digest == hashlib.sha256(b"".join(chunks)).hexdigest()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_B26_a_cut_stream_leaves_no_file_and_its_own_error(tmp_path: Path) -> None:
    def cut() -> Iterator[bytes]:
        yield b"one"
        yield b"two"
        raise ConnectionError("cut after two of five")

    with pytest.raises(ConnectionError, match="cut after two"):
        receive(cut(), tmp_path / "archive.zip", LIMITS, Cancel())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chunks", [[], [b""]])
def test_B26_an_empty_stream_is_one_clear_failure(tmp_path: Path, chunks: list[bytes]) -> None:
    with pytest.raises(ArchiveError, match="sent an empty archive"):
        receive(iter(chunks), tmp_path / "archive.zip", LIMITS, Cancel())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda _: b"this is no zip file\n" * 100, "not a sound zip file"),
        (lambda data: data[:-30], "not a sound zip file"),
        (lambda data: data[20:], "not a sound zip file"),
        (lambda data: data.replace(b"rounds", b"ROUNDS"), "does not have the checksum"),
    ],
    ids=["no zip", "truncated", "headless", "bad checksum"],
)
def test_B26_no_zip_or_a_damaged_one_is_one_clear_failure(
    tmp_path: Path, damage: Callable[[bytes], bytes], words: str
) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:  # stored, so that the damage is in the content
        archive.writestr("plan/plan.yaml", PLAN)
    assert words in refusal(tmp_path, damage(out.getvalue()))


def test_a_stream_is_stopped_at_the_limit_and_nothing_beyond_is_asked_for(tmp_path: Path) -> None:
    asked = []

    def endless() -> Iterator[bytes]:
        while True:
            asked.append(1)
            yield bytes(1000)

    with pytest.raises(ArchiveError, match="larger than the 2500 bytes"):
        receive(endless(), tmp_path / "archive.zip", ArchiveSettings(max_bytes=2500), Cancel())
    assert len(asked) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_download_ends_between_two_chunks(tmp_path: Path) -> None:
    cancel = Cancel()

    def chunks() -> Iterator[bytes]:
        yield b"one"
        cancel.cancel()
        yield b"two"
        raise AssertionError("asked for a chunk after the cancel")

    with pytest.raises(Cancelled):
        receive(chunks(), tmp_path / "archive.zip", LIMITS, cancel)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chunks", [1, 9])
def test_B38_a_full_disk_is_told_as_the_disks_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: int
) -> None:
    def full(data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sink, "_open_new", lambda _path: SimpleNamespace(write=full, close=lambda: None))
    with pytest.raises(ArchiveError, match="the disk is full") as caught:
        receive(iter([b"x"] * chunks), tmp_path / "archive.zip", LIMITS, Cancel())
    assert caught.value.code == "disk"


# The archive's directory


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "../../../../tmp/x", "/tmp/x", "//x/y", "C:\\x", "c:x", "a\\..\\x", "\\\\host\\x", ".."],
)
def test_B38_a_name_that_leaves_the_workspace_is_refused(tmp_path: Path, name: str) -> None:
    assert "outside its own directory" in (said := refusal(tmp_path, pack({name: b"x"}))) or "path" in said
    assert written(tmp_path) == [], "judged before a byte is written"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_B38_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    data = special("link", create_system=3, external_attr=(kind | 0o777) << 16)
    assert "link or a device: 'link'" in refusal(tmp_path, data)
    assert written(tmp_path) == []


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a": b"1", "./a": b"2"}, "twice"),
        ({"README": b"1", "readme": b"2"}, "spells one path in two ways"),
        ({"src/a": b"1", "SRC/b": b"2"}, "spells one path in two ways"),
        ({"caf\u00e9": b"1", "cafe\u0301": b"2"}, "spells one path in two ways"),
        ({"a": b"1", "a/b": b"2"}, "uses a file as a directory"),
        ({"a" * 256: b""}, "too long a path"),
        ({"ab/" * 1000 + "x": b""}, "too long a path"),
        ({"x\ny": b""}, "control character"),
        ({"x\x1b[31m": b""}, "control character"),
    ],
)
def test_B38_ambiguous_and_unfit_names_are_refused(tmp_path: Path, files: Files, words: str) -> None:
    assert words in refusal(tmp_path, pack(files))
    assert written(tmp_path) == []


def test_B38_a_name_with_a_nul_is_refused_where_zipfile_would_cut_it(tmp_path: Path) -> None:
    assert "control character" in refusal(tmp_path, pack({"plan.txt?exe": b""}).replace(b"plan.txt?", b"plan.txt\0"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_B38_an_exact_duplicate_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for content in (PLAN, b"aggregator: {}\n"):
            archive.writestr("plan/plan.yaml", content)
    assert "'plan/plan.yaml' twice" in refusal(tmp_path, out.getvalue())


def test_B38_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    data = bytearray(special("secret"))
    struct.pack_into("<H", data, data.rindex(b"PK\x01\x02") + 8, 1)
    assert "encrypted: 'secret'" in refusal(tmp_path, bytes(data))


def test_B38_a_name_that_is_not_utf8_although_marked_so_is_refused(tmp_path: Path) -> None:
    data = pack({"\u00e9\u00e9": b""}).replace("\u00e9\u00e9".encode(), b"\xff\xfe\xff\xfe")
    assert "is not UTF-8" in refusal(tmp_path, data)


def test_B38_only_deflate_is_unpacked_for_others_cannot_be_bounded(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("plan/plan.yaml", PLAN)
    assert "method other than deflate" in refusal(tmp_path, out.getvalue())


# Bombs


def test_B38_a_bomb_is_refused_by_its_ratio_before_it_is_unpacked(tmp_path: Path) -> None:
    data = pack({f"{number}": bytes(2**20) for number in range(32)})
    assert "more than 100 times its size" in refusal(tmp_path, data, ArchiveSettings(max_ratio=100))
    assert written(tmp_path) == []


def test_B38_an_archive_larger_than_the_limit_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    data = pack({"big": bytes(3000)})
    assert "at most 2000 are accepted" in refusal(tmp_path, data, ArchiveSettings(max_unpacked_bytes=2000))
    assert written(tmp_path) == []


def test_B38_an_entry_that_lies_about_its_size_writes_no_more_than_it_said(tmp_path: Path) -> None:
    data = bytearray(pack({"liar": bytes(2**20)}))
    struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, 10)
    assert "is another in its own header" in refusal(tmp_path, bytes(data))
    struct.pack_into("<I", data, data.rindex(b"PK\x03\x04") + 22, 10)
    place = tmp_path / "again"
    place.mkdir()
    assert "'liar' is larger than" in refusal(place, bytes(data))


def test_B38_too_many_entries_are_refused_before_they_are_objects(tmp_path: Path) -> None:
    data = pack({f"{number}": b"" for number in range(20)})
    assert "more than 20 files" in refusal(tmp_path, data, ArchiveSettings(max_entries=20))
    # The count in the archive's end record does not matter: here it says two.
    end = data.rindex(b"PK\x05\x06")
    lying = data[: end + 8] + struct.pack("<HH", 2, 2) + data[end + 12 :]
    other = tmp_path / "other"
    other.mkdir()
    assert "more than 20 files" in refusal(other, lying, ArchiveSettings(max_entries=20))


def test_limits_of_zero_are_none(tmp_path: Path) -> None:
    none = ArchiveSettings(max_bytes=0, max_unpacked_bytes=0, max_entries=0, max_ratio=0)
    files = take(tmp_path, pack({f"{number}": bytes(2**20) for number in range(20)}), none)
    assert len(list(files.workspace.iterdir())) == 21


# What is taken in


def test_an_archive_is_unpacked_for_this_user_alone(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("./", b"")
        archive.writestr("plan/plan.yaml", PLAN)
        archive.writestr("save/", b"")
        archive.writestr("src/deep/tasks.py", b"x = 1")
        script = zipfile.ZipInfo("run.sh")
        script.external_attr = 0o100755 << 16
        archive.writestr(script, b"#!/bin/sh")
    files = take(tmp_path, out.getvalue())
    modes = {str(path.relative_to(files.workspace)): path.stat().st_mode for path in files.workspace.rglob("*")}
    assert {name: oct(stat.S_IMODE(mode)) for name, mode in modes.items()} == {
        "plan": "0o700",
        "plan/plan.yaml": "0o600",
        "run.sh": "0o700",
        "save": "0o700",
        "src": "0o700",
        "src/deep": "0o700",
        "src/deep/tasks.py": "0o600",
    }
    assert files.plan == {"aggregator": {"settings": {"rounds_to_train": 2}}}
    assert files.plan_path.is_absolute()
    assert files.requirements == ""


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (None, "has no plan/plan.yaml"),
        (b"{{{ not yaml", "is not YAML"),
        (b"- a\n- list\n", "not a mapping"),
        (b"", "not a mapping"),
        (b"1: {}\n", "not a mapping"),
        (b"a: \xff\xfe\n", "cannot be read"),
        (b"a: !!python/object/apply:os.system ['touch owned']\n", "is not YAML"),
        (b"a: &a {x: 1}\nb: {<<: *a}\n", "merge keys"),
        (b"a: " + b"[" * 5000, "nested more than 100 deep"),
        (b"a: " + b"9" * 5000, "cannot be read"),
        (b"a: " + b"x" * 2**18, "larger than the"),
        (b"a: 0x" + b"f" * 5000, "a number of 20000 bits"),
        (b"a: &a [*a]\n", "aliases stand for more than"),
        (b"a: &a [x]\nb: &b {c: [*a, *b]}\n", "aliases stand for more than"),
        (b"a: &a ['" + b"x" * 9999 + b"']\nb: [" + b"*a," * 999 + b"]\n", "aliases stand for more than"),
        (
            b"a: &a [x,x,x,x,x,x,x,x,x]\n"
            + b"".join(b"%c: &%c [%s]\n" % (c, c, b"*%c," % (c - 1) * 9) for c in b"bcdefgh"),
            "aliases stand for more than",
        ),
        (b"a: !!bool what\n", "cannot be read"),
        (b"a: !!int ''\n", "cannot be read"),
        (b"a: !!timestamp x\n", "cannot be read"),
    ],
)
def test_a_plan_that_is_missing_or_none_is_told_in_one_sentence(tmp_path: Path, plan: bytes | None, words: str) -> None:
    said = refusal(tmp_path, pack({"other": b""}, plan=plan))
    assert words in said
    assert "plan/plan.yaml" in said


def test_B40_a_plan_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    assert take(tmp_path, pack({}, plan="\ufeffname: \u6d4b\u8bd5\n".encode())).plan == {"name": "\u6d4b\u8bd5"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ""),
        (b"# nothing\n\n   # more\n", ""),
        (b"--extra-index-url https://example.org/simple\n", ""),
        ("\ufeffnumpy==1.26.4\r\n\r\npandas<3  # why\r\n".encode(), "numpy==1.26.4\npandas<3"),
        ("numpy\r\n".encode("utf-16"), "numpy"),
        (
            b"numpy\n--extra-index-url https://example.org/simple\n",
            "--extra-index-url https://example.org/simple\nnumpy",
        ),
        (b"-r other.txt\n", "-r other.txt"),
        (b"numpy==1.26.4 \\\n    --hash=sha256:00\n", "numpy==1.26.4 --hash=sha256:00"),
        (b"a @ https://example.org/a.zip#sha256=00\n", "a @ https://example.org/a.zip#sha256=00"),
        (b"pkg-resources==0.0.0\nnumpy\n", "numpy"),
    ],
)
def test_B30_requirements_are_read_as_pip_reads_them(tmp_path: Path, content: bytes, expected: str) -> None:
    assert take(tmp_path, pack({"requirements.txt": content})).requirements == expected


def test_B30_an_archive_without_requirements_is_a_harmless_case(tmp_path: Path) -> None:
    assert take(tmp_path, pack({})).requirements == ""


def test_requirements_that_are_no_text_are_refused(tmp_path: Path) -> None:
    assert "requirements.txt: the requirements are not text" in refusal(
        tmp_path, pack({"requirements.txt": b"\xe9t\xe9"})
    )
