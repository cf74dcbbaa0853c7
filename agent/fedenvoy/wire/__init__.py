"""The messages of the director protocols, generated from the sources in `proto/`; nothing here is written by hand."""
