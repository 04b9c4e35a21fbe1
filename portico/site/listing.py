"""The page for a folder that has no index file: its entries, to read and to follow.

Rule: a name is bytes on the disk. So a link is made of the bytes, percent-encoded, and what is
shown is only a picture of them. Every link begins with `./` or `../`, so that no name can pass for
a scheme or a host, and the page works below any prefix that a proxy may put before it.

    pieces      head, then one row for each entry, then foot, in the order in which they are
                sent: a long listing need not be held whole.
    by_name     the order: folders first, then names as people sort them.

Limit: the caller chooses the entries. What may not be served must not be listed either.
"""

from __future__ import annotations

import re
import time

from portico.site.origin import Entry
from portico.site.pages import CLOSING, opening, shown
from portico.site.target import encode_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Entry", "by_name", "foot", "head", "human_size", "listing_page", "pieces", "row"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


_PARENT = '<tr><th scope="row"><a href="../">Parent folder</a></th><td></td><td></td></tr>\n'


def listing_page(segments: Sequence[str], entries: Iterable[Entry]) -> bytes:
    """Return the complete HTML page, in UTF-8, for the folder at *segments* below the root.

    *segments* are the decoded names on the way from the root, none for the root itself; an empty
    last one, which only says that the target ended in a slash, counts for nothing. The entries
    may come in any order.
    """
    if segments and not segments[-1]:
        segments = segments[:-1]
    return "".join(pieces(segments, sorted(entries, key=by_name))).encode()


def pieces(segments: Sequence[str], entries: Iterable[Entry]) -> Iterator[str]:
    """Yield the page in pieces, with the entries in the order in which they are given."""
    folders = files = size = 0
    yield head(segments)
    for entry in entries:
        if entry.is_folder:
            folders += 1
        else:
            files += 1
            size += entry.size
        yield row(entry)
    yield foot(folders, files, size)


def by_name(entry: Entry) -> tuple[object, ...]:
    """Return the sort key: folders first, then names without regard to case or accents.

    Digits count as numbers, so `page 2` comes before `page 10`.
    """
    name = entry.name.casefold()
    if not name.isascii():
        # Imported here because most names never need it.
        from unicodedata import combining, normalize

        name = "".join(char for char in normalize("NFKD", name) if not combining(char))
    parts: list[object] = []
    for index, part in enumerate(re.split("([0-9]+)", name)):
        # Every second part is a number. Its length goes first instead of int(), which is slow
        # for long runs of digits and refuses very long ones.
        number = part.lstrip("0")
        parts.append((len(number), number) if index % 2 else part)
    return (not entry.is_folder, parts, entry.name)


def head(segments: Sequence[str]) -> str:
    """Return the page up to the first entry: title, path, column headings, link to the parent."""
    path = "".join(f"/{segment}" for segment in segments) + "/"
    name = shown(segments[-1]) if segments else "Index"
    return f"""\
{opening(f"Index of {path}", "listing")}\
<header>
{_trail(segments)}<h1><bdi>{name}</bdi></h1>
</header>
<table>
<caption>Contents of <bdi>{shown(path)}</bdi>, folders first</caption>
<thead>
<tr><th scope="col">Name</th><th scope="col">Size</th>\
<th scope="col">Modified<span> (UTC)</span></th></tr>
</thead>
<tbody>
{_PARENT if segments else ""}"""


def row(entry: Entry) -> str:
    """Return the table row of one entry."""
    slash = "/" if entry.is_folder else ""
    href = shown(encode_name(entry.name))
    size = "" if entry.is_folder else _size(entry.size)
    return (
        f'<tr><th scope="row"><a href="./{href}{slash}"><bdi>{shown(entry.name)}</bdi>{slash}</a>'
        f"</th><td>{size}</td><td>{_moment(entry.modified)}</td></tr>\n"
    )


def foot(folders: int, files: int, size: int) -> str:
    """Return the page from the last entry on: how many there are, and the sum of their sizes."""
    if not folders and not files:
        return (
            '<tr><td class="empty" colspan="3">This folder is empty.</td></tr>\n'
            f"</tbody>\n</table>\n{CLOSING}"
        )
    counts = [_count(folders, "folder")] if folders else []
    if files:
        counts += [_count(files, "file"), _size(size)]
    return f"</tbody>\n</table>\n<footer>{', '.join(counts)}</footer>\n{CLOSING}"


def _trail(segments: Sequence[str]) -> str:
    """Return links to the folders above this one, from the root down."""
    if not segments:
        return ""
    names = ["Index", *segments[:-1]]
    links = "".join(
        f'<li><a href="{"../" * (len(names) - depth)}"><bdi>{shown(name)}</bdi></a></li>'
        for depth, name in enumerate(names)
    )
    return f'<nav aria-label="Folders above"><ol>{links}</ol></nav>\n'


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(size: int) -> str:
    """Return a size in bytes for people, with the exact number at hand."""
    exact = f"{size:,} byte{'' if size == 1 else 's'}"
    return f'<data value="{size}" title="{exact}">{human_size(size)}</data>'


def human_size(size: int) -> str:
    """Return *size*, in bytes, shortened to a few digits and a binary unit (IEC 80000-13)."""
    if size < 1024:
        return f"{size} B"
    number, power = float(size), 0
    while round(number) >= 1024 and power < len(_UNITS) - 1:
        number /= 1024
        power += 1
    unit = _UNITS[power]
    # Rounded before compared, for 99.96 would otherwise be written with four digits, as 100.0.
    return f"{number:.1f} {unit}" if round(number, 1) < 100 else f"{number:.0f} {unit}"


def _moment(seconds: float) -> str:
    """Return a moment as UTC; empty where the calendar does not reach it."""
    try:
        moment = time.gmtime(seconds)
    except (OverflowError, OSError, ValueError):
        return ""
    if not 0 < moment.tm_year < 10000:
        return ""
    date = f"{moment.tm_year:04}-{moment.tm_mon:02}-{moment.tm_mday:02}"
    clock = f"{moment.tm_hour:02}:{moment.tm_min:02}"
    return f'<time datetime="{date}T{clock}:{moment.tm_sec:02}Z">{date}<span> {clock}</span></time>'
