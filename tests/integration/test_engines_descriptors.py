"""Shard descriptors: described without being constructed in the agent, and sent to a child by value."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import threading
import types
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.config import ShardSource
from fedenvoy.engines.callable import CallableEngine
from fedenvoy.engines.descriptors import describe, describe_instance, pickle_descriptor
from fedenvoy.engines.process import ChildResult, child_environment, run_child
from fedenvoy.errors import ShardError
from fedenvoy.events import ShardDescription
from fedenvoy.ports import RunSpec

PYTHON = Path(sys.executable)
SHARD = """
import os
class Shard:
    target_shape = (1,)
    dataset_description = "gr\\u00fcn, from " + os.getcwd()
    def __init__(self, size):
        self.size = size
        print("constructing", size)
        {extra}
    @property
    def sample_shape(self):
        return [self.size, "3"]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    return home


def described(home: Path, extra: str = "", timeout: float = 30, cancel: Cancel | None = None) -> ShardDescription:
    (home / "shard.py").write_text(SHARD.format(extra=extra))
    source = ShardSource("shard.Shard", {"size": 8})
    try:
        return describe(source, home=home, python=PYTHON, cancel=cancel or Cancel(), timeout=timeout)
    finally:
        assert list((home.parent / "scratch").iterdir()) == [], "scratch files were left"
        assert "shard" not in sys.modules


def test_a_descriptor_is_described_by_a_child(home: Path) -> None:
    assert described(home) == ShardDescription(("8", "3"), ("1",), f"gr\u00fcn, from {home}")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("raise ValueError('no data')", "ValueError: no data"),
        ("raise SystemExit(4)", "it exited with 4"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("os.abort()", "its process ended with signal 6, after printing 'constructing 8'"),
        ("self.__class__.target_shape = '(1,)'", "TypeError: target_shape must be a list of numbers"),
        ("del self.size", "AttributeError: 'Shard' object has no attribute 'size'"),
    ],
)
def test_B43_a_descriptor_that_fails_is_one_sentence(home: Path, extra: str, words: str) -> None:
    with pytest.raises(ShardError) as caught:
        described(home, extra)
    assert str(caught.value).startswith("the shard descriptor shard.Shard cannot be constructed: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_shape_is_refused_for_every_director_does(home: Path) -> None:
    with pytest.raises(ShardError, match="empty target_shape"):
        described(home, "self.__class__.target_shape = []")


def test_a_descriptor_that_takes_too_long_is_ended(home: Path) -> None:
    with pytest.raises(ShardError, match=r"took longer than 0\.5 seconds"):
        described(home, "import time; time.sleep(3600)", timeout=0.5)


def test_describing_can_be_cancelled(home: Path) -> None:
    cancel = Cancel()

    def when_it_runs() -> None:
        with (home / "running").open() as ready:
            ready.read()
        cancel.cancel()

    os.mkfifo(home / "running")
    helper = threading.Thread(target=when_it_runs)
    helper.start()
    try:
        with pytest.raises(Cancelled):
            described(home, "open('running', 'w').close(); import time; time.sleep(3600)", cancel=cancel)
    finally:
        helper.join()


# Live instances


class Plain:
    """A descriptor as a script would define it."""

    sample_shape = ("2",)
    target_shape = ("1",)

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


def test_a_live_descriptor_is_described_in_place() -> None:
    assert describe_instance(Plain()) == ShardDescription(("2",), ("1",), "")
    numbers = Plain(sample_shape=[2, 3], target_shape=(4,), dataset_description=None)
    assert describe_instance(numbers) == ShardDescription(("2", "3"), ("4",), "None")
    with pytest.raises(ShardError, match="Plain has a wrong sample_shape: expected a list, not 3"):
        describe_instance(Plain(sample_shape=3))
    with pytest.raises(ShardError, match="Plain has a wrong target_shape: expected a list, not '1'"):
        describe_instance(Plain(target_shape="1"))
    with pytest.raises(ShardError, match="object cannot be described: AttributeError"):
        describe_instance(object())


def sent(descriptor: Any, home: Path, body: str) -> ChildResult:
    """Send a descriptor into a child whose home knows nothing of it."""
    run_dir = home.parent / "run"
    (run_dir / "workspace/plan").mkdir(parents=True)
    plan = run_dir / "workspace/plan/plan.yaml"
    plan.write_text("callable: {entry: 'tasks:train'}\n")
    (run_dir / "workspace/tasks.py").write_text(f"def train(shard, devices, plan):\n    {body}\n")
    file = home.parent / "state" / "shard.pickle"
    pickle_descriptor(descriptor, file)
    assert [path.name for path in file.parent.iterdir()] == ["shard.pickle"]
    assert file.stat().st_mode & 0o777 == 0o600
    spec = RunSpec(
        run_dir=run_dir,
        workspace=run_dir / "workspace",
        home=home,
        shard_name="site",
        shard={"pickle": str(file)},
        plan_path=plan,
    )
    environment = child_environment(os.environ)
    return run_child(spec, CallableEngine().program(), PYTHON, env=environment, grace=5, cancel=Cancel())


def test_an_importable_class_goes_by_its_name_and_its_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = home.parent / "scripts"
    elsewhere.mkdir()
    (elsewhere / "site_shard.py").write_text("import site_helper\nclass Shard:\n    value = site_helper.VALUE\n")
    (elsewhere / "site_helper.py").write_text("VALUE = 7\n")
    monkeypatch.syspath_prepend(elsewhere)
    try:
        descriptor = importlib.import_module("site_shard").Shard()
        descriptor.data = [1, 2]
        result = sent(
            descriptor, home, "return {'value': shard.value, 'data': len(shard.data), **shard.__class__.extra}"
        )
        assert result.error == "AttributeError: type object 'Shard' has no attribute 'extra'"
        (home.parent / "run").rename(home.parent / "first")
        result = sent(descriptor, home, "return {'value': shard.value, 'data': len(shard.data)}")
        assert result.metrics == {"value": 7, "data": 2}, result.detail
    finally:
        for name in ("site_shard", "site_helper"):
            sys.modules.pop(name, None)


def test_a_class_that_no_other_process_can_import_goes_by_value(home: Path) -> None:
    script: dict[str, Any] = {"__name__": "__main__"}
    exec("class Shard:\n    def get_dataset(self, kind):\n        return self.make(kind)\n", script)
    descriptor = script["Shard"]()
    descriptor.make = lambda kind: len(kind) + 1
    result = sent(descriptor, home, "return {'got': shard.get_dataset('train')}")
    assert result.metrics == {"got": 6}, result.detail


def test_a_descriptor_that_cannot_be_sent_names_the_attribute(tmp_path: Path) -> None:
    file = tmp_path / "shard.pickle"
    with pytest.raises(ShardError, match=r"Plain cannot be sent .*: its attribute 'lock' cannot be pickled"):
        pickle_descriptor(Plain(data=[1], lock=threading.Lock()), file)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "shard.pickle").mkdir()
    with pytest.raises(ShardError, match="cannot be written to"):
        pickle_descriptor(types.SimpleNamespace(), tmp_path / "shard.pickle")
    assert [path.name for path in tmp_path.iterdir()] == ["shard.pickle"]


def test_a_plain_descriptor_needs_no_cloudpickle_in_the_child(tmp_path: Path) -> None:
    file = tmp_path / "shard.pickle"
    pickle_descriptor(types.SimpleNamespace(sample_shape=["1"]), file)
    code = "import pickle, sys; f = open(sys.argv[1], 'rb'); pickle.load(f); print(pickle.load(f).sample_shape)"
    done = subprocess.run([PYTHON, "-I", "-S", "-c", code, file], capture_output=True, text=True, check=True)
    assert done.stdout == "['1']\n"
