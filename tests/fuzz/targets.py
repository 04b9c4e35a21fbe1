"""The table of targets: what each of them tries, and which inputs it begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.differential.messages import MESSAGES
from tests.fuzz import http_targets, site_targets
from tests.http.h1 import content_cases, field_cases, framing_cases, start_line_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HEADS = (*start_line_cases.CASES, *field_cases.CASES, *framing_cases.CASES)
CONTENTS = (*content_cases.CODED, *content_cases.BROKEN, *content_cases.INCOMPLETE)


class Target(NamedTuple):
    """`check` raises where a rule is broken. `more` are inputs besides those in its corpus."""

    check: Callable[[bytes], None]
    what: str
    more: Iterable[bytes] = ()
    longest: int = 4096
    """Octets of an input."""


TARGETS = {
    "head": Target(
        http_targets.head, "Request heads", [case.head for case in HEADS], longest=20_000
    ),
    "content": Target(
        http_targets.content, "Chunked content", [case.sent for case in CONTENTS], longest=20_000
    ),
    "framing": Target(
        http_targets.framing,
        "Several requests, as h11 and llhttp read them",
        [messages.sent for messages in MESSAGES if len(messages.sent) < 1000],
    ),
    "ranges": Target(http_targets.ranges, "Range"),
    "conditions": Target(http_targets.conditions, "Conditions"),
    "dates": Target(http_targets.dates, "Dates", longest=64),
    "codings": Target(http_targets.codings, "Accept-Encoding"),
    "structured": Target(http_targets.structured, "Digests and the wish for them"),
    "forwarded": Target(http_targets.forwarded, "Forwarded and X-Forwarded-For", longest=2048),
    "proxy_protocol": Target(http_targets.proxy_protocol, "The PROXY protocol, 1 and 2"),
    "target": Target(site_targets.target, "Request targets as names", longest=512),
    "redirects": Target(site_targets.redirects, "_redirects"),
    "headers": Target(site_targets.headers, "_headers"),
    "users": Target(site_targets.users, "The file of users, and credentials"),
    "config": Target(site_targets.config, "Configuration files"),
    "uploads": Target(site_targets.uploads, "Requests that change files, tus and the draft"),
    "form": Target(site_targets.form, "Forms with files"),
}
