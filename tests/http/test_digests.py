"""Want-Repr-Digest and Want-Content-Digest: who wants a digest, and how it is written."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.http.digests import digest_value, is_wanted


@pytest.mark.parametrize(
    "value",
    [
        *("sha-256=1", "sha-256=10", "sha-256=5", " sha-256=3 ", "\tsha-256=3\t"),
        *("sha-256=1;x=2", "sha-256=1; sha-512=2"),
        *("sha-512=10, sha-256=1", "sha-256=1,sha-512=10", "sha-512=0 ,\tsha-256=9"),
        *("unixsum=1, md5=0, sha-256=2", "sha-256=0, sha-256=1", "x*y.z_1=3, sha-256=1"),
        *("*a=1,sha-256=1", "sha-256=5, a=(1 2)", 'a=("x" y;z=1);b, sha-256=1', "a, sha-256=1;b"),
        *(
            'a="b, sha-256=0", sha-256=1',
            "a=:AA==:,b=?0 , c=-1.5;d;e=f/g,\tsha-256=2",
            "a=(),sha-256=1",
        ),
    ],
)
def test_digest_is_wanted(value: str) -> None:
    assert is_wanted(value)


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", " ", ",", "sha-256=0", "sha-512=10", "sha-256=1, sha-256=0", "md5=1, sha=1"),
        *("sha-256", "sha-256=", "sha-256=11", "sha-256=100", "sha-256=-1", "sha-256=1.0"),
        *("sha-256 =1", "sha-256= 1", "SHA-256=1", "sha-256=a", "sha-256=1 2", "sha_256=1"),
        *("sha-256=1,", ",sha-256=1", "sha-256=1,,sha-512=1"),
        *('"sha-256"=1', "sha-256=?1", "256-sha=1, sha-256=1", "sha-2567=1"),
        *("sha-256=(1)", "sha-256=5, sha-256=(1 2)", 'a="b, sha-256=1"', "sha-256=1, a=(1", "a=(1"),
        *(
            "sha-256=1, a=(1,2)",
            "sha-256=1, a=b c",
            'sha-256=1, a="b',
            "sha-256=1, A=b",
            "a=,sha-256=1",
        ),
        *("sha-256=\u0661", "sha-256=1\n", "xsha-256=1", "sha-256=:AA==:"),
    ],
)
def test_digest_is_not_wanted(value: str | None) -> None:
    assert not is_wanted(value)


@given(st.text() | st.text(alphabet="sha-256=0,1 \t", max_size=30))
def test_any_text_means_something(value: str) -> None:
    assert not is_wanted(value) or "sha-256=" in value


@given(st.integers(0, 10))
def test_zero_means_not_at_all(preference: int) -> None:
    assert is_wanted(f"sha-256={preference}") is (preference > 0)


def test_known_value() -> None:
    """The example of RFC 9530, appendix D: the digest of {"hello": "world"} and a line feed."""
    octets = b'{"hello": "world"}\n'
    expected = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    assert digest_value(sha256(octets).digest()) == expected
