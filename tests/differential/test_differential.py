"""Portico beside h11, llhttp and nginx: what they frame otherwise is refused, or explained."""

from __future__ import annotations

import re
import runpy
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import portico
from tests.conformance.others import nginx_version
from tests.differential.explanations import (
    FRAMED_OTHERWISE,
    REFUSED_ELSEWHERE,
    REFUSED_HERE,
    by_name,
)
from tests.differential.messages import MESSAGES, Messages
from tests.differential.nginx import by_nginx
from tests.differential.readers import (
    READERS,
    REFUSED,
    VERSIONS,
    Reading,
    by_portico,
    frames_otherwise,
)
from tests.differential.record import recorded
from tests.end_to_end.serving import unavailable

REPOSITORY = Path(__file__).parent.parent.parent
PAGE = REPOSITORY / "docs" / "framing.md"
SCRIPT = REPOSITORY / "scripts" / "make_framing.py"
RENEW = "run: python3 scripts/make_framing.py --record"

EXPLAINED = by_name(FRAMED_OTHERWISE, REFUSED_HERE, REFUSED_ELSEWHERE)


def check(messages: Messages, theirs: Reading) -> None:
    ours = by_portico(messages.sent)
    problem = f"{messages.name}: {theirs}, not {ours}"
    assert ours == theirs or messages.name in EXPLAINED, problem
    if frames_otherwise(ours, theirs):
        assert messages.name in by_name(FRAMED_OTHERWISE), problem


@pytest.mark.parametrize("name", READERS)
def test_what_a_parser_frames_otherwise_is_refused_or_explained(name: str) -> None:
    for messages in MESSAGES:
        check(messages, READERS[name](messages.sent))


@pytest.fixture(scope="module")
def of_nginx() -> list[Reading]:
    if nginx_version() is None:
        unavailable("there is no nginx on this machine")
    return by_nginx([messages.sent for messages in MESSAGES])


def test_what_nginx_frames_otherwise_is_refused_or_explained(of_nginx: list[Reading]) -> None:
    for messages, theirs in zip(MESSAGES, of_nginx, strict=True):
        check(messages, theirs)


def test_nginx_reads_as_recorded(of_nginx: list[Reading]) -> None:
    known = recorded()["nginx"]
    if known.version != nginx_version():
        pytest.skip(f"nginx is {nginx_version()} here, and {known.version} on record")
    names = [messages.name for messages in MESSAGES]
    assert dict(zip(names, map(str, of_nginx), strict=True)) == known.readings, RENEW


@pytest.mark.parametrize("name", READERS)
def test_parsers_read_as_recorded(name: str) -> None:
    known = recorded()[name]
    if known.version != VERSIONS[name]:
        pytest.skip(f"{name} is {VERSIONS[name]} here, and {known.version} on record")
    found = {messages.name: str(READERS[name](messages.sent)) for messages in MESSAGES}
    assert found == known.readings, RENEW


def test_explained_is_what_differs_and_nothing_else() -> None:
    readings = [known.readings for known in recorded().values()]
    differing = {
        messages.name
        for messages in MESSAGES
        if {each[messages.name] for each in readings} != {str(by_portico(messages.sent))}
    }
    assert differing == EXPLAINED.keys()


def test_the_page_is_up_to_date() -> None:
    written = runpy.run_path(str(SCRIPT))["framing_markdown"]()
    assert PAGE.read_text(encoding="utf-8") == written, "run: python3 scripts/make_framing.py"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    root = tmp_path_factory.mktemp("differential") / "root"
    root.mkdir()
    with portico.Server(root, allow_hosts="a,b") as server:
        url = urlsplit(server.url)
        assert url.hostname is not None
        assert url.port is not None
        yield url.hostname, url.port


@pytest.mark.parametrize("messages", MESSAGES, ids=lambda messages: messages.name)
def test_the_server_answers_what_its_parser_finds(
    messages: Messages, address: tuple[str, int]
) -> None:
    """One response for each request, and one to what is refused; then it closes."""
    with socket.create_connection(address) as client:
        client.settimeout(20)
        client.sendall(messages.sent)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    ours = by_portico(messages.sent)
    statuses = re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", answer)
    expected = len(ours.requests) + (ours.end == REFUSED)
    if re.search(rb"HTTP/1\.1\r\n[^ ]+ a\r\nExpect: 100", messages.octets):
        expected = 1  # refused before its content, which may come or not: so it closes
    assert len(statuses) == expected
