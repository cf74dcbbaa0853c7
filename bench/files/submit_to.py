"""Submits the demo's experiment to the nodes named and to no others; the front end would take all that are online.

Run by OpenFL's interpreter from the directory that also holds the demo's own script.
"""

# A file that is copied, never a module of this package.
# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

import argparse
from typing import Any

import plane_submit

_connect = plane_submit.connect


def connect(args: argparse.Namespace) -> Any:
    """Open the connection; the registry that it gives holds the named nodes only."""
    federation = _connect(args)
    whole = federation.get_shard_registry
    federation.get_shard_registry = lambda: {name: node for name, node in whole().items() if name in args.nodes}
    return federation


if __name__ == "__main__":
    plane_submit.connect = connect
    raise SystemExit(plane_submit.main())
