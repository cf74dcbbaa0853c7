"""What the guard looks at while an experiment runs: its processes, their memory, and the bytes that it wrote.

The kernel's own limits are set in the child (`limits.py`); here is what they do not cover. A look is short, whatever
the experiment made: the guard must go on hearing the agent. Being behind by a second is no harm, so nothing is watched
more closely than that.

Standard library only; Python 3.8 and later.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time

TYPE_CHECKING = False  # `typing` takes as long to load as all the rest here
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

__all__ = ["Watching", "tree"]

PAUSE = 0.5
"""Seconds between two looks, at least."""
SHARE = 20
"""A pause is this many times as long as the processor was busy with the look before it: looking takes 5 % of one."""
LONGEST = 5.0
"""Seconds between two looks, at most."""
SLICE = 0.05
"""Seconds that one look measures files; the next one goes on there."""
LEAST = 16 * 1024
"""Bytes that a file or directory counts at least: about what a file system sets aside for the name alone."""
DEEPEST = 3500
"""Length of a path in bytes below which files are measured; the system's calls take 4096."""
ROOM = 256 * 2**20
"""Bytes that must stay free on the disk for the agent's own records."""
KILLS = "/proc/vmstat"
"""Where the kernel counts the processes that it killed for want of memory."""
PAGE = os.sysconf("SC_PAGE_SIZE")


class Task:
    """One process of an experiment.

    Attributes:
        pid: Its id.
        group: Its process group.
        threads: How many.
        memory: Bytes in use, with those of files that are mapped.

    """

    __slots__ = ("group", "memory", "pid", "threads")

    def __init__(self, pid: int, group: int, threads: int, memory: int) -> None:
        self.pid = pid
        self.group = group
        self.threads = threads
        self.memory = memory


class Watching:
    """Compares an experiment with its limits.

    Args:
        limits: `processes` (threads count too), bytes of `memory` and `workspace`; 0 or missing: none.
        run_dir: What the experiment writes lies below it.
        groups: The control groups it lives in, which bound its memory and processes themselves.

    """

    def __init__(self, limits: dict[str, int], run_dir: str, groups: Sequence[str] = ()) -> None:
        self._limits = limits
        self._groups = list(groups)
        self._files = Files(run_dir, limits.get("workspace", 0))
        self._passed = ""
        self._peak = 0
        self._kills = field(KILLS, "oom_kill")
        self._due = time.monotonic()

    def pause(self) -> float:
        """Give the seconds until the next look."""
        return max(0.0, self._due - time.monotonic())

    def look(self) -> bool:
        """Whether a limit is passed, where it is time to look; the first one is remembered for `words`."""
        if time.monotonic() < self._due:
            return False
        began = time.process_time()  # not the time that a busy machine makes of it: then it matters most
        with contextlib.suppress(OSError, ValueError, IndexError):
            tasks = tree(os.getpid())
            self._passed = self._passed or self._of_processes(tasks) or self._files.passed(tasks)
        cost = time.process_time() - began
        self._due = time.monotonic() + min(LONGEST, max(PAUSE, SHARE * cost))
        return bool(self._passed)

    def saw(self, usage: Any) -> None:
        """Take the account of a process that has ended, as `os.wait4` gives it."""
        self._peak = max(self._peak, usage.ru_maxrss * 1024)

    def words(self, status: str) -> str:
        """Give what the agent is told: the status, and what is known of the limits."""
        for group in self._groups:
            self._peak = max(self._peak, number(f"{group}/memory.peak"), number(f"{group}/memory.max_usage_in_bytes"))
            killed = field(f"{group}/memory.events", "oom_kill") or field(f"{group}/memory.oom_control", "oom_kill")
            if killed and not self._passed:
                self._passed = "memory"
        passed = f";limit={self._passed}" if self._passed else ""
        starved = ";starved" if field(KILLS, "oom_kill") > self._kills else ""
        return f"{status};peak={self._peak}{passed}{starved}"

    def _of_processes(self, tasks: list[Task]) -> str:
        memory = sum(task.memory for task in tasks)
        bound = self._limits.get("memory", 0)
        if bound and memory > bound:  # some of it is files' or counted for each process that shares it: look closer
            memory = sum(held(task) for task in tasks)
        self._peak = max(self._peak, memory)
        if bound and memory > bound:
            return "memory"
        most = self._limits.get("processes", 0)
        return "processes" if most and sum(task.threads for task in tasks) > most else ""


class Files:
    """The bytes below a directory, measured a little at a time.

    Args:
        top: The directory.
        bound: Bytes it may hold; 0: no limit, but the disk's.

    """

    def __init__(self, top: str, bound: int) -> None:
        self._top = os.path.realpath(top)
        self._bound = bound
        self._walk = self._measured()
        self._first = -1
        self._known = 0
        self._room = room(self._top)

    def passed(self, tasks: list[Task]) -> str:
        """Go on measuring; say what is passed: `workspace`, or `disk` where that is nearly full by these files."""
        until = time.monotonic() + SLICE
        total = 0
        for total in self._walk:
            if self._bound and total > self._bound:
                return "workspace"
            if time.monotonic() > until:
                break
        else:
            self._walk = self._measured()
            self._first = total if self._first < 0 else self._first
            self._known = total
        free = room(self._top)
        open_still = 0
        if self._room - free - (self._known - self._first) > min(ROOM, self._bound or ROOM):
            open_still = unlinked(self._top, tasks)  # more is gone than can be seen
        if self._bound and self._known + open_still > self._bound:
            return "workspace"
        return "disk" if free < ROOM < self._room and self._known + open_still > ROOM else ""

    def _measured(self) -> Iterator[int]:
        """Give the bytes found so far every now and then; the last is the whole.

        A path that is too long to be measured counts as more than any limit allows: nobody nests so deep on purpose.
        """
        total, seen = 0, 0
        waiting = [self._top]
        while waiting:
            place = waiting.pop()
            if len(os.fsencode(place)) > DEEPEST:
                yield 2**63
                return
            for entry in self._entries(place):
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    names = found.st_nlink if stat.S_ISREG(found.st_mode) else 1
                    total += max(LEAST, found.st_blocks * 512 // max(1, names))
                    if stat.S_ISDIR(found.st_mode):
                        waiting.append(entry.path)
                seen += 1
                if seen % 200 == 0:
                    yield total
        yield total

    def _entries(self, place: str) -> Iterator[Any]:
        for _ in range(2):
            try:
                with os.scandir(place) as entries:
                    yield from entries
            except PermissionError:  # noqa: PERF203 - at most twice
                self._open(place)
            except OSError:  # it went meanwhile
                return
            else:
                return

    def _open(self, place: str) -> None:
        """Make a directory readable that the experiment has closed; never one that it only leads to by a link."""
        with contextlib.suppress(OSError):
            held = os.open(place, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                if os.readlink(f"/proc/self/fd/{held}").startswith(f"{self._top}/"):
                    os.chmod(f"/proc/self/fd/{held}", 0o700)
            finally:
                os.close(held)


def tree(top: int) -> list[Task]:
    """Give all living processes below one; by the subreaper's right, all of the experiment's."""
    children: dict[int, list[tuple[bool, Task]]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                # The command stands in parentheses and may hold anything; state, parent and group follow.
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        task = Task(int(entry), int(fields[2]), int(fields[17]), int(fields[21]) * PAGE)
        children.setdefault(int(fields[1]), []).append((fields[0] not in (b"Z", b"X"), task))
    found = []
    waiting = [top]
    while waiting:
        for alive, task in children.pop(waiting.pop(), []):
            waiting.append(task.pid)
            if alive:
                found.append(task)
    return found


def held(task: Task) -> int:
    """Give the memory that a process holds: not of files, and what it shares divided among those that share it."""
    place = f"/proc/{task.pid}"
    shared_out = field(f"{place}/smaps_rollup", "Pss_Anon:") + field(f"{place}/smaps_rollup", "Pss_Shmem:")
    plain = field(f"{place}/status", "RssAnon:") + field(f"{place}/status", "RssShmem:")
    return 1024 * (shared_out or plain)


def unlinked(beside: str, tasks: list[Task]) -> int:
    """Give the bytes of files without a name that these processes hold open on the same disk, as far as time allows."""
    disk = os.stat(beside).st_dev
    seen: set[int] = set()
    total = 0
    until = time.monotonic() + SLICE
    for task in tasks:
        place = f"/proc/{task.pid}/fd"
        with contextlib.suppress(OSError):
            for name in os.listdir(place):
                if time.monotonic() > until:
                    return total
                with contextlib.suppress(OSError):
                    found = os.stat(f"{place}/{name}")
                    ours = stat.S_ISREG(found.st_mode) and not found.st_nlink and found.st_dev == disk
                    if ours and found.st_ino not in seen:
                        seen.add(found.st_ino)
                        total += found.st_blocks * 512
    return total


def room(path: str) -> int:
    """Give the bytes that are free on a disk."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def number(path: str) -> int:
    """Read a number from a file of the kernel's; 0 where there is none."""
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def field(path: str, name: str) -> int:
    """Read the number behind a name from a file of the kernel's."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(path, encoding="ascii") as file:
        for line in file:
            words = line.split()
            if words and words[0] == name:
                return int(words[1])
    return 0
