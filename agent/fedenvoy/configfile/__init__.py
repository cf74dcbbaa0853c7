"""OpenFL's `envoy_config.yaml`, read as it stands, with our own `agent:` section: the door from a file to `NodeConfig`.

Everything wrong is told at once. Nothing here opens a connection or imports a shard descriptor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from fedenvoy import certificates
from fedenvoy.config import AgentSettings, DirectorAddress, NodeConfig
from fedenvoy.configfile import openfl_sections as sections
from fedenvoy.configfile.findings import Findings
from fedenvoy.configfile.foreign import look_around
from fedenvoy.configfile.names import named
from fedenvoy.configfile.overrides import laid_over, overrides
from fedenvoy.configfile.reading import read_mapping
from fedenvoy.errors import ConfigurationError

__all__ = ["load"]

_log = logging.getLogger(__name__)
_SECTIONS = ("params", "optional_plugin_components", "shard_descriptor", "agent", *sections.CERTIFICATES)
_SITE_FILES = ("requirements.txt", "sd_requirements.txt")


def _nobody(_name: str, _origin: str) -> None:
    """Hear of an origin, and do nothing."""


def load(
    path: Path,
    *,
    shard_name: str,
    director: DirectorAddress,
    tls: bool | None,
    root_certificate: Path | None,
    private_key: Path | None,
    certificate: Path | None,
    home: Path,
    warn: Callable[[str], None] = _log.warning,
    environ: Mapping[str, str] = MappingProxyType({}),
    assignments: Sequence[str] = (),
    trace: Callable[[str, str], None] = _nobody,
) -> NodeConfig:
    """Read a configuration file and complete it with what the command line says.

    Args:
        path: The file; relative to `home`, as all paths in it.
        shard_name: The node's name.
        director: Where the director listens.
        tls: Whether the link is encrypted; None: when any certificate file is named.
        root_certificate: Wins over the file's setting of the same name, as do the next two.
        private_key: This node's key.
        certificate: This node's certificate.
        home: Absolute; the directory that the agent was started in.
        warn: Takes a sentence for each thing that is read, but surely not as it was meant.
        environ: The environment variables; `FEDENVOY_...` win over the file.
        assignments: `NAME=VALUE` for settings of the `agent:` section; they win over both.
        trace: Is told of each setting of that section that was given, and where.

    Returns:
        The whole configuration, checked. `agent.requirements.site` is the file that applies, or None for none.

    Raises:
        ConfigurationError: With every problem of the file and of the certificates.

    """
    found = Findings(str(path))
    if not shard_name.strip():
        found.problems.append(f"shard_name: {shard_name!r}: expected the name under which the director knows this node")
    file = home / path
    document = sections.split(read_mapping(file, str(path)), _SECTIONS, "", found)
    look_around(file, document, found)
    params = sections.read_params(document.get("params"), found)
    monitor = sections.read_monitor(document.get("optional_plugin_components"), found)
    shard = sections.read_shard(document.get("shard_descriptor"), found)
    in_file = sections.read_certificates(document, found)
    section = sections.section(document.get("agent"), "agent", found)
    given = list(overrides(environ, assignments, found))
    for name in named(section):
        trace(name, str(path))
    for override in given:
        trace(override.name, override.origin)
    origins = {override.name: override.origin for override in given}
    agent = _agent(laid_over(section, given, found), file, home, origins=origins, params=params, found=found)
    told = {"root_certificate": root_certificate, "private_key": private_key, "certificate": certificate}
    files = {name: _absolute(told[name] or in_file.get(name), home) for name in told}
    if tls is None:
        tls = any(files.values())
    link = None
    try:
        link, warnings = certificates.check(tls, *files.values())
        found.warnings.extend(warnings)
    except ConfigurationError as error:
        found.problems.extend(error.problems)
    for sentence in found.warnings:
        warn(sentence)
    if found.problems:
        raise ConfigurationError(*found.problems)
    return NodeConfig(
        shard_name=shard_name,
        director=director,
        shard=shard,
        tls=link,
        install_requirements=params.install_requirements,
        cuda_devices=params.cuda_devices,
        cuda_device_monitor=monitor,
        agent=agent,
    )


def _absolute(path: Path | str | None, home: Path) -> Path | None:
    return None if path is None else home / path


def _agent(
    section: Mapping[Any, Any],
    file: Path,
    home: Path,
    *,
    origins: Mapping[str, str],
    params: sections.Params,
    found: Findings,
) -> AgentSettings:
    """Read the `agent:` section, and settle what depends on the rest of the file."""
    settings = AgentSettings(home=home)
    if section:
        from fedenvoy.configfile.agent_section import read_agent  # noqa: PLC0415 - cattrs is slow to import

        settings = read_agent(section, home=home, found=found, origins=origins)
    review = section.get("review")
    chosen = isinstance(review, Mapping) and review.get("mode") is not None
    if not chosen and params.review_experiment:
        settings = attrs.evolve(settings, review=attrs.evolve(settings.review, mode="prompt"))
    elif not chosen:
        found.warn(
            "every experiment that the director sends is accepted without review; "
            "set params.review_experiment: true to be asked, or agent.review.mode: accept to say that this is meant"
        )
    if settings.review.mode == "policy" and settings.review.policy is None:
        found.missing("agent.review.policy", "expected the file of rules by which agent.review.mode: policy decides")
    if settings.requirements.mode == "offline" and settings.requirements.wheels is None:
        found.missing(
            "agent.requirements.wheels", "expected the directory of packages that mode: offline installs from"
        )
    if settings.requirements.site is None:
        settings = attrs.evolve(settings, requirements=_with_site(settings.requirements, file))
    return settings


def _with_site(requirements: Any, file: Path) -> Any:
    """Take the site's requirements from beside the configuration."""
    for name in _SITE_FILES:
        if file.with_name(name).is_file():
            return attrs.evolve(requirements, site=file.with_name(name))
    return requirements
