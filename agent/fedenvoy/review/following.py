"""Follows one pickle as its reader would, with names in place of objects: nothing is imported, called or built.

The result says what loading it would import and call. Whatever cannot be followed is said to be so, and never guessed.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import pickletools
import time
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter
from collections.abc import Callable
from typing import IO, Any, NamedTuple, NoReturn

from attrs import frozen

from fedenvoy.review import flagged

__all__ = ["Budget", "CodeFound", "Followed", "Inside", "Spent", "follow"]

TEXT_KEPT = 4096
"""Characters of one text that are kept; a longer one counts as unknown."""
PART_READ = 16 * 2**20
"""Bytes of one part of a pickle that are read; a larger one is passed over unread."""
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
_LARGE = 2**20

Inside = Callable[[int, bytes], None]
"""Takes a part that may hold a pickle itself, and its position."""


class Spent(Exception):  # noqa: N818 - not an error: there was more than is looked at
    """The budget is used up."""


class Budget:
    """What an inspection may cost, for all its pickles together.

    Args:
        steps: Opcodes.
        seconds: Time from now.

    """

    def __init__(self, steps: int, seconds: float) -> None:
        self._steps = steps
        self._end = time.monotonic() + seconds
        self.spent = ""
        """Why no more is looked at; empty as long as there is something left."""

    def step(self) -> None:
        """Count one opcode; raises Spent when it is one too many."""
        self._steps -= 1
        if self._steps < 0:
            self._raise("it has more opcodes than are looked at")
        if self._steps % 4096 == 0:
            self.check()

    def check(self) -> None:
        """Raise Spent when the time is over."""
        if time.monotonic() > self._end:
            self._raise("the time for looking at it was over")

    def _raise(self, why: str) -> NoReturn:
        self.spent = why
        raise Spent(why)


@frozen
class CodeFound:
    """A piece of code that a pickle carries."""

    name: str
    """Its qualified name."""
    names: tuple[str, ...] = ()
    """The globals, attributes and modules that it names."""
    constants: tuple[str, ...] = ()
    """The texts that it holds, cut where they are long."""


@frozen
class Followed:
    """What loading a pickle would do."""

    protocol: int = 0
    size: int = 0
    """Bytes up to where it ends or breaks off."""
    imports: tuple[str, ...] = ()
    """Everything that it imports, as `module.name`."""
    calls: tuple[tuple[str, int], ...] = ()
    """What it calls, and how often."""
    code: tuple[CodeFound, ...] = ()
    flags: tuple[str, ...] = ()
    """Words of `flagged.WORDS` for what it imports and calls while it is loaded."""
    code_flags: tuple[str, ...] = ()
    """Words for what the code that it carries names."""
    problem: str = ""
    """Why it could not be followed to its end; empty when it was."""
    limited: bool = False
    """Whether that is because it is more than is looked at, and not because it breaks off."""

    @property
    def acts(self) -> bool:
        """Whether loading it imports and calls something."""
        return bool(self.imports and self.calls)


class _Global(NamedTuple):
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


class _Made(NamedTuple):
    """What a call gives."""

    maker: str


class _Unread:
    """Stands for a part that was passed over; has the length that the opcode's reader checks."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


_MARK = object()
_OPAQUE = object()
_BYTES = object()

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


def follow(raw: IO[bytes], size: int, budget: Budget, inside: Inside) -> Followed:
    """Follow the pickle that begins where `raw` stands; afterwards `raw` stands behind its end.

    Args:
        raw: A file that can seek.
        size: Its bytes, from its start on.
        budget: What this may cost; once it is used up, the result says so.
        inside: Takes each part that may hold another pickle.

    """
    source, machine = _Readable(raw, size, budget), _Machine(inside)
    start = position = raw.tell()
    problem, limited = "", False
    try:
        budget.check()
        for opcode, argument, at in pickletools.genops(source):  # type: ignore[arg-type]  # it reads, tells and no more
            budget.step()
            position = start if at is None else at
            machine.take(opcode.name, argument, position)
    except Spent as spent:
        problem, limited = f"not followed beyond byte {position}: {spent}", position > start
    except Exception as error:  # noqa: BLE001 - the reader's errors are of many kinds, and all mean that it breaks off
        limited = source.passed_over > 0
        what = f"a part of {source.passed_over} bytes is not looked at" if limited else _reason(error)
        problem = f"breaks off after byte {position}: {what}"
    return machine.result(raw.tell() - start, problem, limited=limited)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return text or type(error).__name__


class _Readable:
    """A file for the opcode reader: long parts are passed over, and lines have an end."""

    def __init__(self, raw: IO[bytes], size: int, budget: Budget) -> None:
        self._raw = raw
        self._size = size
        self._budget = budget
        self.passed_over = 0

    def tell(self) -> int:
        return self._raw.tell()

    def read(self, size: int) -> Any:
        self.passed_over = 0
        if size > _LARGE:
            self._budget.check()
        if size <= PART_READ:
            return self._raw.read(size)
        if size > self._size - self.tell():
            return b""
        self._raw.seek(size, io.SEEK_CUR)
        self.passed_over = size
        return _Unread(size)

    def readline(self) -> bytes:
        line = self._raw.readline(PART_READ)
        self.passed_over = len(line) if len(line) == PART_READ else 0
        return line


class _Machine:
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

    def take(self, opcode: str, argument: Any, position: int) -> None:
        action = _ACTIONS.get(opcode)
        if action is None:
            raise ValueError(f"the opcode {opcode} is not known here")
        action(self, argument, position)
        if len(self.stack) + len(self.memory) > OBJECTS:
            raise Spent(f"it keeps more than {OBJECTS} objects at once")

    def result(self, size: int, problem: str, *, limited: bool) -> Followed:
        return Followed(
            protocol=self.protocol,
            size=size,
            imports=tuple(sorted(self.imports)),
            calls=tuple(sorted(self.calls.items())),
            code=tuple(self.code),
            flags=tuple(sorted(self.flags)),
            code_flags=tuple(sorted(self.code_flags)),
            problem=problem,
            limited=limited,
        )

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise ValueError("it takes from an empty stack")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
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
            return _OPAQUE
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
            return _OPAQUE
        self.flags |= flagged.in_import(module, name)
        if self.protocol < 3:  # the reader takes Python 2's names for today's
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
            self.flags |= flagged.in_import(module, name)
        found = _Global(module, name)
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
            return _Made(name)
        self.note_code(name, arguments)
        first = arguments[0] if arguments else None
        if name in _IMPORTERS:
            return self.bring_in(first, "")
        if name in _TYPE_GETTERS:
            return self.bring_in("types", first)
        if name == "builtins.getattr" and len(arguments) >= 2:
            return self.attribute(first, arguments[1])
        if name == "_codecs.encode" and isinstance(first, str):  # how bytes were pickled before protocol 3
            return _BYTES
        return _Made(name)

    def attribute(self, owner: Any, name: Any) -> Any:
        if isinstance(owner, _Global):
            whole = f"{owner.name}.{name}" if owner.name and isinstance(name, str) else name
            return self.bring_in(owner.module, whole)
        if not isinstance(name, str):
            return self.bring_in(None, None)
        self.flags |= flagged.in_import("", name)
        return _Made("builtins.getattr")

    def note_code(self, maker: str, arguments: tuple[Any, ...]) -> None:
        """Find the parts of a code object: its instructions, then constants, names and variables, then its titles."""
        makes_code = maker in _CODE_MAKERS
        for index in range(1, len(arguments) - 2):
            parts = arguments[index : index + 3]
            if all(type(part) is tuple for part in parts) and (makes_code or arguments[index - 1] is _BYTES):
                titles = [part for part in arguments[index + 3 : index + 6] if isinstance(part, str)]
                self.add_code(titles[-1] if titles else "?", parts[0], parts[1])
                return
        if makes_code:  # put together where it cannot be read
            self.flags.add(flagged.COMPUTED_CALL)

    def add_code(self, title: str, constants: tuple[Any, ...], names: tuple[Any, ...]) -> None:
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
    if isinstance(callee, _Global):
        return str(callee), ""
    if isinstance(callee, _Made) and callee.maker in _FUNCTION_MAKERS:
        return _OWN_CODE, flagged.OWN_CALL
    if isinstance(callee, _Made) and callee.maker in _CLASS_MAKERS:
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


_Action = Callable[[_Machine, Any, int], None]


def _push(value: Any) -> _Action:
    return lambda machine, _argument, _position: machine.stack.append(value)


def _text(machine: _Machine, argument: Any, position: int) -> None:
    machine.stack.append(machine.text(str(argument), position))


def _bytes(machine: _Machine, argument: Any, position: int) -> None:
    machine.part(argument, position)
    machine.stack.append(_BYTES)


def _mark(machine: _Machine, _argument: Any, _position: int) -> None:
    machine.stack.append(_MARK)


def _collect(machine: _Machine, _argument: Any, _position: int) -> None:
    machine.pop_mark()
    machine.stack.append(_OPAQUE)


def _tuple(machine: _Machine, _argument: Any, _position: int) -> None:
    machine.stack.append(tuple(machine.pop_mark()))


def _tuple_of(count: int) -> _Action:
    def action(machine: _Machine, _argument: Any, _position: int) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(items)))

    return action


def _drop(count: int) -> _Action:
    def action(machine: _Machine, _argument: Any, _position: int) -> None:
        for _ in range(count):
            machine.pop()
        _change(machine)

    return action


def _change(machine: _Machine) -> None:
    """Note where something imported, and not something made, is added to or gets a state."""
    target = machine.pop()  # it must be there
    machine.stack.append(target)
    if isinstance(target, _Global):
        machine.calls[f"{target} (changed)"] += 1


def _drop_mark(machine: _Machine, _argument: Any, _position: int) -> None:
    machine.pop_mark()
    _change(machine)


def _pop(machine: _Machine, _argument: Any, _position: int) -> None:
    if not machine.stack:
        raise ValueError("it takes from an empty stack")
    machine.stack.pop()  # a mark, too


def _pop_mark(machine: _Machine, _argument: Any, _position: int) -> None:
    machine.pop_mark()


def _dup(machine: _Machine, _argument: Any, _position: int) -> None:
    value = machine.pop()
    machine.stack += [value, value]


def _get(machine: _Machine, argument: Any, _position: int) -> None:
    if argument not in machine.memory:
        raise ValueError("it asks its memory for what was never put there")
    machine.stack.append(machine.memory[argument])


def _put(machine: _Machine, argument: Any, _position: int) -> None:
    value = machine.pop()
    machine.stack.append(value)
    machine.memory[len(machine.memory) if argument is None else int(argument)] = value


def _global(machine: _Machine, argument: Any, _position: int) -> None:
    machine.stack.append(machine.bring_in(*_two_lines(argument)))


def _two_lines(argument: Any) -> tuple[Any, Any]:
    """Part module and name, which the opcode's reader joins by a blank; with more blanks, nobody can tell."""
    parts = str(argument).split(" ")
    return (parts[0], parts[1]) if len(parts) == 2 else (None, None)


def _stack_global(machine: _Machine, _argument: Any, _position: int) -> None:
    name, module = machine.pop(), machine.pop()
    machine.stack.append(machine.bring_in(module, name))


def _extension(machine: _Machine, _argument: Any, _position: int) -> None:
    machine.stack.append(machine.bring_in(None, None))  # a number that this process may know, or another


def _reduce(machine: _Machine, _argument: Any, _position: int) -> None:
    arguments, callee = machine.pop(), machine.pop()
    machine.stack.append(machine.call(callee, arguments))


def _new_object(machine: _Machine, argument: Any, position: int) -> None:
    _reduce(machine, argument, position)


def _new_object_ex(machine: _Machine, argument: Any, position: int) -> None:
    machine.pop()
    _reduce(machine, argument, position)


def _inst(machine: _Machine, argument: Any, _position: int) -> None:
    arguments = tuple(machine.pop_mark())
    machine.stack.append(machine.call(machine.bring_in(*_two_lines(argument)), arguments))


def _object(machine: _Machine, _argument: Any, _position: int) -> None:
    callee, *arguments = machine.pop_mark() or [_OPAQUE]
    machine.stack.append(machine.call(callee, tuple(arguments)))


def _persistent(machine: _Machine, _argument: Any, _position: int) -> None:
    machine.stack.append(_Made("its reader"))


def _bin_persistent(machine: _Machine, argument: Any, position: int) -> None:
    machine.pop()
    _persistent(machine, argument, position)


def _protocol(machine: _Machine, argument: Any, _position: int) -> None:
    machine.protocol = int(argument)
    if machine.protocol > pickle.HIGHEST_PROTOCOL:
        raise ValueError(f"its protocol {machine.protocol} is not known")


def _nothing(_machine: _Machine, _argument: Any, _position: int) -> None:
    pass


def _stop(machine: _Machine, _argument: Any, _position: int) -> None:
    machine.pop()


_ACTIONS: dict[str, _Action] = {
    **dict.fromkeys(
        ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "NONE"), _push(_OPAQUE)
    ),
    **dict.fromkeys(("NEWTRUE", "NEWFALSE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "NEXT_BUFFER"), _push(_OPAQUE)),
    **dict.fromkeys(
        ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _text
    ),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"), _bytes),
    **dict.fromkeys(("LIST", "DICT", "FROZENSET"), _collect),
    **dict.fromkeys(("APPENDS", "SETITEMS", "ADDITEMS"), _drop_mark),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _put),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _extension),
    **dict.fromkeys(("FRAME", "READONLY_BUFFER"), _nothing),
    "APPEND": _drop(1),
    "SETITEM": _drop(2),
    "BUILD": _drop(1),
    "EMPTY_TUPLE": _push(()),
    "TUPLE": _tuple,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "POP": _pop,
    "DUP": _dup,
    "MARK": _mark,
    "POP_MARK": _pop_mark,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "INST": _inst,
    "OBJ": _object,
    "NEWOBJ": _new_object,
    "NEWOBJ_EX": _new_object_ex,
    "PROTO": _protocol,
    "STOP": _stop,
    "PERSID": _persistent,
    "BINPERSID": _bin_persistent,
}
