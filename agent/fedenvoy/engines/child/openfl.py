"""Engine program `openfl`: the real collaborator of OpenFL 1.6. Runs in the experiment's interpreter."""

from __future__ import annotations

import contextlib
import importlib.util  # openfl.federated uses it too, without importing it
import ipaddress
import os
import re
import socket
import ssl
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

CERTIFICATES = ("root_certificate", "private_key", "certificate")
CLIENT = ("uri", "tls", "disable_client_auth", *CERTIFICATES, "create_insecure_channel", "create_tls_channel")
"""What a client must have to be bounded; OpenFL's has."""
PATIENCE = 60.0
"""Seconds to wait for the aggregator before its certificate is looked at; what comes then is the client's affair."""
ADDRESS_LIMIT = 107
"""The most bytes in the path of a unix socket, on Linux."""
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a client of HTTP/2 begins: its preface, and settings without a word."""
_ATTEMPT = 5.0
_PAUSE = 0.5
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_FOREIGN_CODE = re.compile(r"^code(\(\))? (expected|argument|takes)|unknown opcode|unsupported pickle protocol")


class SiteError(Exception):
    """The experiment cannot run here, and it is not to blame."""

    fedenvoy_code = "environment"


def run(shard_descriptor: Any, spec: dict[str, Any]) -> None:
    """Take part in the federation until it is over; the current directory is the unpacked archive."""
    plan = read_plan()
    tls, relay = spec.get("tls"), reached(spec)
    certificates = [Path(tls[name]) if tls else None for name in CERTIFICATES]
    if relay is not None:
        from openfl.transport import AggregatorGRPCClient  # noqa: PLC0415 - as in `read_plan`

        part("aggregator").take(relay, AggregatorGRPCClient)
    try:
        collaborator = plan.get_collaborator(spec["shard_name"], *certificates, shard_descriptor=shard_descriptor)
    except (TypeError, ValueError, SystemError) as error:
        if _FOREIGN_CODE.search(str(error)):
            here = ".".join(map(str, sys.version_info[:2]))
            raise SiteError(
                f"the experiment was packed by another Python version than this node's {here}; submit it from the same "
                f"version, or set agent.python to the submitter's"
            ) from error
        raise
    collaborator.set_available_devices(cuda=tuple(spec["devices"]))
    network = plan.config["network"]["settings"]  # with its `auto` values resolved by now
    if relay is not None and network.get("tls", True):
        look_through(relay.socket)
    elif tls and network.get("tls", True):
        check_aggregator(str(network["agg_addr"]), int(network["agg_port"]), tls)
    bound_client(getattr(collaborator, "client", None), spec.get("aggregator_timeout"), relay)
    collaborator.run()


def read_plan() -> Any:
    """Let OpenFL read the plan."""
    try:
        from openfl.federated import Plan  # noqa: PLC0415 - the descriptor was to be constructed before this
        from openfl.interface.cli import setup_logging  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "openfl":
            raise
        raise SiteError(
            f"the experiment needs OpenFL 1.6, which {sys.executable} does not have; install it there, or set "
            f"params.install_requirements: true"
        ) from error
    setup_logging()  # the collaborator logs at a level that only this defines
    return Plan.parse(plan_config_path=Path("plan/plan.yaml"))


def reached(spec: dict[str, Any]) -> Any:
    """Give the relay by which the aggregator is reached; None: directly, with this process's certificates."""
    if not spec.get("relay"):
        return None
    path = Path(spec["relay"])
    if len(os.fsencode(path)) <= ADDRESS_LIMIT:
        return part("aggregator").Relay(str(path), spec["aggregator"])
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)  # stays open: the address leads through it
    return part("aggregator").Relay(f"/proc/self/fd/{directory}/{path.name}", spec["aggregator"])


def bound_client(client: Any, patience: float | None, relay: Any = None) -> None:
    """Have the collaborator's client give up some time; a client of the experiment's own is left as it is."""
    if patience and all(hasattr(client, name) for name in CLIENT):
        part("aggregator").bound(client, patience, relay)


def part(name: str) -> Any:
    """Load the script beside this one that needs the experiment's packages."""
    known = f"_fedenvoy_{name}"
    if known in sys.modules:
        return sys.modules[known]
    spec = importlib.util.spec_from_file_location(known, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[known] = module
    spec.loader.exec_module(module)
    return module


def look_through(relay: str) -> None:
    """Wait until the aggregator says something through the relay, up to `PATIENCE`.

    Where its certificate is wrong, it is the relay that finds out, and the agent ends this process.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ATTEMPT)
            connection.connect(relay)
            connection.sendall(GREETING)
            if connection.recv(1):
                return
        time.sleep(_PAUSE)
    print("the aggregator could not be looked at: it does not answer", file=sys.stderr)  # noqa: T201


def check_aggregator(host: str, port: int, tls: dict[str, str]) -> None:
    """Raise SiteError where the aggregator's certificate is wrong: OpenFL would only call it again, without a word.

    An aggregator that cannot be reached is waited for, up to `PATIENCE`; the rest is then the client's own affair.
    """
    if any(os.environ.get(name) for name in _PROXIES) and not urllib.request.proxy_bypass(host):
        return  # gRPC goes through a proxy, which this would not
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the names are wanted, for people
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(tls["root_certificate"])
    context.load_cert_chain(tls["certificate"], tls["private_key"])
    deadline = time.monotonic() + PATIENCE
    names: list[str] | None = None
    while names is None:
        try:
            names = certificate_names(shown_certificate(host, port, context))
        except ssl.SSLCertVerificationError as error:  # noqa: PERF203 - a few tries, with pauses
            raise SiteError(
                f"the aggregator at {host}:{port} shows a certificate that is not accepted here: {error.verify_message}"
            ) from error
        except OSError as error:
            if time.monotonic() > deadline:
                print(f"the aggregator at {host}:{port} could not be looked at: {error}", file=sys.stderr)  # noqa: T201
                return
            time.sleep(_PAUSE)
    if not any(matches(name, host) for name in names):
        raise SiteError(
            f"the aggregator at {host}:{port} shows a certificate made out for {', '.join(names) or 'nobody'}, and not "
            f"for {host}: the plan must name the aggregator as its certificate does"
        )


def shown_certificate(host: str, port: int, context: ssl.SSLContext) -> dict[str, Any]:
    """Shake hands once and give the certificate of the other side; raises OSError, as `ssl` does."""
    plain = socket.create_connection((host.strip("[]"), port), timeout=_ATTEMPT)
    with plain, context.wrap_socket(plain, server_hostname=host) as encrypted:
        return dict(encrypted.getpeercert() or {})


def certificate_names(certificate: dict[str, Any]) -> list[str]:
    """Give the names that gRPC looks at: the alternative ones, or where there are none the common name."""
    names = [str(name) for _, name in certificate.get("subjectAltName", ())]
    common = (str(value) for part in certificate.get("subject", ()) for key, value in part if key == "commonName")
    return names or list(common)


def matches(pattern: str, host: str) -> bool:
    """Whether a name of a certificate, perhaps with a leading wildcard label, or an address stands for a host."""
    host = host.strip("[]")
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(pattern) == ipaddress.ip_address(host)
    pattern, host = pattern.lower(), host.lower().rstrip(".")
    if pattern.startswith("*."):
        return "." in host and pattern[1:] == host[host.find(".") :]
    return pattern == host
