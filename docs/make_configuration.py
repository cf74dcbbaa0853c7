"""Writes docs/configuration.md from the definitions in `fedenvoy.config`; `--check` only tells whether it is fresh.

The settings are described once, under their fields; this page is that text in tables.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path

import attrs
from fedenvoy import config

PAGE = Path(__file__).with_name("configuration.md")
HEAD = """# Configuration

This page is made from the program's own definitions: `python docs/make_configuration.py`.

`fedenvoy start` reads OpenFL's `envoy_config.yaml` as it stands:

```yaml
params:
  install_requirements: true      # into an environment of the experiment's own; OpenFL installs into the envoy's
  cuda_devices: [0, 1]
  review_experiment: false        # true asks at the terminal
optional_plugin_components:
  cuda_device_monitor:
    template: my_package.MyMonitor
    params: {}
shard_descriptor:
  template: my_shard.MyShardDescriptor
  params: {rank: 1}
root_certificate: cert/root_ca.crt  # the command line wins over these three
private_key: cert/node.key
certificate: cert/node.crt
```

Everything that OpenFL does not know stands in one further section, `agent:`. It is strict: unknown keys are refused
with the nearest known name, and all problems are told at once (`fedenvoy check -ec FILE` tells them without starting).
Each of its settings can be given outside the file, too. What wins: `--set link.tries=3` on the command line, then the
environment variable `FEDENVOY_LINK_TRIES`, then the file, then the default; texts are read as YAML. `fedenvoy config`
prints every setting as it counts, and where it was given.

Durations are seconds or `90s`, `10m`, `24h`, `7d`; sizes are bytes or `500MB`, `4GiB`.

"""


def field_docs(tree: ast.Module) -> dict[str, dict[str, str]]:
    """Read the text under each field of each class."""
    found: dict[str, dict[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            docs = found.setdefault(node.name, {})
            for field, text in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                ):
                    docs[field.target.id] = " ".join(str(text.value.value).split())
    return found


def default(attribute: attrs.Attribute[object]) -> str:
    """Say a field's default as YAML has it."""
    value = attribute.default
    if value is None or value == () or isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def page() -> str:
    """Write the whole page."""
    docs = field_docs(ast.parse(Path(config.__file__).read_text(encoding="utf-8")))
    return "\n".join([HEAD, *section("agent", config.AgentSettings, docs)]) + "\n"


def section(name: str, settings: type, docs: dict[str, dict[str, str]]) -> list[str]:
    """Write a section's table, and those of the sections in it."""
    plain, sections = [], []
    for attribute in attrs.fields(settings):
        kind = getattr(config, str(attribute.type).split(".")[-1], None)
        if isinstance(kind, type) and attrs.has(kind):
            sections.append((attribute.name, kind))
        else:
            plain.append(attribute)
    lines = [f"## {name}\n", *table(plain, docs[settings.__name__])]
    for inner, kind in sections:
        head, *rest = section(f"{name}.{inner}", kind, docs)
        lines += ["\n" + head, f"{str(kind.__doc__).splitlines()[0]}\n", *rest]
    return lines


def table(fields: object, docs: dict[str, str]) -> list[str]:
    """Write one section's table."""
    assert isinstance(fields, (list, tuple))
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    return rows + [f"| `{f.name}` | {default(f)} | {docs.get(f.name, '')} |" for f in fields]


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is stale")
    if parser.parse_args().check:
        return int(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
