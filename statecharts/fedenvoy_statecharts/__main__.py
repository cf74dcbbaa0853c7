"""Entry of `python -m fedenvoy_statecharts`."""

from __future__ import annotations

import sys

from fedenvoy_statecharts.cli import main

if __name__ == "__main__":
    sys.exit(main())
