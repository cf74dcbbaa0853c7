"""The process that fuzzes: `python -m fuzz.coverage TARGET ARGUMENTS OF LIBFUZZER`. It ends where libFuzzer says so."""

from __future__ import annotations

import importlib
import sys

FUZZED = ("fedenvoy.workspace.intake", "fedenvoy.workspace.requirements", "yaml")
"""What is watched while it runs, with all that it imports of the same packages; the rest runs at full speed."""


def main() -> None:
    """Fuzz until the time given is over or something is found."""
    import atheris  # only in the environment of the fuzzer

    with atheris.instrument_imports(include=["fedenvoy.workspace", "yaml"]):
        for name in FUZZED:
            importlib.import_module(name)
    from fuzz.targets import TARGETS

    target = TARGETS[sys.argv[1]]()
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
