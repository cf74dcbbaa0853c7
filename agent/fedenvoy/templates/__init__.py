"""The files that `fedenvoy init` writes; nothing of the agent imports them."""
