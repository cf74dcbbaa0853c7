"""How far experiments are kept away from this machine: which levels work here, which one is taken, and what it shows.

An adapter: it knows the settings and the file system, and nothing of how a program is started. Whether a level works is
asked of whoever can try it.
"""

from fedenvoy.isolation.levels import Isolation, choose, user_named
from fedenvoy.isolation.view import hidden, shown

__all__ = ["Isolation", "choose", "hidden", "shown", "user_named"]
