"""What each opcode of a pickle does to the `Machine` that stands for its reader's."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from fedenvoy.review.shadow import BYTES, MARK, OPAQUE, Global, Machine, Made

__all__ = ["take"]


def take(machine: Machine, opcode: str, argument: Any, position: int) -> None:
    """Do to the machine what an opcode does.

    Raises:
        ValueError: A pickle's reader would fail here.
        Spent: There is more than is looked at.

    """
    action = _ACTIONS.get(opcode)
    if action is None:
        raise ValueError(f"the opcode {opcode} is not known here")
    action(machine, argument, position)
    machine.check()


_Action = Callable[[Machine, Any, int], None]


def _push(value: Any) -> _Action:
    return lambda machine, _argument, _position: machine.stack.append(value)


def _text(machine: Machine, argument: Any, position: int) -> None:
    machine.stack.append(machine.text(str(argument), position))


def _bytes(machine: Machine, argument: Any, position: int) -> None:
    machine.part(argument, position)
    machine.stack.append(BYTES)


def _mark(machine: Machine, _argument: Any, _position: int) -> None:
    machine.stack.append(MARK)


def _collect(machine: Machine, _argument: Any, _position: int) -> None:
    machine.pop_mark()
    machine.stack.append(OPAQUE)


def _tuple(machine: Machine, _argument: Any, _position: int) -> None:
    machine.stack.append(tuple(machine.pop_mark()))


def _tuple_of(count: int) -> _Action:
    def action(machine: Machine, _argument: Any, _position: int) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(items)))

    return action


def _drop(count: int) -> _Action:
    def action(machine: Machine, _argument: Any, _position: int) -> None:
        for _ in range(count):
            machine.pop()
        _change(machine)

    return action


def _change(machine: Machine) -> None:
    """Note where something imported, and not something made, is added to or gets a state."""
    target = machine.pop()  # it must be there
    machine.stack.append(target)
    if isinstance(target, Global):
        machine.calls[f"{target} (changed)"] += 1


def _drop_mark(machine: Machine, _argument: Any, _position: int) -> None:
    machine.pop_mark()
    _change(machine)


def _pop(machine: Machine, _argument: Any, _position: int) -> None:
    if not machine.stack:
        raise ValueError("it takes from an empty stack")
    machine.stack.pop()  # a mark, too


def _pop_mark(machine: Machine, _argument: Any, _position: int) -> None:
    machine.pop_mark()


def _dup(machine: Machine, _argument: Any, _position: int) -> None:
    value = machine.pop()
    machine.stack += [value, value]


def _get(machine: Machine, argument: Any, _position: int) -> None:
    if argument not in machine.memory:
        raise ValueError("it asks its memory for what was never put there")
    machine.stack.append(machine.memory[argument])


def _put(machine: Machine, argument: Any, _position: int) -> None:
    value = machine.pop()
    machine.stack.append(value)
    machine.memory[len(machine.memory) if argument is None else int(argument)] = value


def _global(machine: Machine, argument: Any, _position: int) -> None:
    machine.stack.append(machine.bring_in(*_two_lines(argument)))


def _two_lines(argument: Any) -> tuple[Any, Any]:
    """Part module and name, which the opcode's reader joins by a blank; with more blanks, nobody can tell."""
    parts = str(argument).split(" ")
    return (parts[0], parts[1]) if len(parts) == 2 else (None, None)


def _stack_global(machine: Machine, _argument: Any, _position: int) -> None:
    name, module = machine.pop(), machine.pop()
    machine.stack.append(machine.bring_in(module, name))


def _extension(machine: Machine, _argument: Any, _position: int) -> None:
    machine.stack.append(machine.bring_in(None, None))  # a number that this process may know, or another


def _reduce(machine: Machine, _argument: Any, _position: int) -> None:
    arguments, callee = machine.pop(), machine.pop()
    machine.stack.append(machine.call(callee, arguments))


def _new_object(machine: Machine, argument: Any, position: int) -> None:
    _reduce(machine, argument, position)


def _new_object_ex(machine: Machine, argument: Any, position: int) -> None:
    machine.pop()
    _reduce(machine, argument, position)


def _inst(machine: Machine, argument: Any, _position: int) -> None:
    arguments = tuple(machine.pop_mark())
    machine.stack.append(machine.call(machine.bring_in(*_two_lines(argument)), arguments))


def _object(machine: Machine, _argument: Any, _position: int) -> None:
    callee, *arguments = machine.pop_mark() or [OPAQUE]
    machine.stack.append(machine.call(callee, tuple(arguments)))


def _persistent(machine: Machine, _argument: Any, _position: int) -> None:
    machine.stack.append(Made("its reader"))


def _bin_persistent(machine: Machine, argument: Any, position: int) -> None:
    machine.pop()
    _persistent(machine, argument, position)


def _protocol(machine: Machine, argument: Any, _position: int) -> None:
    machine.protocol = int(argument)
    if machine.protocol > pickle.HIGHEST_PROTOCOL:
        raise ValueError(f"its protocol {machine.protocol} is not known")


def _nothing(_machine: Machine, _argument: Any, _position: int) -> None:
    pass


def _stop(machine: Machine, _argument: Any, _position: int) -> None:
    machine.pop()


_ACTIONS: dict[str, _Action] = {
    **dict.fromkeys(
        ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "NONE"), _push(OPAQUE)
    ),
    **dict.fromkeys(("NEWTRUE", "NEWFALSE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "NEXT_BUFFER"), _push(OPAQUE)),
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
