"""A stand-in for the package `openfl` that the engine's child imports: it does nothing but say what it was given."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FEDERATED = """
import json
import os

import yaml


class Collaborator:
    def __init__(self, plan, name, certificates, shard_descriptor):
        self.told = {
            "name": name,
            "certificates": [certificate and os.path.basename(certificate) for certificate in certificates],
            "shard": shard_descriptor.dataset_description,
            "network": plan.config["network"]["settings"],
        }

    def set_available_devices(self, cuda=()):
        self.told["cuda"] = cuda if type(cuda) is tuple else repr(cuda)
        self.told["visible"] = os.environ.get("CUDA_VISIBLE_DEVICES")
        self.told["order"] = os.environ.get("CUDA_DEVICE_ORDER")

    def run(self):
        with open(PIPE, "w") as pipe:
            print(json.dumps(self.told), file=pipe)
        FINALLY


class Plan:
    @classmethod
    def parse(cls, plan_config_path):
        plan = cls()
        plan.config = yaml.safe_load(plan_config_path.read_text())
        return plan

    def get_collaborator(self, name, root_certificate, private_key, certificate, shard_descriptor):
        return Collaborator(self, name, (root_certificate, private_key, certificate), shard_descriptor)
"""

NETWORK = {"agg_addr": "localhost", "agg_port": 1, "tls": False, "disable_client_auth": False}


def stand_in(home: Path, pipe: Path, then: str = "pass") -> None:
    """Write the package into a site's directory, where a child looks first.

    Args:
        home: The directory.
        pipe: Where the collaborator writes what it was given.
        then: A statement that its `run` ends with.

    """
    for name, text in {
        "openfl/__init__.py": "",
        "openfl/federated/__init__.py": FEDERATED.replace("PIPE", repr(str(pipe))).replace("FINALLY", then),
        "openfl/interface/__init__.py": "",
        "openfl/transport/__init__.py": "class AggregatorGRPCClient:\n    pass\n",
        "openfl/interface/cli.py": "def setup_logging():\n    pass\n",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text, encoding="utf-8")


def openfl_archive(network: Mapping[str, object] = NETWORK) -> bytes:
    """Make an archive with a plan of OpenFL's sections."""
    plan = {
        "aggregator": {"template": "openfl.component.Aggregator", "settings": {}},
        "collaborator": {"template": "openfl.component.Collaborator", "settings": {}},
        "task_runner": {"template": "openfl.federated.task.CoreTaskRunner", "settings": {}},
        "network": {"template": "openfl.federation.Network", "settings": dict(network)},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("plan/plan.yaml", yaml.safe_dump(plan))
    return buffer.getvalue()
