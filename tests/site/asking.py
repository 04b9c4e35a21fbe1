"""Requests to a Site as a connection makes them, and what is in the answers."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path

from portico.config.config import Config
from portico.http.h1.head import HeadParser
from portico.http.h1.serialize import field_lines
from portico.http.message import Response
from portico.site.compression.cache import CompressionCache
from portico.site.origin.etags import tag_of
from portico.site.origin.folder import Folder
from portico.site.origin.freshness import Dependencies
from portico.site.origin.open_file import FileSlice
from portico.site.resources import Resources
from portico.site.site import Site
from tests.site.on_disk import settle

_LISTS = {"Vary"}
"""Fields that may come in several lines."""


class Client:
    """Asks a Site as the connection does. Each begins a request of its own."""

    def __init__(
        self,
        root: Path,
        hosts: tuple[str, ...] | None = None,
        *,
        copies: CompressionCache | None = None,
        memory: int = 1 << 20,
        **options: object,
    ) -> None:
        self.root = root
        self.reports: list[str] = []
        config = Config.of(root=str(root), **options)
        self.folder = Folder(config, memory)
        self.site = Site(self.folder, Resources(config, hosts, copies, self.reports.append))
        self.dependencies: Dependencies = None
        self._parser = HeadParser(self.site.fields_read)

    def ask(self, target: str, *lines: str, method: str = "GET", version: str = "1.1") -> Response:
        """Send a request with these field lines, for localhost where they name no host."""
        if not any(line.startswith("Host:") for line in lines) and version == "1.1":
            lines = ("Host: localhost", *lines)
        head = "\r\n".join((f"{method} {target} HTTP/{version}", *lines, "", ""))
        self.site.freshness.begin_round()
        request = self._parser.parse(head.encode("latin-1"))
        response, self.dependencies = self.site.answer(request)
        assert isinstance(response, Response)
        field_lines(response.fields)  # raises if they would split the message
        return response

    def holds(self) -> bool:
        """Would the last answer be given again to the same request, unasked?"""
        self.site.freshness.begin_round()
        return self.site.freshness.holds(self.dependencies)


def fields(response: Response) -> dict[str, str]:
    """The fields, of which none but lists may come twice."""
    found: dict[str, str] = {}
    for name, value in response.fields:
        if name in found and name in _LISTS:
            found[name] += f", {value}"
        else:
            assert name not in found
            found[name] = value
    return found


def tag(client: Client, path: str) -> str:
    """The entity tag of what is at a path."""
    return fields(client.ask(path))["ETag"]


def final(octets: bytes) -> str:
    """The tag that these octets have everywhere and always."""
    return tag_of(sha256(octets).digest())


def vary(response: Response) -> set[str]:
    """What the answer varies by, in lower case."""
    members = fields(response).get("Vary", "").lower().split(",")
    return {member.strip() for member in members} - {""}


def content(response: Response) -> bytes:
    """The octets that would be sent."""
    pieces = [
        piece.file.read(len(piece), piece.offset) if isinstance(piece, FileSlice) else piece
        for piece in response.content
    ]
    joined = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    assert len(joined) == sum(map(len, response.content))
    return joined


def parts(response: Response) -> list[tuple[dict[str, str], bytes]]:
    """The parts of multipart/byteranges: the fields of each, and its octets."""
    found = re.fullmatch(
        r"multipart/byteranges; boundary=([0-9A-Za-z._-]{1,70})", fields(response)["Content-Type"]
    )
    assert found is not None
    delimiter = b"\r\n--" + found[1].encode("ascii")
    body = content(response)
    assert fields(response)["Content-Length"] == str(len(body))
    preamble, *pieces, closing = body.split(delimiter)
    assert (preamble, closing) == (b"", b"--\r\n")
    split = []
    for piece in pieces:
        head, _, octets = piece.partition(b"\r\n\r\n")
        assert head.startswith(b"\r\n")
        lines = [line.partition(": ") for line in head[2:].decode("ascii").split("\r\n")]
        split.append(({name: value for name, _, value in lines}, octets))
    return split


def age(path: Path, seconds: int = 1_000_000_000) -> None:
    """Set the date of a file or folder back to `seconds` since the epoch."""
    os.utime(path, (seconds, seconds))


def settle_all(root: Path) -> None:
    """Wait until a change of anything in the site would show."""
    for path in (root, *root.rglob("*")):
        if path.exists():
            settle(path)
