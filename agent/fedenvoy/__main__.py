"""`python -m fedenvoy`: the command line without its script."""

from __future__ import annotations

from fedenvoy.cli import main

if __name__ == "__main__":
    main()
