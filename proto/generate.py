"""Generate the message code in `agent/fedenvoy/wire` from the sources beside this file, or check that it is current.

The generator is pinned to the oldest release whose output every supported protobuf can load (4.25 and later),
because generated code refuses a runtime older than its generator. Only messages are generated: the director's
methods are called by their full path, so no service code is wanted.

It needs `grpcio-tools==1.62.*` and `mypy-protobuf==3.6.*` (the last that runs beside protobuf 4.25) in the
interpreter that runs it, and nothing of this project.
"""

# ruff: noqa: INP001 - a script beside the sources; proto/ must never be an import package

from __future__ import annotations

import argparse
import difflib
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PINS = {"grpcio-tools": "1.62.", "mypy-protobuf": "3.6."}
"""The generators, each with what its version begins with."""

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "agent"


def sources() -> list[Path]:
    """Give the message sources, relative to this directory; each one's path is the import path of its code."""
    return sorted(path.relative_to(HERE) for path in HERE.rglob("*.proto"))


def outputs(source: Path) -> tuple[Path, Path]:
    """Give the paths of a source's code and of its type stub, relative to the target."""
    module = source.with_name(f"{source.stem}_pb2.py")
    return module, module.with_suffix(".pyi")


def check_generators() -> None:
    """Raise SystemExit, in one sentence, when a pinned generator is not the one installed here."""
    for name, wanted in PINS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not at all"
        if not found.startswith(wanted):
            raise SystemExit(f"{name} is needed in version {wanted}*, but is installed here: {found}")


def generate(target: Path) -> None:
    """Write the code and the stubs of all sources below `target`.

    Raises:
        SystemExit: A generator is not the pinned one, or failed.
    """
    check_generators()
    plugin = Path(sys.executable).with_name("protoc-gen-mypy")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={HERE}", f"--python_out={target}"]
    command += [f"--plugin=protoc-gen-mypy={plugin}", f"--mypy_out=quiet:{target}", *map(str, sources())]
    ended = subprocess.run(command, cwd=HERE, check=False)
    if ended.returncode:
        raise SystemExit(f"protoc ended with exit code {ended.returncode}")


def differences(target: Path) -> list[str]:
    """Generate anew into a temporary directory; give the lines of a diff from `target` to what came out."""
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        for output in (path for source in sources() for path in outputs(source)):
            committed = target / output
            before = committed.read_text(encoding="utf-8").splitlines() if committed.exists() else []
            after = (Path(fresh) / output).read_text(encoding="utf-8").splitlines()
            lines += difflib.unified_diff(before, after, f"committed/{output}", f"generated/{output}", lineterm="")
    return lines


def main(argv: list[str] | None = None) -> int:
    """Run the command line; give the exit code."""
    parser = argparse.ArgumentParser(description="Generate the message code, or check that it is current.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the code is not current")
    if not parser.parse_args(argv).check:
        generate(TARGET)
        return 0
    lines = differences(TARGET)
    for line in lines:
        print(line)  # noqa: T201 - the diff is what this command gives
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
