"""A chart of a site's own, and what follows it: a nightly backup that must not run while disks are checked."""

from __future__ import annotations

from fedenvoy_statecharts import Chart, Row, Scope, Why
from fedenvoy_statecharts.model import Initial, Vocabulary, ignore, unless, when


class Phase(Vocabulary):
    """Where the backup is."""

    WAITING = "waiting", "until the next night"
    COPYING = "copying", "files go to the other disk"
    CHECKING = "checking", "the copy is read again"
    RETIRED = "retired", "there is no backup any more"


class Happening(Vocabulary):
    """What can happen."""

    BEGAN = "began", "the service was started"
    NIGHT = "night", "it is two o'clock"
    DONE = "done", "the work of the phase ended well"
    BROKE = "broke", "the work of the phase failed"
    RETIRE = "retire", "the service is taken down"


class Question(Vocabulary):
    """What rows ask."""

    TRIES_LEFT = "tries left", "the copy failed less than three times in a row"


class Deed(Vocabulary):
    """What rows do."""

    MOUNT = "mount", "the other disk is mounted"
    UNMOUNT = "unmount", "and unmounted"
    ALERT = "alert", "somebody is told"


P, H, D = Phase, Happening, Deed

BACKUP = Chart(
    name="backup",
    states=tuple(Phase),
    events={H.NIGHT: Scope.AGENT, H.DONE: Scope.ACTIVITY, H.BROKE: Scope.ACTIVITY, H.RETIRE: Scope.AGENT},
    guards=tuple(Question),
    effects=tuple(Deed),
    initial=Initial(H.BEGAN, P.WAITING, ()),
    final=frozenset({P.RETIRED}),
    rows=(
        Row(P.WAITING, H.NIGHT, P.COPYING, (), (D.MOUNT,)),
        Row(P.COPYING, H.DONE, P.CHECKING),
        Row(P.COPYING, H.BROKE, P.COPYING, (when(Question.TRIES_LEFT),)),
        Row(P.COPYING, H.BROKE, P.WAITING, (unless(Question.TRIES_LEFT),), (D.UNMOUNT, D.ALERT)),
        Row(P.CHECKING, H.DONE, P.WAITING, (), (D.UNMOUNT,)),
        Row(P.CHECKING, H.BROKE, P.WAITING, (), (D.UNMOUNT, D.ALERT)),
        Row(P.WAITING, H.RETIRE, P.RETIRED),
        Row(P.COPYING, H.RETIRE, P.RETIRED, (), (D.UNMOUNT,)),
        Row(P.CHECKING, H.RETIRE, P.RETIRED, (), (D.UNMOUNT,)),
    ),
    ignored=(
        *ignore((P.COPYING, P.CHECKING), H.NIGHT, Why.DECIDED, "last night's backup is still going on"),
        *ignore((P.WAITING,), H.DONE, Why.STALE, "nothing is being done"),
        *ignore((P.WAITING,), H.BROKE, Why.STALE, "nothing is being done"),
        *ignore((P.RETIRED,), H.NIGHT, Why.OVER, "taken down"),
        *ignore((P.RETIRED,), H.DONE, Why.OVER, "taken down"),
        *ignore((P.RETIRED,), H.BROKE, Why.OVER, "taken down"),
        *ignore((P.RETIRED,), H.RETIRE, Why.OVER, "taken down"),
    ),
)


class Disk:
    """The other disk: mounting it twice, or unmounting it when it is not there, is an error."""

    def __init__(self) -> None:
        self.mounted = False

    def do(self, deed: Vocabulary) -> None:
        """Do what a row asks."""
        if deed is D.ALERT:
            return
        wanted = deed is D.MOUNT
        if self.mounted is wanted:
            raise RuntimeError(f"cannot {deed}: the disk is {'mounted' if self.mounted else 'not mounted'}")
        self.mounted = wanted
