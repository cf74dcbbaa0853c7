"""The sans-I/O core: a message and the time go in, commands come out. No threads, no clock, no files.

`Core` holds the machine and the agent's data; everything it decides can be proven by calling it.
"""

from fedenvoy.core.core import Core
from fedenvoy.core.snapshot import CarriedOver, Declined, Snapshot

__all__ = ["CarriedOver", "Core", "Declined", "Snapshot"]
