"""The files that `fedenvoy init` and `fedenvoy systemd-unit` write; nothing of the agent imports them."""
