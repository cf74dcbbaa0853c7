"""A pickle's stack and memory with names in place of objects: what its opcodes work on, see `opcodes`.

It notes what would be imported and called, and the code that is carried along. Nothing of it is done.
"""

from __future__ import annotations

import contextlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from attrs import frozen

from fedenvoy.review import flagged
from fedenvoy.review.budget import Spent

__all__ = ["BYTES", "MARK", "OPAQUE", "CodeFound", "Global", "Inside", "Machine", "Made"]

TEXT_KEPT = 4096
"""Characters of one text that are kept; a longer one counts as unknown."""
MEMORY = 16 * 2**20
"""Characters of all texts of one pickle that are kept."""
OBJECTS = 250_000
"""Objects that a pickle may keep at once, on its stack and in its memory."""
IMPORTS = 5_000
"""Different names that a pickle may import."""
CODE = 1_000
"""Pieces of code that a pickle may carry."""
_SHOWN = 300
_LISTED = 500

Inside = Callable[[int, bytes], None]
"""Takes a part that may hold a pickle itself, and its position."""


@frozen
class CodeFound:
    """A piece of code that a pickle carries."""

    name: str
    """Its qualified name."""
    names: tuple[str, ...] = ()
    """The globals, attributes and modules that it names."""
    constants: tuple[str, ...] = ()
    """The texts that it holds, cut where they are long."""


class Global(NamedTuple):
    """What a pickle imports; without a name, the module itself."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


class Made(NamedTuple):
    """What a call gives."""

    maker: str


MARK = object()
OPAQUE = object()
BYTES = object()

_IMPORTERS = frozenset(
    {"cloudpickle.cloudpickle.subimport", "cloudpickle.cloudpickle_fast.subimport", "dill._dill._import_module"}
    | {"importlib.import_module", "builtins.__import__"}
)
_TYPE_GETTERS = frozenset(
    {"cloudpickle.cloudpickle._builtin_type", "cloudpickle.cloudpickle_fast._builtin_type", "dill._dill._load_type"}
)
_CODE_MAKERS = frozenset({"types.CodeType", "dill._dill._create_code"})
_FUNCTION_MAKERS = frozenset(
    {"cloudpickle.cloudpickle._make_function", "cloudpickle.cloudpickle_fast._make_function"}
    | {
        "dill._dill._create_function",
        "types.FunctionType",
        "types.LambdaType",
        "cloudpickle.cloudpickle._make_skel_func",
    }
)
_CLASS_MAKERS = frozenset(
    {"cloudpickle.cloudpickle._make_skeleton_class", "cloudpickle.cloudpickle._make_skeleton_enum"}
    | {"dill._dill._create_type", "builtins.type", "abc.ABCMeta", "types.new_class", "enum.EnumMeta"}
)
_OWN_CODE = "code that it carries"
_OWN_CLASS = "a class that it carries"
_UNKNOWN_CALLEE = "something computed"


class Machine:
    """A pickle's stack and memory, with names in place of objects."""

    def __init__(self, inside: Inside) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.protocol = 0
        self.imports: dict[str, None] = {}
        self.calls: Counter[str] = Counter()
        self.code: list[CodeFound] = []
        self.flags: set[str] = set()
        self.code_flags: set[str] = set()
        self._inside = inside
        self._kept = 0

    def check(self) -> None:
        """Raise Spent where too much is kept at once."""
        if len(self.stack) + len(self.memory) > OBJECTS:
            raise Spent(f"it keeps more than {OBJECTS} objects at once")

    def pop(self) -> Any:
        """Take what lies on top; raises ValueError where there is nothing before the last mark."""
        if not self.stack or self.stack[-1] is MARK:
            raise ValueError("it takes from an empty stack")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """Take all down to the last mark, and the mark; raises ValueError where there is none."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is MARK:
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise ValueError("it takes up to a mark that is not there")

    def charge(self, amount: int) -> None:
        """Count what is kept of this pickle."""
        self._kept += amount
        if self._kept > MEMORY:
            raise Spent("it holds more text than is looked at")

    def text(self, value: str, position: int) -> Any:
        """Keep a text, for it may become a name."""
        if value.startswith("\x80") or "\n" in value:
            with contextlib.suppress(UnicodeEncodeError):
                self.part(value.encode("latin-1"), position)
        if len(value) > TEXT_KEPT:
            return OPAQUE
        self.charge(len(value))
        return value

    def part(self, value: object, position: int) -> None:
        """Hand on bytes, for they may hold a pickle themselves."""
        if isinstance(value, (bytes, bytearray)) and len(value) > 3:
            self._inside(position, bytes(value))

    def bring_in(self, module: Any, name: Any) -> Any:
        """Note an import."""
        if not isinstance(module, str) or not isinstance(name, str):
            self.flags.add(flagged.COMPUTED_IMPORT)
            self.imports[f"({flagged.COMPUTED_IMPORT})"] = None
            return OPAQUE
        self.flags |= flagged.in_import(module, name)
        if self.protocol < 3:  # the reader takes Python 2's names for today's
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
            self.flags |= flagged.in_import(module, name)
        found = Global(module, name)
        if str(found) not in self.imports:
            self.charge(len(module) + len(name))
            self.imports[str(found)] = None
            if len(self.imports) > IMPORTS:
                raise Spent(f"it imports more than {IMPORTS} names")
        return found

    def call(self, callee: Any, arguments: Any) -> Any:
        """Note a call; give what comes of it."""
        name, flag = _callee(callee)
        self.calls[name] += 1
        if flag:
            self.flags.add(flag)
        if type(arguments) is not tuple:
            self.flags.add(flagged.COMPUTED_CALL)
            return Made(name)
        self.note_code(name, arguments)
        first = arguments[0] if arguments else None
        if name in _IMPORTERS:
            return self.bring_in(first, "")
        if name in _TYPE_GETTERS:
            return self.bring_in("types", first)
        if name == "builtins.getattr" and len(arguments) >= 2:
            return self.attribute(first, arguments[1])
        return Made(name)

    def attribute(self, owner: Any, name: Any) -> Any:
        """Note that an attribute is taken; give what it stands for."""
        if isinstance(owner, Global):
            whole = f"{owner.name}.{name}" if owner.name and isinstance(name, str) else name
            return self.bring_in(owner.module, whole)
        if not isinstance(name, str):
            return self.bring_in(None, None)
        self.flags |= flagged.in_import("", name)
        return Made("builtins.getattr")

    def note_code(self, maker: str, arguments: tuple[Any, ...]) -> None:
        """Find the parts of a code object: its instructions, then constants, names and variables, then its titles."""
        makes_code = maker in _CODE_MAKERS
        for index in range(1, len(arguments) - 2):
            parts = arguments[index : index + 3]
            if all(type(part) is tuple for part in parts) and (makes_code or arguments[index - 1] is BYTES):
                titles = [part for part in arguments[index + 3 : index + 6] if isinstance(part, str)]
                self.add_code(titles[-1] if titles else "?", parts[0], parts[1])
                return
        if makes_code:  # put together where it cannot be read
            self.flags.add(flagged.COMPUTED_CALL)

    def add_code(self, title: str, constants: tuple[Any, ...], names: tuple[Any, ...]) -> None:
        """Note a piece of code."""
        self.charge(len(constants) + len(names))
        if len(self.code) >= CODE:
            raise Spent(f"it carries more than {CODE} pieces of code")
        known = tuple(name for name in names if isinstance(name, str))
        self.code_flags |= flagged.in_code(known)
        if len(known) < len(names):
            self.code_flags.add(flagged.COMPUTED_IMPORT)
        self.code.append(CodeFound(title[:_SHOWN], known[:_LISTED], _texts(constants)))


def _callee(callee: Any) -> tuple[str, str]:
    """Name what is called, and give the flag that goes with it."""
    if isinstance(callee, Global):
        return str(callee), ""
    if isinstance(callee, Made) and callee.maker in _FUNCTION_MAKERS:
        return _OWN_CODE, flagged.OWN_CALL
    if isinstance(callee, Made) and callee.maker in _CLASS_MAKERS:
        return _OWN_CLASS, ""
    return _UNKNOWN_CALLEE, flagged.COMPUTED_CALL


def _texts(constants: tuple[Any, ...]) -> tuple[str, ...]:
    """Give the first texts among constants, and in the tuples among them."""
    texts: list[str] = []
    waiting, seen = [constants], {id(constants)}
    while waiting and len(texts) < _LISTED and len(seen) < _LISTED:
        for part in waiting.pop()[:_LISTED]:
            if isinstance(part, str):
                texts.append(part[:_SHOWN])
            elif type(part) is tuple and id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)
    return tuple(texts)
