"""What is built is what is there: every package and every file that a package needs is named in setup.cfg."""

from __future__ import annotations

import configparser
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {"fedenvoy": ROOT / "agent", "fedenvoy_statecharts": ROOT / "statecharts"}

config = configparser.ConfigParser()
config.read(ROOT / "setup.cfg", encoding="utf-8")
PACKAGES = set(config["options"]["packages"].split())
DATA = {name: value.replace(",", " ").split() for name, value in config["options.package_data"].items()}


def packages_on_disk() -> set[str]:
    return {
        ".".join(init.parent.relative_to(source).parts)
        for top, source in SOURCES.items()
        for init in (source / top).rglob("__init__.py")
    }


def test_every_package_is_named_and_every_name_is_a_package() -> None:
    assert packages_on_disk() == PACKAGES


@pytest.mark.parametrize("top", SOURCES)
def test_every_file_that_is_no_module_is_package_data(top: str) -> None:
    for path in (SOURCES[top] / top).rglob("*"):
        if path.is_dir() or path.suffix in {".py", ".pyc"} or "__pycache__" in path.parts:
            continue
        package = next(p for p in path.parents if (p / "__init__.py").exists())
        name = ".".join(package.relative_to(SOURCES[top]).parts)
        inside = str(path.relative_to(package))
        assert any(fnmatch(inside, pattern) for pattern in DATA.get(name, [])), (
            f"{inside} of {name} is not package data"
        )


def test_nothing_generic_gets_into_site_packages() -> None:
    assert {package.partition(".")[0] for package in PACKAGES} == {"fedenvoy", "fedenvoy_statecharts"}
