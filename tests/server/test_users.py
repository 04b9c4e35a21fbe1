"""Passwords and tokens over the wire: who is let in, who not, and what that costs."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path

import pytest

from portico.config.config import ConfigError
from portico.http.message import RequestHead
from portico.server.embedded import Server
from portico.site import users
from portico.site.access import TooManyGuesses
from tests.server.clients import Answer, Client, get, request
from tests.server.conftest import Connect, Serve

PASSWORD = "päss wörd"
SALT = b64encode(b"0" * 16).decode().rstrip("=")
DIGEST = hashlib.scrypt(PASSWORD.encode(), salt=b"0" * 16, n=16, r=1, p=1, dklen=32)
CHEAP = f"$scrypt$ln=4,r=1,p=1${SALT}${b64encode(DIGEST).decode().rstrip('=')}"
"""A hash of PASSWORD that takes no time, for tests."""
TOKEN = "$token$" + hashlib.sha256(b"secret").hexdigest()

BLOCKS = [
    {"path": "/staff/*", "users": ["read"], "alice": ["create"]},
    {"path": "/*", "anonymous": ["read"]},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "staff").mkdir(parents=True)
    (tmp_path / "root" / "staff" / "file.html").write_bytes(b"for the staff")
    (tmp_path / "root" / "open.html").write_bytes(b"for all")
    (tmp_path / "root" / "_redirects").write_text("/behind /staff/file.html 200\n")
    (tmp_path / "users").write_text(f"# who\nalice:{CHEAP}\nbob:{CHEAP}\nrobot:{TOKEN}\n")
    return tmp_path / "root"


@pytest.fixture
def server(serve: Serve, root: Path) -> Server:
    return serve(root, allow="write", users=root.parent / "users", access=BLOCKS)


@pytest.fixture
def client(server: Server, connect: Connect) -> Client:
    return connect(server)


def basic(name: str, password: str = PASSWORD) -> str:
    return f"Authorization: Basic {b64encode(f'{name}:{password}'.encode()).decode()}"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (basic("alice"), 200),
        (basic("bob"), 200),
        ("Authorization: Bearer secret", 200),
        ("Authorization: bearer  secret", 200),
        (basic("alice", "wrong"), 401),
        (basic("alice", f"{PASSWORD}\0"), 401),
        (basic("alice", ""), 401),
        (basic("carol"), 401),
        (basic(""), 401),
        ("Authorization: Bearer other", 401),
        ("Authorization: Bearer", 401),
        ("Authorization: Basic !!!", 401),
        ("Authorization: Basic YWxpY2U=", 401),
        ("Authorization: Digest alice", 401),
        ("X-Nothing: at all", 401),
    ],
)
def test_who_is_let_in(client: Client, line: str, status: int) -> None:
    for _ in range(2):
        answer = client.ask(get("/staff/file.html", line))
        assert answer.status == status
        assert "private" in answer.fields["cache-control"]
        assert ("www-authenticate" in answer.fields) == (status == 401)
    assert client.ask(get("/open.html")).status == 200


def test_no_way_leads_around_the_block(client: Client) -> None:
    for path in (
        "/staff/",
        "/staff",
        "/staff/none",
        "/staff/file",
        "/behind",
        "/%73taff/file.html",
    ):
        assert client.ask(get(path)).status == 401, path
        assert client.ask(get(path, basic("bob"))).status != 401, path


def test_a_listing_shows_what_may_be_read(client: Client) -> None:
    line = "Accept: application/json"
    assert b"staff" not in client.ask(get("/", line)).content
    assert b"staff" in client.ask(get("/", line, basic("bob"))).content


def put(client: Client, path: str, *lines: str) -> Answer:
    return client.ask(request("PUT", path, "Content-Length: 3", *lines) + b"new")


def test_who_may_write(client: Client) -> None:
    assert put(client, "/staff/new.txt").status == 401
    assert put(client, "/staff/new.txt", basic("bob")).status == 403
    assert put(client, "/staff/new.txt", basic("alice")).status == 201
    assert put(client, "/staff/new.txt", basic("alice")).status == 403
    assert put(client, "/new.txt", basic("alice")).status == 403


def test_who_was_removed_is_out_with_the_next_request(client: Client, root: Path) -> None:
    assert client.ask(get("/staff/file.html", basic("bob"))).status == 200
    (root.parent / "users").write_text(f"alice:{CHEAP}\n")
    assert client.ask(get("/staff/file.html", basic("bob"))).status == 401
    assert client.ask(get("/staff/file.html", basic("alice"))).status == 200
    (root.parent / "users").unlink()
    assert client.ask(get("/staff/file.html", basic("alice"))).status == 401


def test_a_password_is_verified_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    verify = users.verify

    def count(password: str, hashed: str) -> bool:
        verified.append(hashed)
        return verify(password, hashed)

    monkeypatch.setattr(users, "verify", count)
    for _ in range(5):
        assert client.ask(get("/staff/file.html", basic("alice"))).status == 200
    assert len(verified) == 1


def test_who_guesses_is_slowed_down(
    client: Client, server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others at the same address who have signed in before go on."""
    monkeypatch.setattr(users, "GUESS_SECONDS", 1e6)
    other = connect(server)
    assert other.ask(get("/staff/file.html", basic("bob"))).status == 200
    for number in range(users.GUESSES):
        assert client.ask(get("/staff/file.html", basic("alice", str(number)))).status == 401
    answer = client.ask(get("/staff/file.html", basic("alice")))
    assert answer.status == 429
    assert int(answer.fields["retry-after"]) > 0
    assert other.ask(get("/staff/file.html", basic("bob"))).status == 200


def test_who_has_no_guesses_left_learns_nothing_from_others(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not whether a password is right that somebody has used at another address."""
    monkeypatch.setattr(users, "GUESS_SECONDS", 1e6)
    monkeypatch.setattr(users, "GUESSES", 1)
    found = users.Users(str(root.parent / "users"), print)

    def asks(peer: str, password: str) -> str | None:
        head = RequestHead("GET", "/", 1, (("authorization", basic("alice", password)[15:]),))
        head.peer = peer
        return found.who(head, may_wait=True)

    assert asks("192.0.2.1", PASSWORD) == "alice"
    assert asks("192.0.2.2", "wrong") is None
    with pytest.raises(TooManyGuesses):
        asks("192.0.2.2", PASSWORD)
    assert asks("192.0.2.1", PASSWORD) == "alice"


@pytest.mark.parametrize(("path", "options"), [("/open/none", {"spa": True}), ("/open/none", {})])
def test_a_page_in_the_place_of_a_missing_file_is_guarded_too(
    serve: Serve, connect: Connect, root: Path, path: str, options: dict[str, bool]
) -> None:
    for name in ("index.html", "404.html"):
        (root / name).write_text("for the staff")
    blocks = [{"path": "/open/*", "anonymous": ["read"]}, {"path": "/*", "users": ["read"]}]
    client = connect(serve(root, users=root.parent / "users", access=blocks, **options))
    accept = "Accept: text/html"
    answer = client.ask(get(path, accept))
    assert (answer.status, b"staff" in answer.content) == (404, False)
    answer = client.ask(get(path, accept, basic("alice")))
    assert b"for the staff" in answer.content
    assert "private" in answer.fields["cache-control"]


def test_guesses_at_once_are_no_more_than_one_after_the_other(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "GUESS_SECONDS", 1e6)
    monkeypatch.setattr(users, "GUESSES", 3)
    guessing = [connect(server) for _ in range(12)]
    for number, client in enumerate(guessing):
        client.send(get("/staff/file.html", basic("alice", str(number))))
    assert [client.answer().status for client in guessing].count(401) == 3


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("alice", "name:hash"),
        ("alice:secret", "no safe hash"),
        ("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "no safe hash"),
        ("alice:$apr1$x$y", "no safe hash"),
        ("alice:$6$x$y", "no safe hash"),
        # What is cut short, or else not whole, is told here and not to who signs in.
        (f"alice:$scrypt$ln=4,r=1,p=1${SALT[:5]}${SALT}", "no safe hash"),
        (f"alice:$scrypt$ln=4,r=1,p=0${SALT}${SALT}", "no safe hash"),
        (f"alice:$argon2id$v=19$m=8,t=1,p=1${SALT}$\xe9", "no safe hash"),
        (f"alice:$2b$04${'a' * 52}", "no safe hash"),
        ("a b:" + CHEAP, "cannot be the name"),
        ("users:" + CHEAP, "cannot be the name"),
        (f"alice:$scrypt$ln=24,r=999,p=1${SALT}${SALT}", "MiB"),
        (f"alice:{CHEAP}\nalice:{CHEAP}", "another password"),
    ],
)
def test_mistakes_in_the_file_are_told(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "users").write_text(line + "\n")
    _, _, mistakes = users.read_users(str(tmp_path / "users"))
    assert len(mistakes) == 1
    assert problem in mistakes[0]


def test_a_file_that_is_too_large_is_not_read_in_part(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("# \u00e9\n" * (users.FILE_LIMIT // 5 + 1))
    with pytest.raises(ConfigError, match="larger than 4 MiB"):
        users.read_users(str(tmp_path / "users"))


def test_hashes_of_other_tools() -> None:
    argon2 = pytest.importorskip("argon2")
    bcrypt = pytest.importorskip("bcrypt")
    for hashed in (
        argon2.PasswordHasher(time_cost=1, memory_cost=64).hash(PASSWORD),
        bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"),
    ):
        assert users.verify(PASSWORD, hashed)
        assert not users.verify("wrong", hashed)
