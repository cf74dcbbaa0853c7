"""Descriptors of OpenFL's kind, with the real OpenFL: started by their scripts, described, used by an experiment."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from dropin.programs import Place
from dropin.sites import HISTOLOGY, KAGGLE, KVASIR, LANDMARKS, LINEAR, MEDMNIST, make_mirror
from fedenvoy.testing import SandboxDirector
from support.archives import archive

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

USE = """
import os

def run(shard, devices, plan):
    import numpy as np
    assert os.path.exists("plan/plan.yaml"), os.getcwd()
    data = shard.get_dataset("train")
    sample, target = data[0]
    return {"length": len(data), "sum": float(np.sum(sample)) if len(data) else 0.0}
"""
"""An experiment that reads the shard's data from another working directory than the shard was constructed in."""


class Tutorial(NamedTuple):
    """One site: what lies in its directory, and what becomes of it."""

    files: Mapping[str, str]
    shard: str
    sample: tuple[str, ...]
    target: tuple[str, ...]
    description: str
    outcome: str


TUTORIALS = {
    "histology": Tutorial(
        {"histology_shard_descriptor.py": HISTOLOGY},
        "template: histology_shard_descriptor.HistologyShardDescriptor\n"
        "  params:\n    data_folder: histology_data\n    rank_worldsize: 1,2\n",
        ("5", "4", "3"),
        ("1",),
        "Histology, shard number 1 out of 2",
        "length=7, sum=0",
    ),
    "kvasir": Tutorial(
        {"kvasir_shard_descriptor.py": KVASIR},
        "template: kvasir_shard_descriptor.KvasirShardDescriptor\n"
        "  params:\n    data_folder: kvasir_data\n    rank_worldsize: 2,3\n    enforce_image_hw: '10,8'\n",
        ("10", "8", "3"),
        ("10", "8"),
        "Kvasir, shard number 2 out of 3",
        "length=2, sum=240",
    ),
    "landmarks": Tutorial(
        {
            "landmark_shard_descriptor.py": LANDMARKS,
            "kaggle/__init__.py": "",
            "kaggle/api/__init__.py": "",
            "kaggle/api/kaggle_api_extended.py": KAGGLE,
        },
        "template: landmark_shard_descriptor.LandmarkShardDescriptor\n  params:\n    rank_worldsize: 1, 2\n",
        ("4", "4"),
        ("1",),
        "Landmarks, shard number 1 out of 2",
        "length=2, sum=16",
    ),
    "medmnist": Tutorial(
        {
            "medmnist_shard_descriptor.py": MEDMNIST,
            "medmnist/__init__.py": "",
            "medmnist/info.py": "HOMEPAGE = 'https://example.org'\nINFO = {'bloodmnist': {'url': '', 'MD5': ''}}\n",
        },
        "template: medmnist_shard_descriptor.MedMNISTShardDescriptor\n"
        "  params:\n    rank_worldsize: 1, 1\n    datapath: data/.\n    dataname: bloodmnist\n",
        ("28", "28", "3"),
        ("1", "1"),
        "MedMNIST, shard number 1 out of 1",
        "length=6, sum=2352",
    ),
    "linear": Tutorial(
        {"linreg_shard_descriptor.py": LINEAR},
        "template: linreg_shard_descriptor.LinRegSD\n  params:\n    rank: 1\n    n_samples: 80\n    noise: 0.15\n  ",
        ("1",),
        ("1",),
        "",
        "length=40, sum=",
    ),
}


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_s_descriptor_is_described_and_used(place: Place, openfl_python: Path, name: str) -> None:
    tutorial = TUTORIALS[name]
    for file, text in tutorial.files.items():
        place.write(file, text)
    mirror = make_mirror(place.home)
    place.write("mirror.sha384", hashlib.sha384(mirror.read_bytes()).hexdigest())
    place.write(
        "envoy_config.yaml",
        "params:\n  cuda_devices: []\n\noptional_plugin_components: {}\n\n"
        f"shard_descriptor:\n  {tutorial.shard}\nagent: {{python: {openfl_python}, review: {{mode: accept}}}}\n",
    )
    with SandboxDirector() as director:
        place.write(
            "start_envoy.sh",
            "#!/bin/bash\nset -e\n\nfedenvoy start -n env_one --disable-tls --envoy-config-path envoy_config.yaml "
            f"-dh localhost -dp {director.address.port}\n",
        )
        director.offer("exp", archive(USE), to=["env_one"])
        with place.running("bash", "start_envoy.sh") as node:
            printed = node.wait_for("--training_", 90)
            assert f"--training_finished--> Reporting experiment='exp' cause={tutorial.outcome}" in printed
            node.wait_for("--report_delivered--> Idle")
            assert node.stop() == 0, node.output
        (call,) = director.calls_of("UpdateShardInfo")
    info = call.request.shard_info
    assert (tuple(info.sample_shape), tuple(info.target_shape)) == (tutorial.sample, tutorial.target)
    assert info.shard_description == tutorial.description
    assert not director.reports
