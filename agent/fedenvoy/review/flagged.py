"""Names that a reader should look at twice: what reaches the system, the network, or code that is made while running.

A list of what is known to be dangerous can never be whole; a policy that must be tight lists what may be imported.
"""

from __future__ import annotations

__all__ = ["BUILTINS", "COMPUTED_CALL", "COMPUTED_IMPORT", "MODULES", "OWN_CALL", "WORDS", "in_code", "in_import"]

MODULES = frozenset(
    {
        "_ctypes",
        "_pickle",
        "_posixsubprocess",
        "_socket",
        "asyncio",
        "bdb",
        "cffi",
        "code",
        "codeop",
        "commands",
        "ctypes",
        "distutils",
        "fcntl",
        "ftplib",
        "http",
        "httpx",
        "imp",
        "importlib",
        "marshal",
        "multiprocessing",
        "nt",
        "os",
        "pdb",
        "pickle",
        "pip",
        "platform",
        "posix",
        "profile",
        "pty",
        "pydoc",
        "requests",
        "runpy",
        "shutil",
        "signal",
        "site",
        "smtplib",
        "socket",
        "socketserver",
        "subprocess",
        "sys",
        "telnetlib",
        "timeit",
        "trace",
        "urllib",
        "urllib2",
        "urllib3",
        "webbrowser",
        "xmlrpc",
    }
)
"""Modules, by their first name."""

BUILTINS = frozenset(
    {
        "__builtins__",
        "__import__",
        "__subclasses__",
        "breakpoint",
        "compile",
        "eval",
        "exec",
        "execfile",
        "open",
    }
)
"""Names that run text as code, or open files."""

_REACHED = frozenset(
    {"_posixsubprocess", "_socket", "ctypes", "importlib", "marshal", "multiprocessing", "os", "pickle", "posix", "pty"}
    | {"runpy", "shutil", "socket", "subprocess", "sys", "urllib"}
)
"""Of the modules, those whose name is hardly that of anything else: they count in the midst of a dotted name, too."""
_ATTRIBUTES = frozenset({"__globals__", "__code__", "__builtins__", "__subclasses__", "__loader__", "__spec__"})
_GETTERS = frozenset({"operator.attrgetter", "operator.methodcaller"})
_BUILTIN_HOMES = frozenset({"builtins", "__builtin__", "io", "_io", "codecs"})

COMPUTED_IMPORT = "computed import"
"""A name is put together while the pickle is loaded, so that it cannot be read from it."""
COMPUTED_CALL = "computed call"
"""Something is called that cannot be read from the pickle."""
OWN_CALL = "own code at loading"
"""A function whose code the pickle carries is called already while it is loaded."""

WORDS = MODULES | BUILTINS | _ATTRIBUTES | _GETTERS | {COMPUTED_IMPORT, COMPUTED_CALL, OWN_CALL}
"""Every word that may stand as a flag."""


def in_import(module: str, name: str) -> frozenset[str]:
    """Give the flags of something that a pickle imports: of its module, and of any module reached through its name."""
    found = {module.partition(".")[0]} & MODULES
    parts = set(name.split("."))
    found |= parts & (_REACHED | _ATTRIBUTES)
    if module in _BUILTIN_HOMES:
        found |= parts & BUILTINS
    if f"{module}.{name}" in _GETTERS:
        found.add(f"{module}.{name}")
    return frozenset(found)


def in_code(names: tuple[str, ...]) -> frozenset[str]:
    """Give the flags among the names that a piece of code uses, whatever for: `model.eval()` counts as `eval`."""
    return frozenset({part for name in names for part in name.split(".")} & (MODULES | BUILTINS | _ATTRIBUTES))
