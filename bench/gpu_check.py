"""`python -m bench.gpu_check`, on a machine with NVIDIA GPUs: everything that fedenvoy does with them, once, for real.

Prints a table; exit code 0 when all passed, 1 when something failed, 2 where there is no GPU and nothing was checked.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started by its path
    sys.path.insert(0, str(Path(__file__).parents[1]))

PASSED, FAILED, NOTHING = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_check", description="Check fedenvoy on real GPUs.")
    parser.add_argument("--isolation", choices=("process", "sandbox", "user"), help="as agent.isolation")
    parser.add_argument("--only", nargs="*", metavar="CHECK", help="some checks, by name")
    args = parser.parse_args(arguments)
    from fedenvoy.logs import words  # noqa: PLC0415
    from fedenvoy.monitor.nvml import NvmlProbe  # noqa: PLC0415

    from bench.gpu_checks import CHECKS, Bench  # noqa: PLC0415 - loads fedenvoy

    try:
        probe = NvmlProbe()
    except Exception as error:  # whatever keeps NVML from beginning
        print(f"There is no NVIDIA driver that answers on this machine ({words(error)}): nothing was checked.")
        return NOTHING
    bench = Bench(args.isolation, probe)
    cards = _cards()
    if not cards:
        print("The NVIDIA driver of this machine sees no GPU: nothing was checked.")
        return NOTHING
    bench.states = bench.look(*range(cards))
    wanted = [check for check in CHECKS if args.only is None or check.__name__ in args.only]
    failed = 0
    for check in wanted:
        begun = time.perf_counter()
        try:
            passed, found = "pass", check(bench)
        except Exception as error:
            failed += 1
            passed, found = "FAIL", str(error) if isinstance(error, AssertionError) else words(error)
        spent = time.perf_counter() - begun
        print(f"{passed}  {check.__name__:<11} {spent:6.1f} s  {(check.__doc__ or '').splitlines()[0]}", flush=True)
        print(f"{'':27}{found}", flush=True)
    bench.probe.close()
    print(f"{len(wanted) - failed} of {len(wanted)} checks passed on {cards} GPU{'s' if cards > 1 else ''}.")
    return FAILED if failed else PASSED


def _cards() -> int:
    import pynvml  # noqa: PLC0415

    return int(pynvml.nvmlDeviceGetCount())


if __name__ == "__main__":
    sys.exit(main())
