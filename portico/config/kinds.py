"""The kinds of option values: how text is converted and checked, and how each is described."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

UNITS = {"": 0, "K": 10, "KIB": 10, "M": 20, "MIB": 20, "G": 30, "GIB": 30}
"""The units of a size, in capitals, as binary logarithms."""

MAX_DIGITS = 18
"""Longer numbers are refused before int(), which is slow for them; all bounds are smaller."""

MAX_PORT = 65_535
MAX_WORKERS = 1024
"""More than any machine has cores. A typing error must not start a million processes."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


UNIX = "unix:"
"""The prefix of a unix socket's address."""
HTTP = "http://"
"""The prefix of a `listen` address that is served without TLS although there is a certificate."""


class Kind:
    """The kind of an option's values.

    `convert` turns text, or a native value from TOML or the library, into the option's value. It
    raises ValueError with a message, or without one: then the caller shows `expects`.
    `metavar` stands for the value in help texts, `type_name` is the value's Python type.
    """

    __slots__ = ("choices", "convert", "expects", "metavar", "type_name")

    def __init__(
        self,
        type_name: str,
        metavar: str,
        expects: str,
        convert: Callable[[object], object],
        choices: tuple[str, ...] = (),
    ) -> None:
        """`choices` are all possible values if there are only a few, else empty."""
        self.type_name = type_name
        self.metavar = metavar
        self.expects = expects
        self.convert = convert
        self.choices = choices


def _number(text: str) -> int | None:
    digits = text.removeprefix("-")
    if len(digits) > MAX_DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    return int(text)


def _whole(metavar: str, low: int, high: int) -> Kind:
    def convert(raw: object) -> int:
        return _within(raw, low, high)

    return Kind("int", metavar, f"a whole number from {low} to {high}", convert)


def _within(raw: object, low: int, high: int) -> int:
    value = _number(raw) if isinstance(raw, str) else raw
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise ValueError


def _seconds(high: int) -> Kind:
    low = 0.001

    def convert(raw: object) -> float:
        value = raw
        if isinstance(raw, str) and raw.isascii() and raw.replace(".", "", 1).isdigit():
            value = float(raw)
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        raise ValueError

    return Kind("float", "SECONDS", f"a number of seconds from {low} to {high}", convert)


def _size(high: int) -> Kind:
    def convert(raw: object) -> int:
        value = raw
        if isinstance(raw, str):
            digits = raw.rstrip("KMGIBkmgib")
            number, power = _number(digits), UNITS.get(raw[len(digits) :].upper())
            value = None if number is None or power is None else number << power
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= high:
            return value
        raise ValueError

    expects = f"a number of bytes, or a size such as 512K, 8M or 1G, up to {high >> 30}G"
    return Kind("int", "SIZE", expects, convert)


def _one_of(metavar: str, *choices: str) -> Kind:
    def convert(raw: object) -> str:
        if isinstance(raw, str) and raw in choices:
            return raw
        raise ValueError

    expects = f"{', '.join(choices[:-1])} or {choices[-1]}"
    return Kind("str", metavar, expects, convert, choices)


def _switch(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    word = raw.lower() if isinstance(raw, str) else ""
    if word in {"yes", "true", "on", "1"}:
        return True
    if word in {"no", "false", "off", "0"}:
        return False
    raise ValueError


def _path(raw: object) -> str:
    value = os.fspath(raw) if isinstance(raw, os.PathLike) else raw
    if isinstance(value, str) and value and "\0" not in value:
        return value
    raise ValueError


def _host(raw: object) -> str:
    if isinstance(raw, str):
        host = raw[1:-1] if raw.startswith("[") and raw.endswith("]") else raw
        plain = all(letter.isalnum() or letter in "-._:%" for letter in host)
        if host and plain and host.count(":") != 1:
            return host
    raise ValueError(f"{raw!r} is not a host name or an IP address; give no scheme, port or path")


def _answered_host(raw: object) -> str:
    """Return a host in the form in which it is compared with a request's, or a pattern of hosts."""
    if raw == "*":
        return "*"
    if isinstance(raw, str) and raw.startswith("*."):
        return "*." + _answered_host(raw[2:])
    host = _host(raw).lower().removesuffix(".")
    if not host:
        raise ValueError(f"{raw!r} is not a host name or an IP address")
    return f"[{host}]" if ":" in host else host


def _list(raw: object) -> list[object]:
    """Return the items of a list, or of a comma-separated text."""
    if isinstance(raw, str):
        return [item.strip() for item in raw.split(",") if item.strip()]
    if isinstance(raw, list | tuple):
        return list(raw)
    raise ValueError


def _hosts(raw: object) -> tuple[str, ...]:
    return tuple(_answered_host(name) for name in _list(raw))


def _files(raw: object) -> tuple[str, ...]:
    return tuple(_path(item) for item in (_list(raw)))


def _globs(raw: object) -> tuple[str, ...]:
    found = []
    for pattern in _list(raw):
        if not isinstance(pattern, str) or pattern[:1] not in {"/", "*"}:
            raise ValueError
        found.append(pattern)
    return tuple(found)


_HEADER = r"([!#$%&'*+.^`|~0-9A-Za-z_-]+):[ \t]*([!-~](?:[ -~\t]*[!-~])?)[ \t]*"
"""A name (token; RFC 9110, 5.6.2), a colon, and a value of visible ASCII, spaces and tabs."""


def _headers(raw: object) -> tuple[str, ...]:
    """Return header lines, "Name: value", from a list, or from a text with one on each line."""
    import re  # rarely needed, so it must not delay the start

    found = []
    for item in raw.splitlines() if isinstance(raw, str) else _list(raw):
        match = re.fullmatch(_HEADER, item) if isinstance(item, str) else None
        if match is None:
            raise ValueError(f"{item!r} is not a header such as 'X-Robots-Tag: noindex'")
        found.append(f"{match[1]}: {match[2]}")
    return tuple(found)


def _address(raw: object) -> str:
    """Return an address to listen on as HOST:PORT, [IPV6]:PORT, *:PORT or unix:PATH."""
    text = raw if isinstance(raw, str) else ""
    try:
        if text.startswith(UNIX):
            return UNIX + _path(text.removeprefix(UNIX))
        host, _, digits = text.rpartition(":")
        port = _within(digits, 0, MAX_PORT)
        bare = "*" if text in {f":{digits}", f"*:{digits}"} else _host(host)
    except ValueError:
        bare = ""
    if bare and (":" in bare) == (text[0] == "["):
        return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"
    raise ValueError(
        f"{raw!r} is not an address such as 127.0.0.1:8080, [::1]:8080, :8080 or unix:/run/www"
    )


_URL_PATH_OCTETS = frozenset(
    "/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@"
)


def _url_path(raw: object) -> str:
    """Return a URL path that needs no percent-encoding, and is not the root."""
    if not isinstance(raw, str) or not _URL_PATH_OCTETS.issuperset(raw):
        raise ValueError
    first, *names = raw.split("/")
    if first or not names or names == [""] or {".", ".."} & {*names} or "" in names[:-1]:
        raise ValueError
    return raw


def _name(raw: object) -> str:
    """Return a file name that can be served: without slashes, and not hidden."""
    if isinstance(raw, str) and raw and raw[0] != "." and not set(raw) & set("/\\\0"):
        return raw
    raise ValueError


def _base(raw: object) -> str:
    """Return a URL path that begins and ends with a slash."""
    names = raw.strip("/") if isinstance(raw, str) else ""
    return f"{_url_path('/' + names)}/" if names or raw != "/" else "/"


def _addresses(raw: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(_listen_address, _list(raw))))


def _listen_address(raw: object) -> str:
    if isinstance(raw, str) and raw.startswith(HTTP) and not raw.startswith(HTTP + UNIX):
        return HTTP + _address(raw.removeprefix(HTTP))
    return _address(raw)


def _account(raw: object) -> str:
    return _path(str(raw) if type(raw) is int else raw)


def _workers(raw: object) -> int:
    """Return a number of workers; 0 stands for auto."""
    return 0 if raw == "auto" else _within(raw, 1, MAX_WORKERS)


_RIGHTS = ("create", "replace", "delete")


def _rights(raw: object) -> tuple[str, ...]:
    """Return rights to write, without duplicates; "write" stands for all of them."""
    items = [right for item in _list(raw) for right in _list(item)]
    found = {right for item in items for right in (_RIGHTS if item == "write" else (item,))}
    if not found <= set(_RIGHTS):
        raise ValueError
    return tuple(right for right in _RIGHTS if right in found)


Block = tuple[str, dict[str, frozenset[str]]]
"""A block of [[access]]: a path pattern, and the rights by name: anonymous, users, or a user."""


def _access(raw: object) -> tuple[Block, ...]:
    """Return blocks, each given as a table, or as text: `/inbox/* anonymous=create`."""
    return tuple(_block(item) for item in (raw if isinstance(raw, list | tuple) else [raw]))


def _block(raw: object) -> Block:
    if isinstance(raw, str):
        path, *members = raw.split()
        raw = {"path": path, **dict(member.partition("=")[::2] for member in members)}
    elif isinstance(raw, tuple | list) and len(raw) == 2 and isinstance(raw[1], dict):
        raw = {"path": raw[0], **{name: list(given) for name, given in raw[1].items()}}
    if not isinstance(raw, dict) or "path" not in raw:
        raise ValueError("each block needs a path, such as /inbox/*")
    (path,) = _globs([raw["path"]])
    rights = {
        name: frozenset(["read"] * ("read" in (items := _list(given))))
        | frozenset(_rights([item for item in items if item != "read"]))
        for name, given in raw.items()
        if name != "path"
    }
    return path, rights


def _networks(raw: object) -> tuple[str, ...]:
    from portico.config.networks import canonical  # rarely needed, so it must not delay the start

    return tuple(canonical(item) for item in _list(raw))


SWITCH = Kind("bool", "", "yes or no", _switch)
FOLDER = Kind("str", "DIR", "the path of a folder or of a file", _path)
FILE = Kind("str", "FILE", "the path of a file", _path)
HOST = Kind("str", "HOST", "a host name or an IP address", _host)
HOSTS = Kind("tuple[str, ...]", "NAME", "a list of hosts; *.name is all below it, * any", _hosts)
GLOBS = Kind("tuple[str, ...]", "GLOB", "a list of patterns such as /assets/* or *.woff2", _globs)
HEADERS = Kind("tuple[str, ...]", "HEADER", "a list of headers, each as 'Name: value'", _headers)
ADDRESSES = Kind(
    "tuple[str, ...]", "ADDRESS", "a list of HOST:PORT, :PORT (everywhere) or unix:PATH", _addresses
)
ADDRESS = Kind("str", "ADDRESS", "HOST:PORT, :PORT (everywhere) or unix:PATH", _address)
RIGHTS = Kind("tuple[str, ...]", "RIGHTS", "create, replace, delete, or write for all", _rights)
ACCESS = Kind(
    "tuple[Block, ...]", "BLOCK", "a pattern and rights: /inbox/* anonymous=create", _access
)
URL_PATH = Kind("str", "PATH", "a path such as /-/health, without % and ?", _url_path)
NAME = Kind("str", "NAME", "the name of a file, which does not begin with a dot", _name)
BASE = Kind("str", "PATH", "a path such as /docs/, without % and ?", _base)
FILES = Kind("tuple[str, ...]", "FILE", "a list of paths of files", _files)
NETWORKS = Kind(
    "tuple[str, ...]",
    "CIDR",
    "a list of addresses or networks such as 10.0.0.0/8; or unix",
    _networks,
)
ACCOUNT = Kind("str", "NAME", "the name or the number of a user", _account)
WORKERS = Kind("int", "N", f"a whole number from 1 to {MAX_WORKERS}, or auto", _workers)

DAY = 86_400
PORT = _whole("PORT", 0, MAX_PORT)
HSTS = _whole("N", 0, 10 * 365 * DAY)
CONNECTIONS = _whole("N", 1, 1_000_000)
LIMIT = _whole("N", 0, 1_000_000)
SECONDS = _seconds(DAY)
SIZE = _size(1 << 40)
LOG_FORMAT = _one_of("FORM", "auto", "short", "common", "combined", "json")
PROXY_HEADER = _one_of("NAME", "x-forwarded", "forwarded")
COLOR = _one_of("WHEN", "auto", "always", "never")
