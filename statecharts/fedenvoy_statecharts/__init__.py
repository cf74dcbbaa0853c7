"""The lifecycle of the node agent as data: a typed table, its checks and its drawings. Standard library only."""

from fedenvoy_statecharts.lifecycle import LIFECYCLE
from fedenvoy_statecharts.model import Chart, ChartError, Condition, Ignored, Row, Scope, Why
from fedenvoy_statecharts.vocabulary import BUSY, SCOPES, WAITING, Effect, Event, Guard, State

__version__ = "0.1.0"

__all__ = [
    "BUSY",
    "LIFECYCLE",
    "SCOPES",
    "WAITING",
    "Chart",
    "ChartError",
    "Condition",
    "Effect",
    "Event",
    "Guard",
    "Ignored",
    "Row",
    "Scope",
    "State",
    "Why",
    "__version__",
]
