"""Programs written around OpenFL's Envoy class: subclasses, loops of their own, attributes, descriptors by value."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dropin.experiments import Told, gated
from fedenvoy import Envoy
from fedenvoy.config import ReviewSettings
from fedenvoy.errors import Exit, ShardError
from fedenvoy.testing import SandboxDirector
from integration.test_envoy_class import envoy, in_thread
from support.archives import archive
from support.shards import NumbersShard


@pytest.fixture
def director() -> Iterator[SandboxDirector]:
    """A director that offers again what it offered to a poll that was given up, as the real one does."""
    with SandboxDirector(period=1.0, reoffers=True) as sandbox:
        yield sandbox


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with Told(tmp_path / "pipe") as told:
        yield told


def training(calls: tuple[Any, ...]) -> bool:
    """Whether the director was told that an experiment runs."""
    return any(call.method == "UpdateEnvoyStatus" and call.request.is_experiment_running for call in calls)


def test_start_calls_the_run_of_a_subclass(director: SandboxDirector, tmp_path: Path) -> None:
    order: list[str] = []

    class Mine(Envoy):
        def __init__(self, *, greeting: str, **others: Any) -> None:
            super().__init__(**others)
            self.executor = ThreadPoolExecutor(1, thread_name_prefix=greeting)

        def run(self) -> None:
            order.append("before")
            super().run()
            order.append("after")

    node = envoy(director, tmp_path / "state", Mine, greeting="hello")
    own = node.executor
    with in_thread(node.start, node.stop) as raised:
        director.wait_for_calls("WaitExperiment")
        assert order == ["before"]
        assert node.executor is own
    assert (order, raised) == (["before", "after"], [])
    own.shutdown()


def test_a_health_loop_of_a_subclass_runs_beside_the_agent_s_and_ends_with_it(
    director: SandboxDirector, tmp_path: Path
) -> None:
    begun, over = threading.Event(), threading.Event()

    class Mine(Envoy):
        def send_health_check(self) -> None:
            begun.set()
            super().send_health_check()
            over.set()

    node = envoy(director, tmp_path / "state", Mine)
    with in_thread(node.start, node.stop) as raised:
        assert begun.wait(10)
        director.wait_for_calls("UpdateEnvoyStatus", 2)
        assert len(director.calls_of("UpdateShardInfo")) == 1, "only the agent registers"
        assert not over.is_set()
    assert over.wait(10)
    assert raised == []


def test_a_program_that_does_the_steps_of_the_reference_s_start_by_itself(
    director: SandboxDirector, tmp_path: Path, told: Told
) -> None:
    node = envoy(director, tmp_path / "state")
    director.offer("exp", told.archive("sum(shard.get_dataset())"), to=["node-1"])

    def steps() -> None:
        assert node.director_client.report_shard_info(
            shard_descriptor=node.shard_descriptor, cuda_devices=node.cuda_devices
        )
        checks = node.executor.submit(node.send_health_check)
        director.wait_for_calls("UpdateEnvoyStatus")
        node.run()
        checks.result(10)
        node.director_client.close()

    with in_thread(steps, node.stop) as raised:
        assert told.wait() == "36"
    assert raised == []


def test_health_checks_alone_are_taken_over_by_the_agent(director: SandboxDirector, tmp_path: Path) -> None:
    node = envoy(director, tmp_path / "state")
    checks = threading.Thread(target=node.send_health_check, daemon=True)
    checks.start()
    director.wait_for_calls("UpdateEnvoyStatus")
    gate = tmp_path / "gate"
    with in_thread(node.start, node.stop):
        director.offer("exp", gated(gate), to=["node-1"])
        director.wait_for(training)
        before = len(director.calls_of("UpdateEnvoyStatus"))
        director.wait_for_calls("UpdateEnvoyStatus", before + 2)
        assert all(call.request.is_experiment_running for call in director.calls_of("UpdateEnvoyStatus")[before:])
        gate.touch()
    checks.join(10)
    assert not checks.is_alive()


def test_health_checks_alone_are_ended_by_stop_while_the_director_is_away(tmp_path: Path) -> None:
    with SandboxDirector() as director:
        director.stop()
        node = envoy(director, tmp_path / "state")
        with in_thread(node.send_health_check, node.stop) as raised:
            pass
    assert raised == []


asked, answer = threading.Event(), threading.Event()


class Hesitant(NumbersShard):
    """Takes its time to tell its shape to one thread."""

    @property
    def sample_shape(self) -> list[str]:
        if threading.current_thread().name == "alone":
            asked.set()
            answer.wait(20)
        return ["8"]


def test_a_session_that_comes_and_goes_meanwhile_ends_health_checks_alone_too(
    director: SandboxDirector, tmp_path: Path
) -> None:
    node = envoy(director, tmp_path / "state", shard_descriptor=Hesitant())
    checks = threading.Thread(target=node.send_health_check, name="alone", daemon=True)
    checks.start()
    try:
        assert asked.wait(10)
        with in_thread(node.start, node.stop) as raised:
            director.wait_for_calls("WaitExperiment")
        assert raised == []
    finally:
        answer.set()
    checks.join(10)
    assert not checks.is_alive()


def test_two_envoys_in_one_process_one_after_the_other(director: SandboxDirector, tmp_path: Path, told: Told) -> None:
    """Each with an experiment, in threads that are not the main one."""
    for number in (1, 2):
        node = envoy(director, tmp_path / "state", shard_descriptor=NumbersShard(rank=number))
        director.offer(f"exp{number}", told.archive("shard.rank"), to=["node-1"])
        with in_thread((node.start, node.run)[number - 1], node.stop) as raised:
            assert told.wait() == str(number)
        assert raised == []
    descriptions = [call.request.shard_info.shard_description for call in director.calls_of("UpdateShardInfo")]
    assert [text.split(",")[0] for text in descriptions] == ["numbers of node 1", "numbers of node 2"]


def test_attributes_over_a_whole_life(director: SandboxDirector, tmp_path: Path) -> None:
    reviewing, decide, gate = threading.Event(), threading.Event(), tmp_path / "gate"

    def review(_name: str, _path: str) -> bool:
        reviewing.set()
        return decide.wait(10)

    node = envoy(director, tmp_path / "state", review_plan_callback=review)
    assert (node.is_experiment_running, node.running_experiments) == (False, {})
    with in_thread(node.start, node.stop):
        director.wait_for_calls("WaitExperiment")
        assert (node.is_experiment_running, node.running_experiments) == (False, {})
        director.offer("exp", gated(gate), to=["node-1"])
        assert reviewing.wait(10)
        assert (node.is_experiment_running, node.running_experiments) == (False, {"exp": {"state": "ReviewingPlan"}})
        decide.set()
        director.wait_for(training)
        assert (node.is_experiment_running, node.running_experiments) == (True, {"exp": {"state": "Training"}})
        gate.touch()
        director.wait_for_calls("WaitExperiment", 2)
        assert (node.is_experiment_running, node.running_experiments) == (False, {})
    assert (node.is_experiment_running, node.running_experiments) == (False, {})


def test_a_stop_in_training_leaves_no_experiment_shown(director: SandboxDirector, tmp_path: Path) -> None:
    node = envoy(director, tmp_path / "state", agent__drain_timeout=0.1)
    director.offer("exp", archive("import time\ndef run(*_):\n    time.sleep(3600)\n"), to=["node-1"])
    with in_thread(node.start, node.stop):
        director.wait_for(training)
    assert (node.is_experiment_running, node.running_experiments) == (False, {})


# Descriptors as instances


def test_a_descriptor_that_cannot_be_sent_is_refused_at_construction(director: SandboxDirector, tmp_path: Path) -> None:
    descriptor = NumbersShard()
    descriptor.handle = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(ShardError) as caught:
        envoy(director, tmp_path / "state", shard_descriptor=descriptor)
    assert "NumbersShard cannot be sent to the experiment's process: its attribute 'handle' cannot" in str(caught.value)
    assert "create such objects in get_dataset() instead" in str(caught.value)
    assert not director.calls


def test_a_descriptor_that_becomes_one_that_cannot_be_sent_ends_the_start(
    director: SandboxDirector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = envoy(director, tmp_path / "state")
    node.shard_descriptor.handle = threading.Lock()
    with caplog.at_level(logging.ERROR), pytest.raises(SystemExit) as ended:
        node.start()
    assert ended.value.code == Exit.SHARD
    assert "its attribute 'handle' cannot be pickled" in caplog.text


class Unusual:
    """Importable, but with a part that only goes by value, and shapes of other kinds than lists of text."""

    sample_shape = (2, 3)
    dataset_description = None

    def __init__(self) -> None:
        self.scale: Callable[[int], int] = lambda value: value * 2

    @property
    def target_shape(self) -> Any:
        import numpy as np

        return np.array([1, 4])

    def get_dataset(self, dataset_type: str = "train") -> list[int]:
        return [self.scale(len(dataset_type))]


def test_a_descriptor_with_parts_that_go_by_value(director: SandboxDirector, tmp_path: Path, told: Told) -> None:
    node = envoy(director, tmp_path / "state", shard_descriptor=Unusual())
    director.offer("exp", told.archive("shard.get_dataset('train')"), to=["node-1"])
    with in_thread(node.start, node.stop):
        assert told.wait() == "[10]"
    (call,) = director.calls_of("UpdateShardInfo")
    assert list(call.request.shard_info.sample_shape) == ["2", "3"]
    assert list(call.request.shard_info.target_shape) == ["1", "4"]


FAR = """
class FarShard:
    sample_shape = target_shape = ["1"]

    def get_dataset(self, kind):
        import far_helper

        return far_helper.DATA
"""


def test_modules_from_everywhere_on_the_program_s_path_are_found(
    director: SandboxDirector, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The descriptor from one directory, what it needs in get_dataset from another."""
    for folder, file, text in (("one", "far_shard.py", FAR), ("two", "far_helper.py", "DATA = [1, 2]\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path / folder)
    try:
        shard = importlib.import_module("far_shard").FarShard()
        node = envoy(director, tmp_path / "state", shard_descriptor=shard)
        director.offer("exp", told.archive("shard.get_dataset('train')"), to=["node-1"])
        with in_thread(node.start, node.stop):
            assert told.wait() == "[1, 2]"
    finally:
        sys.modules.pop("far_shard", None)


# Review callbacks


class Reviewer:
    """Callable in two ways."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[tuple[str, bool]] = []

    def __call__(self, name: str, path: str) -> object:
        self.asked.append((name, Path(path).is_absolute() and Path(path).is_file()))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def method(self, name: str, path: str) -> object:
        return self(name, path)


def accepts(_name: str, _path: str) -> bool:
    return True


def numpy_bool(value: bool) -> object:
    import numpy as np

    return np.bool_(value)


CALLBACKS = {
    "a function": (accepts, ""),
    "a lambda that accepts": (lambda _n, _p: True, ""),
    "a lambda that rejects": (lambda _n, _p: False, "rejected"),
    "a bound method": (Reviewer(True).method, ""),
    "a callable object": (Reviewer(False), "rejected"),
    "numpy's true": (lambda _n, _p: numpy_bool(True), ""),
    "numpy's false": (lambda _n, _p: numpy_bool(False), "rejected"),
    "nothing": (Reviewer(None), "returned builtins.NoneType, expected True or False"),
    "a number": (Reviewer(1), "returned builtins.int, expected True or False"),
    "an error": (Reviewer(LookupError("no such person")), "raised LookupError: no such person"),
    "an exit": (Reviewer(SystemExit(3)), "raised SystemExit: 3"),
}


@pytest.mark.parametrize("kind", CALLBACKS)
def test_B41_review_callbacks_of_every_kind(director: SandboxDirector, tmp_path: Path, told: Told, kind: str) -> None:
    callback, words = CALLBACKS[kind]
    node = envoy(director, tmp_path / "state", review_plan_callback=callback)
    needs = {"requirements": "no-such-package-anywhere==1\n"} if words else {}
    director.offer("exp", told.archive("'ran'", **needs), to=["node-1"])
    with in_thread(node.start, node.stop) as raised:
        if words:
            (report,) = director.wait_for_calls("SetExperimentFailed")
            assert words in report.request.error_description
        else:
            assert told.wait() == "ran"
        director.wait_for_calls("WaitExperiment", 2)
    assert raised == []
    assert len(director.reports) == bool(words)
    if isinstance(callback, Reviewer):
        assert callback.asked == [("plan", True)], "once, although the director offers it again"


def test_B41_a_slow_callback_holds_no_health_check_and_its_answer_comes_too_late(
    director: SandboxDirector, tmp_path: Path
) -> None:
    thinking = threading.Event()
    node = envoy(
        director,
        tmp_path,
        review_plan_callback=lambda _n, _p: thinking.wait(30),
        agent__review=ReviewSettings(timeout=2.5),
    )
    director.offer("exp", archive(), to=["node-1"])
    with in_thread(node.start, node.stop):
        director.wait_for_calls("GetExperimentData")
        before = len(director.calls_of("UpdateEnvoyStatus"))
        (report,) = director.wait_for_calls("SetExperimentFailed")
        assert len(director.calls_of("UpdateEnvoyStatus")) >= before + 2
        assert "rejected" in report.request.error_description
        thinking.set()
    assert len(director.reports) == 1
