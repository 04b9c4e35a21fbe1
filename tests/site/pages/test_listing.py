"""The page for a folder: whatever a file may be called, it is linked truly and shown safely."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.site.origin.protocol import Entry
from portico.site.pages.listing import Frame, human_size, pieces
from portico.site.pages.order import Order

# Any name that a POSIX file system can hold.
NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda raw: raw not in {b".", b".."} and not {0, ord("/")} & set(raw)
)
FOLDER = "http://localhost:8080/photos/"


class Table(HTMLParser):
    """The cells of a listing's rows, and its links, as a browser would read them."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.headings: list[dict[str, str]] = []
        """The attributes of their buttons."""
        self.rows: list[list[str]] = []
        self.times: list[str] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(page.decode())
        self.close()
        assert not self._inside

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"meta", "form"}:
            return
        self._inside.append(tag)
        if tag == "button":
            self.headings.append({name: value or "" for name, value in attrs})
        elif tag == "a":
            self.links.append((dict(attrs)["href"] or "", ""))
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        elif tag == "time":
            self.times.append(dict(attrs)["datetime"] or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            return
        assert self._inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._inside or "script" in self._inside:
            return
        self.text += data
        if "a" in self._inside:
            href, text = self.links[-1]
            self.links[-1] = (href, text + data)
        if "td" in self._inside or "th" in self._inside:
            self.rows[-1][-1] += data


def listing_page(segments: Sequence[str], entries: Iterable[Entry], query: str = "") -> bytes:
    """The whole page, in the order that the query asks for."""
    order = Order.of(query)
    ordered = sorted(entries, key=order.key, reverse=order.descending)
    return "".join(pieces(segments, iter(ordered), order, Frame("photos"))).encode()


def entry(name: str, *, is_folder: bool = False, size: int = 0, modified: float = 0.0) -> Entry:
    return Entry(name, is_folder, size, modified)


def names_in_order(*names: str) -> list[str]:
    return [found.name for found in sorted(map(entry, names), key=Order().key)]


@given(NAMES, st.booleans())
def test_link_leads_to_the_very_bytes_of_the_name(raw: bytes, is_folder: bool) -> None:
    page = listing_page((), [entry(os.fsdecode(raw), is_folder=is_folder)])
    ((href, _),) = Table(page).links
    assert href.startswith("./")
    # Joined by hand (RFC 3986, 5.2): urljoin() drops a ";" at the end, as RFC 2396 had it.
    address = urlsplit(FOLDER + href.removeprefix("./"))
    assert (address.scheme, address.netloc) == ("http", "localhost:8080")
    assert (address.query, address.fragment) == ("", "")
    path = address.path.removeprefix("/photos/")
    assert path.endswith("/") == is_folder
    assert unquote_to_bytes(path.removesuffix("/")) == raw


@given(NAMES)
def test_name_adds_no_markup_and_hides_nothing(raw: bytes) -> None:
    plain = listing_page((), [entry("x")]).decode()
    page = listing_page((), [entry(os.fsdecode(raw))]).decode()
    assert re.findall("<[^>]*>", re.sub('href="[^"]*"', "href", page)) == re.findall(
        "<[^>]*>", re.sub('href="[^"]*"', "href", plain)
    )
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e]", page)
    ((href, text),) = Table(page.encode()).links
    assert text.strip("\n") == text
    assert re.fullmatch(r"[!-~]+", href)


@given(st.lists(NAMES, max_size=3))
def test_names_on_the_way_are_shown_safely_too(raws: list[bytes]) -> None:
    segments = [os.fsdecode(raw) for raw in raws]
    page = listing_page(segments, []).decode()
    plain = listing_page(["x"] * len(raws), []).decode()
    assert re.findall("<[^>]*>", page) == re.findall("<[^>]*>", plain)


@pytest.mark.parametrize(
    ("name", "href", "text"),
    [
        ("notes.txt", "./notes.txt", "notes.txt"),
        ("javascript:alert(1)", "./javascript:alert(1)", "javascript:alert(1)"),
        ("<b>&amp;", "./%3Cb%3E&amp;", "<b>&amp;"),
        ("\"'", "./%22'", "\"'"),
        ("a b", "./a%20b", "a b"),
        ("100%.txt", "./100%25.txt", "100%.txt"),
        ("#?", "./%23%3F", "#?"),
        ("a;", "./a;", "a;"),
        ("Zürich", "./Z%C3%BCrich", "Zürich"),
        ("caf\udce9", "./caf%E9", "caf\\xe9"),
        ("\u202egnp.exe", "./%E2%80%AEgnp.exe", "\\u202egnp.exe"),
        ("line\nbreak", "./line%0Abreak", "line\\x0abreak"),
    ],
)
def test_odd_names(name: str, href: str, text: str) -> None:
    assert Table(listing_page((), [entry(name)])).links == [(href, text)]


def test_names_are_isolated_from_the_text_around_them() -> None:
    page = listing_page(["שלום"], [entry("עולם.txt")]).decode()
    assert "<h1><bdi>שלום</bdi></h1>" in page
    assert "<bdi>עולם.txt</bdi></a>" in page


def test_folders_come_first_and_end_in_a_slash() -> None:
    page = listing_page((), [entry("a"), entry("z", is_folder=True), entry("B", is_folder=True)])
    assert Table(page).links == [("./B/", "B/"), ("./z/", "z/"), ("./a", "a")]


def test_names_are_sorted_as_people_do() -> None:
    ordered = ["Apfel", "Äpfel 2", "apfel 3", "page 2", "Page 10", "page 10a", "zebra", "Zürich"]
    assert names_in_order(*reversed(ordered)) == ordered
    assert names_in_order("img12.png", "img1.png", "img007.png") == [
        "img1.png",
        "img007.png",
        "img12.png",
    ]
    assert names_in_order("10", "a", "9", "B", "2b") == ["2b", "9", "10", "a", "B"]


def test_very_long_numbers_can_be_sorted() -> None:
    small, large = "1" * 5000, "2" * 5000
    assert names_in_order(large, small) == [small, large]


@given(st.lists(NAMES))
def test_any_names_can_be_sorted(raws: list[bytes]) -> None:
    names = [os.fsdecode(raw) for raw in raws]
    assert names_in_order(*names) == names_in_order(*reversed(names))


def test_path_and_parent_are_linked_relatively() -> None:
    page = listing_page(("a b", "c", "d"), [])
    assert [
        (urlsplit(urljoin("http://localhost/at/a%20b/c/d/", href)).path, text)
        for href, text in Table(page).links
    ] == [
        ("/at/", "photos"),
        ("/at/a%20b/", "a b"),
        ("/at/a%20b/c/", "c"),
    ]
    assert b"<title>d (/a b/c/d/)</title>" in page
    assert b"<h1><bdi>d</bdi></h1>" in page


def test_root_has_no_parent() -> None:
    page = listing_page((), [])
    assert Table(page).links == []
    assert b"<title>photos</title>" in page
    assert b"<h1><bdi>photos</bdi></h1>" in page


def test_rows_have_size_and_date() -> None:
    page = listing_page(
        (),
        [
            entry("f", is_folder=True, size=4096, modified=0),
            entry("a.txt", size=1234567, modified=1_000_000_000.9),
        ],
    )
    table = Table(page)
    assert table.rows == [
        ["Name", "Size", "Modified (UTC)"],
        ["f/", "", "1970-01-01 00:00"],
        ["a.txt", "1.2 MiB", "2001-09-09 01:46"],
    ]
    assert table.times == ["1970-01-01T00:00:00Z", "2001-09-09T01:46:40Z"]
    assert b'<data value="1234567" title="1,234,567 bytes">' in page


@pytest.mark.parametrize("modified", [1e300, -1e300, float("inf"), float("nan"), 1e12])
def test_date_beyond_the_calendar_has_stopped_out(modified: float) -> None:
    assert Table(listing_page((), [entry("a", modified=modified)])).rows[-1] == ["a", "0 B", ""]


def test_date_before_the_epoch() -> None:
    table = Table(listing_page((), [entry("a", modified=-1.0)]))
    assert table.times == ["1969-12-31T23:59:59Z"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (99 * 1024, "99.0 KiB"),
        (int(99.96 * 1024), "100 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (1024**7, "1024 EiB"),
    ],
)
def test_sizes_are_short(size: int, text: str) -> None:
    assert human_size(size) == text


@given(st.integers(0, 1024**6))
def test_any_size_is_short_and_true(size: int) -> None:
    number, unit = human_size(size).split()
    assert len(number.replace(".", "")) <= 4
    power = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].index(unit)
    assert float(number) * 1024**power == pytest.approx(size, rel=0.05)


def test_table_is_announced_and_headed() -> None:
    page = listing_page(("a",), [entry("b")]).decode()
    assert "<caption>Contents of <bdi>/a/</bdi>, folders first; the headings" in page
    assert page.count('<th scope="col"') == 3
    assert page.count('<th scope="row">') == 1
    assert '<nav aria-label="Folders above">' in page


def test_footer_counts() -> None:
    page = listing_page(
        (),
        [entry("f", is_folder=True, size=9), entry("a", size=1000), entry("b", size=24)],
    )
    assert "\n1 folder, 2 files, 1.0 KiB\n" in Table(page).text
    assert "\n1 folder\n" in Table(listing_page((), [entry("f", is_folder=True)])).text


def test_empty_folder_says_so() -> None:
    assert "This folder is empty." in Table(listing_page(("a",), [])).text
    assert "This folder is empty." not in Table(listing_page(("a",), [entry("b")])).text


def test_pieces_come_one_by_one_in_the_order_given() -> None:
    asked = []

    def entries() -> Iterator[Entry | None]:
        for name in ("b", None, "a", "c"):
            asked.append(name)
            yield None if name is None else entry(name)

    stream = pieces((), entries(), Order(), Frame())
    assert "<tbody>" in next(stream)
    assert asked == []
    assert ">b<" in next(stream)
    assert asked == ["b"]
    assert next(stream) == ""
    assert [">a<" in next(stream), ">c<" in next(stream)] == [True, True]
    assert next(stream).endswith("</html>\n")


ONE, OTHER = ("ascending", "descending")


@pytest.mark.parametrize(
    ("query", "values", "column", "state"),
    [
        ("", ["-name", "-size", "-date"], 0, ONE),
        ("sort=-name", ["name", "-size", "-date"], 0, OTHER),
        ("sort=size", ["name", "-size", "-date"], 1, ONE),
        ("sort=-size", ["name", "size", "-date"], 1, OTHER),
        ("sort=date", ["name", "-size", "-date"], 2, ONE),
        ("sort=date&order=desc", ["name", "-size", "date"], 2, OTHER),
    ],
)
def test_headings_sort_and_the_second_time_reverse(
    query: str, values: list[str], column: int, state: str
) -> None:
    """What is largest or newest comes first. They are no links, which robots would follow."""
    page = listing_page((), [entry("a")], query)
    assert [button["value"] for button in Table(page).headings] == values
    assert b"<a href" not in page.partition(b"</thead>")[0]
    assert (b'<meta name="robots" content="noindex,nofollow">' in page) == bool(query)
    headings = re.findall("<th scope=.col.[^>]*>", page.decode())
    assert [re.findall('aria-sort="(.*?)"', heading) for heading in headings] == [
        [state] if index == column else [] for index in range(3)
    ]


def test_headings_say_what_they_do() -> None:
    def said(query: str) -> list[str]:
        return [link["title"] for link in Table(listing_page((), [], query)).headings]

    assert said("") == [
        "Sort by name, Z to A",
        "Sort by size, largest first",
        "Sort by date, newest first",
    ]
    assert said("sort=-size")[:2] == ["Sort by name, A to Z", "Sort by size, smallest first"]
    assert said("sort=-date")[2] == "Sort by date, oldest first"


@pytest.mark.parametrize("query", ["?sort=size", "?sort=-name"])
def test_the_order_stays_on_the_way_from_folder_to_folder(query: str) -> None:
    page = listing_page(("a", "b"), [entry("c", is_folder=True), entry("d")], query[1:])
    assert [href for href, _ in Table(page).links] == [
        f"../../{query}",
        f"../{query}",
        f"./c/{query}",
        "./d",
    ]


@pytest.mark.parametrize("query", ["x=1", "sort=<b>", 'sort="><script>', "order=asc", "sort=name"])
def test_nothing_of_a_query_is_repeated_but_the_order(query: str) -> None:
    entries = [entry("c", is_folder=True), entry("d")]
    assert listing_page(("a",), entries, query) == listing_page(("a",), entries)
