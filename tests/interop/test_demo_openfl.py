"""`fedenvoy demo --director openfl`, as a user meets it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PATH = "Disconnected -> Registered -> Idle -> ReviewingPlan -> Training -> Reporting -> Idle -> Stopped"


def test_the_demo_ends_when_the_real_director_says_finished(
    openfl_python: Path, cache: Path, sources: Mapping[str, str], tmp_path: Path
) -> None:
    environment = {**os.environ, **sources, "XDG_CACHE_HOME": str(cache), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "fedenvoy", "demo", "--director", "openfl", "--timeout", "170"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "the director says: finished" in done.stdout
    assert done.stdout.count(PATH) == 2
    assert "round 1 averaged" in done.stdout
    assert list(tmp_path.iterdir()) == []
