"""One field's rule at a time: values in, meaning out."""

from __future__ import annotations

import pytest

from portico.http import fields
from portico.http.message import CHUNKED, ProtocolError


@pytest.mark.parametrize(
    ("lengths", "codings", "version", "expected"),
    [
        ([], [], 1, 0),
        ([], [], 0, 0),
        (["0"], [], 1, 0),
        (["12"], [], 0, 12),
        ([], ["chunked"], 1, CHUNKED),
        (["1", "1"], [], 1, 400),
        (["1 "], [], 1, 400),  # the parser has stripped white space; what is left is no number
        (["1"], ["chunked"], 1, 400),
        ([], ["chunked"], 0, 400),
        ([], ["chunked", "chunked"], 1, 400),
        ([], ["gzip"], 1, 400),
        ([], ["gzip,chunked"], 1, 501),
    ],
)
def test_content_length(
    lengths: list[str], codings: list[str], version: int, expected: int
) -> None:
    """RFC 9112, 6.3."""
    if expected < 400:
        assert fields.content_length(lengths, codings, version) == expected
        return
    with pytest.raises(ProtocolError) as caught:
        fields.content_length(lengths, codings, version)
    assert caught.value.status == expected


def test_transfer_encoding_never_falls_back_to_content_length() -> None:
    """RFC 9112, 6.3: a broken one of the two must not hide behind a valid other one."""
    for coding in ("", "x", "chunked, x", "chunked,"):
        with pytest.raises(ProtocolError):
            fields.content_length(["5"], [coding], 1)


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
        ("127.0.0.1.evil.example", "127.0.0.1.evil.example"),
        ("", ""),
        ("a b", ""),
        ("u@localhost", ""),
        ("localhost/", ""),
        ("localhost:80@evil.example", ""),
        ("[::1]evil.example", ""),
        ("localhost\n", ""),
        ("localhost:80\n", ""),
        (".", ""),
    ],
)
def test_host_name(authority: str, name: str) -> None:
    """RFC 3986, 6.2.2.1: what is compared with the hosts allowed must not be open to tricks."""
    assert fields.host_name(authority) == name


def test_host() -> None:
    """RFC 9112, 3.2: exactly one, but HTTP/1.0 may do without."""
    assert fields.host(["a:80"], 1) == "a:80"
    assert fields.host([], 0) == ""
    for values, version in (([], 1), ([""], 1), ([""], 0), (["a", "a"], 0), (["a\n"], 1)):
        with pytest.raises(ProtocolError) as caught:
            fields.host(values, version)
        assert caught.value.status == 400


@pytest.mark.parametrize(
    ("values", "in_1_1", "in_1_0"),
    [
        ([], True, False),
        ([""], True, False),
        (["keep-alive"], True, True),
        (["Keep-Alive , x"], True, True),
        (["close"], False, False),
        (["x", "\tCLOSE"], False, False),
        (["keep-alive", "close"], False, False),
        (["not-close"], True, False),
    ],
)
def test_keep_alive(values: list[str], *, in_1_1: bool, in_1_0: bool) -> None:
    """RFC 9112, 9.3."""
    assert fields.keep_alive(values, 1) is in_1_1
    assert fields.keep_alive(values, 0) is in_1_0


def test_connection_is_a_list_of_tokens() -> None:
    """RFC 9110, 7.6.1."""
    for value in ("a b", "close;", "close\n", '"close"', "clos\xe9"):
        with pytest.raises(ProtocolError) as caught:
            fields.keep_alive(["close", value], 1)
        assert caught.value.status == 400


def test_expects_continue() -> None:
    """RFC 9110, 10.1.1."""
    assert fields.expects_continue(["100-Continue"], 1)
    assert not fields.expects_continue([], 1)
    assert not fields.expects_continue(["100-continue"], 0)
    assert not fields.expects_continue(["anything"], 0)
    for values in ([""], ["x"], ["100-continue "], ["100-continue", "100-continue"]):
        with pytest.raises(ProtocolError) as caught:
            fields.expects_continue(values, 1)
        assert caught.value.status == 417
