"""Hosts by name. The other fields are judged with the heads they stand in, see tests/http/h1."""

from __future__ import annotations

import pytest

from portico.http.fields import host_name


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        ("a.example", "a.example"),
        ("A.Example:80", "a.example"),
        ("a.example.", "a.example"),
        ("a.example.:80", "a.example"),
        ("a:", "a"),
        ("127.0.0.1:8080", "127.0.0.1"),
        ("[::1]:8080", "[::1]"),
        ("[FE80::1]", "[fe80::1]"),
        ("%41", "%41"),  # not decoded: it is then no host that anybody allowed
        ("localhost.evil.example", "localhost.evil.example"),
        *((text, "") for text in ("", "a b", "u@localhost", "localhost/", "localhost\n", ".")),
        *((text, "") for text in ("localhost:80@evil.example", "[::1]evil.example", "a:80\n")),
    ],
)
def test_host_name(authority: str, name: str) -> None:
    """RFC 3986, 6.2.2.1: what is compared with the hosts allowed must not be open to tricks."""
    assert host_name(authority) == name
