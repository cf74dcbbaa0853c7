"""The disk under the store: full, not writable, another user's, on the network. Real file systems throughout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fedenvoy.errors import StoreError
from fedenvoy.store import StateLock, Store, filesystem, reserve
from fedenvoy_statecharts import Event, State
from support.records import REPORT, ended, record, started, training
from support.small_disk import MEGABYTE, as_somebody_else, fill, free, read_only, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as place:
        yield place


def opened(directory: Path, session: str = "one") -> Store:
    store = Store(directory, session=session)
    store.begin()
    return store


def write_many(store: Store) -> None:
    for number in range(1, 100):
        store.append(record(number, cause="x" * 3000))


def test_on_a_full_disk_the_room_kept_back_takes_the_records_up_to_the_last(disk: Path) -> None:
    store = opened(disk / "state")
    store.append(started())
    ballast = fill(disk)
    assert free(disk) == 0
    number = write_until(store, "short_of_room", 2)
    assert store.journal()[-1].number == number, "no record was lost"
    assert (disk / "state" / "reserve-2").exists()
    fill(disk)  # whatever filled the disk takes what was given up
    number = write_until(store, "out_of_room", number + 1)
    assert not store.regain()
    # A verdict with the longest text that goes out, and the end.
    store.append(record(number + 1, report=REPORT, cause="x" * 65536))
    store.append(ended(number + 2, State.REPORTING, Event.STORE_FAILED))
    assert [line.number for line in store.journal()] == list(range(1, number + 3))
    store.close()
    assert not list((disk / "state").glob("reserve*"))
    ballast.unlink()
    store = opened(disk / "state", "two")
    assert len(store.journal("one")) == number + 2
    assert [one.ended for one in store.sessions()] == ["store", ""]
    assert store.reports() == (REPORT,)
    kept = [path.stat().st_blocks * 512 for path in (disk / "state").glob("reserve-*")]
    assert len(kept) == 2
    assert min(kept) >= reserve.SIZE, "they are made again"
    store.close()


def write_until(store: Store, mark: str, number: int) -> int:
    """Write records from `number` on until the store says so; give the last number."""
    while True:
        store.append(training(number, cause="x" * 3000))
        if getattr(store, mark):
            return number
        number += 1
        assert number < 200


def test_a_shortage_that_passes_is_survived(disk: Path) -> None:
    """Something else filled the disk for a moment: an experiment's archive, for example, that was given up."""
    store = opened(disk / "state")
    ballast = fill(disk)
    number = write_until(store, "short_of_room", 1)
    store.append(training(number + 1))
    assert not store.regain()
    ballast.unlink()
    assert store.regain()
    assert (disk / "state" / "reserve-1").exists()
    store.append(training(number + 2))
    assert len(store.journal()) == number + 2
    store.close()


def test_without_a_reserve_the_record_is_refused_whole(disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    (disk / "state").mkdir()
    Store(disk / "state", session="nothing yet").close()
    fill(disk, leave=96 * 1024)
    store = opened(disk / "state")
    assert "there is no room" in caplog.text
    assert not list((disk / "state").glob("reserve-1"))
    words = "cannot be written: its disk is full; make room there, or give another place"
    with pytest.raises(StoreError, match=words):
        write_many(store)
    count = len(store.journal())
    (disk / "ballast").unlink()
    store.append(record(count + 1))
    assert len(store.journal()) == count + 1
    store.close()


def test_a_file_system_that_cannot_reserve_gets_a_written_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def refuse(*_arguments: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not offered")

    monkeypatch.setattr("os.posix_fallocate", refuse)
    kept = reserve.Reserve(tmp_path / "reserve", 10_000)
    assert kept.make()
    assert (tmp_path / "reserve").stat().st_size == 10_000
    assert len(set((tmp_path / "reserve").read_bytes())) > 100, "zeros would be packed away"
    assert kept.release()
    assert not kept.release()
    assert not (tmp_path / "reserve").exists()


def test_no_room_at_the_start_is_one_sentence(disk: Path) -> None:
    state = disk / "state"
    state.mkdir()
    fill(disk)
    with pytest.raises(StoreError, match=r"state cannot be used \(No space left on device\): make room there, or"):
        StateLock(state)
    with pytest.raises(StoreError, match="cannot be opened: its disk is full; make room there"):
        Store(state, session="one")


def test_a_disk_that_may_only_be_read_is_one_sentence(disk: Path) -> None:
    opened(disk / "state").close()
    read_only(disk)
    with pytest.raises(StoreError, match=r"cannot be used \(Read-only file system\): give another one"):
        StateLock(disk / "state")
    with pytest.raises(StoreError, match=r"cannot be opened \(.*\): the user that runs the agent must be able to"):
        Store(disk / "state", session="one")


def test_another_user_s_directory_is_one_sentence(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    opened(state).close()
    state.chmod(0o500)
    with as_somebody_else():
        with pytest.raises(StoreError, match=r"cannot be used \(Permission denied\): give another one"):
            StateLock(state)
        with pytest.raises(StoreError, match=r"cannot be opened \(.*ermission denied\): the user that"):
            Store(state, session="one")
    state.chmod(0o700)


MOUNTS = """\
21 1 98:0 / / rw,relatime - ext4 /dev/vda rw
22 21 0:20 / /proc rw,nosuid - proc proc rw
31 21 0:41 / /home rw,relatime shared:5 - {home} server:/home rw,vers=4.2
32 31 98:1 / /home/ann/local\\040disk rw,relatime - xfs /dev/vdb rw
33 21 0:42 / /mnt/over rw - ext4 /dev/vdc rw
34 21 0:43 / /mnt/over rw - cifs //server/share rw
35 21 0:44 / /mnt/fuse rw - fuse.fuse-overlayfs fuse-overlayfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/fedenvoy", "ext4"),
        ("/home/ann/state", "nfs4"),
        ("/homes/ann", "ext4"),
        ("/home/ann/local disk/state", "xfs"),
        ("/mnt/over/state", "cifs"),
        ("/mnt/fuse", "fuse.fuse-overlayfs"),
    ],
)
def test_the_kind_of_a_file_system_is_read_from_the_list_of_mounts(path: str, kind: str) -> None:
    assert filesystem.type_of(Path(path), MOUNTS.format(home="nfs4")) == kind


@pytest.mark.parametrize("text", ["", "nonsense\n", "1 2 3\n", "1 2 3 / / rw - \n"])
def test_a_list_that_cannot_be_understood_names_nothing(text: str) -> None:
    assert filesystem.type_of(Path("/x"), text) == ""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "lustre"])
def test_a_network_file_system_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"21 1 98:0 / / rw - ext4 /dev/vda rw\n40 21 0:9 / {tmp_path} rw - {kind} server:/x rw\n", "utf-8"
    )
    monkeypatch.setattr(filesystem, "MOUNTS", mounts)
    words = rf"state directory .*/state is on a network file system \({kind}\), .*: give one on a local disk"
    for attempt in (lambda: StateLock(tmp_path / "state"), lambda: Store(tmp_path / "state", session="one")):
        with pytest.raises(StoreError, match=words):
            attempt()
    assert not (tmp_path / "state").exists()


def test_a_local_disk_and_a_system_without_a_list_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "none")
    opened(tmp_path / "state").close()
    monkeypatch.undo()
    opened(tmp_path / "state", "two").close()


def test_the_reserve_leaves_room_on_a_disk_of_a_megabyte(disk: Path) -> None:
    opened(disk).close()
    assert free(disk) > MEGABYTE // 2
