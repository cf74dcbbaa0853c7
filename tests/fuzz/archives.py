"""Strategies for archives: sound ones, ones whose records lie here and there, and ones of which bytes were changed.

Sizes are small, so that thousands go by in a minute; names, numbers and places are those at which readers stumble.
"""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st
from support.zips import DESCRIPTOR, PLAN, PLAN_NAME, UTF8, Piece, deflated, large_field, zipped

__all__ = ["archives", "mutated", "plans", "seeds"]

PARTS = ("a", "b", "A", "src", ".", "..", "", "plan", "plan.yaml", "requirements.txt", "\u00e9", "e\u0301", "x" * 255)
WHOLE = (
    b"/etc/passwd", b"..", b"../x", b"a/../../x", b"C:\\x", b"c:x", b"\\\\h\\x", b"a\0b", b"\xff", b"\xed\xa0\x80",
    b"", b".", b"./", b"/", b"a\nb", b"x" * 256, b"d/" * 40 + b"x", "\u202ex".encode(), b"a" * 3000,
)  # fmt: skip
NUMBERS = (0, 1, 2, 7, 44, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
MODES = (0, 0o100644, 0o100755, 0o040755, 0o120777, 0o020666, 0o010644, 0o140777, 0o104755)
FLAGS = (0, UTF8, UTF8 | DESCRIPTOR, UTF8 | 1, 0x40, 0x2000, 0xFFFF)
MARKS = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08")
PLANS = (
    PLAN, b"", b"[]", b"a: &a [*a]", b"a: &a b\n<<: *a", b"a: !!bool x", b"a: !!int ''", b"a: !!timestamp x", b"*x",
    b"a: !!python/object:os.system {}", b"a: \xff", b"? {a: b}\n: c", b"a: 2001-99-99", b"[" * 400, b"=: =", b"1: 2",
    b"a: !!set x", b"a: !!omap [x]", b"a: !!pairs x", b"a: !!binary '\xc3\xa9'", b"%YAML 9.9\n---\na: b", b"\x00",
    b"a: 1:99999", b"a: " + b"9" * 5000, b"a: 0x", b"a: !!float x", b"a: .inf", b"---\n---\n", b"a: \x1b[31m", b"\t a",
)  # fmt: skip
REQUIREMENTS = (
    b"numpy\n",
    b"\xff\xfe",
    b"-r ../x",
    b"-e .",
    b"a @ file:///x",
    b"\xef\xbb\xbfx",
    b"\0",
    b"x \\\n",
    b"x" * 999,
)


def names() -> st.SearchStrategy[bytes]:
    """Give names: of fit parts mostly, and of all that names may be."""
    fit = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map(lambda parts: "/".join(parts).encode())
    return (
        fit
        | st.sampled_from(WHOLE)
        | st.binary(max_size=12)
        | st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass"))
    )


def numbers() -> st.SearchStrategy[int]:
    """Give numbers of 32 bits at the edges, and close to what is true of small files."""
    return st.sampled_from(NUMBERS) | st.integers(0, 300)


def fields() -> st.SearchStrategy[dict[str, Any]]:
    """Give fields of a record that say something else; mostly none."""
    wrong: dict[str, st.SearchStrategy[Any]] = {
        "flags": st.sampled_from(FLAGS),
        "method": st.sampled_from((0, 8, 9, 12, 14, 93, 0xFFFF)),
        "crc": numbers(),
        "packed": numbers(),
        "size": numbers(),
        "offset": numbers(),
        "name": names(),
        "mark": st.sampled_from(MARKS),
        "version": st.sampled_from((0, 20, 45, 63, 64, 255)),
        "disk": st.sampled_from((0, 1, 0xFFFF)),
        "extra": extras(),
    }
    one = st.sampled_from(sorted(wrong)).flatmap(lambda name: wrong[name].map(lambda value: {name: value}))
    return (
        st.just({})
        | st.just({})
        | one
        | st.lists(one, max_size=3).map(lambda found: {k: v for d in found for k, v in d.items()})
    )


def extras() -> st.SearchStrategy[bytes]:
    """Give extra fields: for large numbers, for another name, and damaged ones."""
    large = st.lists(st.integers(0, 2**64 - 1) | numbers(), max_size=4).map(lambda values: large_field(*values))
    other = names().map(lambda name: struct.pack("<2HBL", 0x7075, 5 + len(name), 1, 0) + name)
    return large | other | st.binary(max_size=9) | st.tuples(large, large).map(b"".join)


def contents() -> st.SearchStrategy[bytes]:
    """Give contents, some of which pack well."""
    return st.binary(max_size=40) | st.builds(
        lambda byte, n: byte * n, st.sampled_from((b"\0", b"ab")), st.integers(0, 40_000)
    )


def pieces() -> st.SearchStrategy[Piece]:
    """Give entries; about half of them are sound."""
    odd = contents().map(deflated) | st.binary(max_size=20)
    sound = st.builds(Piece, name=names(), content=contents(), method=st.sampled_from((0, 8)))
    wrong = st.builds(
        Piece,
        name=names(),
        content=contents(),
        method=st.sampled_from((0, 8, 8, 8, 12)),
        flags=st.sampled_from((UTF8, UTF8, *FLAGS)),
        mode=st.sampled_from(MODES),
        descriptor=st.sampled_from((0, 0, 12, 16, 20, 24)),
        packed=st.none() | odd,
        behind=st.just(b"") | st.binary(max_size=16),
        local=fields(),
        central=fields(),
    )
    return sound | wrong


def plans() -> st.SearchStrategy[Piece]:
    """Give the two entries that are read: sound, and all that YAML and pip stumble over."""
    text = (
        st.sampled_from(PLANS)
        | st.binary(max_size=60)
        | st.text(alphabet="ab:&*!<>{}[]|-?,#%@'\" \n\t0", max_size=40).map(str.encode)
    )
    plan = st.builds(Piece, name=st.just(PLAN_NAME), content=text)
    wanted = st.sampled_from(REQUIREMENTS) | st.binary(max_size=40)
    return plan | st.builds(Piece, name=st.just(b"requirements.txt"), content=wanted)


def archives() -> st.SearchStrategy[bytes]:
    """Give archives: sound, with one entry that lies, or with ends that lie."""
    sound = st.lists(_sound(), max_size=5, unique_by=lambda piece: piece.name.lower())
    one_wrong = st.tuples(sound, pieces() | plans()).map(lambda both: [*both[0], both[1]])
    any_wrong = st.lists(pieces() | plans(), max_size=5)
    ends = _seldom(_ends(), {})
    return st.builds(_zipped, sound | one_wrong | any_wrong, st.booleans(), ends, _seldom(_large(), None))


def _sound() -> st.SearchStrategy[Piece]:
    name = (
        st.lists(st.sampled_from(("a", "b", "c", "d", "\u00e9")), min_size=1, max_size=3).map("/".join).map(str.encode)
    )
    return st.builds(Piece, name=name, content=contents(), method=st.sampled_from((0, 8)))


def _ends() -> st.SearchStrategy[dict[str, Any]]:
    scraps = st.binary(max_size=30) | st.sampled_from(MARKS)
    around = st.dictionaries(st.sampled_from(("before", "between", "behind", "comment")), scraps, max_size=2)
    lies = st.dictionaries(
        st.sampled_from(("disk", "first", "here", "count", "size", "start", "length")), numbers(), max_size=2
    )
    return around | lies


def _large() -> st.SearchStrategy[dict[str, int]]:
    names = st.sampled_from(("count", "here", "size", "start", "where", "length", "disks"))
    return st.just({}) | st.dictionaries(names, numbers(), max_size=2)


def _seldom(odd: st.SearchStrategy[Any], usual: Any) -> st.SearchStrategy[Any]:
    return st.integers(0, 7).flatmap(lambda number: odd if number == 7 else st.just(usual))


def _zipped(found: list[Piece], plan: bool, ends: dict[str, Any], large: dict[str, int] | None) -> bytes:
    return zipped(found, plan=plan, large=large, **ends)


def mutated() -> st.SearchStrategy[bytes]:
    """Give archives of which some bytes were changed, left out or doubled."""

    @st.composite
    def change(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(archives()))
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, max(0, len(data) - 1)))
            end = min(len(data), at + draw(st.integers(0, 40)))
            kind = draw(st.sampled_from(("flip", "flip", "write", "write", "cut", "double")))
            if kind == "write":
                new = draw(st.binary(max_size=8) | st.sampled_from(MARKS))
                data[at : at + len(new)] = new[: len(data) - at]
            elif kind == "cut":
                del data[at:end]
            elif kind == "double":
                data[at:at] = data[at:end]
            elif data:
                data[at] ^= 1 << draw(st.integers(0, 7))
        return bytes(data)

    return change()


def seeds() -> list[bytes]:
    """Give small archives of every form, for a fuzzer to begin with."""
    a, b = Piece(b"a.txt", b"first"), Piece(b"src/b.py", b"x = 1\n" * 9)
    wide = {"size": 0xFFFFFFFF, "extra": large_field(5)}
    return [
        zipped([]),
        zipped([a, b]),
        zipped([a], large={}),
        zipped([a], comment=b"comment"),
        zipped([Piece(b"dir/", b"", mode=0o040755), b]),
        zipped([Piece(b"a", b"stored", 0)]),
        zipped([Piece(b"a.txt", b"first", central=wide)]),
        zipped([Piece(b"requirements.txt", b"numpy\n")]),
        *(zipped([Piece(b"a", b"content", descriptor=length)]) for length in (12, 16, 20, 24)),
        *(zipped([Piece(PLAN_NAME, plan, 0)], plan=False) for plan in PLANS),
    ]
