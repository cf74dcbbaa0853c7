"""The unit file for systemd: every directive is known, in its section, and agrees with the program."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from fedenvoy.cli import cli
from fedenvoy.config import AgentSettings
from fedenvoy.core import Snapshot
from fedenvoy.errors import Exit
from fedenvoy.events import Scopes
from fedenvoy.service.manager import SLACK, ServiceManager
from fedenvoy.service.unit import NAME, PASSING, unit_text
from fedenvoy_statecharts import State

FLAG = r"yes|no"
SPAN = r"\d+(s|min)"
PATH = r"[\w./%@-]+"
KNOWN: dict[str, dict[str, str]] = {
    "Unit": {"Description": r".+", "Wants": r"[\w.-]+\.target", "After": r"([\w.-]+\.target ?)+"},
    "Service": {
        "Type": r"notify",
        "NotifyAccess": r"main",
        "User": r"[a-z]+",
        "WorkingDirectory": f"/{PATH}",
        "EnvironmentFile": f"/{PATH}",
        "ExecStart": r"/\S+ start .+",
        "ExecReload": r"kill -HUP \$MAINPID",
        "StateDirectory": PATH,
        "StateDirectoryMode": r"0700",
        "CacheDirectory": PATH,
        "CacheDirectoryMode": r"0700",
        "UMask": r"0077",
        "Environment": r"(\w+=\S+ ?)+",
        "Restart": r"on-failure",
        "RestartSec": SPAN,
        "RestartPreventExitStatus": r"(\d+ ?)+",
        "WatchdogSec": SPAN,
        "KillMode": r"mixed",
        "TimeoutStopSec": SPAN,
        "Delegate": r"memory pids",
        "OOMPolicy": r"continue",
        "NoNewPrivileges": FLAG,
        "CapabilityBoundingSet": r"",
        "ProtectSystem": r"full",
        "ProtectHome": r"read-only",
        "PrivateTmp": FLAG,
        "ProtectKernelModules": FLAG,
        "RestrictSUIDSGID": FLAG,
        "RestrictRealtime": FLAG,
        "SystemCallArchitectures": r"native",
        "LockPersonality": FLAG,
    },
    "Install": {"WantedBy": r"multi-user\.target"},
}
"""The directives that systemd knows of those that stand here, with the values that make sense for this program."""


def directives(text: str) -> dict[str, dict[str, list[str]]]:
    """Read a unit file strictly."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in text.splitlines():
        assert line == line.strip(), f"{line!r}: space around it"
        assert not line.endswith("\\"), f"{line!r}: goes on in the next line"
        if not line or line.startswith("#"):
            continue
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = heading[1]
            assert section not in found, f"[{section}] stands twice"
            found[section] = {}
            continue
        name, equals, value = line.partition("=")
        assert equals, f"{line!r}: no directive"
        found[section].setdefault(name, []).append(value)
    return found


UNIT = directives(unit_text(Path("/usr/bin/fedenvoy")))


def value(name: str, section: str = "Service") -> str:
    """Give the only value of a directive."""
    (only,) = UNIT[section][name]
    return only


def seconds(span: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|min)", span).groups()  # type: ignore[union-attr]
    return float(number) * (60 if unit == "min" else 1)


def test_every_directive_is_known_in_its_section_and_has_a_value_that_makes_sense() -> None:
    assert set(UNIT) == set(KNOWN)
    for section, known in KNOWN.items():
        assert set(UNIT[section]) == set(known)
        for name, pattern in known.items():
            for given in UNIT[section][name]:
                assert re.fullmatch(pattern, given), f"{name}={given}"
            assert len(UNIT[section][name]) == 1 or name == "Environment", f"{name} stands twice"


def test_each_directive_of_the_hardening_has_its_reason() -> None:
    lines = unit_text().splitlines()
    begin = lines.index(next(line for line in lines if line.startswith("NoNewPrivileges")))
    for position in range(begin, lines.index("[Install]") - 1):
        if "=" in lines[position] and not lines[position].startswith("#"):
            reasons = lines[position - 2 : position]
            assert any(line.startswith("# ") for line in reasons), f"{lines[position]}: why?"


def test_no_restart_follows_an_exit_code_that_somebody_has_to_act_upon() -> None:
    listed = {int(code) for code in value("RestartPreventExitStatus").split()}
    assert listed == {int(code) for code in Exit} - {int(code) for code in PASSING}
    assert value("Restart") == "on-failure", "an end as asked is none"


def test_the_page_about_services_says_the_same_of_each_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
    rows = {int(code): last for code, last in re.findall(r"^\| (\d+) \| .* \| ([^|]+) \|$", page, re.MULTILINE)}
    assert set(rows) == {int(code) for code in Exit}
    assert {code for code, last in rows.items() if last == "-" or last.startswith("may help")} == set(map(int, PASSING))


@pytest.mark.parametrize(
    "name",
    [
        *("PrivateDevices", "DevicePolicy", "DeviceAllow", "ProtectClock"),
        *("MemoryDenyWriteExecute", "RestrictNamespaces", "PrivateUsers", "SystemCallFilter", "ProtectHostname"),
        *("ProtectKernelTunables", "ProtectKernelLogs", "RestrictAddressFamilies", "DynamicUser"),
        *("NoExecPaths", "PrivateNetwork", "IPAddressDeny"),
    ],
)
def test_nothing_keeps_experiments_from_gpus_compilers_environments_or_user_namespaces(name: str) -> None:
    assert name not in UNIT["Service"]


def test_times_fit_the_settings() -> None:
    settings = AgentSettings()
    manager = ServiceManager(None, settings)
    quiet = manager._patience(Snapshot(State.IDLE, since=0.0, scopes=Scopes(link=1)))
    assert seconds(value("WatchdogSec")) >= quiet, "with a director's usual period nothing more is asked for"
    without_drain = settings.stop_timeout + settings.kill_grace + SLACK
    assert seconds(value("TimeoutStopSec")) >= without_drain
    assert seconds(value("RestartSec")) * 5 > 10, "systemd gives up after 5 starts in 10 seconds"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_understands_it(tmp_path: Path) -> None:
    unit = tmp_path / NAME.replace("@", "@one")
    unit.write_text(unit_text(Path("/bin/true")), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "fedenvoy" in line]
    assert not complaints
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/usr/bin/fedenvoy", "/usr/bin/fedenvoy"),
        ("/opt/a b/fedenvoy", '"/opt/a b/fedenvoy"'),
        ("/opt/100%/fedenvoy", "/opt/100%%/fedenvoy"),
        ('/opt/"x"/fedenvoy', r'"/opt/\"x\"/fedenvoy"'),
    ],
)
def test_the_program_s_path_is_one_word(path: str, written: str) -> None:
    assert f"ExecStart={written} start -n %i " in unit_text(Path(path))


def test_the_command_prints_it_for_this_installation() -> None:
    result = CliRunner().invoke(cli, ["systemd-unit"])
    assert result.exit_code == 0, result.output
    assert result.output == unit_text()
    assert "/opt/fedenvoy" not in result.output
