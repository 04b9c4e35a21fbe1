"""Users and their credentials: the --users file, and who sent a request (RFC 7617, RFC 6750).

Each line of the file is `name:hash`, where the hash is that of a password (scrypt, argon2id or
bcrypt) or the SHA-256 of a token. `portico passwd` makes such lines. Blank lines, and lines that
begin with #, are skipped.

Rules:
- The file is checked for changes at each request with credentials, so a user who was removed from
  it is refused from the next request on. If the file cannot be read, no user is known.
- Passwords are verified in threads, at most VERIFICATIONS at a time. Correct credentials are
  cached until the file changes, under an HMAC with a random key of this process.
- Verifying an unknown name takes as long as a known one, and comparisons take constant time.
- Guessing is rate-limited: an address may send GUESSES wrong passwords or tokens at once, and one
  more every GUESS_SECONDS.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING

from portico.bounded import BoundedCache
from portico.config.config import ConfigError
from portico.site.access import TooManyGuesses, network_of
from portico.site.origin.fingerprint import absolute, fingerprint, why_unreadable
from portico.site.origin.open_file import Waiting

if TYPE_CHECKING:
    from portico.http.message import RequestHead
    from portico.site.origin.fingerprint import Fingerprint
    from portico.site.rules.rulebook import Report

PLACE = "passwords"
"""The `place` of `Waiting` for requests whose credentials a thread has to verify."""
VERIFICATIONS = 2
"""Most passwords verified at once: each takes some 0.2 s of CPU time and 32 MiB."""
REMEMBERED = 1024
"""Most correct credentials that are cached."""
GUESSES = 20
"""Wrong passwords that an address may send in a short time, because people mistype."""
GUESS_SECONDS = 3.0
"""Seconds after which an address may send one more wrong password."""
ADDRESSES = 4096
"""Most addresses whose wrong passwords are counted."""
FILE_LIMIT = 4 << 20
"""Most bytes of the --users file."""
_MEMORY_LIMIT = 256 << 20
"""Most bytes of memory that the parameters of a scrypt hash may require."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[^\x00-\x20\x7f:]{1,128}")
_BASE64 = "(?:[A-Za-z0-9+/]{4})*[A-Za-z0-9+/]{2,4}"  # without padding
_SCRYPT = re.compile(
    rf"\$scrypt\$ln=([0-9]{{1,2}}),r=([0-9]{{1,3}}),p=([1-9][0-9]?)\$({_BASE64})\$({_BASE64})"
)
_ARGON2 = re.compile(rf"\$argon2id\$v=19\$m=[0-9]+,t=[0-9]+,p=[0-9]+\${_BASE64}\${_BASE64}")
_BCRYPT = re.compile(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}")
_TOKEN = re.compile(r"\$token\$([0-9a-f]{64})")
_LN, _R, _P = 15, 8, 3  # what OWASP recommends for 32 MiB


class Users:
    """The users in the file at `path`. Thread-safe.

    `report` receives the mistakes in the file, each time the file is read.
    """

    def __init__(self, path: str, report: Report) -> None:
        self._path = absolute(path)
        self._report = report
        self._lock = Lock()
        self._verifications = BoundedSemaphore(VERIFICATIONS)
        self._key = os.urandom(32)
        self._read: Fingerprint | None = None  # the state of the file that was read
        self._mistakes: list[str] = []
        self._hashes: dict[str, str] = {}
        self._tokens: dict[bytes, str] = {}
        self._right: BoundedCache[bytes, str] = BoundedCache(REMEMBERED)
        self._guesses: BoundedCache[str, tuple[float, float]] = BoundedCache(ADDRESSES)

    def who(self, request: RequestHead, *, may_wait: bool) -> str | None:
        """Return the name of the user who sent `request`; None without valid credentials.

        Raises TooManyGuesses. Unless `may_wait`, raises Waiting where a thread has to read the file
        or verify a password.
        """
        credentials = request.get("authorization")
        if credentials is None:
            return None
        self._bring_up_to_date(may_wait=may_wait)
        scheme, _, value = credentials.partition(" ")
        if scheme.lower() == "bearer":
            name = self._tokens.get(hashlib.sha256(value.strip().encode()).digest())
            if name is None:
                self._count_guess(request.peer)
            return name
        named = _basic(value) if scheme.lower() == "basic" else None
        if named is None:
            return None
        name, password = named
        # With the address: else others could go on guessing where they are out of guesses.
        known_as = f"{network_of(request.peer)} {name}:{password}"
        key = hmac.digest(self._key, known_as.encode("utf-8", "surrogatepass"), "sha256")
        known = self._right.get(key)
        if known is not None:
            return known
        if not may_wait:
            raise Waiting(PLACE)
        return self._verify(name, password, key, request.peer)

    def _verify(self, name: str, password: str, key: bytes, peer: str) -> str | None:
        self._count_guess(peer)  # before verifying, since an address may send many at once
        hashed, state = self._hashes.get(name), self._read
        with self._verifications:
            is_right = verify(password, hashed or _nobody())
        if hashed is None or not is_right:
            return None
        self._take_back_guess(peer)
        with self._lock:
            if self._read == state:  # else the file has changed, and may lack this user
                self._right.put(key, name)
        return name

    def _bring_up_to_date(self, *, may_wait: bool) -> None:
        try:
            now = fingerprint(os.stat(self._path))
        except OSError:
            now = None
        if now is not None and now == self._read:
            return
        if not may_wait:
            raise Waiting(PLACE)
        with self._lock:
            try:
                hashes, tokens, mistakes = read_users(self._path)
            except ConfigError as problem:
                hashes, tokens, mistakes, now = {}, {}, [str(problem)], None
            self._hashes, self._tokens, self._read = hashes, tokens, now
            self._right = BoundedCache(REMEMBERED)
            known, self._mistakes = self._mistakes, mistakes
        if mistakes != known:  # not again with each request, while the file cannot be read
            for mistake in mistakes:
                self._report(mistake)

    # Rate limit: a token bucket for each address, as (guesses left, the time when that was so).

    def _guesses_left(self, peer: str) -> float:
        left, then = self._guesses.get(network_of(peer)) or (float(GUESSES), 0.0)
        return min(GUESSES, left + (time.monotonic() - then) / GUESS_SECONDS)

    def _count_guess(self, peer: str) -> None:
        """Count a guess. Raises TooManyGuesses if none is left."""
        with self._lock:
            left = self._guesses_left(peer)
            if left < 1:
                raise TooManyGuesses(1 + int((1 - left) * GUESS_SECONDS))
            self._guesses.put(network_of(peer), (left - 1, time.monotonic()))

    def _take_back_guess(self, peer: str) -> None:
        with self._lock:
            left = self._guesses_left(peer)
            self._guesses.put(network_of(peer), (min(GUESSES, left + 1), time.monotonic()))


def read_users(path: str) -> tuple[dict[str, str], dict[bytes, str], list[str]]:
    """Return the password hashes by name, the names by token hash, and the mistakes in the file.

    Raises ConfigError if the file cannot be read, is not UTF-8, or is larger than FILE_LIMIT.
    """
    try:
        with open(path, "rb") as file:
            octets = file.read(FILE_LIMIT + 1)
    except OSError as problem:
        raise ConfigError(f"{path}: {why_unreadable(path, problem)} (--users)") from None
    if len(octets) > FILE_LIMIT:
        raise ConfigError(f"{path}: is larger than {FILE_LIMIT >> 20} MiB")
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8; save it so") from None
    hashes: dict[str, str] = {}
    tokens: dict[bytes, str] = {}
    mistakes = []
    for number, line in enumerate(map(str.strip, text.split("\n")), start=1):
        if not line or line.startswith("#"):
            continue
        name, colon, hashed = line.partition(":")
        token = _TOKEN.fullmatch(hashed)
        wrong = "is not name:hash" if not colon else _what_is_wrong(name, hashed)
        if not wrong and not token and name in hashes:
            wrong = f"has another password for {name!r}; the first one counts"
        if wrong:
            mistakes.append(f"{path}, line {number}: {wrong}")
        elif token:
            tokens[bytes.fromhex(token[1])] = name
        else:
            hashes[name] = hashed
    return hashes, tokens, mistakes


def is_name(name: str) -> bool:
    """Return whether a user may have this name: no colon, no white space, no control character."""
    return bool(_NAME.fullmatch(name)) and name not in {"anonymous", "users", "path"}


def _what_is_wrong(name: str, hashed: str) -> str:
    """Return why a line cannot be used; "" if it can."""
    if not is_name(name):
        return f"{name!r} cannot be the name of a user"
    needed = ""
    if scrypt := _SCRYPT.fullmatch(hashed):
        cost, block, _ = (int(number) for number in scrypt.groups()[:3])
        if not 1 <= cost <= 24 or block < 1 or 128 * block << cost > _MEMORY_LIMIT:
            return f"would take more than {_MEMORY_LIMIT >> 20} MiB to verify"
    elif _ARGON2.fullmatch(hashed):
        needed = "" if _has("argon2") else "argon2-cffi"
    elif _BCRYPT.fullmatch(hashed):
        needed = "" if _has("bcrypt") else "bcrypt"
    elif not _TOKEN.fullmatch(hashed):
        return f"is no safe hash; make a new line with: portico passwd {name}"
    return f"needs {needed}: pip install 'portico-server[passwords]'" if needed else ""


def _has(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def hash_password(password: str) -> str:
    """Return the hash of a password for the file: scrypt, in PHC string format."""
    salt = os.urandom(16)
    hashed = _scrypt(password, salt, _LN, _R, _P, 32)
    return f"$scrypt$ln={_LN},r={_R},p={_P}${_encode(salt)}${_encode(hashed)}"


def hash_token(token: str) -> str:
    """Return the hash of a token for the file. With 256 random bits, it needs no slow hash."""
    return "$token$" + hashlib.sha256(token.encode()).hexdigest()


def verify(password: str, hashed: str) -> bool:
    """Return whether `password` has the hash `hashed`, which is from a line of the file."""
    scrypt = _SCRYPT.fullmatch(hashed)
    if scrypt:
        cost, block, parallel = (int(number) for number in scrypt.groups()[:3])
        salt, known = _decode(scrypt[4]), _decode(scrypt[5])
        return hmac.compare_digest(
            _scrypt(password, salt, cost, block, parallel, len(known)), known
        )
    if hashed.startswith("$argon2id$"):
        from argon2 import PasswordHasher
        from argon2.exceptions import Argon2Error, InvalidHashError

        try:
            return PasswordHasher().verify(hashed, password)
        except (Argon2Error, InvalidHashError):
            return False
    import bcrypt

    try:  # bcrypt ignores all bytes after the first 72; newer versions of the library raise instead
        return bool(bcrypt.checkpw(password.encode()[:72], hashed.encode()))
    except ValueError:
        return False


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int, length: int) -> bytes:
    memory = 128 * block * ((1 << cost) + parallel + 2)
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=salt, n=1 << cost, r=block, p=parallel, maxmem=memory, dklen=length,
    )  # fmt: skip


def _nobody() -> str:
    """Return a hash of no password, which takes as long to verify as one of `portico passwd`."""
    return f"$scrypt$ln={_LN},r={_R},p={_P}${_encode(bytes(16))}${_encode(bytes(32))}"


def _basic(value: str) -> tuple[str, str] | None:
    """Return name and password from Basic credentials (RFC 7617); None if they are malformed."""
    try:
        octets = b64decode(value.strip(), validate=True)
    except (Base64Error, ValueError):
        return None
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        text = octets.decode("latin-1")  # the encoding of older clients
    name, colon, password = text.partition(":")
    if _CONTROL.search(text):  # forbidden by RFC 7617, 2; and scrypt ignores NULs at the end
        return None
    return (name, password) if colon else None


def _encode(octets: bytes) -> str:
    return b64encode(octets).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4))
