"""What a node is doing, for people and programs: asked of a living agent, read from the files of a dead one.

Always the same answer in the same shape. It may know the control socket and the store's files, and nothing of the
agent.
"""

from fedenvoy.status.gathering import status
from fedenvoy.status.model import Status
from fedenvoy.status.text import written

__all__ = ["Status", "status", "written"]
