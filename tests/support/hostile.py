"""Experiments that harm as they can, each as the body of `run(shard, devices, plan)`, with how it is to be told.

None of them may harm the machine of the tests where a limit fails: what grows stops by itself, at some times the limit.
"""

from __future__ import annotations

import textwrap
from typing import NamedTuple

from fedenvoy.config import ChildSettings

__all__ = ["HOSTILE", "LIMITS", "Case", "code_of"]

LIMITS = ChildSettings(memory=512 * 2**20, processes=100, open_files=256, workspace=40 * 2**20, output=256 * 2**10)
"""What the experiments are held to here."""

HEAD = """
import array, ctypes, errno, fcntl, json, mmap, os, pathlib, resource, shutil, signal, subprocess, sys, threading, time

SPEC = json.loads(pathlib.Path(sys.argv[1]).read_text())
RESULT = pathlib.Path(SPEC["result"])

def run(shard, devices, plan):
"""


EITHER = "?"
"""It may finish or fail, as far as the level lets it go."""


class Case(NamedTuple):
    """One experiment."""

    body: str
    cause: str
    """A pattern of the cause that is recorded; empty: it finishes; EITHER."""
    always: bool = False
    """Whether it is tried in the commit tier."""
    everywhere: bool = False
    """Whether that is so at every level."""
    level: str = ""
    """The one level it is tried at; empty: all."""


def code_of(case: Case) -> str:
    """Give the experiment's source."""
    return HEAD + textwrap.indent(textwrap.dedent(case.body), "    ")


HOSTILE = {
    # It ends its process
    "ends without a word": Case("os._exit(7)", "exit 7: exited with 7", always=True),
    "ends as if all were well": Case("os._exit(0)", "exit 0: exited with 0 before it was finished"),
    "crashes": Case("ctypes.string_at(0)", r"signal 11: killed by signal 11 \(SIGSEGV\)", always=True),
    "aborts": Case("os.abort()", r"signal 6: killed by signal 6 \(SIGABRT\)"),
    "exits": Case("sys.exit('no more')", "exit 1: exited with 1: no more", always=True),
    "interrupts itself": Case("raise KeyboardInterrupt", "exception: KeyboardInterrupt"),
    "kills itself": Case(
        "os.kill(os.getpid(), signal.SIGKILL)",
        r"signal 9: killed by signal 9 \(out of memory\? peak .* MiB of 512 MiB\)",
    ),
    "raises what cannot be shown": Case(
        """
        class Sly(BaseException):
            def __str__(self):
                raise SystemExit(0)
        raise Sly
        """,
        "exception: .*Sly: .its text cannot be read.",
    ),
    # Signals
    "sends signals to all of its group": Case("os.kill(0, signal.SIGTERM); time.sleep(60)", r"signal 15: .*SIGTERM\)"),
    "storms itself with signals": Case(
        """
        signal.signal(signal.SIGUSR1, lambda *_: None)
        for _ in range(20000):
            os.kill(os.getpid(), signal.SIGUSR1)
        """,
        "",
    ),
    "kills everybody it can see": Case(
        """
        assert os.getpid() < 50, "this is no namespace of its own: everybody would be the whole machine"
        if os.fork() == 0:
            time.sleep(60)
        os.kill(-1, signal.SIGKILL)
        """,
        "",
        level="sandbox",
    ),
    "kills its parent": Case("os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)", "signal 9: .*", level="process"),
    "breaks the ties to its parent": Case(
        """
        libc = ctypes.CDLL(None)
        libc.prctl(1, 0, 0, 0, 0)
        libc.prctl(36, 1, 0, 0, 0)
        for _ in range(20):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    libc.prctl(1, 0, 0, 0, 0)
                    os.execve("/bin/sleep", ["sleep", "86411"], {})
                os._exit(0)
        """,
        "",
        everywhere=True,
    ),
    # It leaves things behind
    "leaves threads": Case("threading.Thread(target=time.sleep, args=(3600,)).start()", "", always=True),
    "leaves daemons that listen to nobody": Case(
        """
        for _ in range(5):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    for number in range(1, 32):
                        if number not in (9, 19):
                            signal.signal(number, signal.SIG_IGN)
                    os.execve("/bin/sleep", ["sleep", "86412"], {})
                os._exit(0)
        """,
        "",
    ),
    "leaves files that nobody may touch": Case(
        """
        for name in ("a/b/c", "a/d"):
            os.makedirs(name)
            pathlib.Path(name, "file").write_text("x")
            os.chmod(name + "/file", 0)
        for name in ("a/b/c", "a/b", "a/d", "a"):
            os.chmod(name, 0)
        os.symlink("/", "root")
        os.mkfifo("fifo")
        """,
        "",
        always=True,
    ),
    "leaves files that cannot be changed": Case(
        """
        pathlib.Path("locked").mkdir()
        pathlib.Path("locked/file").touch()
        for name in ("locked/file", "locked"):
            file = os.open(name, os.O_RDONLY)
            try:
                fcntl.ioctl(file, 0x40086602, array.array("l", [0x10]))
            except OSError:
                pass  # as it should be
        """,
        "",
    ),
    "removes its own directory": Case(
        """
        os.chdir("/")
        for place in (RESULT.parent, pathlib.Path(SPEC["workspace"])):
            shutil.rmtree(place, ignore_errors=True)
        """,
        EITHER,
        always=True,
    ),
    # Its result
    "gives a huge result": Case("return {'m' * 90 + str(n): float(n) for n in range(200000)}", ""),
    "gives what is no number": Case(
        "return {'nan': float('nan'), 'text': 'x', 'none': None, 'list': [1], 'big': 10**400, '\\x1b[2J': 1}", ""
    ),
    "forges its result": Case("RESULT.write_text('{\"ok\": true}')\nos._exit(4)", "exit 4: exited with 4"),
    "gives a result of millions": Case(
        'RESULT.write_text(\'{"ok": true, "metrics": {\' + \'"a": 1, \' * 10**6 + \'"b": 1}}\')\nos._exit(0)',
        "exit 0: .*",
    ),
    "gives a result that is a pipe": Case("RESULT.unlink()\nos.mkfifo(RESULT)\nos._exit(0)", "exit 0: .*"),
    "gives a result that is a link": Case(
        "RESULT.unlink()\nRESULT.symlink_to('/etc/passwd')\nos._exit(5)", "exit 5: exited with 5"
    ),
    # Its files
    "closes all files": Case(
        "os.closerange(0, 70000)\nraise ValueError('closed')", "exception: ValueError: closed", always=True
    ),
    "writes into its own log": Case(
        """
        for name in ("child.log", "child.latest.log", "child.earlier.log", "launch"):
            place = pathlib.Path(SPEC["workspace"]).parent / name
            try:
                place.unlink(missing_ok=True)
                os.mkfifo(place)
            except OSError:
                pass  # as it should be
        for _ in range(40):
            print("x" * 20000)
        raise ValueError("logged")
        """,
        "exception: ValueError: logged",
    ),
    "opens 100,000 files": Case(
        "kept = [open('/dev/null') for _ in range(100000)]",
        r"limit: OSError: .*; an experiment may have 256 open files here \(agent.child.open_files\)",
    ),
    "raises its limits": Case(
        "resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999))",
        "exception: ValueError: not allowed to raise maximum limit",
        level="sandbox",
    ),
    # It fills
    "fills the disk": Case(
        """
        for number in range(80):
            pathlib.Path(f"file{number}").write_bytes(b"x" * 2**20)
        time.sleep(20)
        """,
        r"limit: it was ended: an experiment may have 40 MiB of files here \(agent.child.workspace\), and it took more",
        everywhere=True,
    ),
    "fills the disk with one file": Case(
        "with open('file', 'wb') as file:\n    while True:\n        file.write(b'x' * 2**20)",
        r"limit: OSError: \[Errno 27\] .*agent.child.workspace.*",
    ),
    "fills the disk with what has no name": Case(
        """
        kept = []
        for number in range(4):
            kept.append(open(f"file{number}", "wb"))
            os.unlink(f"file{number}")
            kept[-1].write(b"x" * 30 * 2**20)
            kept[-1].flush()
        time.sleep(20)
        """,
        r"limit: it was ended: .*agent.child.workspace.*",
    ),
    "fills the disk with names": Case(
        "for number in range(8000):\n    open(f'file{number}', 'w').close()\ntime.sleep(20)",
        r"limit: it was ended: .*agent.child.workspace.*",
    ),
    "nests directories without end": Case(
        "for _ in range(120):\n    os.mkdir('d' * 50)\n    os.chdir('d' * 50)\ntime.sleep(20)",
        r"limit: it was ended: .*agent.child.workspace.*",
    ),
    "hides what it fills": Case(
        """
        os.mkdir("hidden")
        for number in range(60):
            pathlib.Path(f"hidden/file{number}").write_bytes(b"x" * 2**20)
        os.chmod("hidden", 0)
        time.sleep(20)
        """,
        r"limit: it was ended: .*agent.child.workspace.*",
    ),
    "fills the memory": Case(
        "kept = [bytearray(2**26) for _ in range(20)]",
        r"limit: MemoryError.*; an experiment may have 512 MiB of memory here \(agent.child.memory\); peak .*",
        everywhere=True,
    ),
    "fills the memory in many processes": Case(
        """
        for _ in range(6):
            if os.fork() == 0:
                kept = b"x" * (150 * 2**20)
                time.sleep(20)
                os._exit(0)
        time.sleep(20)
        """,
        r"limit: it was ended: an experiment may have 512 MiB of memory here \(agent.child.memory\), and it took more; "
        r"peak [0-9.]+ MiB of 512 MiB",
    ),
    "is a fork bomb": Case(
        "for _ in range(9):\n    os.fork()\ntime.sleep(20)\nos._exit(0)",
        r"limit: it was ended: an experiment may have 100 processes and threads here \(agent.child.processes\), .*",
        everywhere=True,
    ),
    "is a fork bomb of many sessions": Case(
        "for _ in range(8):\n    os.fork()\n    os.setsid() if os.getpgrp() != os.getpid() else None\ntime.sleep(20)",
        r"limit: it was ended: .*agent.child.processes.*",
    ),
    "starts threads without end": Case(
        "for _ in range(400):\n    threading.Thread(target=time.sleep, args=(20,)).start()\ntime.sleep(20)",
        r"limit: (it was ended: .*agent.child.processes.*|.*can't start new thread.*)",
    ),
    "prints without end": Case(
        "end = time.monotonic() + 1.0\nwhile time.monotonic() < end:\n    os.write(1, b'x' * 65536)", "", always=True
    ),
    "prints what steers a terminal": Case(
        "print('\\x1b[2J\\x1b]0;owned\\x07')\nraise ValueError('\\x1b[2J')", "exception: ValueError: .*"
    ),
}
