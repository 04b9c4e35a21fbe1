"""Who may do what: blocks, in their order, for anonymous, users and a named one."""

from __future__ import annotations

import pytest

from portico.config.config import Config, ConfigError, check_writing
from portico.http.message import Field
from portico.site.access import Access
from portico.site.fields import private, sandboxed
from portico.site.target import path_names

BLOCKS = [
    {"path": "/inbox/*", "anonymous": ["create"], "alice": ["read", "write"]},
    {"path": "/staff/*", "users": ["read"], "bob": "create"},
    {"path": "*.secret"},
    {"path": "/été/*", "users": ["read"]},
    {"path": "/*", "anonymous": ["read"], "users": ["create", "delete"]},
]


def rights(path: str, user: str | None = None, **options: object) -> str:
    options = {"allow": "write", "users": "users", "access": BLOCKS} | options
    found = Access(Config.of(**options)).rights(path_names(path), user)
    return " ".join(sorted(found))


@pytest.mark.parametrize(
    ("path", "user", "expected"),
    [
        ("/inbox/a/b", None, "create"),
        ("/inbox/", None, "create"),
        ("/inbox", None, "create"),
        ("/%69nbox/a", None, "create"),
        ("/inbox/a", "bob", "create"),
        ("/inbox/a", "alice", "create delete read replace"),
        ("/inboxes/a", None, "read"),
        ("/staff/a", None, ""),
        ("/staff/a", "alice", "read"),
        ("/staff/a", "bob", "create read"),
        ("/a.secret", "alice", ""),
        ("/A.SECRET", "alice", ""),
        ("/Staff/a", None, ""),
        ("/\u017ftaff/a", None, ""),  # a long s, which file systems that ignore case take for one
        ("/été/a", None, ""),
        ("/ÉTÉ/a", "alice", "read"),
        ("/a", None, "read"),
        ("/a", "alice", "create delete read"),
    ],
)
def test_the_first_block_that_fits_counts(path: str, user: str | None, expected: str) -> None:
    assert rights(path, user) == expected


def test_no_block_gives_more_than_allow() -> None:
    assert rights("/inbox/a", "alice", allow="delete") == "delete read"


@pytest.mark.parametrize("users", ["", "users"])
def test_without_blocks_a_password_is_for_writing(users: str) -> None:
    config = Config.of(allow="write", **({"users": users} if users else {}))
    access = Access(config)
    assert access.rights(("a",), None) == ({"read"} if users else {"read", *config.allows})
    assert access.rights(("a",), "alice") == {"read", *config.allows}


@pytest.mark.parametrize(
    ("access", "problem"),
    [
        ({"anonymous": ["read"]}, "needs a path"),
        ({"path": "inbox", "anonymous": ["read"]}, "pattern"),
        ({"path": "/*", "anonymous": ["look"]}, "right"),
        ({"path": "/*", "alice": ["read"]}, "--users"),
    ],
)
def test_mistakes_are_told(access: object, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        check_writing(Config.of(access=[access]))


def test_blocks_can_be_given_as_text() -> None:
    blocks = ("/inbox/* anonymous=create alice=read,write", "/* anonymous=read")
    assert rights("/inbox/a", "alice", access=blocks) == "create delete read replace"
    assert rights("/inbox/a", None, access=blocks) == "create"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], "private"),
        ([("Cache-Control", "public, max-age=60")], "private, max-age=60"),
        ([("Cache-Control", "no-cache"), ("cache-control", "s-maxage=9")], "private, no-cache"),
    ],
)
def test_what_depends_on_who_asks_is_private(before: list[Field], after: str) -> None:
    assert private(before) == [("Cache-Control", after)]


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "image/svg+xml", "application/PDF"])
def test_what_browsers_run_is_sandboxed(kind: str) -> None:
    assert ("Content-Security-Policy", "sandbox") in sandboxed([("Content-Type", kind)])
    assert len(sandboxed([("Content-Type", "image/png")])) == 1
