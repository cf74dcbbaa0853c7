"""Effects on the link to the director: dialling, health checks, and what is counted on the way."""

from __future__ import annotations

from fedenvoy_statecharts import Event

from fedenvoy.backoff import director_delay
from fedenvoy.commands import CheckHealth, Dial, DropLink
from fedenvoy.core.step import Step
from fedenvoy.events import Health

__all__ = ["check", "count_miss", "dial", "dial_later", "note_contact"]


def _redial(step: Step, *, at_once: bool) -> None:
    """End the present link and dial: at once after a link that lived a while, else after back-off."""
    link = step.data.link
    if link.lived(step.now, step.settings.link.settle):
        link.down_since, link.dials, link.rejections = step.now, 0, 0
    if step.message.event is Event.LINK_REJECTED:
        link.rejections += 1
    first = at_once and link.dials == 0
    delay = 0.0 if first else director_delay(step.now - link.down_since, step.rng)
    link.epoch, link.up, link.misses = link.epoch + 1, False, 0
    link.dials += 1
    step.attempt = link.dials
    step.ask(DropLink())
    # A director that was restarted during the outage would take the registration and hide that it lost the run.
    probe = step.data.run is not None and step.message.event is not Event.SHARD_FORGOTTEN
    step.ask(Dial(scopes=step.data.scopes, delay=delay, probe=probe))


def dial(step: Step) -> None:
    """End the present link and dial: at once after a link that lived a while, else after back-off."""
    _redial(step, at_once=True)


def dial_later(step: Step) -> None:
    """End the present link and dial after back-off."""
    _redial(step, at_once=False)


def check(step: Step) -> None:
    """The link is up: check it from now on."""
    link = step.data.link
    link.up, link.up_since, link.misses = True, step.now, 0
    step.ask(CheckHealth(scopes=step.data.scopes))


def note_contact(step: Step) -> None:
    """Keep what an answered health check tells."""
    message = step.message
    assert isinstance(message, Health)
    step.data.link.misses, step.data.link.contact, step.data.link.latency = 0, step.now, message.latency
    step.data.link.period, step.data.readings = message.period, message.readings


def count_miss(step: Step) -> None:
    """One more miss in a row."""
    step.data.link.misses += 1
    step.attempt = step.data.link.misses
