"""The dependency rule, read from the imports: one direction, adapters apart, each vendor library in one place."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fedenvoy
import fedenvoy_statecharts
import pytest

AGENT = Path(fedenvoy.__file__).parent
CHARTS = Path(fedenvoy_statecharts.__file__).parent

LEAVES = {"events", "commands", "config", "errors", "ports", "calls", "cancel", "backoff", "waits", "logs", "processes"}
LEAVES |= {"devices"}
LEAVES |= {"hostnames", "proxies"}
ADAPTERS = {"isolation", "control", "link", "monitor", "relay", "workspace", "engines", "store", "service", "web"}
ALLOWED: dict[str, set[str]] = {
    "machine": set(),
    "core": {"machine"},
    "loop": {"core"},
    "app": {"certificates", "core", "loop", "review", "app", "status"} | ADAPTERS,
    "client": {"app", "engines"},
    "envoy": {"app", "client", "certificates", "configfile", "engines", "monitor"},
    "audit": {"store"},
    "control": set(),
    "status": {"control", "store"},
    "isolation": set(),
    "link": {"wire"},
    "monitor": set(),
    "relay": set(),
    "workspace": set(),
    "engines": set(),
    "store": set(),
    "service": set(),
    "web": set(),
    "wire": set(),
    "certificates": set(),
    "configfile": {"certificates"},
    "review": {"configfile"},
    "testing": {"wire", "link"},
    "demo": {"testing"},
    "doctor": {"app", "certificates", "link", "monitor", "store", "workspace"},
}
"""Which parts of the agent each part may import, besides the leaves and itself."""

VENDOR_HOMES = {
    "transitions": {"machine"},
    "grpc": {"link", "testing"},
    "google": {"link", "wire", "testing"},
    "tenacity": {"waits", "workspace"},
    "pynvml": {"monitor"},
    "sqlite3": {"store"},
    "uv": {"workspace", "demo"},
    "cloudpickle": {"engines"},
    "rich": {"demo"},
    "prometheus_client": {"web"},
    "cryptography": {"certificates", "demo", "doctor", "testing"},
    "hypothesis": {"testing"},
    "packaging": {"review"},
}
"""Which parts may import a vendor library; what runs in an experiment's own interpreter is another matter."""

LOADED_LATE = {"aggregator.py"}
"""Of the child's programs, those that another loads when the experiment runs."""


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root).with_suffix("")
        if "files" not in relative.parts and "templates" not in relative.parts:
            yield relative.parts[0], path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize(("part", "path"), list(modules(AGENT)), ids=lambda x: str(x) if isinstance(x, str) else x.name)
def test_each_part_imports_only_what_it_may(part: str, path: Path) -> None:
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "fedenvoy" and rest and part not in {"__init__", "__main__"} and not part.startswith("cli"):
            other = rest.split(".")[0]
            allowed = ALLOWED.get(part, set()) | LEAVES | {part}
            if part in LEAVES:
                allowed = LEAVES
            assert other in allowed, f"{path.relative_to(AGENT)} imports fedenvoy.{other}"
        if top in VENDOR_HOMES and "child" not in path.parts:
            assert part in VENDOR_HOMES[top], f"{path.relative_to(AGENT)} imports {name}"


@pytest.mark.parametrize("path", [path for _, path in modules(CHARTS)], ids=lambda path: path.name)
def test_charts_need_the_standard_library_alone(path: Path) -> None:
    for name in imports(path):
        top = name.partition(".")[0]
        assert top == "fedenvoy_statecharts" or top in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_child_programs_need_the_standard_library_until_they_run_the_experiment() -> None:
    for path in (AGENT / "engines" / "child").glob("*.py"):
        if path.name in LOADED_LATE:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                beside = name.startswith("fedenvoy.engines.child")  # the launcher lets them import each other
                assert beside or name.partition(".")[0] in sys.stdlib_module_names, f"{path.name} imports {name}"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("fedenvoy", {"grpc", "google", "transitions", "yaml", "pynvml", "rich", "click", "cattrs"}),
        ("fedenvoy.cli", {"grpc", "google", "transitions", "pynvml", "rich", "sqlite3"}),
        ("fedenvoy.envoy", {"grpc", "pynvml", "rich", "click", "cloudpickle", "hypothesis", "tenacity", "asyncio"}),
    ],
)
def test_heavy_things_are_loaded_when_they_are_needed(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not absent & set(done.stdout.split())
