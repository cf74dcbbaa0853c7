"""What is found out about TLS where gRPC's own words do not say."""

from __future__ import annotations

import pytest
from fedenvoy.config import DirectorAddress
from fedenvoy.link.diagnosis import tls_trouble


@pytest.mark.parametrize("host", ["unix:///run/director.sock", "xds:///director"])
def test_nothing_is_found_out_about_targets_that_are_no_hosts(host: str) -> None:
    assert tls_trouble(DirectorAddress(host, 1), None, 1) is None


def test_nothing_is_found_out_where_nobody_listens() -> None:
    assert tls_trouble(DirectorAddress("127.0.0.1", 1), None, 1) is None
