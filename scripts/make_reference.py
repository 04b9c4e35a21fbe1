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

from portico.config.kinds import SWITCH  # noqa: E402 - from the checkout, by its path
from portico.config.options import OPTIONS, Option  # noqa: E402

HEAD = """\
# Reference: the options

<!-- Written by scripts/make_reference.py out of portico/config/options.py: change it there. -->

```text
portico [options] [DIR]
python3 -m portico [options] [DIR]
```

The second form runs from a clone, without installing anything.

DIR may also be a single file, such as `portico film.mp4`. Then it is as if that file were alone in
its folder: the server answers `/film.mp4` with it and `/` with a page that links to it, and
nothing else is served, no rules file beside it applies, and no compressed file beside it is used.

## Three places for options

An option can be set in three places. Flags win over the environment, which wins over the file.

1. **The configuration file**: `portico.toml` in the current folder, or the TOML file that
   `--config` or `PORTICO_CONFIG` names. (`--config /dev/null` reads none.) Its keys are the names
   below; hyphens may stand for underscores. A relative `root` starts at the folder of the file. An
   unknown key is an error. A `portico.toml` in the root of the site is never served.
2. **The environment**: `PORTICO_` and the name in capitals. A list is written with commas
   (headers: one on each line), a switch as `yes` or `no`. An empty variable counts as unset.
3. **Flags** on the command line. A switch is unset by `--no-` before its name.

A list in one place replaces the list in another. Every value is checked, even one that another
replaces.

A configuration file:

```toml
root = "public"
host = "0.0.0.0"
port = 8000
allow_host = ["preview.example.org"]
log_format = "json"
idle_timeout = 30
cache_size = "64M"
```

The same port, from the environment and by a flag:

```sh
PORTICO_PORT=8000 portico public
portico public --port 8000
```

In Python, options are keyword arguments. Those that can be repeated are in the plural
(`allow_hosts`), and neither the environment nor `portico.toml` is read:

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
| 1 | The first of several workers did not start. |
| 2 | Nothing was started: a wrong option or configuration file, a folder that cannot be read, a \
port that is in use. One line on stderr says which. |
| 130 | Ctrl+C before the server was ready. |

## Signals

Ctrl+C and SIGTERM let responses finish, for at most `grace` seconds; the server says how many it
waits for. A second one stops it at once. At the end it says how many were cut off. SIGHUP reloads
a server of several workers; a server of one says that it cannot, and goes on. If the terminal was
closed, SIGHUP ends the server as SIGTERM does. More in [deploying.md](deploying.md).

## The access log

One line for each request, on stdout. `--log-format` says how it looks:

| form | a line |
| --- | --- |
| `short` | `14:03:22 200 GET  /film.mp4    1.2 MiB   38 ms`, as wide as the terminal |
| `common`, `combined` | as Apache and nginx write them |
| `json` | an object with the members `time`, `client`, `method`, `target`, `status`, \
`bytes`, `duration` (in seconds), `end`, `referer`, `user_agent`, `user`; with `--users` or \
`--tls-client-ca` also `client_subject` |

`auto`, the default, is `short` on a terminal and `common` elsewhere.

Who has signed in by `--users` is named in Common and Combined lines as well, in the third place;
else the subject of the client's certificate, if it has one (see [tls.md](tls.md)).

What did not end well is marked. A response that was begun and not completed has the number of bytes
of content that the client's system took, as far as this one knows.

| what happened | `common`, `combined` | `json`: `end` | `short` |
| --- | --- | --- | --- |
| all of the response was handed to the system | its status | `complete` | |
| the client left before: during a download, an upload, or while it waited | 499 | `client` | \
`aborted` |
| the client took nothing of its response for `send_timeout` | 408 | `timeout` | `timed out` |
| the server ended it: the file changed, the disk failed, the place was needed for others, \
the grace time was over | 599 | `server` | `cut off` |

The first two numbers are those of nginx, the third is sent by nobody; programs that read logs take
them as errors of the client, of the client, and of the server. In JSON, `status` stays what was
sent; where nothing was sent, it is that number, too. A request that comes too slowly is answered
with 408, and that response is `complete`.
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
        return ", ".join(f"`{flag}`" for flag in (*option.flags, f"--no-{option.flag[2:]}"))
    return ", ".join(f"`{flag} {option.kind.metavar}`" for flag in option.flags)


if __name__ == "__main__":
    PAGE.write_text(reference_markdown(), encoding="utf-8")
