"""Which certificates stand for a host: as gRPC judges it (tests/dropin compares the two)."""

from __future__ import annotations

from typing import Any

import pytest
from fedenvoy.hostnames import made_out_for, names_in, stands_for


def certificate(common_name: str, *alternatives: tuple[str, str]) -> dict[str, Any]:
    """Make what `ssl` would give."""
    return {"subject": ((("commonName", common_name),),), "subjectAltName": alternatives}


@pytest.mark.parametrize(
    ("name", "host", "fits"),
    [
        ("director.example", "director.example", True),
        ("Director.Example", "director.example.", True),
        ("director.example.", "director.example", True),
        ("*.site.example", "director.site.example", True),
        ("*.site.example", "a.director.site.example", False),
        ("*.site.example", "site.example", False),
        ("*.example", "director.example", False),
        ("*.", "director.", False),
        ("example", "director.example", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0:0:0:0:0:0:0:1", "::1", True),
        ("::1", "[::1]", True),
        ("localhost", "127.0.0.1", False),
        ("127.0.0.1", "localhost", False),
    ],
)
def test_names(name: str, host: str, fits: bool) -> None:
    assert stands_for(name, host) is fits


def test_B57_the_common_name_counts_where_there_is_no_other_and_never_for_an_address() -> None:
    assert made_out_for(certificate("localhost"), "localhost")
    assert not made_out_for(certificate("localhost", ("DNS", "other")), "localhost")
    assert not made_out_for(certificate("127.0.0.1"), "127.0.0.1")
    assert made_out_for(certificate("x", ("IP Address", "127.0.0.1")), "127.0.0.1")
    assert not made_out_for(None, "localhost")


def test_the_names_are_told_as_they_stand() -> None:
    assert names_in(certificate("common")) == ["common"]
    assert names_in(certificate("common", ("DNS", "a"), ("IP Address", "::1"))) == ["a", "::1"]
    assert names_in({}) == []
