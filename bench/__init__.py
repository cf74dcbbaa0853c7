"""Measurements of fedenvoy beside OpenFL 1.6's own envoy, taken in the same run; `python -m bench --help`."""
