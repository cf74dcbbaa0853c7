"""The program that parses an experiment's Python files: a process of its own, for a parser can be made to crash.

Standard library only; nothing that it reads is run. Reads one JSON object, writes one JSON line per file.
"""

from __future__ import annotations

import ast
import json
import resource
import sys
from pathlib import Path

_CPU = 30


def main() -> None:
    """Parse the files named on the standard input."""
    task = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (task["memory"], task["memory"]))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU, _CPU))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    modules, builtins = set(task["modules"]), set(task["builtins"])
    for path in task["paths"]:
        print(json.dumps(_parse(path, modules, builtins)), flush=True)  # noqa: T201 - the answer


def _parse(path: str, modules: set[str], builtins: set[str]) -> dict[str, object]:
    try:
        tree = ast.parse(Path(path).read_bytes(), "file")
    except SyntaxError as error:
        return {"problem": f"line {error.lineno}: {error.msg}"[:200], "names": []}
    except (ValueError, RecursionError, MemoryError) as error:
        return {"problem": f"cannot be parsed: {str(error)[:150] or type(error).__name__}", "names": []}
    return {"problem": "", "names": sorted(set(_names(tree, modules, builtins)))}


def _names(tree: ast.AST, modules: set[str], builtins: set[str]) -> list[str]:
    """Give the listed modules that are imported, and the listed builtins that are named."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [name for name in (alias.name.partition(".")[0] for alias in node.names) if name in modules]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += {node.module.partition(".")[0]} & modules
        elif isinstance(node, ast.Name) and node.id in builtins:
            found.append(node.id)
    return found


if __name__ == "__main__":
    main()
