"""Hosts by name. The other fields are judged with the heads they stand in, see tests/http/h1."""

from __future__ import annotations

import pytest

from portico.http.fields import host_name, is_ip_address


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


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "255.0.0.255", "[::]", "[::1]", "[2001:DB8::a]", "[::1.2.3.4]"]
)
def test_ip_address(host: str) -> None:
    assert is_ip_address(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "0x7f.0.0.1", "1.2.3.4.example"),
        *("::1", "[::1", "[]", "[:]", "[1.2.3.4]", "[::1%25eth0]", "[::g]", "\u0661.2.3.4"),
    ],
)
def test_no_ip_address(host: str) -> None:
    assert not is_ip_address(host)
