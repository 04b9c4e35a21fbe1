"""The listing of a folder that has no index file: an HTML page, or JSON.

Rule: a name is bytes on disk. A link is made of exactly these bytes, percent-encoded; the text
shown may differ. Every link begins with `./` or `../`, so that no name is taken for a scheme or a
host, and the page works below any prefix that a proxy adds. Links to folders keep the requested
order.

A short listing is a complete response, with an entity tag. A longer one is a stream that is read,
sorted and written in steps (see `order`), so that it does not delay other clients.

Limit: the caller filters the entries: entries that are not served must not be listed either.
"""

from __future__ import annotations

import os
import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from portico.http.codings import IDENTITY, acceptable
from portico.http.content import Octets, Stream
from portico.http.message import Response
from portico.site.compression.encoders import WORTH_FROM
from portico.site.fields import varying
from portico.site.origin.etags import tag_of_page
from portico.site.pages.errors import CLOSING, opening, prefers_json, shown
from portico.site.pages.order import Order, in_order, sort
from portico.site.pages.script import SCRIPT
from portico.site.pages.styles import LISTING, content_security_policy
from portico.site.pages.upload import UPLOAD_SCRIPT
from portico.site.target import encode_name

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from typing import Protocol

    from portico.http.message import Field, RequestHead
    from portico.site.origin.protocol import Directory, Entry

    class _Compress(Protocol):
        def compress(self, octets: bytes, /) -> bytes: ...
        def flush(self) -> bytes: ...

    Listed = Iterable[Entry | None]
    """Entries in order, and None after a step that has no entry ready (see `order.in_order`)."""

ROWS = 100
"""Entries written in one step of a stream: about 20 KB, in less than a millisecond."""
_GZIP_LEVEL = 1
_CODED: tuple[Field, ...] = (("Content-Encoding", "gzip"),)

_ROWS = 2048
"""Rows that are cached, some 600 bytes each, because folders are listed repeatedly."""
_DAYS = 1024
"""Dates that are cached."""
# Names that need no escaping in a URL or in HTML.
_PLAIN = re.compile(r"[A-Za-z0-9._~!$()*+,;=:@-]+")

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

_COMMON: tuple[Field, ...] = (
    ("Cache-Control", "no-cache"),
    ("X-Content-Type-Options", "nosniff"),
)

# For each column: its name in `SORTS`, its heading, its noun in the tooltip, and the words for
# ascending and descending. The headings are buttons of a form instead of links, because programs
# that copy a site follow every link.
_COLUMNS = (
    ("name", "Name", "name", ("A to Z", "Z to A")),
    ("size", "Size", "size", ("smallest first", "largest first")),
    ("date", "Modified<span> (UTC)</span>", "date", ("oldest first", "newest first")),
)
_EMPTY = '<tr><td class="empty" colspan="3">This folder is empty.</td></tr>\n'
_FORM = '<form id="sort"></form>\n'


class Frame(NamedTuple):
    """What a page has around the table of entries."""

    root: str = "/"
    """The title of the root folder."""
    readme: str = ""
    """HTML below the table."""
    upload: str = ""
    """HTML above it: see `upload.upload_part`."""


def answer_listing(
    request: RequestHead,
    names: tuple[str, ...],
    found: Directory,
    frame: Frame,
    *,
    compress: bool = False,
) -> Response:
    """Return the response to GET for the folder at `names` (see `target.path_names`).

    The content is JSON if the client prefers JSON to HTML. The query chooses the order (see
    `Order.of`). `compress` allows gzip. A stream raises OSError if the folder cannot be read.
    """
    segments = names[:-1] if names and not names[-1] else names
    order = Order.of(request.query)
    listed: Listed = in_order(found.entries, order) if found.is_long else sort(found.entries, order)
    if prefers_json(request.get("accept")):
        text = _json_pieces(segments, listed)
        fields: list[Field] = [("Content-Type", "application/json"), *_COMMON]
    else:
        text = pieces(segments, listed, order, frame)
        scripts = (SCRIPT, UPLOAD_SCRIPT) if frame.upload else (SCRIPT,)
        policy = ("Content-Security-Policy", content_security_policy(LISTING, *scripts))
        fields = [("Content-Type", "text/html; charset=utf-8"), policy, *_COMMON]
    is_coded = compress and _prefers_gzip(request)
    fields = varying(fields, "Accept, Accept-Encoding" if compress else "Accept")
    if found.is_long:
        fields += _CODED if is_coded else ()
        return Response(200, fields, (Stream(_steps(text, is_coded=is_coded)),))
    content = "".join(text).encode()
    if is_coded and len(content) >= WORTH_FROM:
        gzip = _gzip()
        content = gzip.compress(content) + gzip.flush()
        fields += _CODED
    fields += [("ETag", tag_of_page(content)), ("Content-Length", str(len(content)))]
    return Response(200, fields, (Octets(content),))


def _prefers_gzip(request: RequestHead) -> bool:
    return acceptable(request.get("accept-encoding"), ("gzip", IDENTITY))[:1] == ["gzip"]


def _gzip() -> _Compress:
    """Return a fast compressor: its time is about that of making the page, and it saves 90 %."""
    from zlib import compressobj

    return compressobj(_GZIP_LEVEL, wbits=31)


def _steps(text: Iterator[str], *, is_coded: bool) -> Generator[bytes, None, None]:
    """Yield `text` as bytes, ROWS pieces at a time, and at each "" the pieces so far, perhaps b"".

    With `is_coded`, the bytes are compressed by gzip.
    """
    gzip = _gzip() if is_coded else None
    ready: list[str] = []
    for piece in text:
        if piece:
            ready.append(piece)
        if not piece or len(ready) == ROWS:
            octets = "".join(ready).encode()
            yield octets if gzip is None else gzip.compress(octets)
            ready.clear()
    octets = "".join(ready).encode()
    yield octets if gzip is None else gzip.compress(octets) + gzip.flush()


# The page


def pieces(segments: Sequence[str], listed: Listed, order: Order, frame: Frame) -> Iterator[str]:
    """Yield the page: its head, a row for each entry, its foot; "" for each None in `listed`.

    `segments` are the decoded names of the path below the root, none for the root itself.
    """
    folders = files = size = 0
    query = order.query
    yield _head(segments, order, frame)
    for entry in listed:
        if entry is None:
            yield ""
            continue
        if entry.is_folder:
            folders += 1
        else:
            files += 1
            size += entry.size
        yield row(entry, query)
    yield _foot(folders, files, size, frame)


def _head(segments: Sequence[str], order: Order, frame: Frame) -> str:
    """Return the part of the page before the first entry: title, path, column headings."""
    path = "".join(f"/{segment}" for segment in segments) + "/"
    name = segments[-1] if segments else frame.root
    title = f"{name} ({path})" if segments else name
    return f"""\
{opening(title, LISTING, for_robots=not order.query)}\
<header>
{_trail([frame.root, *segments], shown(order.query))}<h1><bdi>{shown(name)}</bdi></h1>
</header>
{frame.upload}{_FORM}<table id="list">
<caption>Contents of <bdi>{shown(path)}</bdi>, folders first; \
the headings are buttons that sort</caption>
<thead>
<tr>{"".join(_heading(*column, order) for column in _COLUMNS)}</tr>
</thead>
<tbody>
"""


def _heading(by: str, heading: str, noun: str, senses: tuple[str, str], order: Order) -> str:
    """Return a column's heading: a button that sorts by this column.

    The button of the present column reverses the order. The buttons of the other columns begin with
    A, with the largest, or with the newest.
    """
    is_sorted = by == order.by
    descending = not order.descending if is_sorted else by != "name"
    state = f' aria-sort="{"descending" if order.descending else "ascending"}"' if is_sorted else ""
    return (
        f'<th scope="col"{state}><button form="sort" name="sort" '
        f'value="{Order(by, descending=descending).value}" '
        f'title="Sort by {noun}, {senses[descending]}">{heading}</button></th>'
    )


@lru_cache(maxsize=_ROWS)
def row(entry: Entry, query: str = "") -> str:
    """Return the table row of `entry`. `query`, with "?" or empty, is added to links to folders."""
    name, is_folder, size, modified = entry
    href, text = _spelt(name)
    if is_folder:
        return (
            f'<tr><th scope="row"><a href="./{href}/{shown(query)}"><bdi>{text}</bdi>/</a></th>'
            f"<td></td><td>{_moment(modified)}</td></tr>\n"
        )
    return (
        f'<tr><th scope="row"><a href="./{href}"><bdi>{text}</bdi></a></th>'
        f"<td>{_size(size)}</td><td>{_moment(modified)}</td></tr>\n"
    )


def _spelt(name: str) -> tuple[str, str]:
    """Return a name as the URL of a link and as text to show, both escaped for HTML."""
    return (name, name) if _PLAIN.fullmatch(name) else (shown(encode_name(name)), shown(name))


def _foot(folders: int, files: int, size: int, frame: Frame) -> str:
    """Return the part of the page after the last entry: the counts and the sum of sizes.

    The style sheet shows the counts above the table. They come here because they are not known when
    the first row is sent.
    """
    empty = "" if folders or files else _EMPTY
    counts = [_count(folders, "folder")] if folders else []
    if files:
        counts += [_count(files, "file"), _size(size)]
    article = f"<article>\n{frame.readme}\n</article>\n" if frame.readme else ""
    script = f"<script>{UPLOAD_SCRIPT}</script>\n" if frame.upload else ""
    return (
        f"{empty}</tbody>\n</table>\n<footer><span>{', '.join(counts)}</span></footer>\n"
        f"{article}<script>{SCRIPT}</script>\n{script}{CLOSING}"
    )


def _trail(names: Sequence[str], query: str) -> str:
    """Return links to the folders above the one at the path `names`, from the root down."""
    if len(names) == 1:
        return ""
    links = "".join(
        f'<li><a href="{"../" * (len(names) - 1 - depth)}{query}"><bdi>{shown(name)}</bdi></a></li>'
        for depth, name in enumerate(names[:-1])
    )
    return f'<nav aria-label="Folders above"><ol>{links}</ol></nav>\n'


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(size: int) -> str:
    """Return the HTML of a size in bytes, rounded, with the exact number as its title."""
    exact = f"{size:,} byte{'' if size == 1 else 's'}"
    return f'<data value="{size}" title="{exact}">{human_size(size)}</data>'


def human_size(size: int) -> str:
    """Return `size`, in bytes, rounded to three or four digits and a binary unit (IEC 80000-13)."""
    if size < 1024:
        return f"{size} B"
    number, power = float(size), 0
    while round(number) >= 1024 and power < len(_UNITS) - 1:
        number /= 1024
        power += 1
    unit = _UNITS[power]
    # Rounded before the comparison: otherwise 99.96 would be written as 100.0.
    return f"{number:.1f} {unit}" if round(number, 1) < 100 else f"{number:.0f} {unit}"


def _moment(seconds: float) -> str:
    """Return the HTML of a time in Unix seconds, as UTC; "" outside the years 1 to 9999."""
    moment = _utc(seconds)
    date, clock = moment[:10], moment[11:16]
    return moment and f'<time datetime="{moment}">{date}<span> {clock}</span></time>'


def _utc(seconds: float) -> str:
    """Return a time such as 2026-01-31T12:00:00Z; "" outside the years 1 to 9999."""
    try:
        days, rest = divmod(int(seconds // 1), 86400)
    except (OverflowError, ValueError):
        return ""
    date = _date(days)
    minutes, second = divmod(rest, 60)
    return date and f"{date}T{minutes // 60:02}:{minutes % 60:02}:{second:02}Z"


@lru_cache(maxsize=_DAYS)
def _date(days: int) -> str:
    """Return the date `days` days after 1970-01-01; "" outside the years 1 to 9999."""
    try:
        year, month, day = time.gmtime(days * 86400)[:3]
    except (OverflowError, OSError, ValueError):
        return ""
    return f"{year:04}-{month:02}-{day:02}" if 0 < year < 10000 else ""


# JSON


def _json_pieces(segments: Sequence[str], listed: Listed) -> Iterator[str]:
    r"""Yield `{"path": ..., "entries": [...]}`, a line for each entry; "" for each None.

    An entry has `name`, `type` ("folder" or "file"), `size` in bytes (files only), `modified` (null
    outside the years 1 to 9999) and `url`, relative to the folder. Bytes of a name that are not
    UTF-8 are written as escapes such as `\xe9`; `url` is always exact.
    """
    from json import JSONEncoder

    dumps: Callable[[object], str] = JSONEncoder(ensure_ascii=False).encode
    path = "".join(f"/{_text(segment)}" for segment in segments) + "/"
    yield f'{{"path": {dumps(path)}, "entries": ['
    separator = "\n"
    for entry in listed:
        if entry is None:
            yield ""
            continue
        members: dict[str, object] = {
            "name": _text(entry.name),
            "type": "folder" if entry.is_folder else "file",
            "size": entry.size,
            "modified": _utc(entry.modified) or None,
            "url": f"./{encode_name(entry.name)}{'/' if entry.is_folder else ''}",
        }
        if entry.is_folder:
            del members["size"]
        yield separator + dumps(members)
        separator = ",\n"
    yield "\n]}\n"


def _text(name: str) -> str:
    """Return a name with escapes for its bytes that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
