"""B62: which proxy applies is told before it is used."""

from __future__ import annotations

import pytest
from fedenvoy.config import DirectorAddress
from fedenvoy.link.proxy import proxy_in_use, proxy_text

PROXY = "http://proxy.hospital.example:3128"


def text(host: str, environment: dict[str, str], *, enabled: bool = True) -> str | None:
    director = DirectorAddress(host, 50051)
    said = proxy_text(director, environment, enabled=enabled)
    if proxy_in_use(director, environment, enabled=enabled):
        assert said is not None
        assert "through the proxy" in said
    else:
        assert said is None or "through the proxy" not in said
    return said


@pytest.mark.parametrize("name", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_B62_the_proxy_and_the_variable_that_names_it_are_told(name: str) -> None:
    said = text("director.example", {name: PROXY})
    assert said is not None
    assert "through the proxy proxy.hospital.example:3128" in said
    assert name in said
    assert "director.example:50051" in said


def test_B62_a_proxys_password_is_not_told() -> None:
    said = text("director.example", {"http_proxy": "http://user:secret@proxy:3128"})
    assert said is not None
    assert "proxy:3128" in said
    assert "secret" not in said
    assert "user" not in said


def test_B62_the_first_variable_counts() -> None:
    said = text(
        "director.example", {"grpc_proxy": "http://one:1", "https_proxy": "http://two:2", "http_proxy": "http://3:3"}
    )
    assert said is not None
    assert "one:1" in said


@pytest.mark.parametrize(
    ("host", "entries"),
    [
        ("localhost", "localhost"),
        ("director.hospital.example", "a.example, .hospital.example ,b.example"),
        ("director.hospital.example", "HOSPITAL.EXAMPLE"),
        ("10.1.2.3", "10.0.0.0/8"),
        ("fd00::17", "fd00::/8"),
        ("[fd00::17]", "fd00::/8"),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "no_grpc_proxy"])
def test_B62_an_excepted_director_is_called_directly(host: str, entries: str, name: str) -> None:
    said = text(host, {"http_proxy": PROXY, name: entries})
    assert said is not None
    assert "directly" in said


@pytest.mark.parametrize(
    ("host", "entries"), [("10.1.2.3", "10.2.0.0/16"), ("director.example", "10.0.0.0/8,x"), ("d", " , ")]
)
def test_B62_an_exception_for_others_does_not_count(host: str, entries: str) -> None:
    assert "through the proxy" in (text(host, {"http_proxy": PROXY, "no_proxy": entries}) or "")


@pytest.mark.parametrize(
    "value", ["127.0.0.1:9", "proxy.example:3128", "https://proxy:3128", "socks5://proxy:1", "http://"]
)
def test_B62_a_value_that_grpc_cannot_use_is_told(value: str) -> None:
    said = text("director.example", {"http_proxy": value})
    assert said is not None
    assert "must begin with http://" in said


def test_B62_the_setting_turns_it_off() -> None:
    assert "agent.link.proxy is off" in (text("director.example", {"http_proxy": PROXY}, enabled=False) or "")


@pytest.mark.parametrize("environment", [{}, {"http_proxy": ""}, {"HTTP_PROXY": PROXY}, {"no_proxy": "*"}])
def test_B62_without_a_proxy_there_is_nothing_to_tell(environment: dict[str, str]) -> None:
    assert text("director.example", environment) is None


def test_B62_a_unix_socket_needs_no_proxy() -> None:
    assert text("unix:///run/director.sock", {"http_proxy": PROXY}) is None
