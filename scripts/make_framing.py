"""Writes docs/framing.md out of tests/differential: `python3 scripts/make_framing.py`.

With `--record` the messages are first read again by h11, llhttp and nginx, and record.json is
renewed. A test fails while the page differs from what this would write.
"""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "framing.md"
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from tests.differential import explanations  # noqa: E402 - from the checkout, by its path
from tests.differential.messages import MESSAGES  # noqa: E402
from tests.differential.readers import by_portico  # noqa: E402
from tests.differential.record import record, recorded  # noqa: E402

HEAD = """\
# Framing: side by side

<!-- Written by scripts/make_framing.py out of tests/differential: change it there. -->

Attacks such as request smuggling need two servers that disagree where a request ends. So octets
on which servers have disagreed are given to Portico and to three others: {others}.
httptools is a binding of llhttp, the parser of Node.js. nginx is a real process that passes on what
it reads to a recorder. The tests in tests/differential hold two rules, beside a real Portico that
has to answer as often as its parser says:

- What one of them frames otherwise than Portico, Portico refuses. There are {otherwise} exceptions,
  explained in the first table.
- Whatever differs is explained: of {all} cases {same} are read alike by all four.

Behind each case another request follows, `GET /next`. A reading such as *POST 5, GET 0* is two
requests, of 5 and 0 bytes of content; *refused* is an error; *closes* means that the connection
ends there, and *tunnel* that all that follows belongs to another protocol. `=` is what Portico
reads.
"""

SECTIONS = (
    (
        "Framed otherwise, and accepted",
        "Nothing is silent here: the response tells the client which way it was.",
        explanations.FRAMED_OTHERWISE,
    ),
    ("Refused by Portico, accepted by others", "", explanations.REFUSED_HERE),
    (
        "Accepted by Portico, refused by others",
        "All who accept them frame them alike.",
        explanations.REFUSED_ELSEWHERE,
    ),
)


def framing_markdown() -> str:
    """The whole page."""
    known = recorded()
    by_case = {messages.name: messages for messages in MESSAGES}
    explained = explanations.by_name(*(table for *_, table in SECTIONS))
    alike = [messages for messages in MESSAGES if messages.name not in explained]
    others = ", ".join(
        f"{name} ({each.version})" if name == "llhttp" else f"{name} {each.version}"
        for name, each in known.items()
    )
    otherwise = len(explanations.by_name(explanations.FRAMED_OTHERWISE))
    counts = {"otherwise": otherwise, "all": len(MESSAGES), "same": len(alike)}
    lines = [HEAD.format(others=others, **counts)]
    for title, text, table in SECTIONS:
        lines += [f"## {title}", "", *([text, ""] if text else [])]
        for why, names in table.items():
            lines += [why, "", f"| case | sent | Portico | {' | '.join(known)} |"]
            lines += ["| --- | --- | --- |" + " --- |" * len(known)]
            for name in names:
                ours = str(by_portico(by_case[name].sent))
                read = [each.readings[name] for each in known.values()]
                theirs = ["=" if reading == ours else reading for reading in read]
                lines += [f"| {' | '.join([name, _code(by_case[name].octets), ours, *theirs])} |"]
            lines += [""]
    lines += ["## Read alike by all", "", "| case | sent | all |", "| --- | --- | --- |"]
    lines += [
        f"| {messages.name} | {_code(messages.octets)} | {by_portico(messages.sent)} |"
        for messages in alike
    ]
    return "\n".join(lines) + "\n"


def _code(octets: bytes) -> str:
    """Octets as Markdown shows them in a table, the long ones cut."""
    text = repr(octets)[2:-1].replace("\\'", "'").replace("|", "\\|").replace("`", "'")
    return f"`{text if len(text) < 160 else f'{text[:80]} ... {text[-40:]}'}`"


def main(arguments: list[str]) -> None:
    """Record if asked to; then write the page."""
    if arguments == ["--record"]:
        record()
    elif arguments:
        raise SystemExit("usage: make_framing.py [--record]")
    PAGE.write_text(framing_markdown(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
