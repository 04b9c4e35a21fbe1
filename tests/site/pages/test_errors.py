"""Pages for people and problem details for programs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.http.status import REASONS
from portico.site.pages import errors, styles
from portico.site.pages.errors import error_page, prefers_problem, problem, shown
from portico.site.pages.styles import content_security_policy

ERRORS = [status for status in REASONS if status >= 400]
VOID = {"meta", "link", "br", "img"}


class Outline(HTMLParser):
    """What a page consists of: its elements, its text by element, and its attributes."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: dict[str, str] = {}
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        where = self.open[-1] if self.open else ""
        self.text[where] = self.text.get(where, "") + data


@pytest.mark.parametrize("status", ERRORS)
def test_page_says_what_happened_and_what_to_do(status: int) -> None:
    page = error_page(status)
    outline = Outline(page)
    assert page.startswith(b'<!doctype html>\n<html lang="en">')
    assert not outline.open
    assert outline.text["title"] == f"{status} {REASONS[status]}"
    assert outline.text["h1"] == REASONS[status]
    explanation = errors._EXPLANATIONS[status]
    assert explanation in outline.text["p"]
    assert re.fullmatch(r"[A-Z][^.]+\. [A-Z][^.]+(\. [A-Z][^.]+|\.[0-9]|)\.", explanation)


@pytest.mark.parametrize("status", [*ERRORS, 200, 301, 999, -1])
def test_page_loads_nothing_and_runs_nothing(status: int) -> None:
    outline = Outline(error_page(status, "A detail."))
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(outline.elements)
    names = {name for name, _ in outline.attributes}
    assert not {"src", "style", "srcset", "action"} & names
    assert not [name for name in names if name.startswith("on")]
    assert {value for name, value in outline.attributes if name == "href"} <= {"/", ""}
    assert not re.search(r"url\(|@import|expression", styles.NOTICE + styles.LISTING)


def test_page_is_set_for_light_and_dark_and_for_phones() -> None:
    page = error_page(404).decode()
    assert '<meta charset="utf-8">' in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert '<meta name="color-scheme" content="light dark">' in page
    assert "@media(prefers-color-scheme:dark)" in page


def test_the_lost_are_shown_the_way_home() -> None:
    assert b'<a href="/">' in error_page(404)
    assert b'<a href="/">' in error_page(403)
    assert b'<a href="/">' not in error_page(503)


def test_detail_is_shown_and_escaped() -> None:
    page = error_page(400, "<script>alert('&')</script> \"\udcff\n\u202e")
    assert (
        rb'<p class="detail">&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;'
        rb" &quot;\xff\x0a\u202e</p>"
    ) in page
    assert b'class="detail"' not in error_page(400)
    assert b'class="detail"' not in error_page(400, "")


def test_status_that_is_not_registered_here_still_has_a_page() -> None:
    assert Outline(error_page(499)).text["title"] == "499 Error"
    assert "moved" in Outline(error_page(308)).text["p"]


@pytest.mark.parametrize("kind", [styles.NOTICE, styles.LISTING])
def test_policy_lets_in_the_style_and_nothing_else(kind: str) -> None:
    page = errors.opening("A title", kind)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = dict(part.strip().split(" ", 1) for part in content_security_policy(kind).split(";"))
    assert policy.pop("style-src") == f"'sha256-{digest}'"
    assert policy == {
        "default-src": "'none'",
        "img-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'self'",
    }


def luminance(colour: str) -> float:
    """Relative luminance of a colour `#rrggbb` (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize("text", ["ink", "soft", "link"])
@pytest.mark.parametrize("ground", ["paper", "tint"])
def test_text_stands_out_from_its_ground(scheme: int, text: str, ground: str) -> None:
    first = luminance(re.findall(rf"--{text}:(#\w{{6}})", styles.LISTING)[scheme])
    second = luminance(re.findall(rf"--{ground}:(#\w{{6}})", styles.LISTING)[scheme])
    assert (max(first, second) + 0.05) / (min(first, second) + 0.05) >= 4.5


@pytest.mark.parametrize("status", ERRORS)
def test_problem_details(status: int) -> None:
    assert json.loads(problem(status)) == {
        "type": "about:blank",
        "title": REASONS[status],
        "status": status,
    }


@given(st.text(min_size=1))
def test_problem_detail_survives(detail: str) -> None:
    assert json.loads(problem(400, detail))["detail"] == detail


def test_problem_detail_is_always_utf_8() -> None:
    assert json.loads(problem(400, "caf\udce9"))["detail"] == "caf\\udce9"


def test_reasons_are_the_registered_ones() -> None:
    # Python's own table has the names of RFC 7231 for these until 3.13.
    renamed = {413, 414, 416}
    for status in REASONS.keys() - renamed - {104}:  # of a draft
        assert REASONS[status] == HTTPStatus(status).phrase
    assert [REASONS[status] for status in sorted(renamed)] == [
        "Content Too Large",
        "URI Too Long",
        "Range Not Satisfiable",
    ]


@pytest.mark.parametrize(
    "accept",
    [
        *("application/json", "application/problem+json", "APPLICATION/JSON", "application/*"),
        *("application/vnd.api+json", "application/json, text/plain, */*"),
        *("application/json, */*;q=0.9", "application/json, text/html;q=0.9"),
        *("text/html;q=0.5, application/json", "text/html;q=0.001,application/json;q=0.002"),
        *("text/*;q=0.9, application/*", "text/html;q=0, application/json;q=0.1"),
        " , ,application/json\t;\tq=1.000 ,",
        "application/json;version=1;q=0.8, text/html;level=1;q=0.7",
        *("text/html;q=high, application/json", "*/*, text/html;q=0.1, application/json;q=0.2"),
        *("text/html;q=0, */*", "*/*;q=0.1, text/*;q=0"),
    ],
)
def test_programs_get_problem_details(accept: str) -> None:
    assert prefers_problem(accept)


@pytest.mark.parametrize(
    "accept",
    [
        None,
        *("", "*/*", "text/html"),
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        *("text/html, application/json", "application/json, text/html"),
        *("application/json;q=0.9, */*", "application/json;q=0"),
        *("application/json;q=0, application/*;q=0", "application/json;q=2"),
        *("application/json;q=0.1234", "application/json;q=-1", "application/json;q="),
        *("text/html;q=0", "*/*;q=0", "*/*, application/json;q=0, text/html;q=0.5"),
        *("application/json;q=\u0661", "application/xml", "image/png", "json", "+json"),
        *("application", "application/json text/html", ";;;,,,;q=;="),
    ],
)
def test_people_get_a_page(accept: str | None) -> None:
    assert not prefers_problem(accept)


@given(st.text(alphabet='apliconjshtmlex/*+;,=q01. \t"') | st.text())
def test_any_accept_field_has_an_answer(accept: str) -> None:
    assert prefers_problem(accept) in {True, False}


@given(st.text(alphabet=st.characters()))
def test_shown_text_hides_nothing(text: str) -> None:
    html = shown(text)
    html.encode()
    assert not set("<>\"'") & set(html)
    assert not re.search(r"&(?!(amp|lt|gt|quot|#39);)", html)
    assert all(char.isprintable() or char.isspace() or ord(char) > 0xFF for char in html)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", html)


def test_shown_text_leaves_plain_text_alone() -> None:
    family = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
    for text in ("Zürich, 日本, שלום", family, "two  spaces", "back\\slash"):
        assert shown(text) == text
