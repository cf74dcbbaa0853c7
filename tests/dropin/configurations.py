"""Every shape that an `envoy_config.yaml` of OpenFL's tutorials and default workspace has, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

NVML = "openfl.plugins.processing_units_monitor.pynvml_monitor.PynvmlCUDADeviceMonitor"


class Shape(NamedTuple):
    """A file's text, and what a node is told by it."""

    text: str
    template: str
    params: Mapping[str, Any]
    devices: tuple[int, ...] = ()
    review: bool = False
    install: bool = True


SHAPES = {
    "default workspace": Shape(
        f"""# How the parameters below are used is explained in comments.

# The last line of a comment may end in a blank.\x20


params:
  install_requirements: true
  cuda_devices: []
  review_experiment: False

optional_plugin_components:
  cuda_device_monitor:
    template: {NVML}
    settings: []

shard_descriptor:
  template: shard_descriptor.LocalShardDescriptor
  params:
    data_path: data
    sample_shape: []
    target_shape: []""",
        "shard_descriptor.LocalShardDescriptor",
        {"data_path": "data", "sample_shape": [], "target_shape": []},
    ),
    "GPUs and their monitor": Shape(
        f"""params:
  cuda_devices: [0,2]
\x20 \x20
optional_plugin_components:
 cuda_device_monitor:
   template: {NVML}
   settings: []

shard_descriptor:
  template: kvasir_shard_descriptor.KvasirShardDescriptor
  params:
    data_folder: kvasir_data
    rank_worldsize: 1,10
    enforce_image_hw: '300,400'
""",
        "kvasir_shard_descriptor.KvasirShardDescriptor",
        {"data_folder": "kvasir_data", "rank_worldsize": "1,10", "enforce_image_hw": "300,400"},
        devices=(0, 2),
    ),
    "GPUs without a monitor": Shape(
        """params:
  cuda_devices: [0,2]

optional_plugin_components: {}

shard_descriptor:
  template: mvtec_shard_descriptor.MVTecShardDescriptor
  params:
    data_folder: MVTec_data
    rank_worldsize: 1,1
    obj: bottle""",
        "mvtec_shard_descriptor.MVTecShardDescriptor",
        {"data_folder": "MVTec_data", "rank_worldsize": "1,1", "obj": "bottle"},
        devices=(0, 2),
    ),
    "nothing under params": Shape(
        """params:

optional_plugin_components: {}

shard_descriptor:
  template: medmnist_shard_descriptor.MedMNISTShardDescriptor
  params:
    rank_worldsize: 1, 1
    datapath: data/.
    dataname: bloodmnist
""",
        "medmnist_shard_descriptor.MedMNISTShardDescriptor",
        {"rank_worldsize": "1, 1", "datapath": "data/.", "dataname": "bloodmnist"},
    ),
    "no plugins, no last line end": Shape(
        """params:
  cuda_devices: []

shard_descriptor:
  template: mnist_shard_descriptor.MnistShardDescriptor
  params:
    rank_worldsize: 1,2""",
        "mnist_shard_descriptor.MnistShardDescriptor",
        {"rank_worldsize": "1,2"},
    ),
    "reviewed": Shape(
        """params:
  cuda_devices: []
  review_experiment: True

optional_plugin_components: {}

shard_descriptor:
  template: histology_shard_descriptor.HistologyShardDescriptor
  params:
    data_folder: histology_data
    rank_worldsize: 1,2
""",
        "histology_shard_descriptor.HistologyShardDescriptor",
        {"data_folder": "histology_data", "rank_worldsize": "1,2"},
        review=True,
    ),
    "numbers, blanks after the last line": Shape(
        """params:
  cuda_devices: []

optional_plugin_components: {}

shard_descriptor:
  template: linreg_shard_descriptor.LinRegSD
  params:
    rank: 1
    n_samples: 80
    noise: 0.15
  """,
        "linreg_shard_descriptor.LinRegSD",
        {"rank": 1, "n_samples": 80, "noise": 0.15},
    ),
    "a comment first, names of people": Shape(
        """# https://www.example.org/files/36668/36668-h.htm
params:
  cuda_devices: []

optional_plugin_components: {}

shard_descriptor:
  template: shard_descriptor.NextWordShardDescriptor
  params:
    title: Polish Fairy Tales
    author: A. J. Gli\u0144ski""",
        "shard_descriptor.NextWordShardDescriptor",
        {"title": "Polish Fairy Tales", "author": "A. J. Gli\u0144ski"},
    ),
    "the descriptor alone, indented by four": Shape(
        """shard_descriptor:
    template: histology_shard_descriptor.HistologyShardDescriptor
    params:
        data_folder: histology_data
        rank_worldsize: 3,8

""",
        "histology_shard_descriptor.HistologyShardDescriptor",
        {"data_folder": "histology_data", "rank_worldsize": "3,8"},
    ),
    "no arguments, nothing installed": Shape(
        """params:
  install_requirements: false
  cuda_devices: [1]
shard_descriptor:
  template: package.module.Shard
""",
        "package.module.Shard",
        {},
        devices=(1,),
        install=False,
    ),
}
