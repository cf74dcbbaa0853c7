"""Which names of a certificate stand for a host, where gRPC's own words do not say."""

from __future__ import annotations

import pytest
from fedenvoy.config import DirectorAddress
from fedenvoy.link.diagnosis import _matches, tls_trouble


@pytest.mark.parametrize(
    ("name", "host", "fits"),
    [
        ("director.example", "director.example", True),
        ("Director.Example", "director.example.", True),
        ("*.example", "director.example", True),
        ("*.example", "a.director.example", False),
        ("*.example", "example", False),
        ("example", "director.example", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0:0:0:0:0:0:0:1", "::1", True),
        ("localhost", "127.0.0.1", False),
    ],
)
def test_names(name: str, host: str, fits: bool) -> None:
    assert _matches(name, host) is fits


@pytest.mark.parametrize("host", ["unix:///run/director.sock", "xds:///director"])
def test_nothing_is_found_out_about_targets_that_are_no_hosts(host: str) -> None:
    assert tls_trouble(DirectorAddress(host, 1), None, 1) is None


def test_nothing_is_found_out_where_nobody_listens() -> None:
    assert tls_trouble(DirectorAddress("127.0.0.1", 1), None, 1) is None
