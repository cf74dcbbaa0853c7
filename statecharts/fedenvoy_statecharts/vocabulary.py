"""The words of the lifecycle: its states, events, guards and effects, each with a sentence that says what it means."""

from __future__ import annotations

from fedenvoy_statecharts.model import Scope, Vocabulary

__all__ = ["BUSY", "SCOPES", "WAITING", "Effect", "Event", "Guard", "State"]


class State(Vocabulary):
    """Where the agent is; each state has one activity, named in the chart."""

    DISCONNECTED = "Disconnected", "no accepted registration with the director"
    REGISTERED = "Registered", "the director accepted the shard; no health check has confirmed it yet"
    IDLE = "Idle", "healthy and free: waiting for the director to offer an experiment"
    REVIEWING_PLAN = (
        "ReviewingPlan",
        "an experiment was offered; its archive is fetched, checked and reviewed",
    )
    INSTALLING_REQUIREMENTS = (
        "InstallingRequirements",
        "approved; the experiment's own environment is being built",
    )
    TRAINING = "Training", "the experiment's process runs"
    REPORTING = "Reporting", "a verdict exists, is on disk, and is being delivered to the director"
    STOPPED = "Stopped", "this session of the agent has ended"


WAITING = (State.DISCONNECTED, State.REGISTERED, State.IDLE)
"""States without an experiment in hand."""

BUSY = (State.REVIEWING_PLAN, State.INSTALLING_REQUIREMENTS, State.TRAINING)
"""States with an experiment in hand and no verdict yet."""


class Event(Vocabulary):
    """What can happen; the scope of each stands in SCOPES."""

    STARTED = (
        "started",
        (
            "the process began a session; a run that the last one left is taken up when it is offered again, or is in "
            "the outbox as failed (`agent.on_interrupted`)"
        ),
    )
    SHARD_DESCRIBED = "shard_described", "the shard descriptor was constructed and gave its shapes"
    SHARD_UNUSABLE = "shard_unusable", "the shard descriptor could not be constructed or described"
    REGISTRATION_ACCEPTED = "registration_accepted", "the director accepted the shard"
    REGISTRATION_FAILED = (
        "registration_failed",
        "the director could not be reached, or answered with a passing error",
    )
    REGISTRATION_REFUSED = "registration_refused", "the director answered that it does not accept the shard"
    LINK_REJECTED = "link_rejected", "TLS, the credentials or the protocol were refused"
    HEALTH_CHECKED = "health_checked", "a health check was answered; carries the period and the GPU readings"
    HEALTH_MISSED = "health_missed", "a health check was not answered in time; carries the status code"
    DIRECTOR_LOST = (
        "director_lost",
        "too many health checks in a row were missed, or none was answered for too long",
    )
    SHARD_FORGOTTEN = "shard_forgotten", "the director does not know this shard any more (it was restarted)"
    EXPERIMENT_OFFERED = "experiment_offered", "the long poll returned an experiment's name"
    POLL_FAILED = "poll_failed", "the long poll failed with an error"
    REPORT_DUE = "report_due", "the time of a report that waits in the outbox has come"
    EXPERIMENT_WITHDRAWN = "experiment_withdrawn", "the director no longer has the experiment it offered"
    ARCHIVE_SETTLED = "archive_settled", "the archive is one that already ended here, by its digest"
    FETCH_INTERRUPTED = "fetch_interrupted", "the download was cut off"
    EXPERIMENT_UNUSABLE = "experiment_unusable", "the archive, its plan or its review is broken, in words"
    PLAN_APPROVED = "plan_approved", "the reviewer approved exactly this archive"
    PLAN_REJECTED = "plan_rejected", "the reviewer refused the experiment"
    REQUIREMENTS_READY = "requirements_ready", "the experiment's environment is complete"
    REQUIREMENTS_FAILED = "requirements_failed", "the environment could not be built"
    TRAINING_FINISHED = "training_finished", "the experiment's process ended well"
    TRAINING_FAILED = (
        "training_failed",
        "the experiment's process raised, exited otherwise, was killed or ran longer than `agent.max_run_time`",
    )
    EXPERIMENT_ORPHANED = (
        "experiment_orphaned",
        "nobody drives this experiment any more: a clock ran out, or its process found no aggregator for too long",
    )
    EXPERIMENT_REOFFERED = "experiment_reoffered", "the background poll returned an experiment's name"
    CANCEL_REQUESTED = "cancel_requested", "the site's operator ends the current experiment"
    PAUSE_REQUESTED = "pause_requested", "the site's operator wants no further experiment for now"
    RESUME_REQUESTED = "resume_requested", "the site's operator ends the pause"
    FORGET_REQUESTED = (
        "forget_requested",
        "the site's operator wants an experiment's name to be taken as if it had never ended here",
    )
    REPORT_DELIVERED = "report_delivered", "the director answered OK: sent, unconfirmed"
    REPORT_FAILED = "report_failed", "the report could not be sent"
    REPORT_UNDELIVERABLE = (
        "report_undeliverable",
        "the director's protocol has no message for this verdict, or it is older than `agent.report.retention`",
    )
    STOP_REQUESTED = "stop_requested", "first SIGTERM or SIGINT, or stop() was called"
    ABORT_REQUESTED = "abort_requested", "second SIGTERM or SIGINT"
    DRAIN_EXPIRED = "drain_expired", "the time allowed for ending in order is over"
    STORE_FAILED = "store_failed", "the journal could not be written, or the disk that holds it stays full"


SCOPES: dict[Event, Scope] = {
    Event.SHARD_DESCRIBED: Scope.ACTIVITY,
    Event.SHARD_UNUSABLE: Scope.ACTIVITY,
    Event.REGISTRATION_ACCEPTED: Scope.LINK,
    Event.REGISTRATION_FAILED: Scope.LINK,
    Event.REGISTRATION_REFUSED: Scope.LINK,
    Event.LINK_REJECTED: Scope.LINK,
    Event.HEALTH_CHECKED: Scope.LINK,
    Event.HEALTH_MISSED: Scope.LINK,
    Event.DIRECTOR_LOST: Scope.LINK,
    Event.SHARD_FORGOTTEN: Scope.LINK,
    Event.EXPERIMENT_OFFERED: Scope.ACTIVITY,
    Event.POLL_FAILED: Scope.ACTIVITY,
    Event.REPORT_DUE: Scope.ACTIVITY,
    Event.EXPERIMENT_WITHDRAWN: Scope.ACTIVITY,
    Event.ARCHIVE_SETTLED: Scope.ACTIVITY,
    Event.FETCH_INTERRUPTED: Scope.ACTIVITY,
    Event.EXPERIMENT_UNUSABLE: Scope.ACTIVITY,
    Event.PLAN_APPROVED: Scope.RUN,
    Event.PLAN_REJECTED: Scope.RUN,
    Event.REQUIREMENTS_READY: Scope.ACTIVITY,
    Event.REQUIREMENTS_FAILED: Scope.ACTIVITY,
    Event.TRAINING_FINISHED: Scope.RUN,
    Event.TRAINING_FAILED: Scope.RUN,
    Event.EXPERIMENT_ORPHANED: Scope.RUN,
    Event.EXPERIMENT_REOFFERED: Scope.RUN_AND_LINK,
    Event.CANCEL_REQUESTED: Scope.RUN,
    Event.PAUSE_REQUESTED: Scope.AGENT,
    Event.RESUME_REQUESTED: Scope.AGENT,
    Event.FORGET_REQUESTED: Scope.AGENT,
    Event.REPORT_DELIVERED: Scope.ACTIVITY,
    Event.REPORT_FAILED: Scope.ACTIVITY,
    Event.REPORT_UNDELIVERABLE: Scope.ACTIVITY,
    Event.STOP_REQUESTED: Scope.AGENT,
    Event.ABORT_REQUESTED: Scope.AGENT,
    Event.DRAIN_EXPIRED: Scope.AGENT,
    Event.STORE_FAILED: Scope.AGENT,
}
"""The scope of every event but `started`, which begins the numbering."""


class Guard(Vocabulary):
    """A question about the agent's data; answering one changes nothing."""

    REFUSAL_ENDS = (
        "refusal ends",
        "the site wants a refused shard to end the agent instead of being offered again later",
    )
    LINK_TRIES_LEFT = "link tries left", "fewer rejections in a row than `agent.link.tries`"
    REPORT_WAITING = (
        "report waiting",
        "the outbox holds a report whose time has come, not counting the one being delivered",
    )
    OFFER_WELCOME = (
        "offer welcome",
        (
            "the node is fit and not paused, and the name does not rest after a run that ended here (5 s after a good "
            "end, 1 min after a failed, rejected, cancelled or withdrawn one, doubling to 30 min)"
        ),
    )
    POLL_TRIES_LEFT = "poll tries left", "fewer failed polls in a row than `agent.poll.tries`"
    INSTALL_WANTED = (
        "install wanted",
        "the experiment needs an environment of its own and the site allows installing",
    )
    LINK_UP = (
        "link up",
        "the director accepted this shard on the current channel, and no check since has said otherwise",
    )
    FETCH_TRIES_LEFT = (
        "fetch tries left",
        "fewer downloads of this name in a row that had begun and were cut than `agent.fetch.tries`",
    )
    SAME_RUN = "same run", "the name offered is the one in hand"
    STOP_REPORTS = (
        "stop reports",
        "`agent.on_stop: report`: a stop tells the director; with `leave` the run is taken up again later",
    )
    DELIVER_TRIES_LEFT = (
        "deliver tries left",
        "fewer failed deliveries of this report in a row than `agent.report.tries`",
    )
    STOPPING = "stopping", "a stop was requested in this session"


class Effect(Vocabulary):
    """What a step asks to be done, after the machine has settled and the journal has the record."""

    DESCRIBE = "describe", "construct the shard descriptor in a child and read its shapes"
    DIAL = (
        "dial",
        (
            "the link is over; open a new channel and register, at once if the last link lived a while, else after "
            "back-off; with a run in hand ask first whether the director still knows this shard"
        ),
    )
    DIAL_LATER = "dial later", "the link is over; open a new channel and register (or ask first) after back-off"
    CHECK = "check", "the link is up: send a health check now, and go on at the director's period, sooner after a miss"
    NOTE_CONTACT = "note contact", "link up, misses = 0, the GPU readings and the period are kept"
    COUNT_MISS = "count miss", "one more miss in a row"
    POLL = "poll", "start the long poll"
    POLL_LATER = "poll later", "start the long poll after a growing delay"
    WATCH_OUTBOX = "watch outbox", "wake when the next waiting report is due"
    DECLINE = "decline", "note why the offer is not taken; nothing is downloaded"
    BEGIN_RUN = "begin run", "the offered experiment is the run in hand, under a new number"
    DROP_RUN = "drop run", "the run ends without a verdict; its files are removed"
    FETCH = "fetch", "download, verify, unpack and review"
    FETCH_LATER = "fetch later", "download again after back-off"
    NOTE_APPROVAL = "note approval", "keep what was approved: digest, engine, requirements"
    PREPARE = "prepare", "build or reuse the experiment's environment"
    LAUNCH = "launch", "start the experiment's process"
    WATCH_OFFERS = (
        "watch offers",
        (
            "poll in the background, trying again until run or link is over, to learn whether the director still "
            "drives this run"
        ),
    )
    START_ORPHAN_CLOCK = (
        "start orphan clock",
        "the director was restarted: it must offer this run again in time; a clock that runs is left alone",
    )
    STOP_ORPHAN_CLOCK = "stop orphan clock", "the director drives this run"
    START_ABSENCE_CLOCK = (
        "start absence clock",
        (
            "with `agent.on_director_loss: stop_after`, the director must be back in time or the run is orphaned; a "
            "clock that runs is left alone"
        ),
    )
    STOP_ABSENCE_CLOCK = "stop absence clock", "the director is back"
    NOTE_PAUSE = "note pause", "offers are declined, also by later sessions, until the pause is ended"
    NOTE_RESUME = "note resume", "offers are welcome again"
    FORGET_NAME = "forget name", "what is remembered of the name is removed: it neither rests nor is settled"
    VERDICT_FINISHED = "verdict finished", "the run ended well; told by a health check that says so"
    VERDICT_FAILED = "verdict failed", "the run failed; the report holds code and text"
    VERDICT_REJECTED = "verdict rejected", "the site refused the run"
    VERDICT_CANCELLED = "verdict cancelled", "the site ended the run"
    VERDICT_ORPHANED = "verdict orphaned", "nobody drives the run any more"
    DELIVER = "deliver", "send the next report of the outbox"
    DELIVER_LATER = "deliver later", "send it again after back-off"
    SETTLE_REPORT = "settle report", "the report leaves the outbox: sent, undeliverable or expired"
    POSTPONE_REPORT = "postpone report", "the report stays in the outbox for a later time"
    NOTE_STOP = "note stop", "this session is stopping: nothing new is begun"
    DRAIN = "drain", "start the clock that bounds how long the run may go on"
    BOUND = "bound", "when stopping, start the clock that bounds the delivery"
    END_STOPPED = "end stopped", "the session ends as asked"
    END_ABORTED = "end aborted", "the session ends at once; what is unfinished is taken up by the next one"
    END_SHARD = "end shard", "the session ends: the shard descriptor is unusable"
    END_REFUSED = "end refused", "the session ends: the director does not accept the shard"
    END_LINK = "end link", "the session ends: the director rejects this link"
    END_STORE = "end store", "the session ends: the journal cannot be written"
