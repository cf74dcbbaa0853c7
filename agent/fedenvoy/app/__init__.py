"""Where the parts meet: the only package that knows the core, the loop and every adapter."""

from fedenvoy.app.node import Node, run_node

__all__ = ["Node", "run_node"]
