"""Environments of experiments: built by the real uv, from wheels made here, without any network."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.config import RequirementsSettings
from fedenvoy.ports import EngineNeeds
from fedenvoy.workspace import installer
from fedenvoy.workspace.environments import Environments, RequirementsError, satisfied
from fedenvoy.workspace.installer import uv_environment, uv_path
from fedenvoy.workspace.interpreters import inspect, installed
from fedenvoy.workspace.runs import remove_run
from support.environments import DEADLINE, PYTHON, Node, slow_package, version, wheel


def listing() -> dict[str, int]:
    """Give what is in this process's own environment, with the time of its last change."""
    return {str(path): path.stat().st_mtime_ns for place in inspect(PYTHON).places for path in place.iterdir()}


def test_B33_the_agents_own_environment_is_never_changed(node: Node) -> None:
    before = listing()
    python = node.build("protobuf==3.20.3")
    assert version(python, "protobuf") == "3.20.3"
    assert python.parent.parent.parent == node.root
    assert listing() == before


def test_an_environment_is_built_once_and_found_again_without_any_network_or_uv(
    node: Node, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = node.build("alpha==1.0")
    built = first.parent.parent.stat().st_mtime_ns
    wheels.rename(wheels.with_name("gone"))
    with monkeypatch.context() as patched:
        patched.setattr(installer, "uv_path", lambda: "/no/uv")
        assert node.build("alpha==1.0") == first
    assert first.parent.parent.stat().st_mtime_ns == built
    with pytest.raises(RequirementsError):
        node.build("alpha")


def test_whatever_decides_the_content_makes_another_environment(node: Node, tmp_path: Path, wheels: Path) -> None:
    site = tmp_path / "site.txt"
    site.write_text("protobuf\n")
    built = [
        node.build("alpha==2.0"),
        node.build("alpha==1.0"),
        node.build("alpha==2.0", site=site),
        node.build("alpha==2.0", inherit=True),
    ]
    site.write_text("protobuf<4\n")
    built.append(node.build("alpha==2.0", site=site))
    assert len(set(built)) == len(built)
    assert node.build("alpha") == built[0], "the lock decides, however it was asked for"
    assert Node(tmp_path, wheels, UV_PRERELEASE="allow").build("alpha") == built[0]
    assert Node(tmp_path, wheels, UV_HTTP_TIMEOUT="7").build("alpha") == built[0]


def test_an_environment_that_was_cut_off_is_built_anew(node: Node) -> None:
    python = node.build("alpha==1.0")
    place = python.parent.parent
    place.rename(place.with_name(f"{place.name}.new"))
    place.with_name(f"{place.name}.new").chmod(0o700)
    (place.with_name(f"{place.name}.new") / "junk").touch()
    assert node.build("alpha==1.0") == python
    assert version(python, "alpha") == "1.0"
    assert not (place / "junk").exists()
    assert node.left() == [place.name]


def test_engines_get_what_they_need_unless_the_version_is_decided(node: Node, tmp_path: Path) -> None:
    needs = ("alpha==2.0", "protobuf<4")
    assert version(node.build("", needs=needs), "alpha") == "2.0"
    assert version(node.build("Alpha==1.0", needs=needs), "alpha") == "1.0"
    assert version(node.build("alpha", needs=("alpha<2",)), "alpha") == "1.0", "naming it decides nothing"
    site = tmp_path / "site.txt"
    site.write_text("--only-binary :all:\n-r more.txt\n")
    (tmp_path / "more.txt").write_text("alpha<2\n")
    python = node.build("", needs=needs, site=site)
    assert (version(python, "alpha"), version(python, "protobuf")) == ("1.0", "3.20.3")


def test_B30_files_links_and_constraints_of_the_archive_are_used(tmp_path: Path, wheels: Path) -> None:
    node = Node(tmp_path, tmp_path / "empty")
    wheels.rename(node.workspace / "wheels")
    (node.workspace / "other.txt").write_bytes(b"\xef\xbb\xbfprotobuf\r\n")
    (node.workspace / "limits.txt").write_text("alpha<2\n")
    (tmp_path / "empty").mkdir()
    python = node.build("--no-index --find-links wheels\n-r other.txt\n-c limits.txt\nalpha")
    assert (version(python, "alpha"), version(python, "protobuf")) == ("1.0", "3.20.3")


def test_an_environment_of_nothing_is_bare(node: Node) -> None:
    python = node.build("")
    code = "import importlib.util as util; print(util.find_spec('attrs'), util.find_spec('alpha'))"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None None\n"


# Inheriting


def test_the_nodes_packages_come_behind_the_environments_own(node: Node, tmp_path: Path, wheels: Path) -> None:
    """The site's own interpreter has alpha 2.0 and gamma, and one package that only its .pth file adds."""
    uv = functools.partial(subprocess.run, check=True, capture_output=True, env=node.environ)
    uv([uv_path(), "venv", "--python", PYTHON, tmp_path / "site"])
    wheel(wheels, "gamma", "5.0")
    uv([uv_path(), "pip", "install", "--python", tmp_path / "site/bin/python", "alpha==2.0", "gamma"])
    editable = tmp_path / "editable"
    editable.mkdir()
    (editable / "delta.py").write_text("VERSION = 'editable'\n")
    places = inspect(tmp_path / "site/bin/python").places
    (places[0] / "editable.pth").write_text(f"{editable}\n")
    assert installed(places) == {"alpha": "2.0", "gamma": "5.0"}

    environments = Environments(
        node.root.parent, RequirementsSettings(), tmp_path / "site/bin/python", environ=node.environ
    )
    build = functools.partial(
        environments.build,
        requirements="beta",
        site=None,
        needs=EngineNeeds(),
        workspace=node.workspace,
        cancel=Cancel(),
    )
    python = build(inherit=True)
    assert [version(python, name) for name in ("alpha", "beta", "gamma", "delta")] == ["1.0", "1.0", "5.0", "editable"]
    alone = build(inherit=False)
    assert version(alone, "alpha") == "1.0"
    with pytest.raises(subprocess.CalledProcessError):
        version(alone, "gamma")


# Failures


def test_B29_what_exists_nowhere_fails_at_once_with_the_installers_words(node: Node, tmp_path: Path) -> None:
    (node.workspace / "index").mkdir()
    error = node.failure("--no-index\n--find-links index\nno-such-pkg-xyz==0.1.dev0", pause=3600)
    assert error.kind == "resolution"
    assert "no-such-pkg-xyz" in str(error)
    assert "no-such-pkg-xyz==0.1.dev0" in error.tail
    assert len(error.tail.splitlines()) <= 40


def test_B29_requirements_that_contradict_each_other_fail_at_once(node: Node) -> None:
    error = node.failure("alpha==2.0\nbeta", pause=3600)
    assert error.kind == "resolution"
    assert "beta" in str(error)


@contextlib.contextmanager
def index(statuses: list[int], wheels: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a package index that answers with these statuses first, and well from then on."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = b"".join(f'<a href="{path.as_uri()}">{path.name}</a>'.encode() for path in sorted(wheels.iterdir()))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/simple", asked
        finally:
            server.shutdown()
            thread.join()


def online(tmp_path: Path, wheels: Path, **environ: str) -> Node:
    node = Node(tmp_path, wheels, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1", **environ)
    for name in {"UV_INDEX_URL", "UV_FIND_LINKS"} - set(environ):
        del node.environ[name]
    return node


def test_B29_network_errors_are_tried_again(tmp_path: Path, wheels: Path) -> None:
    with index([503, 503], wheels) as (url, asked):
        python = online(tmp_path, wheels, PIP_INDEX_URL=url).build("alpha")
    assert version(python, "alpha") == "2.0"
    assert asked == ["/simple/alpha/"] * 4, "three times for the lock, and once to install it"


def test_B29_a_network_that_stays_away_is_told_as_such(tmp_path: Path, wheels: Path) -> None:
    with index([503] * 99, wheels) as (url, asked):
        node = online(tmp_path, wheels, UV_INDEX_URL=url, PIP_INDEX_URL="http://127.0.0.1:1/wrong")
        error = node.failure("alpha")
    assert error.kind == "network"
    assert "could not be reached" in str(error)
    assert len(asked) == 4


def test_a_pause_between_two_tries_can_be_cancelled(tmp_path: Path, wheels: Path) -> None:
    cancel = Cancel()
    with index([503] * 99, wheels) as (url, asked):
        node = online(tmp_path, wheels, UV_INDEX_URL=url)
        done: list[object] = []

        def job() -> None:
            try:
                done.append(node.build("alpha", cancel=cancel, pause=3600))
            except BaseException as error:
                done.append(error)

        thread = threading.Thread(target=job)
        thread.start()
        for _ in range(int(DEADLINE * 100)):
            if asked:
                break
            cancel.wait(0.01)
        cancel.cancel()
        thread.join(DEADLINE)
    assert isinstance(done[0], Cancelled)
    assert node.left() == []


def test_what_an_experiment_may_not_ask_for_is_refused_before_anything_runs(node: Node) -> None:
    for line, words in (("-e .", "editable"), ("x @ file:///x", "file: addresses"), ("-r ../x.txt", "outside")):
        error = node.failure(line)
        assert error.kind == "refused"
        assert words in str(error)
    assert not node.root.exists()


def test_a_sites_file_that_is_not_there_is_one_sentence(node: Node, tmp_path: Path) -> None:
    error = node.failure("alpha", site=tmp_path / "none.txt")
    assert "agent.requirements.site" in str(error)


def test_an_interpreter_that_is_none_is_one_sentence(node: Node, tmp_path: Path) -> None:
    environments = Environments(tmp_path / "state", RequirementsSettings(), tmp_path / "python")
    with pytest.raises(RequirementsError, match=r"agent\.python"):
        environments.build("", None, EngineNeeds(), node.workspace, inherit=False, cancel=Cancel())


# Time and company


@pytest.fixture
def slow(node: Node, tmp_path: Path) -> Path:
    return slow_package(node, tmp_path)


def test_a_cancelled_installation_is_killed_with_all_that_it_started(node: Node, slow: Path) -> None:
    cancel = Cancel()

    def when_it_builds() -> None:
        with slow.open() as pipe:
            assert pipe.read(1) == "x"
            cancel.cancel()
            assert pipe.read() == "", "the end comes when the last process has ended"

    helper = threading.Thread(target=when_it_builds)
    helper.start()
    with pytest.raises(Cancelled):
        node.build("./slow", cancel=cancel)
    helper.join(DEADLINE)
    assert not helper.is_alive()
    assert node.left() == []


AGENT = """
import sys
from pathlib import Path
from fedenvoy.cancel import Cancel
from fedenvoy.config import RequirementsSettings
from fedenvoy.ports import EngineNeeds
from fedenvoy.workspace.environments import Environments
state, workspace = map(Path, sys.argv[1:])
environments = Environments(state, RequirementsSettings(), None)
environments.build("./slow", None, EngineNeeds(), workspace, inherit=False, cancel=Cancel())
"""


def test_B83_an_installation_whose_agent_was_killed_is_ended_by_the_next_that_needs_its_lock(
    node: Node, slow: Path
) -> None:
    environ = {**node.environ, "PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
    arguments = [str(node.root.parent), str(node.workspace)]
    with subprocess.Popen([PYTHON, "-c", AGENT, *arguments], env=environ) as agent, slow.open() as pipe:
        assert pipe.read(1) == "x"
        agent.kill()
        agent.wait()
        slow.unlink()
        slow.symlink_to(os.devnull)
        error = node.failure("./slow", timeout=1)
        assert "took longer than 1 seconds" in str(error), "it got the lock and began"
        assert pipe.read() == "", "the end comes when the last process of the first one has ended"


def test_an_installation_that_takes_too_long_is_killed_and_says_so(node: Node, slow: Path) -> None:
    slow.unlink()
    slow.symlink_to(os.devnull)
    error = node.failure("./slow", timeout=1)
    assert (error.kind, str(error)) == ("timeout", "the requirements took longer than 1 seconds to install")


def test_B32_two_builders_of_one_environment_do_not_meet(node: Node) -> None:
    built: list[Path] = []
    threads = [threading.Thread(target=lambda: built.append(node.build("alpha\nbeta"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert len(built) == 3
    assert len(set(built)) == 1
    assert version(built[0], "alpha") == "1.0"


def test_waiting_for_another_builder_can_be_cancelled(node: Node) -> None:
    python = node.build("alpha")
    remove_run(python.parent.parent)
    cancel = Cancel()
    with (node.root / f"{python.parent.parent.name}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        helper = threading.Timer(0.3, cancel.cancel)
        helper.start()
        with pytest.raises(Cancelled):
            node.build("alpha", cancel=cancel)
        helper.join()


# What uv is told, and what is there already


def test_pips_settings_are_given_in_uvs_names_unless_uvs_own_are_there() -> None:
    base = {
        "PIP_INDEX_URL": "p",
        "PIP_EXTRA_INDEX_URL": "q",
        "PIP_FIND_LINKS": "r",
        "UV_INDEX": "own",
        "VIRTUAL_ENV": "/x",
        "PYTHONPATH": "/x",
        "UV_SYSTEM_PYTHON": "1",
        "HTTPS_PROXY": "proxy",
        "HOME": "/home/x",
    }
    env = uv_environment(base, Path("/cache"))
    assert (env["UV_INDEX_URL"], env["UV_FIND_LINKS"], env["HTTPS_PROXY"]) == ("p", "r", "proxy")
    assert not {"UV_EXTRA_INDEX_URL", "VIRTUAL_ENV", "PYTHONPATH", "UV_SYSTEM_PYTHON", "UV_CACHE_DIR"} & set(env)
    assert uv_environment({}, Path("/cache"))["UV_CACHE_DIR"] == "/cache"


def test_what_an_interpreter_has_already_is_seen(node: Node) -> None:
    assert satisfied(PYTHON, ())
    assert satisfied(PYTHON, ("attrs>=22", "PyYAML"))
    assert not satisfied(PYTHON, ("attrs>=22", "no-such-pkg-xyz"))
    assert not satisfied(PYTHON, ("attrs<22",))
    assert not satisfied(Path("/no/python"), ("attrs",))
