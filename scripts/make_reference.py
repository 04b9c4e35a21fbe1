"""Writes docs/reference.md out of the table of options: `python3 scripts/make_reference.py`.

A test fails while the page differs from what this would write.
"""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "reference.md"
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from portico.config.options import OPTIONS, SWITCH, Option  # noqa: E402 - from the checkout, by its path

HEAD = """\
# Reference: the options

<!-- Written by scripts/make_reference.py out of portico/config/options.py: change it there. -->

    portico [options] [DIR]
    python3 -m portico [options] [DIR]

The second form needs no installation: it runs from a bare checkout.

## Three places, and which one wins

Each option can be given in three places. A place further down outweighs those above it:

1. **The configuration file**, a TOML file named by `--config FILE` or `PORTICO_CONFIG`. The keys
   are the names below; hyphens may stand for underscores. A `root` that is not absolute is meant
   from the folder in which the file lies. An unknown key is an error.
2. **The environment**, as `PORTICO_` and the name in capitals. A list is written with commas, a
   switch as `yes` or `no`. An empty variable counts as unset.
3. **Flags** on the command line.

What is given nowhere has its default. A list given in one place replaces the one from another; the
two are not joined. Every value is checked, even where another outweighs it.

A configuration file may look like this:

```toml
root = "public"
host = "0.0.0.0"
port = 8000
allow_host = ["preview.example.org"]
log_format = "json"
idle_timeout = 30
cache_size = "64M"
```

And the same port from the environment, or by a flag:

```sh
PORTICO_PORT=8000 portico public
portico public --port 8000
```

In Python, the options are keywords of the same names. The list `allow_host` is in the plural there,
`allow_hosts`, and the environment has no say:

```python
import portico

with portico.Server("public", port=0, allow_hosts=["preview.example.org"]) as server:
    print(server.url)
```
"""

TAIL = """\
## Exit codes

| code | meaning |
| --- | --- |
| 0 | Stopped by Ctrl+C or SIGTERM, or after `--help` or `--version`. |
| 1 | With several workers: the first ones did not come up. |
| 2 | Nothing was started: a wrong option or configuration file, a folder that cannot be read, a \
port that is in use. One line on stderr says which, and what to do. |
| 130 | Ctrl+C before the server was ready. |

## Signals

Ctrl+C and SIGTERM let responses on their way be finished, for at most `grace` seconds. A second one
ends the server at once. SIGHUP reloads a server of several workers; a server of one says that it
cannot, and goes on. When SIGHUP comes because the terminal was closed, it ends the server as
SIGTERM does. [deploying.md](deploying.md) tells more.
"""


def reference_markdown() -> str:
    """The whole page."""
    groups = dict.fromkeys(option.group for option in OPTIONS)
    sections = [HEAD]
    for title in groups:
        sections.append(f"## {title}\n")
        sections += [_section(option) for option in OPTIONS if option.group == title]
    return "\n".join([*sections, TAIL])


def _section(option: Option) -> str:
    lines = [f"### {option.name}\n", f"{option.meaning}\n"]
    lines.append(f"- Command line: {_command_line(option)}")
    lines.append(f"- Environment: `{option.variable}`")
    if option.name != "config":
        lines.append(f"- File: `{option.name}`")
    lines.append(f"- Value: {option.kind.expects}")
    lines.append(
        f"- Default: `{option.shown_default}`" if option.shown_default else "- Default: none"
    )
    return "\n".join(lines) + "\n"


def _command_line(option: Option) -> str:
    if option.positional:
        return f"`{option.flag}`"
    if option.kind is SWITCH:
        return f"`{option.flag}`, `--no-{option.flag[2:]}`"
    return f"`{option.flag} {option.kind.metavar}`"


if __name__ == "__main__":
    PAGE.write_text(reference_markdown(), encoding="utf-8")
