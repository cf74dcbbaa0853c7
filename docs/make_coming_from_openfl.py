"""Writes docs/coming-from-openfl.md from the differences that the tests see; `--check` only tells whether it is fresh.

What differs is described once, in the table that `tests/interop/test_differential.py` holds to what both programs do
(`tests/interop/differential/differences.py`); this page is that table with the text around it. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from interop.differential.differences import ROWS, Better, OnPurpose  # noqa: E402 - its path is given above

PAGE = Path(__file__).with_name("coming-from-openfl.md")
WINDOW = ROOT / "bench" / "results" / "registry_window.json"

HEAD = """# Coming from OpenFL

This page is made from the table of differences that the tests hold to what both programs do:
`python docs/make_coming_from_openfl.py`.

fedenvoy takes the place of OpenFL's Envoy (1.5 and 1.6, the interactive API) on a node. The director, the experiments
and the people who submit them notice nothing. Your configuration file, shard descriptor, GPU plugin and certificates
stay as they are.

## The same

- `fedenvoy start` has the flags of `fx envoy start`, long and short; `fedenvoy init` is `fx envoy create-workspace`.
- `from fedenvoy import Envoy` has the signature, attributes and methods of `openfl.component.envoy.envoy.Envoy`.
- `envoy_config.yaml` is read as it stands; certificate paths in it too. OpenFL's pynvml plugin, named by its template,
  is our own monitor.
- A shard descriptor is constructed in the directory the node was started in, before the experiment's directory is
  entered.
- The collaborator is OpenFL's own, of the version in the experiment's interpreter.
- Original envoys and fedenvoy nodes work in one federation, in plain text and under TLS, and the weights come out as
  they do with original envoys alone. Nodes can be replaced one at a time.
- A node that fails an experiment gives its user the same picture: the experiment's status goes through the same words,
  and the node stays online.
"""

BETTER = """
## Better

| | OpenFL 1.6 | fedenvoy |
|---|---|---|
"""

ON_PURPOSE = """
## Different on purpose

| what | why |
|---|---|
"""

LISTING = """
## Listing the nodes

From the moment when the director of OpenFL 1.6 has accepted a node until that node polls for the first time,
`get_shard_registry()` and `FLExperiment.start()` raise, for everybody. A director cannot be kept from it by a node; the
time can be kept short. Measured before a director that notes its calls ({machine}, {samples} starts of each in turn):
{openfl} with OpenFL's envoy, {fedenvoy} with fedenvoy, which sends its first poll with the registration and not after
the first health check. Asking again is right in either case.
"""

LIMITS = """
## Limits that stay

- Under mutual TLS the 1.6 director drops failure reports without a word. The agent says "sent", never "received".
- An experiment that failed is "failed" for some seconds and then "finished" for the director. The collaborators of the
  healthy nodes are told nothing: with OpenFL's envoy they ask for their aggregator for ever, with ours for
  `agent.aggregator_timeout` (10 minutes).
- The wheel needs Python 3.10 or newer; archives hold pickles, so the experiment's interpreter (`agent.python`) must be
  of the submitter's minor version.
"""


def page() -> str:
    """Write the whole page."""
    better = [f"| {row.what} | {row.openfl} | {row.fedenvoy} |\n" for row in ROWS.values() if isinstance(row, Better)]
    purpose = [f"| {row.what} | {row.why} |\n" for row in ROWS.values() if isinstance(row, OnPurpose)]
    return "".join([HEAD, BETTER, *better, ON_PURPOSE, *purpose, listing(), LIMITS])


def listing() -> str:
    """Tell the measured times."""
    told = json.loads(WINDOW.read_text(encoding="utf-8"))
    (series,) = told["series"]
    conditions = told["conditions"]
    return LISTING.format(
        machine=f"{conditions['cpu']}, {conditions['cores']} cores",
        samples=len(series["samples"]["fedenvoy"]),
        openfl=milliseconds(series["median"]["OpenFL 1.6"]),
        fedenvoy=milliseconds(series["median"]["fedenvoy"]),
    )


def milliseconds(seconds: float) -> str:
    """Say a time to a tenth of a millisecond."""
    return f"{seconds * 1000:.1f} ms"


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is stale")
    if parser.parse_args().check:
        return int(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
