"""Locked requirements: what they say, that nothing runs for them, and that what is installed is exactly that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.workspace import installer
from fedenvoy.workspace.environments import RequirementsError
from fedenvoy.workspace.pins import Locked
from support.environments import Node, make_wheels, source, version, wheel


def digest(path: Path) -> str:
    done = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def pinned(path: Path) -> str:
    name, release, *_ = path.name.split("-")
    return f"{name}=={release} \\\n    --hash=sha256:{digest(path)}\n"


# What a lock says


def test_a_lock_names_everything_with_hashes_and_is_the_same_each_time(
    node: Node, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site.txt"
    site.write_text("protobuf\n")
    locked = node.lock("beta", site=site, needs=("alpha>=1",))
    names = ["alpha-1.0", "beta-1.0", "protobuf-3.20.3"]
    assert locked.text == "".join(pinned(wheels / f"{name}-py3-none-any.whl") for name in names)
    assert (locked.complete, locked.notes) == (True, ())
    (tmp_path / "lock").write_text(locked.text)
    assert locked.digest == digest(tmp_path / "lock")
    wheels.rename(tmp_path / "gone")
    monkeypatch.setattr(installer, "uv_path", lambda: "/no/uv")
    assert node.lock("beta", site=site, needs=("alpha>=1",)) == locked, "kept, and asked of nobody again"


def test_nothing_asked_for_is_an_empty_lock(node: Node) -> None:
    assert (node.lock(""), node.lock("").digest) == (Locked(""), "")
    assert not node.root.exists()


def test_what_lies_in_the_archive_is_locked_wherever_it_is_unpacked(node: Node, wheels: Path, tmp_path: Path) -> None:
    (wheels / "alpha-1.0-py3-none-any.whl").rename(node.workspace / "alpha-1.0-py3-none-any.whl")
    asked = "./alpha-1.0-py3-none-any.whl\nprotobuf"
    locked = node.lock(asked)
    assert locked.text.startswith("./alpha-1.0-py3-none-any.whl \\\n    --hash=sha256:")
    first = node.build(asked, locked=locked)
    node.workspace.rename(tmp_path / "elsewhere")
    node.workspace = tmp_path / "elsewhere"
    assert node.lock(asked) == locked
    assert node.build(asked, locked=locked) == first
    wheel(node.workspace, "alpha", "1.0", "protobuf")
    assert node.lock(asked) != locked, "another file of the same name"


def test_exactly_what_was_locked_is_installed_whatever_the_index_has_by_now(node: Node, wheels: Path) -> None:
    locked = node.lock("alpha")
    wheel(wheels, "alpha", "3.0")
    for kept in node.root.glob("*.pins"):
        kept.unlink()
    assert version(node.build("alpha", locked=locked), "alpha") == "2.0"


@pytest.mark.nightly
def test_a_package_that_was_exchanged_since_the_lock_is_not_installed(node: Node, wheels: Path) -> None:
    locked = node.lock("alpha==1.0")
    wheel(wheels, "alpha", "1.0", "protobuf")
    node.environ["UV_CACHE_DIR"] = str(wheels.parent / "cache")
    error = node.failure("alpha==1.0", locked=locked)
    assert "Hash mismatch" in error.tail
    assert version(node.build("alpha==1.0"), "alpha") == "1.0", "nobody approved a lock: it is made anew"


def test_a_hash_of_the_archive_s_own_counts_and_not_what_the_index_says(node: Node, wheels: Path) -> None:
    right = digest(wheels / "alpha-1.0-py3-none-any.whl")
    assert node.lock(f"alpha==1.0 --hash=sha256:{right}").text == pinned(wheels / "alpha-1.0-py3-none-any.whl")
    error = node.failure(f"alpha==1.0 --hash=sha256:{'0' * 64}")
    assert "Hash mismatch" in error.tail


# Nothing runs for it


@pytest.fixture
def mark(tmp_path: Path, wheels: Path) -> Path:
    """Give the file that building the source distribution `gamma` leaves."""
    source(wheels, "gamma", f"open({str(tmp_path / 'ran')!r}, 'a').write('x')")
    return tmp_path / "ran"


def test_a_lock_runs_no_code_and_says_what_it_cannot_know(node: Node, mark: Path) -> None:
    locked = node.lock("gamma\nalpha<2")
    assert not mark.exists()
    assert not locked.complete
    assert locked.notes == (
        "gamma must be built from source, which runs its code: what else will be installed is known only then",
    )
    assert locked.text == f"# {locked.notes[0]}\ngamma\nalpha<2\n"
    python = node.build("gamma\nalpha<2", locked=locked)
    assert mark.exists()
    assert (version(python, "gamma"), version(python, "alpha")) == ("1.0", "1.0")
    assert node.build("gamma\nalpha<2", locked=locked) == python


def test_a_wheel_is_preferred_to_a_newer_source(node: Node, wheels: Path, mark: Path) -> None:
    wheel(wheels, "gamma", "0.9")
    assert version(node.build("gamma"), "gamma") == "0.9"
    assert not mark.exists()


@pytest.mark.parametrize("given", ["directory", pytest.param("file", marks=pytest.mark.nightly)])
def test_sources_in_the_archive_are_built_from_a_copy(node: Node, given: str, tmp_path: Path) -> None:
    packed = source(node.workspace, "delta", "open(HERE + '/left', 'w').close()")
    if given == "directory":
        subprocess.run(["tar", "-xzf", packed, "-C", node.workspace], check=True)
        packed.unlink()
    name = "./delta-1.0" if given == "directory" else "./delta-1.0.tar.gz"
    before = sorted(node.workspace.rglob("*"))
    locked = node.lock(name)
    assert not locked.complete
    assert version(node.build(name, locked=locked), "delta") == "1.0"
    assert sorted(node.workspace.rglob("*")) == before, "what was approved stays as it is"


def test_the_site_s_own_sources_are_built_and_the_lock_is_complete(node: Node, tmp_path: Path) -> None:
    own = tmp_path / "own"
    source(tmp_path, "own", "pass")
    subprocess.run(["tar", "-xzf", tmp_path / "own-1.0.tar.gz", "-C", tmp_path], check=True)
    (tmp_path / "own-1.0").rename(own)
    text = (own / "pyproject.toml").read_text()
    (own / "pyproject.toml").write_text(text.replace('dynamic = ["dependencies"]\n', ""))
    site = tmp_path / "site.txt"
    site.write_text("./own\n")
    locked = node.lock("alpha<2", site=site)
    assert locked.complete
    assert f"{own}\n" in locked.text
    python = node.build("alpha<2", site=site, locked=locked)
    assert (version(python, "own"), version(python, "alpha")) == ("1.0", "1.0")


# Read-only, whole, and small enough


def test_an_environment_is_read_only_for_whoever_runs_in_it(node: Node) -> None:
    place = node.build("alpha<2").parent.parent
    modes = {path.lstat().st_mode & 0o222 for path in (place, *place.rglob("*")) if not path.is_symlink()}
    assert modes == {0}
    for kept in (place.parent.parent, place.parent):
        kept.chmod(0o755)
    for path in (place / "pyvenv.cfg", next(place.rglob("alpha.py"))):
        code = f"import os; os.chdir({str(path.parent)!r}); open({path.name!r}, 'a')"
        other = ["setpriv", "--reuid", "65534", "--clear-groups"] if os.getuid() == 0 else []
        done = subprocess.run([*other, "python3", "-c", code], check=False, capture_output=True, text=True)
        assert "Permission denied" in done.stderr or "Read-only" in done.stderr
    assert {path.suffix for path in place.rglob("__pycache__/*")} == {".pyc"}, "compiled, since nobody can later"


def test_scripts_work_where_the_environment_is_at_last(node: Node, wheels: Path) -> None:
    wheel(wheels, "tool", "1.0")
    with zipfile.ZipFile(wheels / "tool-1.0-py3-none-any.whl", "a") as packed:
        packed.writestr("tool-1.0.dist-info/entry_points.txt", "[console_scripts]\ntool = tool:VERSION.strip\n")
    script = node.build("tool").parent / "tool"
    assert ".new" not in script.read_text()
    done = subprocess.run([script], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "1.0\n"), "what the entry point gives"


def test_a_wheel_that_unpacks_to_too_much_is_stopped_and_leaves_nothing(
    node: Node, wheels: Path, tmp_path: Path
) -> None:
    wheel(wheels, "bomb", "1.0")
    with zipfile.ZipFile(wheels / "bomb-1.0-py3-none-any.whl", "a", zipfile.ZIP_DEFLATED) as packed:
        with packed.open("bomb.bin", "w", force_zip64=True) as file:
            for _ in range(200):
                file.write(bytes(2**20))
    node.environ["UV_CACHE_DIR"] = str(tmp_path / "cache")
    error = node.failure("bomb", max_environment_bytes=20 * 2**20)
    assert (error.kind, "agent.requirements.max_environment_bytes" in str(error)) == ("refused", True)
    assert not list((tmp_path / "cache").glob(".tmp*"))


def test_the_cache_keeps_to_its_size_and_what_was_used_longest_ago_goes(node: Node) -> None:
    first = node.build("alpha==1.0").parent.parent
    second = node.build("alpha==2.0").parent.parent
    node.build("alpha==1.0")
    os.utime(second.with_suffix(".used"), (1, 1))
    os.utime(second, (1, 1))
    size = int(first.with_suffix(".used").read_text())
    third = node.build("beta", max_bytes=int(2.5 * size)).parent.parent
    assert sorted(node.left()) == sorted([first.name, third.name])
    environments = node.environments(max_bytes=1)
    with environments.in_use(first / "bin" / "python"):
        fourth = node.build("protobuf", max_bytes=1).parent.parent
        assert sorted(node.left()) == sorted([first.name, fourth.name]), "what is in use stays"


# Where packages come from


def test_offline_installs_from_a_directory_and_asks_no_index(node: Node, wheels: Path, tmp_path: Path) -> None:
    own = make_wheels(tmp_path / "own")
    wheel(wheels, "alpha", "9.0")
    offline: dict[str, Any] = {"mode": "offline", "wheels": own}
    node.environ["UV_EXTRA_INDEX_URL"] = "http://127.0.0.1:9/simple"
    locked = node.lock("--extra-index-url http://127.0.0.1:9/other\nalpha", **offline)
    assert locked.text.endswith(pinned(own / "alpha-2.0-py3-none-any.whl"))
    assert locked.notes == ("not asked, because this site installs without a network: http://127.0.0.1:9/other",)
    assert version(node.build("alpha", **offline), "alpha") == "2.0"
    with pytest.raises(RequirementsError, match="no-such-pkg-xyz"):
        node.build("no-such-pkg-xyz", **offline)
    (tmp_path / "second").mkdir()
    error = Node(tmp_path / "second", wheels).failure(
        "x @ http://user:secret@127.0.0.1:9/x-1.0-py3-none-any.whl", **offline
    )
    assert (error.kind, "without a network" in str(error), "secret" in str(error)) == ("refused", True, False)


def test_hashes_required_means_all_that_the_archive_brings(node: Node, wheels: Path, tmp_path: Path) -> None:
    def hashed(name: str) -> str:
        return pinned(wheels / f"{name}-py3-none-any.whl").replace("\\\n", "").strip()

    required: dict[str, Any] = {"mode": "hashes-required"}
    assert "'alpha==1.0' carries no hash" in str(node.failure("alpha==1.0", **required))
    error = node.failure(hashed("beta-1.0"), **required)
    assert (error.kind, "alpha==1.0 (beta need it) is not listed" in str(error)) == ("refused", True)
    python = node.build(f"{hashed('beta-1.0')}\n{hashed('alpha-1.0')}", **required)
    assert version(python, "alpha") == "1.0"
    site = tmp_path / "site.txt"
    site.write_text("beta\n")
    python = node.build(hashed("protobuf-3.20.3"), site=site, needs=("alpha",), **required)
    assert version(python, "beta") == "1.0", "the site and the engine need no hashes"


def test_hashes_required_builds_nothing(node: Node, mark: Path, wheels: Path) -> None:
    error = node.failure(f"gamma==1.0 --hash=sha256:{digest(wheels / 'gamma-1.0.tar.gz')}", mode="hashes-required")
    assert (error.kind, "must be built" in str(error), mark.exists()) == ("refused", True, False)


LISTED = "https://packages.example.org/simple"


@pytest.mark.parametrize(
    ("asked", "environ", "site", "kind", "words"),
    [
        ("--index-url https://evil.example.org/simple\nx", {}, "", "refused", "they ask for https://evil.example.org"),
        ("--extra-index-url https://packages.example.org/simple2\nx", {}, "", "refused", "/simple2"),
        ("--find-links https://packages.example.org/simple/../files\nx", {}, "", "refused", "/simple/../files"),
        ("--find-links http://packages.example.org/simple\nx", {}, "", "refused", "http://packages"),
        (
            "x @ https://a:b@packages.example.org.evil/simple/x.whl",
            {},
            "",
            "refused",
            "https://packages.example.org.evil",
        ),
        (
            "x",
            {"UV_INDEX_URL": "https://user:secret@evil.example.org/"},
            "",
            "environment",
            "UV_INDEX_URL names https://ev",
        ),
        ("x", {"PIP_EXTRA_INDEX_URL": "https://evil.example.org/"}, "", "environment", "UV_EXTRA_INDEX_URL names"),
        ("x", {"UV_INDEX": "evil=https://evil.example.org/"}, "", "environment", "UV_INDEX names https://evil"),
        ("x", {"UV_FIND_LINKS": "/srv/wheels"}, "", "environment", "file:///srv/wheels"),
        ("x", {}, "--index-url https://evil.example.org/simple\n", "environment", "agent.requirements.site"),
    ],
)
def test_only_listed_indexes_are_asked(  # noqa: PLR0917 - a table's columns
    node: Node, tmp_path: Path, asked: str, environ: dict[str, str], site: str, kind: str, words: str
) -> None:
    node.environ = {name: value for name, value in node.environ.items() if not name.startswith(("UV_F", "UV_I"))}
    node.environ.update(environ)
    file = tmp_path / "site.txt"
    file.write_text(site or "\n")
    error = node.failure(asked, site=file, indexes=(LISTED,))
    assert error.kind == kind
    assert words in str(error)
    assert "agent.requirements.indexes" in str(error)
    assert "secret" not in str(error)
    assert not node.root.exists(), "refused before anything is run"


@pytest.mark.nightly
def test_the_first_listed_index_is_the_one_that_is_asked(node: Node, wheels: Path, tmp_path: Path) -> None:
    for name in ("UV_INDEX_URL", "UV_FIND_LINKS"):
        del node.environ[name]
    index = tmp_path / "simple" / "alpha"
    index.mkdir(parents=True)
    links = [f'<a href="{path.as_uri()}">{path.name}</a>' for path in sorted(wheels.glob("alpha-*"))]
    (index / "index.html").write_text("".join(links))
    listed = ((tmp_path / "simple").as_uri(), LISTED, wheels.as_uri())
    assert version(node.build("alpha", indexes=listed), "alpha") == "2.0"
    node.environ["UV_FIND_LINKS"] = str(wheels)
    assert version(node.build("beta", indexes=listed), "alpha") == "1.0", "the directory is listed, too"


KILLED = """
import os, signal, sys
sys.path[:0] = PATHS
from pathlib import Path
from fedenvoy.workspace import building
from support.environments import Node
building.WHERE = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Node(Path(sys.argv[1]), Path(sys.argv[2])).build("alpha")
"""


@pytest.mark.parametrize("where", [pytest.param("_compile", marks=pytest.mark.nightly), "_sync"])
def test_an_agent_that_is_killed_publishes_nothing_half_made(node: Node, tmp_path: Path, where: str) -> None:
    code = KILLED.replace("PATHS", repr([path for path in sys.path if path])).replace("WHERE", where)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(tmp_path / "wheels")], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = [name for name in node.left() if name.endswith(".new")]
    name = left.removesuffix(".new")
    assert name not in node.left(), "read-only by now, and not published"
    assert node.build("alpha").parent.parent.name == name
    assert node.left() == [name]


@pytest.mark.nightly
def test_two_agents_that_build_the_same_at_once_build_it_once(node: Node, tmp_path: Path) -> None:
    code = """
import sys
sys.path[:0] = PATHS
from pathlib import Path
from typing import Any
from support.environments import Node
node = Node(Path(sys.argv[1]), Path(sys.argv[2]))
print(node.build("alpha\\nbeta"))
""".replace("PATHS", repr([path for path in sys.path if path]))
    arguments = [str(tmp_path), str(tmp_path / "wheels")]
    agents = [
        subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    built = {agent.communicate()[0].strip() for agent in agents}
    assert len(built) == 1
    assert version(Path(built.pop()), "alpha") == "1.0"
    assert len(node.left()) == 1
