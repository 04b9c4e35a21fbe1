"""Paths of request targets: single names come out of them, or 400, whatever went in."""

from __future__ import annotations

import contextlib
import ntpath
import os
import posixpath
import re
from urllib.parse import urljoin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portico.http.h1.head import HeadParser
from portico.http.message import ProtocolError
from portico.site.target import encode_name, encode_path, is_safe, path_names, reference

UP = ["..", "%2e%2e", "%2E%2E", "%2e%2E", "%2e.", ".%2e", ".%2E"]
SEPARATORS = ["%2f", "%2F", "%5c", "%5C", "\\"]
TRAVERSALS = [
    *[f"{up}/{up}" for up in UP],
    *SEPARATORS[2:],
    *[f"{up}{separator}{up}{separator}secret" for up in UP for separator in SEPARATORS],
    *(
        "%5c%5chost%5cshare",
        "\\\\host\\share",
        "C:\\Windows",
        "/..",
        "a//..",
        "./../..",
        "b/../../..",
    ),
    *("C:%5cWindows", "%00", "a%00", "a.txt%00.png", "%00..", "..%00", "..%2f", "a%2f..", ".%2f"),
    *("%2f.", "%2e%2F", "a%2fb/..", "../a%2fb", "%2f..", "./%2f"),
]
BROKEN_PERCENTS = ["%", "%2", "%zz", "%g0", "%u002e", "%%32e", "%-1", "%+2", "% 2", "%2 ", "a%"]

# What was encoded twice, or wrongly, is a name like any other: it is not decoded once more.
NAMES = [
    ("%252e%252e", "%2e%2e"),
    ("%252E%252e%252f", "%2E%2e%2f"),
    ("..%252f", "..%2f"),
    ("%25%32%65", "%2e"),
    ("%255c", "%5c"),
    ("%2500", "%00"),
    ("%c0%ae%c0%ae", b"\xc0\xae\xc0\xae"),
    ("%C0%AE%c0%af", b"\xc0\xae\xc0\xaf"),
    ("%e0%80%ae%e0%80%ae", b"\xe0\x80\xae\xe0\x80\xae"),
    ("%f0%80%80%ae", b"\xf0\x80\x80\xae"),
    ("%c1%9c", b"\xc1\x9c"),
    ("%ff%fe", b"\xff\xfe"),
    ("%EF%BC%8E%EF%BC%8E", "\uff0e\uff0e"),
    ("%E2%88%95", "\u2215"),
    ("...", "..."),
    ("..a", "..a"),
    ("a..", "a.."),
    ("..;", "..;"),
    ("..%20", ".. "),
    ("%20..", " .."),
    ("~", "~"),
    ("$HOME", "$HOME"),
    ("a+b", "a+b"),
    ("%3fq%23f", "?q#f"),
    ("a%0d%0aX:%20y", "a\r\nX: y"),
    ("javascript:alert(1)", "javascript:alert(1)"),
    ("%41%62c", "Abc"),
    ("%E2%80%AEtxt", "\u202etxt"),
]

ON_WINDOWS = [
    *("C:", "c%3a", "C%3A", "file.txt::$DATA", "file.txt%3a%3a$DATA"),
    *("folder:$I30:$INDEX_ALLOCATION", "CON", "con", "Aux.txt", "aux.", "nul.tar.gz"),
    *("NUL%20", "con%20.txt", "CON%20%20.a.b", "PRN", "COM1", "com0.txt", "com%C2%B9"),
    *("lpt%c2%b3.txt", "LPT9.log", "conin$", "CONOUT$.x", "name.", "name...", "name%20"),
    *("name.%20.", "...", "%20", "GIT~1", "progra~2", "a~1.txt", "a%3cb", "a%3eb", 'a"b'),
    *("a%22b", "a|b", "a%7Cb", "a%3fb", "a*", "a%0ab", "a%1f", "%ff", "%c0%ae"),
]


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("place", ["/{}", "/a/{}", "/{}/", "/{}/b", "/a/{}/b", "//{}", "/{}/%41"])
def test_what_may_lead_elsewhere_is_refused_by_its_form(place: str, windows: bool) -> None:
    for name in (*TRAVERSALS, *BROKEN_PERCENTS):
        with pytest.raises(ProtocolError) as refused:
            path_names(path := place.format(name), windows=windows)
        assert refused.value.status == 400, path


@pytest.mark.parametrize(("encoded", "name"), NAMES)
def test_names_are_decoded_once(encoded: str, name: str | bytes) -> None:
    name = os.fsdecode(name)
    assert path_names(f"/{encoded}", windows=False) == (name,)
    assert path_names(f"/a/{encoded}/b", windows=False) == ("a", name, "b")


@pytest.mark.parametrize("name", ON_WINDOWS)
def test_what_windows_would_not_take_for_a_name_is_refused_there(name: str) -> None:
    for path in (f"/{name}", f"/a/{name}", f"/{name}/", f"/{name}/b"):
        with pytest.raises(ProtocolError) as refused:
            path_names(path, windows=True)
        assert refused.value.status == 400
    assert len(path_names(f"/{name}", windows=False)) == 1


@pytest.mark.parametrize(
    "name",
    [
        *("console", "auxiliary.txt", "com", "com10", "nul-1", "a.con", "conin", "a~b", "a~"),
        *("a b.txt", ".gitignore", "%20a", "%C3%A9", "%E2%80%AE"),
    ],
)
def test_plain_names_are_names_on_windows_too(name: str) -> None:
    assert path_names(f"/{name}", windows=True) == path_names(f"/{name}", windows=False)


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        *(("/", "/"), ("/a", "/a"), ("/a/", "/a/"), ("/a/b.html", "/a/b.html")),
        *(("/.", "/"), ("/./", "/"), ("/%2e", "/"), ("/a/./b", "/a/b"), ("/a/.", "/a/")),
        *(("/a/..", "/"), ("/a/../b", "/b"), ("/a/b/../../c", "/c"), ("/a/b/%2E.", "/a/")),
        *(("/a/b/../", "/a/"), ("/./Packages", "/Packages"), ("/%2e/%61", "/a")),
        *(("//", "/"), ("//host", "/host"), ("//host/a", "/host/a"), ("/a//b", "/a/b")),
        *(("/a//", "/a/"), ("/a/.//b", "/a/b"), ("/a///", "/a/")),
        *(("/@scope%2fname", "/@scope/name"), ("/%2Fa", "/a"), ("/a%2F", "/a/"), ("/%2f", "/")),
        *(("/a%2f/b", "/a/b"), ("/%41%2d%5f%7e", "/A-_~"), ("/%c3%a9", "/%C3%A9")),
    ],
)
def test_harmless_spellings_are_one_path(path: str, normal: str) -> None:
    """RFC 3986, 6.2.2; and slashes, which no file name has."""
    assert encode_path(path_names(path)) == normal


# Any name that a POSIX file system can hold, and such as are made to deceive.
ON_DISK = st.binary(min_size=1, max_size=255).filter(
    lambda raw: raw not in {b".", b".."} and not {0, ord("/")} & set(raw)
) | st.sampled_from([b"%2e%2e", b"..%2f", b"a?b#c", b"//", b"\r\nX: y", b"\xc0\xae", b"a\\b"]).map(
    lambda raw: raw.replace(b"/", b"|")
)


@given(ON_DISK)
def test_encoded_name_leads_back_to_the_name(raw: bytes) -> None:
    name = os.fsdecode(raw)
    encoded = encode_name(name)
    assert encoded.isascii()
    assert not set(encoded) & set("/?#\\ \"'<>\r\n\t\0") - {"'"}
    if is_safe(name, windows=False):
        assert path_names(f"/{encoded}", windows=False) == (name,)
        assert path_names(f"/a/{encoded}/", windows=False) == ("a", name, "")
    else:
        assert b"\\" in raw


@given(st.lists(ON_DISK, min_size=1, max_size=4), st.booleans())
@example([b"evil.example"], True)
@example([b"\\evil.example"], False)
def test_encoded_path_never_names_another_site(raw: list[bytes], is_folder: bool) -> None:
    names = (*map(os.fsdecode, raw), *([""] if is_folder else []))
    path = encode_path(names)
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))
    assert path.count("/") == len(names)


def test_encoded_path_begins_with_a_name() -> None:
    assert encode_path(("",)) == "/"
    for names in (("", "evil.example"), ("", "")):
        with pytest.raises(ValueError, match="not a path below the root"):
            encode_path(names)


@pytest.mark.parametrize(
    ("path", "names", "expected"),
    [
        *(("/docs", ("docs", ""), "docs/"), ("/a/docs", ("a", "docs", ""), "docs/")),
        *(("/about/", ("about",), "../about"), ("/a/b/", ("a", "b"), "../b")),
        *(("/", ("docs", ""), "docs/"), ("/a", ("",), "./"), ("/a/b", ("",), "../")),
        *(("/a:b", ("a:b", ""), "./a:b/"), ("/x/a:b/", ("x", "a:b"), "../a:b")),
        *(
            ("//evil.example", ("evil.example", ""), "../evil.example/"),
            ("/a%2fb", ("a", "b", ""), "a/b/"),
        ),
    ],
)
def test_reference_survives_a_prefix(path: str, names: tuple[str, ...], expected: str) -> None:
    assert reference(path, names) == expected


SPELLINGS = st.lists(
    st.sampled_from(["a", "b", "c:d", "%61", "%c3%A9", "", "", ".", "%2e", "..", ".%2E", "a%2fb"]),
    max_size=7,
).map(lambda segments: "/" + "/".join(segments))


@given(SPELLINGS, st.lists(ON_DISK, max_size=3), st.booleans())
def test_reference_leads_a_client_there(path: str, raw: list[bytes], is_beside: bool) -> None:
    names = tuple(map(os.fsdecode, raw)) or ("",)
    with contextlib.suppress(ProtocolError):
        names = (*path_names(path)[:-1], *names) if is_beside else names
    # Clients take encoded dots for dots, too (WHATWG URL, "single-dot URL path segment").
    base = re.sub("%2e", ".", f"http://h.example{path}", flags=re.IGNORECASE)
    found = reference(path, names).replace(";", "%3B")  # which urljoin() may drop
    assert not found.startswith("/")
    assert urljoin(base, found) == f"http://h.example{encode_path(names)}".replace(";", "%3B")


TARGETS = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            [
                *(b"/", b"//", b".", b"..", b"%2e", b"%2E%2e", b"%2f", b"%5c", b"\\", b"%00", b"%"),
                *(b"%25", b"%252e", b"%c0%ae", b"%c0%af", b"%ff", b"a", b"secret", b"%61"),
                *(b"?", b"#", b"\xc3\xa9", b"\xff", b"/..", b"/./", b"/%2e%2e/"),
                *(b"http://localhost", b":", b"C:", b"con", b"NUL.txt", b" ", b"%20", b"~1", b"*"),
                *(b"aux", b"com1", b"%C2%B2", b"$", b"::$DATA", b"%0a", b"|", b'"', b"%3f", b"@"),
            ]
        ),
        max_size=12,
    ).map(b"".join),
)


@pytest.mark.parametrize("windows", [False, True])
@given(target=TARGETS)
@example(b"/con .txt")
@example(b"/../%2e%2e/secret")
@example(b"/a/%2e%2e%5c..%2fsecret")
def test_any_target_gives_names_below_the_root_or_400(windows: bool, target: bytes) -> None:
    system, root = (ntpath, "C:\\site") if windows else (posixpath, "/srv/site")
    try:
        request = HeadParser().parse(b"GET /" + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        names = path_names(request.path, windows=windows)
    except ProtocolError as refused:
        assert refused.status == 400  # noqa: PT017 (both outcomes are right; this is one of them)
        return
    assert path_names(encode_path(names), windows=windows) == names
    assert "" not in names[:-1]
    path = root + system.sep + system.sep.join(names)
    clean = system.normpath(path)
    assert clean == root or clean.startswith(root + system.sep)
    assert path.count(system.sep) == root.count(system.sep) + len(names)
    if windows and hasattr(ntpath, "isreserved"):  # from Python 3.13 on
        assert not any(name and ntpath.isreserved(name) for name in names)
