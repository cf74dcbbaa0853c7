"""The committed drawings are those of the table, byte for byte, and show every row: read back arrow by arrow."""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from fedenvoy_statecharts import LIFECYCLE, Chart, ChartError, Row
from fedenvoy_statecharts.render import FORMATS, SUFFIXES, render
from fedenvoy_statecharts.render.svg import drawn_from
from fedenvoy_statecharts.render.view import guard_text, view_of

COMMITTED = Path(__file__).parents[2] / "statecharts"

Step = tuple[str, str, str, str]
"""Source, event, guard, target."""

MEMBERS = {f"any_{box.name}": box.members for box in view_of(LIFECYCLE).boxes}
ALIVE = tuple(str(state) for state in LIFECYCLE.states if state not in LIFECYCLE.final)

DIGESTS = """
import hashlib
from fedenvoy_statecharts import LIFECYCLE
from fedenvoy_statecharts.render import FORMATS, render
for name in FORMATS:
    print(name, hashlib.sha256(render(LIFECYCLE, name).encode()).hexdigest())
"""


def drawn_rows(chart: Chart = LIFECYCLE) -> set[Step]:
    """Give every row that a picture must show."""
    return {
        (str(row.source), str(row.event), guard_text(row), str(row.target)) for row in chart.rows if not row.internal
    }


def steps(source: str, target: str, label: list[str]) -> set[Step]:
    """Read a label: events, then the guard they share; what follows the last guard has none. A box is its members."""
    found: set[tuple[str, str]] = set()
    events: list[str] = []
    for line in label:
        if line.startswith("["):
            found |= {(event, line.strip("[]")) for event in events}
            events = []
        else:
            events.append(line)
    found |= {(event, "") for event in events}
    return {(state, event, guard, target) for event, guard in found for state in MEMBERS.get(source, (source,))}


def inner(name: str, line: str) -> set[Step]:
    """Read a line inside a state: a retry, or rows that several states share at the end."""
    if retry := re.fullmatch(r"↻ ([\w, ]+?)(?: \[(.*)\])?", line):
        return {(name, event, retry[2] or "", name) for event in retry[1].split(", ")}
    if shared := re.fullmatch(r"([\w, ]+?)(?: \[(.*)\])? in (every state|[A-Z][\w, ]+)", line):
        sources = ALIVE if shared[3] == "every state" else tuple(shared[3].split(", "))
        return {(source, event, shared[2] or "", name) for event in shared[1].split(", ") for source in sources}
    return set()


def read_mermaid(text: str, arrow: str = "-->") -> set[Step]:
    """Read Mermaid, and with other arrows PlantUML."""
    found: set[Step] = set()
    for name, line in re.findall(r"^\s*(\w+) : (.+)$", text, re.MULTILINE):
        found |= inner(name, line)
    for source, target, label in re.findall(rf"^\s*(\w+) (?:{arrow}) (\w+) : (.+)$", text, re.MULTILINE):
        found |= steps(source, target, joined(re.split(r"<br>|\\n", label)))
    return found


def joined(label: list[str]) -> list[str]:
    """Put guards that were broken over several lines together again."""
    lines: list[str] = []
    for line in label:
        if lines and lines[-1].startswith("[") and not lines[-1].endswith("]"):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return lines


def read_dot(text: str) -> set[Step]:
    found: set[Step] = set()
    for name, label in re.findall(r"^\s*(\w+) \[label=<(<B>.*?)>, id=", text, re.MULTILINE):
        for line in label.split("<BR/>"):
            found |= inner(name, html.unescape(re.sub(r"<[^>]*>", "", line)))
    for first, second, rest in re.findall(r"^\s*(\w+) -> (\w+) (\[label=<.*)$", text, re.MULTILINE):
        label = joined([html.unescape(line) for line in re.findall(r'<TD ALIGN="LEFT">(.*?)</TD>', rest)])
        source, target = (second, first) if "dir=back" in rest else (first, second)
        found |= steps(source, target, label)
    return found


@pytest.mark.parametrize("format_", FORMATS)
def test_the_committed_file_is_what_the_table_says(format_: str) -> None:
    committed = (COMMITTED / f"lifecycle{SUFFIXES[format_]}").read_bytes()
    assert committed == render(LIFECYCLE, format_).encode(), "render it again: see CONTRIBUTING"


def test_a_stale_picture_is_noticed_without_graphviz() -> None:
    other = replace(LIFECYCLE, rows=tuple(replace(row, effects=()) for row in LIFECYCLE.rows))
    with pytest.raises(ChartError, match="there is no picture of this very chart"):
        render(other, "svg")
    picture = render(LIFECYCLE, "svg")
    assert drawn_from(picture) == hashlib.sha256(render(LIFECYCLE, "dot").encode()).hexdigest()
    assert drawn_from("<svg/>") == ""


def test_the_bytes_do_not_depend_on_hash_seeds() -> None:
    outputs = set()
    for seed in ("0", "1", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", DIGESTS], env=environment, check=True, capture_output=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert outputs.pop().count(b"\n") == len(FORMATS)


def test_b93_every_row_is_in_the_mermaid_text() -> None:
    """B93: edges without labels, of boxes and of retries included."""
    text = render(LIFECYCLE, "mermaid")
    assert read_mermaid(text) == drawn_rows()
    assert f"[*] --> {LIFECYCLE.initial.target} : {LIFECYCLE.initial.event}" in text
    assert "Stopped --> [*]" in text


def test_b93_every_row_is_in_the_dot_text() -> None:
    assert read_dot(render(LIFECYCLE, "dot")) == drawn_rows()


def test_b93_every_row_is_in_the_plantuml_text() -> None:
    text = render(LIFECYCLE, "plantuml")
    assert read_mermaid(text, "-->|-up->") == drawn_rows()
    for row in LIFECYCLE.rows:
        if row.internal:
            guard = f" [{guard_text(row)}]" if row.conditions else ""
            assert f"{row.source}, {row.event}{guard}: " in text


def test_b93_every_arrow_of_the_dot_text_is_in_the_picture() -> None:
    root = ET.fromstring(render(LIFECYCLE, "svg"))
    groups = {group.get("id"): group for group in root.iter("{http://www.w3.org/2000/svg}g")}
    dot = render(LIFECYCLE, "dot")
    for first, second, rest in re.findall(r"^\s*(\w+) -> (\w+) (\[label=<.*)$", dot, re.MULTILINE):
        identity = re.search(r'id="([^"]+)"', rest)
        assert identity is not None, (first, second)
        shown = [text.text for text in groups[identity[1]].iter("{http://www.w3.org/2000/svg}text")]
        assert shown == [html.unescape(line) for line in re.findall(r'<TD ALIGN="LEFT">(.*?)</TD>', rest)]
    assert all(f"state-{state}" in groups for state in LIFECYCLE.states)


def test_b93_a_reader_of_the_texts_would_notice_a_missing_row() -> None:
    """The reading above is no echo: a drawing with one row less reads as another set."""
    (row,) = LIFECYCLE.at(LIFECYCLE.states[5], next(e for e in LIFECYCLE.events if e == "training_failed"))
    internal = replace(row, target=None)
    other = replace(LIFECYCLE, rows=tuple(internal if each is row else each for each in LIFECYCLE.rows))
    for format_, read in (("mermaid", read_mermaid), ("dot", read_dot)):
        assert drawn_rows() - read(render(other, format_)) == {(str(row.source), str(row.event), "", str(row.target))}


def test_the_markdown_table_holds_every_row_and_every_reason() -> None:
    text = render(LIFECYCLE, "md")
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines() if line.startswith("| R")}
    for row in LIFECYCLE.rows:
        line = lines[LIFECYCLE.row_id(row)]
        for word in (f"`{row.event}`", guard_text(row), *map(str, row.effects), row.note):
            assert word in line
    assert len(lines) == len(LIFECYCLE.rows)
    for entry in LIFECYCLE.ignored:
        assert any(
            f"`{entry.event}`" in line and str(entry.state) in line and entry.note in line for line in text.splitlines()
        )


def test_the_json_holds_the_whole_chart() -> None:
    document = json.loads(render(LIFECYCLE, "json"))
    assert [row["id"] for row in document["rows"]] == [LIFECYCLE.row_id(row) for row in LIFECYCLE.rows]
    for row, written in zip(LIFECYCLE.rows, document["rows"], strict=True):
        assert as_row(written) == (
            str(row.source),
            str(row.event),
            None if row.target is None else str(row.target),
            [(str(condition.guard), condition.expected) for condition in row.conditions],
            [str(effect) for effect in row.effects],
        )
    assert len(document["ignored"]) == len(LIFECYCLE.ignored)
    arrows = re.findall(r'id="(edge-[\w-]+)"', render(LIFECYCLE, "dot"))
    assert {row["edge"] for row in document["rows"]} - {None} == set(arrows) - {"edge-start"}


def as_row(written: dict[str, object]) -> tuple[object, ...]:
    conditions = written["conditions"]
    assert isinstance(conditions, list)
    pairs = [(condition["guard"], condition["expected"]) for condition in conditions]
    return written["source"], written["event"], written["target"], pairs, written["effects"]


def test_the_overview_shows_every_state_and_the_happy_path() -> None:
    text = render(LIFECYCLE, "mermaid-overview")
    for one, next_ in zip(LIFECYCLE.states[:-2], LIFECYCLE.states[1:-1], strict=True):
        assert re.search(rf"^\s*{one} --> {next_} : ", text, re.MULTILINE), (one, next_)
    assert len(text.splitlines()) < 45


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown format 'gif': choose one of mermaid, .*plantuml"):
        render(LIFECYCLE, "gif")


def test_texts_that_the_notations_would_take_for_their_own_are_escaped() -> None:
    odd = replace(
        LIFECYCLE,
        name='a "chart" <&>',
        activities=dict.fromkeys(LIFECYCLE.activities, 'fetch; then "ask": <who>'),
    )
    ET.fromstring(render(odd, "scxml"))
    assert 'digraph "a \\"chart\\" <&>"' in render(odd, "dot")
    assert "&lt;who&gt;" in render(odd, "dot")
    mermaid = render(odd, "mermaid")
    assert 'fetch#59; then "ask"#58; <who>' in mermaid
    assert 'title: "a \\"chart\\" <&>"' in mermaid


def test_rows_of_a_box_are_drawn_once() -> None:
    shared = [edge for edge in view_of(LIFECYCLE).edges if edge.source == "busy"]
    assert shared
    for edge in shared:
        events = {str(row.event) for row in edge.rows}
        assert len(edge.rows) == 3 * len(events), "each event once from each of the three states"


def row_named(name: str) -> Row:
    return next(row for row in LIFECYCLE.rows if LIFECYCLE.row_id(row) == name)


def test_row_ids_are_the_place_in_the_table() -> None:
    assert row_named("R01") is LIFECYCLE.rows[0]
    assert len({LIFECYCLE.row_id(row) for row in LIFECYCLE.rows}) == len(LIFECYCLE.rows)
