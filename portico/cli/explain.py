"""`portico explain URL`: how a request would be answered, step by step, and why.

Rule: the answer is made by the very code that serves, over the same folder; only the steps that it
takes are told. Nothing is listened on and nothing is written.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from portico.cli.terminal import (
    STOPPED,
    Parser,
    UsageError,
    add_option,
    formatter,
    printable,
    say,
    show,
)
from portico.config.config import Config, check_root
from portico.config.options import OPTIONS, SERVING
from portico.http.h1.head import HeadParser
from portico.http.message import ProtocolError, Response, Stream
from portico.http.status import REASONS
from portico.site.compression.cache import CompressionCache
from portico.site.origin.folder import Folder
from portico.site.site import LOOPBACK_HOSTS, Site

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from portico.site.origin.freshness import Dependencies

INTRO = """\
Tell how Portico would answer a request, step by step and why: which rule, which
file, which coding, which condition. URL is a path, or a URL of this site.
"""

OUTRO = """\
examples:
  portico explain /about site
  portico explain /app.js site -H 'Accept-Encoding: br'
  portico explain /film.webm site -H 'Range: bytes=0-99' -X HEAD
  portico explain http://www.example.org/old site --allow-host www.example.org
"""

_URL = re.compile(r"(?:https?://([^/?#]*))?(/[^#]*)?(?:#.*)?", re.IGNORECASE)
_MEMORY = 1 << 20


def run(argv: Sequence[str]) -> int:
    """Explain the request that the arguments describe. Raises ConfigError for a mistake in them."""
    values = vars(_parser().parse_args(argv))
    url, method = values.pop("url"), values.pop("method")
    lines = values.pop("field", [])
    config = Config.load(values, os.environ)
    check_root(config)
    head = _head(method, url, lines)
    explanation = Explanation(config)
    try:
        explanation.tell(head)
    except ProtocolError as problem:
        show(f"    Request: {problem.detail}")
        explanation.show_response(explanation.site.refuse(problem))
    return STOPPED


def _parser() -> Parser:
    parser = Parser(
        prog="portico explain",
        usage="portico explain URL [DIR] [-H FIELD]... [options]",
        description=INTRO,
        epilog=OUTRO,
        formatter_class=formatter,
        allow_abbrev=False,
        argument_default=_nothing(),
    )
    add = parser.add_argument
    add("url", metavar="URL", help="What is asked for: a path such as /about, or a URL.")
    add("-H", dest="field", metavar="FIELD", action="append", help="A field, such as 'Range: ...'.")
    add("-X", dest="method", metavar="METHOD", default="GET", help="The method. (default: GET)")
    about_site = parser.add_argument_group("how the site is served")
    for option in OPTIONS:
        if option.group == SERVING or option.name in {"allow_host", "config"}:
            add_option(about_site, option)
    return parser


def _nothing() -> object:
    from argparse import SUPPRESS

    return SUPPRESS


def _head(method: str, url: str, lines: Sequence[str]) -> bytes:
    """The head of the request. Raises UsageError for what cannot be sent."""
    found = _URL.fullmatch(url)
    if found is None or not (found[1] or found[2]):
        raise UsageError(f"{url!r} is neither a path, which begins with a slash, nor an http URL")
    given = {line.partition(":")[0].strip().lower() for line in lines}
    own = {"host": found[1] or "localhost", "accept": "*/*"}
    fields = [f"{name.title()}: {value}" for name, value in own.items() if name not in given]
    text = "\r\n".join([f"{method} {found[2] or '/'} HTTP/1.1", *fields, *lines, "", ""])
    if re.search(r"[\r\n]", "".join(lines) + method + url):
        raise UsageError("neither the URL nor a field may contain a line break")
    return text.encode("utf-8", "surrogateescape")


class Explanation:
    """The site as it would be served, told aloud."""

    def __init__(self, config: Config) -> None:
        self._worked = False
        folder = Folder(config.root, _MEMORY, self._work)
        copies = CompressionCache(_MEMORY, self._work) if config.compress else None
        hosts = (*LOOPBACK_HOSTS, *config.allow_hosts)
        self.site = Site(folder, config, hosts, copies, _report)

    def tell(self, head: bytes) -> None:
        """Tell how the request with this head is answered. Raises ProtocolError."""
        request = HeadParser(self.site.fields_read).parse(head)
        show(f"{request.method} {printable(request.target)}, for {printable(request.authority)}")
        self.site.explain_to(_note)
        response, dependencies = self.site.answer(request)
        self.show_response(response, dependencies)
        if self._worked:
            show("\nOnce the work in the background is done:")
            self.site.freshness.begin_request()
            response, dependencies = self.site.answer(request)
            self.show_response(response, dependencies)

    def show_response(self, response: Response, dependencies: Dependencies = None) -> None:
        """Show the head of a response, and what follows it."""
        show(f"\n    HTTP/1.1 {response.status} {REASONS.get(response.status, '')}".rstrip())
        for name, value in response.fields:
            show(f"    {name}: {printable(value)}")
        show(f"\n    {_content(response)}")
        if dependencies:
            looks = "1 look" if len(dependencies) == 1 else f"{len(dependencies)} looks"
            show(f"    It rests on {looks} at the disk, and is kept until one shows a change.")
        elif dependencies is not None:
            show("    Nothing on the disk can change it.")
        else:
            show("    It is made anew for each request.")

    def _work(self, steps: Iterator[None]) -> bool:
        """Do at once what the server does in the background."""
        self._worked = True
        for _ in steps:
            pass
        return True


def _content(response: Response) -> str:
    if any(isinstance(piece, Stream) for piece in response.content):
        return "Its content is made while it is sent."
    octets = sum(map(len, response.content))
    return f"{octets:,} octets of content follow." if octets else "No content follows."


def _note(text: str, *values: object) -> None:
    shown = [printable(value) if isinstance(value, str) else value for value in values]
    show(f"    {text % tuple(shown)}")


def _report(text: str) -> None:
    say(f"portico: {printable(text)}\n")
