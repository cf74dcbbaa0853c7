"""`fedenvoy[openfl]` and `openfl==1.6` in one environment: OpenFL pins Click 8.1.7 and protobuf 4."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest


def run(*argv: str) -> str:
    """Run a program that must end well, with nothing but its own environment; give what it printed."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=clean)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_pins_of_openfl_hold(shared_python: Path) -> None:
    """Nothing of fedenvoy moved what OpenFL asked for."""
    program = (
        "import json; from importlib.metadata import version; "
        "print(json.dumps({n: version(n) for n in ('openfl', 'click', 'protobuf', 'numpy')}))"
    )
    versions = json.loads(run(str(shared_python), "-c", program))
    assert versions["openfl"] == "1.6"
    assert versions["click"] == "8.1.7"
    assert versions["protobuf"].startswith("4.")
    assert versions["numpy"].startswith("1.")


@pytest.mark.parametrize("order", [("openfl", "fedenvoy"), ("fedenvoy", "openfl")], ids="-then-".join)
def test_both_are_imported_into_one_process(shared_python: Path, order: tuple[str, str]) -> None:
    """Their messages have the same names on the wire and must not meet in protobuf's pool."""
    modules = {
        "openfl": "openfl.transport.grpc.director_client, openfl.federated",
        "fedenvoy": "fedenvoy.link.director, fedenvoy.envoy",
    }
    both = "; ".join(f"import {modules[name]}" for name in order)
    check = "from openfl.protocols import director_pb2; from fedenvoy import Envoy; print(Envoy.__name__)"
    # OpenFL's own modules need importlib.util to be there already.
    assert run(str(shared_python), "-c", f"import importlib.util; {both}; {check}").strip() == "Envoy"


def test_the_command_answers(shared_python: Path) -> None:
    """The script is installed and runs with OpenFL's Click."""
    assert "start" in run(str(shared_python.with_name("fedenvoy")), "--help")
