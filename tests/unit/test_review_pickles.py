"""What is found in pickles, by following them and by nothing else: whatever they hold, nothing of it ever runs."""

from __future__ import annotations

import functools
import io
import pickle
import struct
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.review import following, pickles, shadow
from fedenvoy.review.budget import Budget
from fedenvoy.review.flagged import COMPUTED_CALL, COMPUTED_IMPORT, WORDS
from fedenvoy.review.pickles import PickleFound
from fedenvoy.review.rendering import pickle_lines
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pickled import TASKS, Calls, blob, carried, hostile, nested, text, touches

NAMES = sorted(hostile(Path("/nonexistent/canary")))


def look(data: bytes, *, named: bool = True, steps: int = 1_000_000) -> tuple[PickleFound, ...]:
    return pickles.look(io.BytesIO(data), len(data), "file", Budget(steps, 20), named=named)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "a pickle was loaded"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("named", [True, False])
def test_a_hostile_pickle_is_flagged_and_not_loaded(name: str, named: bool, canary: Path) -> None:
    data, flag = hostile(canary)[name]
    found = look(data, named=named)
    assert found, "it must be found by its content"
    assert flag in found[0].flags
    assert not found[0].problem
    assert set(found[0].flags) <= WORDS


@pytest.mark.parametrize("name", NAMES)
def test_hostile_pickles_do_what_they_are_here_for(name: str, tmp_path: Path) -> None:
    # A specimen that could do no harm would prove nothing: each must at least import or compute something.
    data, _ = hostile(tmp_path / "canary")[name]
    assert Watched(data).imported or name == "a number of the registry"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_tells_what_it_imports_and_calls(protocol: int, canary: Path) -> None:
    (found,) = look(touches(canary, protocol))
    assert found.protocol == (0 if protocol < 2 else protocol)
    assert found.imports == ("posix.system",)
    assert found.calls == (("posix.system", 1),)


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ("__builtin__ eval", "builtins.eval"),
        ("commands getoutput", "subprocess.getoutput"),
        ("urllib2 urlopen", "urllib.request.urlopen"),
    ],
)
def test_names_of_python_2_are_told_as_the_reader_takes_them(old: str, now: str) -> None:
    module, name = old.split()
    (found,) = look(f"c{module}\n{name}\n(tR.".encode())
    assert found.imports == (now,)
    assert found.flags
    (new,) = look(b"\x80\x03" + f"c{module}\n{name}\n(tR.".encode())
    assert new.imports == (f"{module}.{name}",)


def test_a_name_that_could_be_parted_in_two_ways_is_not_guessed() -> None:
    (found,) = look(b"cos path\njoin\n)R.")
    assert found.flags == (COMPUTED_CALL, COMPUTED_IMPORT)


def test_what_is_taken_from_an_import_is_an_import(canary: Path) -> None:
    getattr_of = b"\x80\x04" + text("builtins") + text("getattr") + b"\x93"
    (found,) = look(getattr_of + text("shutil") + text("copy") + b"\x93" + text("__globals__") + b"\x86R.")
    assert found.imports == ("builtins.getattr", "shutil.copy", "shutil.copy.__globals__")
    assert found.flags == ("__globals__", "shutil")
    (made,) = look(getattr_of + text("numpy") + text("dtype") + b"\x93)R" + text("__code__") + b"\x86R)R.")
    assert {"__code__", "computed call"} <= set(made.flags)
    (unknown,) = look(getattr_of + text("numpy") + text("dtype") + b"\x93)R" + b"N\x86R.")
    assert unknown.flags == (COMPUTED_IMPORT,)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_carried_code_is_shown_by_its_names_and_texts(protocol: int) -> None:
    (found,) = look(carried(protocol=protocol))
    code = {one.name.rpartition(".")[2]: one for one in found.code}
    assert {"train", "validate", "step"} <= set(code)
    assert "a text of the task" in code["train"].constants
    assert {"fit"} <= set(code["step"].names)
    assert {"eval", "score"} & set(code["validate"].names)
    assert found.code_flags == ("eval",)
    assert found.flags == ()
    assert not found.problem


def test_modules_that_carried_code_uses_are_imports_of_its_pickle() -> None:
    (found,) = look(carried("steals"))
    assert {"os", "subprocess"} <= set(found.imports)
    assert {"os", "subprocess"} <= set(found.flags)
    assert {"os", "subprocess"} <= set(found.code_flags)


@pytest.mark.parametrize("depth", [1, 3])
def test_pickles_within_pickles_are_found(depth: int, canary: Path) -> None:
    found = look(nested(touches(canary), depth))
    assert len(found) == depth + 1
    assert found[-1].flags == ("posix",)
    assert "byte" in found[-1].place


def test_a_pickle_that_lies_too_deep_is_not_passed_over_in_silence(canary: Path) -> None:
    found = look(nested(touches(canary), 6))
    assert any("too deep" in one.problem for one in found)


def test_text_may_hold_a_pickle_too(canary: Path) -> None:
    inner = touches(canary, 0).decode()
    assert [one.flags for one in look(pickle.dumps(inner))] == [(), ("posix",)]


def test_pickles_in_a_row_are_all_found(canary: Path) -> None:
    found = look(pickle.dumps([1]) + touches(canary) + pickle.dumps("x"))
    assert [one.flags for one in found] == [(), ("posix",), ()]


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    return buffer.getvalue()


def test_zip_files_are_looked_into_as_pytorch_writes_them(canary: Path) -> None:
    data = zipped({"archive/data.pkl": touches(canary), "archive/data/0": b"\0" * 1000, "archive/version": b"3\n"})
    (found,) = look(data, named=False)
    assert found.place == "file: archive/data.pkl"
    assert found.flags == ("posix",)
    inside = look(nested(data, 1))
    assert inside[-1].flags == ("posix",)


def test_what_is_too_large_in_a_zip_file_is_told_but_for_numbers(monkeypatch: pytest.MonkeyPatch, canary: Path) -> None:
    monkeypatch.setattr(pickles, "_MEMBER", 1000)
    call = touches(canary, 0)
    large = zipped(
        {"a.pkl": bytes(2000), "b": b"\x80\x04" + bytes(2000), "c": b"c" + bytes(2000), "d": call + bytes(2000)}
    )
    found = {one.place: one for one in look(large, named=False)}
    assert set(found) == {"file: a.pkl", "file: b", "file: d"}
    assert found["file: d"].flags == ("posix",)
    monkeypatch.setattr(pickles, "_UNPACKED", 1500)
    assert "file: d" in {one.place for one in look(large, named=False) if one.problem}


def test_arrays_of_objects_are_looked_into_as_numpy_writes_them(canary: Path) -> None:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + touches(canary)
    assert [one.flags for one in look(data, named=False)] == [("posix",)]
    numbers = header.replace(b"|O", b"<f8")
    assert look(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(numbers)) + numbers + b"\x80\x04" * 8, named=False) == ()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x1f\x8b\x08\x00rest", "packed by gzip"),
        (b"", "breaks off"),
        (b"PK\x03\x04 and then nothing", "no whole zip file"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f", "breaks off"),
        (b"\x80\x63.", "protocol 99"),
        (b"\x80\x04h\x05.", "never put there"),
    ],
)
def test_what_cannot_be_followed_is_said_to_be_so(data: bytes, words: str) -> None:
    (found,) = look(data)
    assert words in found.problem


def test_a_file_may_be_a_pickle_and_something_else(canary: Path) -> None:
    call = pickle.dumps(Calls(eval, "1"), 0)
    for head in (b"PK\x03\x04\n", b"BZh\x00\x00" + bytes(0x685A)):
        assert any("eval" in one.flags for one in look(head + call, named=False))


def test_a_zip_packed_in_another_way_is_not_passed_over_in_silence(canary: Path) -> None:
    (found,) = look(zipped({"data.pkl": touches(canary)}, zipfile.ZIP_BZIP2))
    assert "method" in found.problem


@pytest.mark.parametrize(
    "data",
    [
        TASKS.encode(),
        b"class A:\n    pass\n",
        b"import os\nos.system('x')\n",
        b"cos is a word\nof no importance\n(R.",
        b"(a poem)\nI am.\n",
        bytes(range(256)) * 64,
        b"1.5,2.5\n" * 100,
        b"\x80\x80\x80\x80",
        b"\x89PNG\r\n\x1a\n" + bytes(1000),
    ],
)
def test_what_is_no_pickle_is_not_taken_for_one(data: bytes) -> None:
    assert look(data, named=False) == ()


# ---- Bounds


def bombs(scale: int) -> dict[str, bytes]:
    return {
        "doubling": b"\x80\x04N" + b"2" * (300 * scale) + b".",
        "a deep tuple": b"\x80\x04)" + b"\x85" * (200 * scale) + b".",
        "marks": b"\x80\x04" + b"(" * (300 * scale) + b"N.",
        "a full memory": b"\x80\x04N" + b"\x94" * (300 * scale) + b".",
        "a huge number": b"\x80\x04\x8b" + struct.pack("<i", 4000 * scale) + b"\x7f" * (4000 * scale) + b".",
        "many digits": b"L" + b"9" * (500 * scale) + b"L\n.",
        "an endless line": b"V" + b"x" * (17 * 2**10 * scale),
        "many imports": b"\x80\x04" + b"".join(b"\x8c\x01a\x8c\x06%06d\x930" % one for one in range(6 * scale)) + b"N.",
        "tuples of tuples": b"\x80\x04(" + b"KxKyKz" * 100 + b"t\x94(" + b"h\x00" * (5 * scale)
        + b"t\x94h\x01h\x01h\x01\x87.",
        "long texts": b"\x80\x04" + (b"X\x00\x10\x00\x00" + b"a" * 4096 + b"\x94") * (5 * scale) + b".",
        "steps": b"\x80\x04" + b"N0" * (600 * scale) + b"N.",
    }  # fmt: skip


HARMLESS = {"a deep tuple", "a huge number", "tuples of tuples"}


@pytest.mark.parametrize("name", sorted(bombs(1)))
def test_a_bomb_is_given_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("MEMORY", "OBJECTS", "IMPORTS"):  # as the bombs, smaller than life
        monkeypatch.setattr(shadow, limit, getattr(shadow, limit) // 50)
    monkeypatch.setattr(following, "PART_READ", following.PART_READ // 50)
    (found, *_) = look(bombs(20)[name], steps=20_000)
    assert bool(found.problem) == (name not in HARMLESS)


def test_what_is_more_than_is_looked_at_is_told_whatever_it_is_called(
    monkeypatch: pytest.MonkeyPatch, canary: Path
) -> None:
    call = touches(canary, 0)
    monkeypatch.setattr(shadow, "OBJECTS", 1000)
    monkeypatch.setattr(following, "PART_READ", 1000)
    for before in (b"(" * 2000, b"V" + b"x" * 2000 + b"\n0", b"X" + struct.pack("<I", 2000) + b"x" * 2000):
        (found,) = look(before + call, named=False)
        assert found.problem


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(bombs(1)))
def test_a_bomb_costs_little_time_and_memory(name: str) -> None:
    import tracemalloc

    data = bombs(1000)[name]
    tracemalloc.start()
    try:
        before = time.process_time()
        (found, *_) = look(data)
        took = time.process_time() - before
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 * 2**20
    assert took < 60, "much more than it takes even here, where memory is traced"
    assert bool(found.problem) == (name not in HARMLESS)


def test_the_budget_is_one_for_all_pickles() -> None:
    budget = Budget(100, 20)
    data = pickle.dumps(list(range(80)))
    problems = [pickles.look(io.BytesIO(data), len(data), "x", budget, named=True)[0].problem for _ in range(2)]
    assert problems[0] == ""
    assert "more opcodes" in problems[1]


def test_time_is_part_of_the_budget() -> None:
    data = pickle.dumps([1])
    budget = Budget(1000, -1)
    (found,) = pickles.look(io.BytesIO(data), len(data), "x", budget, named=True)
    assert "time" in found.problem
    assert budget.spent


def test_a_part_too_large_is_passed_over_and_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PART_READ", 1000)
    weights = pickle.dumps({"weights": bytes(5000)})
    (found,) = look(weights)
    assert not found.problem
    (text_found,) = look(pickle.dumps("x" * 5000))
    assert "5000 bytes is not looked at" in text_found.problem


# ---- The real reader as the oracle


class Stub:
    """Stands for everything that a pickle imports: may be called, filled and set, and does nothing."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Any:
        return object.__new__(cls)

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        return Stub()

    def append(self, *_: Any) -> None: ...
    def extend(self, *_: Any) -> None: ...
    def add(self, *_: Any) -> None: ...
    def __setitem__(self, *_: Any) -> None: ...
    def __setstate__(self, _: Any) -> None: ...


class Watched(pickle._Unpickler):
    """Python's own reader, which imports nothing here, and notes what it would have imported."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.imported: list[tuple[str, str]] = []
        self.failed = False
        try:
            self.load()
        except Exception:
            self.failed = True

    def find_class(self, module: str, name: str) -> Any:
        self.imported.append((module, name))
        return Stub

    def get_extension(self, _code: int) -> None:
        self.append(Stub)  # type: ignore[attr-defined]  # the reader pushes so, and is not typed

    def persistent_load(self, _pid: Any) -> Any:
        return Stub()


def mapped(module: str, name: str, protocol: int) -> str:
    from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

    if protocol < 3:
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}" if name else module


def check(data: bytes) -> None:
    """Whatever Python's reader would import is found, or it is said that not all could be followed."""
    found = look(data)
    for one in found:
        list(pickle_lines(one))
    if len(data) > 10_000:
        return
    watched = Watched(data)
    if not found:  # numbers, as numpy writes them
        assert data.startswith(b"\x93NUMPY")
        assert not watched.imported
        return
    first = found[0]
    if not first.problem and COMPUTED_IMPORT not in first.flags:
        names = {mapped(module, name, first.protocol) for module, name in watched.imported}
        assert names <= set(first.imports)
    if watched.imported and not first.imports:
        assert first.problem


@functools.cache
def seeds() -> tuple[bytes, ...]:
    canary = Path("/nonexistent/canary")
    bad = [data for data, _ in hostile(canary).values()]
    good = [carried(name, protocol) for name in ("keeper", "train", "steals") for protocol in (2, 4, 5)]
    return (*bad, *good, pickle.dumps({"a": [1, 2.5, None, {3}, (4, b"5")]}), nested(touches(canary), 2))


def test_nothing_that_the_real_reader_sees_is_hidden() -> None:
    for data in seeds():
        check(data)


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_any_bytes_can_be_looked_at(data: bytes) -> None:
    check(data)
    look(data, named=False)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_mutated_pickles_hide_nothing_that_the_real_reader_sees(data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(seeds())))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(seed) - 1))
        kind = data.draw(st.sampled_from(["change", "cut", "insert", "copy"]))
        if kind == "change":
            seed[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del seed[at : at + data.draw(st.integers(1, 8))]
        elif kind == "insert":
            seed[at:at] = data.draw(st.binary(min_size=1, max_size=6))
        else:
            seed[at:at] = seed[at : at + 20]
        if not seed:
            return
    check(bytes(seed))


@given(st.lists(st.sampled_from([
    text("os"), text("system"), text("builtins"), b"\x93", b"\x94", b"h\x00", b"h\x01", b"R", b")", b"\x85", b"\x86",
    b"(", b"t", b"2", b"0", b"1", b"N", b"}", b"]", b"a", b"s", b"b", b"\x81", b"o", b"cos\nsystem\n", b"ios\nsystem\n",
    b"p7\n", b"g7\n", b"q\x07", b"Q", b"K\x01", blob(b"x"), b"e", b"u", b"\x92",
]), max_size=25))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_any_opcodes_in_any_order_hide_nothing_that_the_real_reader_sees(parts: list[bytes]) -> None:
    check(b"\x80\x04" + b"".join(parts) + b".")


@pytest.mark.parametrize("seed", range(3))
def test_a_pickle_cut_anywhere_is_said_to_break_off(seed: int) -> None:
    data = seeds()[seed]
    for end in range(len(data)):
        assert look(data[:end])[0].problem


def test_names_are_shown_so_that_no_terminal_obeys_them() -> None:
    data = b"\x80\x04" + text("a\x1b[2J\nb") + text("c\u202e") + b"\x93" + text("\x07") + b"\x85R."
    lines = list(pickle_lines(look(data)[0]))
    assert all(line.isprintable() for line in lines)
    assert "\\x1b[2J\\nb" in "".join(lines)


def test_the_specimens_can_do_harm(tmp_path: Path) -> None:
    # What proves that nothing was loaded must be seen when something is.
    pickle.loads(pickle.dumps(Calls(Path.touch, tmp_path / "canary")))
    assert (tmp_path / "canary").exists()
