"""Whole Python programs in the form of OpenFL's: the descriptor is the script's own, the main thread starts."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dropin.experiments import Told
from dropin.programs import Place
from fedenvoy.errors import Exit
from fedenvoy.testing import SandboxDirector

PROGRAM = """
import signal
import sys
import threading
from pathlib import Path

import helper
from fedenvoy import Envoy


class OwnShard:
    sample_shape = target_shape = ["1"]
    dataset_description = "of the script"

    def __init__(self, data_folder):
        self.data_folder = Path.cwd() / data_folder
        {more}

    def get_dataset(self, dataset_type="train"):
        import late_helper
        return helper.double(late_helper.numbers(self.data_folder / "numbers.txt"))


if __name__ == "__main__":
    keeper = Envoy(
        shard_name="one",
        director_host="localhost",
        director_port=int(sys.argv[1]),
        shard_descriptor=OwnShard("data"),
        tls=True,
        root_certificate="./cert/root_ca.crt",
        private_key="./cert/one.key",
        certificate="./cert/one.crt",
    )
    signal.signal(signal.SIGTERM, lambda *_: keeper.stop())
    keeper.start()
    print("came back", [thread.name for thread in threading.enumerate()])
""".replace("tls=True", "tls=False")


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with Told(tmp_path / "pipe") as told:
        yield told


@pytest.fixture
def program(place: Place) -> Place:
    """A script with modules beside it, in another directory than the one it is started in."""
    place.write("data/numbers.txt", "1 2 4")
    place.write("scripts/helper.py", "def double(values):\n    return [2 * value for value in values]\n")
    place.write("scripts/late_helper.py", "def numbers(path):\n    return [int(n) for n in path.read_text().split()]\n")
    place.write("scripts/envoy.py", PROGRAM.replace("{more}", ""))
    return place


def command(director: SandboxDirector) -> tuple[str, ...]:
    return (sys.executable, "scripts/envoy.py", str(director.address.port))


def test_a_descriptor_of_the_script_itself_is_used_by_an_experiment(program: Place, told: Told) -> None:
    with SandboxDirector() as director:
        director.offer("exp", told.archive("shard.get_dataset('train')"), to=["one"])
        with program.running(*command(director)) as envoy:
            assert told.wait() == "[2, 4, 8]", envoy.output
            director.wait_for_calls("WaitExperiment", 2)
            assert envoy.stop(signal.SIGTERM) == Exit.OK
            printed = envoy.output
        (call,) = director.calls_of("UpdateShardInfo")
        assert call.request.shard_info.shard_description == "of the script"
        assert not director.reports
    assert printed.splitlines() == [
        "TLS is off, so root_certificate, private_key, certificate are not used",
        "came back ['MainThread']",
    ]


def test_a_descriptor_that_cannot_be_sent_ends_the_program_with_the_attribute_s_name(program: Place) -> None:
    program.write("scripts/envoy.py", PROGRAM.replace("{more}", "self.guard = threading.Lock()"))
    with SandboxDirector() as director:
        code, printed = program.run(*command(director))
        assert not director.calls
    assert code == 1
    last = printed.splitlines()[-1]
    assert last.startswith(
        "fedenvoy.errors.ShardError: the shard descriptor OwnShard cannot be sent to the experiment's"
    )
    assert "its attribute 'guard' cannot be pickled" in last


def test_a_start_that_fails_is_told_and_ends_with_its_code_also_without_logging(program: Place) -> None:
    program.write("scripts/envoy.py", PROGRAM.replace("{more}", "self.sample_shape = 5"))
    with SandboxDirector() as director:
        code, printed = program.run(*command(director))
        assert not director.calls
    assert code == Exit.SHARD
    last = printed.splitlines()[-1]
    assert "the shard descriptor OwnShard has a wrong sample_shape: expected a list, not 5" in last
    assert "Traceback" not in printed


def test_ctrl_c_in_training_ends_the_program_and_its_experiment(program: Place, told: Told) -> None:
    with SandboxDirector() as director:
        director.offer("exp", told.archive("os.getpid()", then="__import__('time').sleep(3600)"), to=["one"])
        outside = {"FEDENVOY_ISOLATION": "process"}  # where a process id means the same on both sides
        with program.running(*command(director), variables=outside) as envoy:
            experiment = int(told.wait())
            assert Path(f"/proc/{experiment}").exists()
            assert envoy.stop(signal.SIGINT) == -signal.SIGINT
            assert envoy.output.splitlines()[-1] == "KeyboardInterrupt"
    assert not Path(f"/proc/{experiment}").exists()
