"""Shard descriptors and configurations as OpenFL's users have them, made anew in the shapes of its tutorials.

The downloads of the tutorials are replaced by copies of a file that lies in the site's directory; everything else that
they rely on is kept: paths from the working directory at construction, shell commands, modules beside the descriptor.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

NUMBERS = """
from pathlib import Path


class NumbersShard:
    def __init__(self, data="", **others):
        self.place = Path.cwd() / data
        self.others = others

    @property
    def sample_shape(self):
        return ["8"]

    @property
    def target_shape(self):
        return ["1"]

    @property
    def dataset_description(self):
        return f"numbers at {self.place}"

    def get_dataset(self, dataset_type="train"):
        return [float(line) for line in (self.place / "numbers.txt").read_text().split()]
"""

HISTOLOGY = """
import logging
import os
from pathlib import Path
from urllib.request import urlretrieve
from zipfile import ZipFile

import numpy as np

from openfl.interface.interactive_api.shard_descriptor import ShardDataset, ShardDescriptor
from openfl.utilities import tqdm_report_hook, validate_file_hash

logger = logging.getLogger(__name__)


class HistologyShardDataset(ShardDataset):
    SPLIT = 0.8

    def __init__(self, data_folder, data_type, rank, worldsize):
        root = (Path(data_folder) / "tiles").expanduser()
        classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        self.samples = [
            (os.path.join(folder, name), number)
            for number, kind in enumerate(classes)
            for folder, _, names in sorted(os.walk(root / kind, followlinks=True))
            for name in sorted(names)
        ]
        train, rest = np.split(np.arange(len(self.samples)), [int(len(self.samples) * self.SPLIT)])
        self.idx = (train if data_type == "train" else rest)[rank - 1 :: worldsize]

    def __len__(self):
        return len(self.idx)

    def __getitem__(self, index):
        path, target = self.samples[self.idx[index]]
        return np.load(path), target


class HistologyShardDescriptor(ShardDescriptor):
    URL = (Path(__file__).parent / "mirror.zip").as_uri()
    SHA384 = (Path(__file__).parent / "mirror.sha384").read_text()
    DEFAULT_PATH = Path.home() / ".openfl" / "data"

    def __init__(self, data_folder=DEFAULT_PATH, rank_worldsize="1,1", **kwargs):
        self.data_folder = Path.cwd() / data_folder
        self.download_data()
        self.rank, self.worldsize = tuple(int(number) for number in rank_worldsize.split(","))

    def download_data(self):
        os.makedirs(self.data_folder, exist_ok=True)
        archive = self.data_folder / "tiles.zip"
        if not archive.exists():
            urlretrieve(self.URL, archive, tqdm_report_hook())
            validate_file_hash(archive, self.SHA384)
            with ZipFile(archive) as packed:
                packed.extractall(self.data_folder)

    def get_dataset(self, dataset_type):
        return HistologyShardDataset(self.data_folder, dataset_type, self.rank, self.worldsize)

    @property
    def sample_shape(self):
        return [str(size) for size in self.get_dataset("train")[0][0].shape]

    @property
    def target_shape(self):
        return [str(size) for size in np.array([self.get_dataset("train")[0][1]]).shape]

    @property
    def dataset_description(self):
        return f"Histology, shard number {self.rank} out of {self.worldsize}"
"""

KVASIR = """
import os
from pathlib import Path

import numpy as np

from openfl.interface.interactive_api.shard_descriptor import ShardDataset, ShardDescriptor


class KvasirShardDataset(ShardDataset):
    def __init__(self, dataset_dir, rank=1, worldsize=1, enforce_image_hw=None):
        self.images = dataset_dir / "tiles" / "images"
        self.names = [name for name in sorted(os.listdir(self.images)) if name[-3:] == "npy"][rank - 1 :: worldsize]
        self.enforce_image_hw = enforce_image_hw

    def __getitem__(self, index):
        image = np.load(self.images / self.names[index])
        if self.enforce_image_hw is not None:
            image = np.resize(image, (*self.enforce_image_hw, 3))
        return image, image[:, :, 0].astype(np.uint8)

    def __len__(self):
        return len(self.names)


class KvasirShardDescriptor(ShardDescriptor):
    def __init__(self, data_folder="kvasir_data", rank_worldsize="1,1", enforce_image_hw=None):
        super().__init__()
        self.rank, self.worldsize = tuple(int(number) for number in rank_worldsize.split(","))
        self.data_folder = Path.cwd() / data_folder
        self.download_data(self.data_folder)
        self.enforce_image_hw = None
        if enforce_image_hw is not None:
            self.enforce_image_hw = tuple(int(size) for size in enforce_image_hw.split(","))
        sample, target = self.get_dataset()[0]
        self._sample_shape = [str(size) for size in sample.shape]
        self._target_shape = [str(size) for size in target.shape]

    def get_dataset(self, dataset_type="train"):
        return KvasirShardDataset(self.data_folder, self.rank, self.worldsize, self.enforce_image_hw)

    @staticmethod
    def download_data(data_folder):
        archive = data_folder / "kvasir.zip"
        os.makedirs(data_folder, exist_ok=True)
        os.system(f"cp mirror.zip {archive.relative_to(Path.cwd())}")
        os.system(f"cd {data_folder.relative_to(Path.cwd())} && python3 -m zipfile -e kvasir.zip .")

    @property
    def sample_shape(self):
        return self._sample_shape

    @property
    def target_shape(self):
        return self._target_shape

    @property
    def dataset_description(self):
        return f"Kvasir, shard number {self.rank} out of {self.worldsize}"
"""

LANDMARKS = """
import json
import shutil
from hashlib import md5
from logging import getLogger
from pathlib import Path
from random import shuffle
from zipfile import ZipFile

import numpy as np
import pandas as pd
from kaggle.api.kaggle_api_extended import KaggleApi

from openfl.interface.interactive_api.shard_descriptor import ShardDataset, ShardDescriptor

logger = getLogger(__name__)


class LandmarkShardDataset(ShardDataset):
    def __init__(self, dataset_dir, rank=1, worldsize=1):
        self.dataset_dir = dataset_dir
        self.img_names = list(dataset_dir.glob("img_*.npy"))[rank - 1 :: worldsize]
        shuffle(self.img_names)

    def __getitem__(self, index):
        points = str(self.img_names[index]).replace("img", "keypoints")
        return np.load(self.img_names[index]), np.load(self.dataset_dir / points)

    def __len__(self):
        return len(self.img_names)


class LandmarkShardDescriptor(ShardDescriptor):
    def __init__(self, data_folder="data", rank_worldsize="1, 1", **kwargs):
        super().__init__()
        self.rank, self.worldsize = map(int, rank_worldsize.split(","))
        self.data_folder = Path.cwd() / data_folder
        self.download_data()
        sample, target = self.get_dataset()[0]
        self._sample_shape = [str(size) for size in sample.shape]
        self._target_shape = [str(len(target.shape))]

    def download_data(self):
        if self.is_dataset_complete():
            return
        logger.info("the dataset is absent or damaged")
        api = KaggleApi()
        api.authenticate()
        if Path("data").exists():
            shutil.rmtree("data")
        self.data_folder.mkdir(parents=True)
        api.competition_download_file("facial-keypoints-detection", "training.zip", path=self.data_folder)
        with ZipFile(self.data_folder / "training.zip") as packed:
            packed.extractall(self.data_folder)
        (self.data_folder / "training.zip").unlink()
        self.process_data("training.csv")
        (self.data_folder / "training.csv").unlink()
        (self.data_folder / "dataset.json").write_text(json.dumps(self.calc_all_md5()), encoding="utf-8")

    def process_data(self, name):
        table = pd.read_csv(self.data_folder / name)
        table.ffill(inplace=True)
        folder = self.data_folder.relative_to(Path.cwd())
        points = table.drop("Image", axis=1)
        for row in range(table.shape[0]):
            image = np.array(table["Image"][row].split(" "), dtype="float32").reshape(4, 4)
            np.save(str(folder / f"img_{row}.npy"), image)
            np.save(str(folder / f"keypoints_{row}.npy"), np.array(points.iloc[row, :], dtype="float32"))

    def get_dataset(self, dataset_type="train"):
        return LandmarkShardDataset(self.data_folder, self.rank, self.worldsize)

    def calc_all_md5(self):
        return {path.name: md5(path.read_bytes()).hexdigest() for path in self.data_folder.glob("*.npy")}

    def is_dataset_complete(self):
        told = self.data_folder / "dataset.json"
        return told.exists() and json.loads(told.read_text(encoding="utf-8")) == self.calc_all_md5()

    @property
    def sample_shape(self):
        return self._sample_shape

    @property
    def target_shape(self):
        return self._target_shape

    @property
    def dataset_description(self):
        return f"Landmarks, shard number {self.rank} out of {self.worldsize}"
"""

KAGGLE = """
import zipfile


class KaggleApi:
    def authenticate(self):
        pass

    def competition_download_file(self, name, file, path):
        pixels = " ".join(["1"] * 16)
        rows = "".join(f"{number}.5,{'' if number % 2 else 2.5},{pixels}\\n" for number in range(4))
        with zipfile.ZipFile(path / file, "w") as packed:
            packed.writestr("training.csv", "left_eye,right_eye,Image\\n" + rows)
"""

MEDMNIST = """
import logging
import os

import numpy as np
from medmnist.info import HOMEPAGE, INFO

from openfl.interface.interactive_api.shard_descriptor import ShardDataset, ShardDescriptor

logger = logging.getLogger(__name__)


class MedMNISTShardDataset(ShardDataset):
    def __init__(self, x, y, data_type="train", rank=1, worldsize=1):
        self.x, self.y = x[rank - 1 :: worldsize], y[rank - 1 :: worldsize]

    def __getitem__(self, index):
        return self.x[index], self.y[index]

    def __len__(self):
        return len(self.x)


class MedMNISTShardDescriptor(ShardDescriptor):
    def __init__(self, rank_worldsize="1, 1", datapath="", dataname="bloodmnist", **kwargs):
        self.rank, self.worldsize = tuple(int(number) for number in rank_worldsize.split(","))
        self.datapath = datapath
        self.dataset_name = dataname
        self.info = INFO[self.dataset_name]
        self.data_by_type = self.load_data()

    def get_shard_dataset_types(self):
        return list(self.data_by_type)

    def get_dataset(self, dataset_type="train"):
        if dataset_type not in self.data_by_type:
            raise Exception(f"Wrong dataset type: {dataset_type}")
        return MedMNISTShardDataset(*self.data_by_type[dataset_type], dataset_type, self.rank, self.worldsize)

    @property
    def sample_shape(self):
        return ["28", "28", "3"]

    @property
    def target_shape(self):
        return ["1", "1"]

    @property
    def dataset_description(self):
        return f"MedMNIST, shard number {self.rank} out of {self.worldsize}"

    def load_data(self):
        dataset = os.path.join(self.datapath, self.dataset_name + ".npz")
        if not os.path.isfile(dataset):
            logger.info("downloading")
            os.makedirs(self.datapath, exist_ok=True)
            sizes = {"train": 6, "test": 2}
            np.savez(
                dataset,
                **{f"{kind}_images": np.ones((size, 28, 28, 3), np.uint8) for kind, size in sizes.items()},
                **{f"{kind}_labels": np.zeros((size, 1)) for kind, size in sizes.items()},
            )
        data = np.load(dataset)
        return {
            "train": (data["train_images"], data["train_labels"]),
            "val": (data["test_images"], data["test_labels"]),
        }
"""

LINEAR = """
from typing import List

import numpy as np

from openfl.interface.interactive_api.shard_descriptor import ShardDescriptor


class LinRegSD(ShardDescriptor):
    def __init__(self, rank: int, n_samples: int = 10, noise: float = 0.15) -> None:
        np.random.seed(rank)
        x = np.random.rand(n_samples, 1) * np.pi
        self.data = np.concatenate((x, np.sin(x) + np.random.normal(0, noise, (n_samples, 1))), axis=1)

    def get_dataset(self, dataset_type: str) -> np.ndarray:
        half = len(self.data) // 2
        if dataset_type == "train":
            return self.data[:half]
        return self.data[half:]

    @property
    def sample_shape(self) -> List[str]:
        (*x, _) = self.data[0]
        return [str(size) for size in np.array(x, ndmin=1).shape]

    @property
    def target_shape(self) -> List[str]:
        (*_, y) = self.data[0]
        return [str(size) for size in np.array(y, ndmin=1).shape]
"""


def make_mirror(directory: Path) -> Path:
    """Write the archive that stands for a download: six tiny images of two kinds, as numpy writes them."""
    path = directory / "mirror.zip"
    with ZipFile(path, "w") as packed:
        for folder in ("01_TUMOR", "02_STROMA", "images"):
            for number in range(6):
                packed.writestr(f"tiles/{folder}/{number}.npy", _array(number))
    return path


def _array(value: int) -> bytes:
    """Give an array of 5 x 4 x 3 bytes in numpy's file format, version 1."""
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (5, 4, 3), }"
    padded = header + " " * (63 - (10 + len(header)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode() + bytes([value]) * 60
