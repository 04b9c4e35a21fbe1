"""What proxies tell about clients, and what clients may write among it.

The peer is 10.0.0.1; it and all in 10.0.0.0/8 and fd00::/8 are trusted.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.config.networks import Networks
from portico.http.forwarded import HOPS, client_of_forwarded, client_of_x_forwarded

PEER = "10.0.0.1"
trusts = Networks(["10.0.0.0/8", "fd00::/8"]).have

# By X-Forwarded-For: the client's address.
ADDRESSES = [
    ("", PEER),
    ("192.0.2.1", "192.0.2.1"),
    ("192.0.2.1:4711", "192.0.2.1"),
    ("192.0.2.1:0", "192.0.2.1"),
    (" \t192.0.2.1\t", "192.0.2.1"),
    ("2001:DB8::1", "2001:db8::1"),
    ("[2001:db8::1]", "2001:db8::1"),
    ("[2001:db8::1]:4711", "2001:db8::1"),
    ("::ffff:192.0.2.1", "192.0.2.1"),
    ("[::ffff:c000:201]:1", "192.0.2.1"),
    # Through trusted ones only, from the right.
    ("198.51.100.9, 192.0.2.1", "192.0.2.1"),
    ("198.51.100.9, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
    ("198.51.100.9,192.0.2.1,::ffff:10.0.0.2,fd00::1,10.0.0.3:80", "192.0.2.1"),
    ("10.0.0.4, 10.0.0.3", "10.0.0.4"),
    ("192.0.2.1,, ,10.0.0.2, ,", "192.0.2.1"),
    # What is no address ends the walk at the proxy that has added it.
    *(
        (f"192.0.2.1, {bad}, 10.0.0.2", "10.0.0.2")
        for bad in (
            "unknown", "_hidden", "localhost", "192.0.2", "192.0.2.256", "192.0.02.1", "0xC0000201",
            "3221225985", "192.0.2.1:", "192.0.2.1:x", "192.0.2.1:123456", "192.0.2.1 198.51.100.9",
            "192.0.2.1/32", "2001:db8::1%eth0", "fe80::1%lo", "[2001:db8::1", "2001:db8::1]",
            "[192.0.2.1]", "[[::1]]", "[::1]x", "2001:db8:::1", "1:2:3:4:5:6:7:8:9", ":", "::1::",
            '"192.0.2.1"', "for=192.0.2.1", "\u0661.1.1.1", "192.0.2.1\x0b", "1.1.1.1\xa0", "-1",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("value", "client"), ADDRESSES)
def test_the_client_of_x_forwarded_for(value: str, client: str) -> None:
    assert client_of_x_forwarded(value, "", PEER, trusts) == (client, "")


@pytest.mark.parametrize(
    ("addresses", "schemes", "scheme"),
    [
        ("192.0.2.1", "https", "https"),
        ("192.0.2.1", " HTTPS ", "https"),
        ("192.0.2.1", "http", "http"),
        ("", "https", "https"),
        ("unknown", "https", "https"),
        # A client has sent one of its own, and the proxy has added that which is true.
        ("198.51.100.9, 192.0.2.1", "https, http", "http"),
        # Each proxy has added one; that counts which was added with the client's address.
        ("192.0.2.1, 10.0.0.2", "https, http", "https"),
        ("198.51.100.9, 192.0.2.1, 10.0.0.2", "https, http, https", "http"),
        # The inner proxy has passed on what the outer one has set.
        ("192.0.2.1, 10.0.0.2", "https", "https"),
        *(("192.0.2.1", bad, "") for bad in ("", "ftp", "https;", "https http", "on", "https,")),
    ],
)
def test_the_scheme_of_x_forwarded_proto(addresses: str, schemes: str, scheme: str) -> None:
    assert client_of_x_forwarded(addresses, schemes, PEER, trusts)[1] == scheme


@pytest.mark.parametrize(
    ("value", "client", "scheme"),
    [
        ("", PEER, ""),
        ("for=192.0.2.1", "192.0.2.1", ""),
        ("For=192.0.2.1;Proto=HTTPS;by=10.0.0.1", "192.0.2.1", "https"),
        ('proto=http;for="192.0.2.1:4711"', "192.0.2.1", "http"),
        ('for="[2001:DB8::1]"', "2001:db8::1", ""),
        ('for="[2001:db8::1]:_port"', "2001:db8::1", ""),
        ('for="[::ffff:192.0.2.1]"', "192.0.2.1", ""),
        (r'for="\1\9\2.0.2.1"', "192.0.2.1", ""),
        (";for=192.0.2.1;;proto=https;", "192.0.2.1", "https"),
        # Through trusted ones only; the scheme is that by which the client came.
        ("for=198.51.100.9, for=192.0.2.1;proto=https", "192.0.2.1", "https"),
        ("for=192.0.2.1;proto=https, for=10.0.0.2;proto=http", "192.0.2.1", "https"),
        ("for=192.0.2.1, for=10.0.0.2;proto=https", "192.0.2.1", ""),
        ("for=192.0.2.1,, \t,for=10.0.0.2,", "192.0.2.1", ""),
        ("for=10.0.0.4, for=10.0.0.3;proto=http", "10.0.0.4", ""),
        # Commas and semicolons in quotes are no ends of elements.
        ('for=192.0.2.1;host="a,for=198.51.100.9;proto=https"', "192.0.2.1", ""),
        (r'for=192.0.2.1;host="a\", for=198.51.100.9, \"b"', "192.0.2.1", ""),
        # What a client has begun before does not swallow what the proxy has added.
        ('for="192.0.2.9, for=192.0.2.1', "192.0.2.1", ""),
        ('host="\\, for=192.0.2.1;proto=http', "192.0.2.1", "http"),
        # Who is meant is not told, but how they came.
        ("for=192.0.2.1, for=unknown;proto=https, for=10.0.0.2", "10.0.0.2", "https"),
        ("for=192.0.2.1, for=_hidden, for=10.0.0.2", "10.0.0.2", ""),
        ("for=192.0.2.1, proto=https", PEER, "https"),
        # What is malformed ends the walk.
        *(
            (f"for=192.0.2.1, {bad}, for=10.0.0.2;proto=http", "10.0.0.2", "")
            for bad in (
                "for=1.1.1.1;for=1.1.1.1", "for=2001:db8::1", 'for="2001:db8::1"',
                "for=[2001:db8::1]", "for=1.1.1.1:80", "for =1.1.1.1", "for= 1.1.1.1",
                "for=1.1.1.1; proto=https", "for", "for=", "=1.1.1.1", '"for"=1.1.1.1',
                'for="1.1.1.1', 'for=1.1.1.1"', "1.1.1.1", "for=1.1.1.1 proto=https",
                "for=1.1.1.1;proto=https;proto=https", 'for="[fe80::1%lo]"', 'for=""',
            )
        ),
    ],
)  # fmt: skip
def test_the_client_of_forwarded(value: str, client: str, scheme: str) -> None:
    assert client_of_forwarded(value, PEER, trusts) == (client, scheme)


def test_a_stranger_is_not_believed() -> None:
    assert client_of_x_forwarded("192.0.2.1", "https", "192.0.2.9", trusts) == ("192.0.2.9", "")
    assert client_of_forwarded("for=192.0.2.1;proto=https", "192.0.2.9", trusts) == (
        "192.0.2.9",
        "",
    )


def test_no_more_elements_are_read_than_a_chain_can_have() -> None:
    def far(hops: int) -> int:
        value = ", ".join(["192.0.2.1", *(f"10.0.1.{hop}" for hop in range(hops))])
        elements = ", ".join(f"for={each}" for each in value.split(", "))
        found = client_of_x_forwarded(value, "", PEER, trusts)
        assert found == client_of_forwarded(elements, PEER, trusts)
        return found[0] == "192.0.2.1"

    assert far(HOPS - 1)
    assert not far(HOPS)


@pytest.mark.parametrize("piece", [",", ", ", " ", '"', '"\\', ';"', "a=", "for=10.0.0.2,", "\t;"])
def test_no_value_takes_long(piece: str) -> None:
    """If the time grew with the square of the length, this would take minutes."""
    value = piece * (16384 // len(piece))
    for end in ("", "x", '"', ", 10.0.0.2", ", for=10.0.0.2"):
        client_of_x_forwarded(value + end, value + end, PEER, trusts)
        client_of_forwarded(value + end, PEER, trusts)


_values = st.text('for=10.2,;"\\ []:_%unknowproths\t\xa0', max_size=60)


@pytest.mark.hypothesis
@given(_values)
def test_what_a_client_sends_changes_nothing_right_of_it(sent: str) -> None:
    for added in ("192.0.2.1", "2001:db8::1"):
        assert client_of_x_forwarded(f"{sent}, {added}", "http", PEER, trusts) == (added, "http")
        node = f'"[{added}]:80"' if ":" in added else added
        for element in (f"for={node};proto=http", f'proto=http;host="a,b";for={node}'):
            found = client_of_forwarded(f"{sent}, {element}", PEER, trusts)
            assert found == (added, "http")
