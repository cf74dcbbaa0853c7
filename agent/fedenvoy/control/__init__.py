"""Control of a running agent from this machine: a unix socket in the node's state directory, and how a node is found.

The server knows a node by a few plain callables; the client knows it by the socket. Neither knows what a node is.
"""
