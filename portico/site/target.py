"""The path of a request target as names on disk, checked before the disk is touched.

Rule: all spellings of a path give the same names (RFC 3986, 6.2.2), and the rest of the program,
rules included, sees only these names. In this order:

1. The path is split at slashes, and at encoded slashes: no file name contains a slash.
2. Each segment is decoded, once.
3. Dot segments are resolved.
4. Empty segments are dropped, as file systems do.

The result is a tuple of single names. A path is refused if it leads above the root, or if a segment
could mean more than a name: with a backslash or NUL; on Windows a drive, a stream, a device. A path
is also refused if servers resolve it differently, and no client sends it: with dot segments and an
encoded slash, or with ".." after an empty segment.
"""

from __future__ import annotations

import os
import re

from portico.http.message import ProtocolError

_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)
_DOT = re.compile("%2e", re.IGNORECASE)
_DOTS = frozenset({".", ".."})

# Unreserved characters and those sub-delims that mean nothing in a path (RFC 3986, 3.3).
_PLAIN = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@"
)

_UNRESERVED = re.compile("[A-Za-z0-9._~-]*")

# Names with a special meaning on Windows: reserved characters (":" names a drive or a stream),
# devices with any suffix, dots and spaces at the end (ignored there), 8.3 aliases.
_WINDOWS_UNSAFE = re.compile(
    r"""[<>:"|?*\x00-\x1f]"""
    r"|^(?:con|prn|aux|nul|conin\$|conout\$|com[0-9\xb9\xb2\xb3]|lpt[0-9\xb9\xb2\xb3]) *(?:\.|$)"
    r"|[. ]$|~[0-9]",
    re.IGNORECASE,
)


def path_names(path: str, *, windows: bool = os.name == "nt") -> tuple[str, ...]:
    """Return the names in the absolute path of a request target.

    A path that names a folder ends with the name ""; so "/" gives ("",). Raises ProtocolError(400)
    for a path that no file can have.
    """
    segments = path[1:].split("/")
    if not (windows or "%" in path or "/." in path or "//" in path or _is_unsafe(path)):
        return tuple(segments)  # nearly every path: the steps below would not change it
    names = segments
    if "%" in path:
        if _BAD_PERCENT.search(path):
            raise ProtocolError(400, "A percent sign must be followed by two hexadecimal digits.")
        names = [_decode(name, windows) for name in _ENCODED_SLASH.sub("/", path)[1:].split("/")]
    if _is_unsafe(path if names is segments else "/".join(names)) or (
        windows and any(map(_WINDOWS_UNSAFE.search, set(names) - _DOTS))
    ):
        raise ProtocolError(400, "The path must name a file below this site.")
    has_dots = not _DOTS.isdisjoint(names)
    if has_dots and len(names) > len(segments):
        raise ProtocolError(400, "The path has dot segments and an encoded slash.")
    return tuple(_resolved(names) if has_dots or "" in names[:-1] else names)


def _resolved(names: list[str]) -> list[str]:
    """Return `names` without empty ones and dot segments. Raises ProtocolError."""
    found: list[str] = []
    for name in names:
        if name == "..":
            if not found or not found.pop():
                raise ProtocolError(400, "The path leads above the root of this site.")
        elif name != ".":
            found.append(name)
    is_folder = names[-1] in {"", ".", ".."}
    return [*filter(None, found), ""] if is_folder else list(filter(None, found))


def is_safe(name: str, *, windows: bool = os.name == "nt") -> bool:
    """Whether `name` is a plain file name on the system: no dot segment, separator or device."""
    if name in _DOTS or "/" in name or _is_unsafe(name):
        return False
    return not (windows and _WINDOWS_UNSAFE.search(name))


def _is_unsafe(path: str) -> bool:
    """Whether a path has a character that is not a part of a name on every system."""
    return "\\" in path or "\0" in path


def encode_name(name: str) -> str:
    """Return a name on disk as a path segment of a URL; `path_names` reverses it."""
    if _UNRESERVED.fullmatch(name):
        return name
    return "".join(
        [chr(octet) if octet in _PLAIN else f"%{octet:02X}" for octet in os.fsencode(name)]
    )


def encode_path(names: tuple[str, ...]) -> str:
    """Return the absolute path with these `names`; ("",) is the root.

    Raises ValueError if the first of several names is empty: "//name" would lead to another host.
    """
    if names[0] == "" and len(names) > 1:
        msg = f"not a path below the root: {names!r}"
        raise ValueError(msg)
    return "/" + "/".join(map(encode_name, names))


def reference(path: str, names: tuple[str, ...]) -> str:
    """Return a relative reference that leads from the target path `path` to `names`.

    Unlike an absolute path, the reference stays right behind a proxy that strips a prefix. It is
    right for every spelling of `path`, because clients resolve the reference against the target
    that they sent (RFC 3986, 5.2).
    """
    base = _DOT.sub(".", path).split("/")[1:-1]
    segments = list(map(encode_name, names))
    if {"", *_DOTS}.isdisjoint(base):  # else climb to the root, since clients differ
        while base and len(segments) > 1 and base[0] == segments[0]:
            del base[0], segments[0]
    depth = 0
    for segment in base:
        depth = max(0, depth - 1) if segment == ".." else depth + (segment != ".")
    text = "../" * depth + "/".join(segments)
    # Without "./", a colon would end a scheme, and an empty reference would mean this document.
    return text if depth or (segments[0] and ":" not in segments[0]) else f"./{text}"


def _decode(name: str, windows: bool) -> str:  # noqa: FBT001
    """Return `name` with its percent-encoded bytes decoded, once."""
    octets = _ENCODED.sub(lambda found: bytes.fromhex(found[1].decode()), name.encode("ascii"))
    if not windows:
        return os.fsdecode(octets)
    try:
        return octets.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # names on Windows are Unicode, so no file has this one
        raise ProtocolError(400, "The path has a name that is not UTF-8.") from None
