"""What a message case is, and short ways to write one.

A case names the section it rests on. An accepted head lists the attributes of its RequestHead that
the case is about; a refused one has the status of the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class HeadCase(NamedTuple):
    """`status` is 0 for a head that is accepted; `expect` then has attributes of the result."""

    name: str
    section: str
    head: bytes
    status: int
    expect: dict[str, object]


def start(line: bytes, host: bytes = b"Host: a.example") -> bytes:
    """A head with this request line."""
    return line + b"\r\n" + host + b"\r\n\r\n"


def target(text: bytes) -> bytes:
    """A head with this request target."""
    return start(b"GET " + text + b" HTTP/1.1")


def having(*lines: bytes, version: bytes = b"1.1") -> bytes:
    """A head with these field lines behind Host."""
    return b"\r\n".join([b"GET / HTTP/" + version, b"Host: a.example", *lines, b"", b""])


def hosts(*lines: bytes, version: bytes = b"1.1") -> bytes:
    """A head with these field lines and no other Host."""
    return b"\r\n".join([b"GET / HTTP/" + version, *lines, b"", b""])


def sized(octets: int, line: bytes = b"X: ") -> bytes:
    """A head of exactly so many octets, by a long field value."""
    return having(line + b"v" * (octets - len(having(line))))


def ok(name: str, section: str, head: bytes, **expect: object) -> HeadCase:
    return HeadCase(name, section, head, 0, expect)


def no(name: str, section: str, head: bytes, status: int = 400) -> HeadCase:
    return HeadCase(name, section, head, status, {})


def each(
    name: str,
    section: str,
    write: Callable[[bytes], bytes],
    values: Iterable[bytes],
    status: int = 400,
) -> tuple[HeadCase, ...]:
    """A refused head for each of the values, which `write` puts into one."""
    return tuple(no(f"{name}: {value!r}", section, write(value), status) for value in values)
