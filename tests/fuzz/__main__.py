"""Fuzz by coverage, with Atheris, from the directory `tests`.

python -m fuzz intake --seconds 600
python -m fuzz intake --again FILE            # what an earlier run found
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

TARGETS = {"intake": ("raw", "built")}
"""What can be fuzzed, and the targets that it is done by, each for its share of the time."""
GRACE = 120.0
"""Seconds beyond its time that a target may take: it begins by running what is kept."""
LONGEST_INPUT, LONGEST_RUN, MEMORY = 8192, 60, 2048
"""Bytes, seconds and megabytes of one input."""


@click.command(context_settings={"max_content_width": 110})
@click.argument("what", type=click.Choice(sorted(TARGETS)))
@click.option("--seconds", type=click.IntRange(2), default=600, show_default=True, help="In all.")
@click.option("--corpus", type=click.Path(path_type=Path, file_okay=False), help="Where inputs are kept between runs.")
@click.option("--again", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Only run this input.")
def main(*, what: str, seconds: int, corpus: Path | None, again: Path | None) -> None:
    """Fuzz until the time is over. When something was found, the exit code is 1, and the path of its input is told."""
    with tempfile.TemporaryDirectory(prefix="fedenvoy-corpus-") as temporary:
        top = (corpus or Path(temporary)).absolute()
        shares = TARGETS[what]
        wrong = [name for name in shares if not _fuzz(name, top / what / name, seconds // len(shares), again)]
    if wrong:
        click.echo(f"something was found by: {', '.join(wrong)}", err=True)
        raise SystemExit(1)
    click.echo("nothing was found")


def _fuzz(target: str, corpus: Path, seconds: int, again: Path | None) -> bool:
    """Run one target; give whether it found nothing."""
    corpus.mkdir(parents=True, exist_ok=True)
    _seed(target, corpus)
    found = Path.cwd() / f"found-{target}-"
    arguments = [f"-max_len={LONGEST_INPUT}", f"-timeout={LONGEST_RUN}", f"-rss_limit_mb={MEMORY}"]
    arguments += [str(again.absolute())] if again else [f"-max_total_time={seconds}", str(corpus)]
    arguments += [f"-artifact_prefix={found}", "-print_final_stats=1", "-close_fd_mask=0"]
    click.echo(f"--- {target}: {seconds} s")
    argv = [sys.executable, "-m", "fuzz.coverage", target, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(argv, env=environment, timeout=None if again else seconds + GRACE, check=False)
    except subprocess.TimeoutExpired:
        click.echo(f"{target} did not end in time", err=True)
        return False
    return done.returncode == 0


def _seed(target: str, corpus: Path) -> None:
    """Put in what a run begins with: archives of every form; the other target begins with bytes of every kind."""
    from fuzz.archives import seeds

    contents = seeds() if target == "raw" else [bytes([byte]) * 600 for byte in range(0, 256, 16)]
    for number, content in enumerate(contents):
        (corpus / f"seed-{number}").write_bytes(content)


if __name__ == "__main__":
    main()
