"""`portico check`: links, resolved as browsers do it and answered as the server does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.cli.check.extraction import Page, css_links, manifest_links
from portico.cli.check.links import OWN, resolve
from tests.cli.check.checking import check, places, write


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write(
        tmp_path,
        {
            "index.html": '<h1 id="top-of-all">Home</h1><a name="old">x</a>',
            "about.html": '<p id="team">',
            "blog/index.html": "<p id='caf\u00e9'>",
            "blog/post.html": "x",
            "img/a b.png": "x",
            "img/Photo.JPG": "x",
            "style.css": "",
            "app.js": "",
            "files/data.txt": "x",
            "\u6d77.txt": "x",
        },
    )
    return tmp_path


GOOD = """
<a href="/"> <a href=""> <a href="#"> <a href="#top"> <a href="./"> <a href="about.html">
<a href="/about"> <a href="about.html?q#team"> <a href="blog/"> <a href="blog"> <a href="files/">
<a href=blog/post> <a href="/#old"> <a href="index.html#top-of-all"> <a href="blog/#caf%C3%A9">
<a href="blog/#café"> <a href="/about#:~:text=x"> <a href="/about#team:~:text=x">
<a href="#/route"> <a href="about.html#!route"> <a href="style.css#any"> <img src="img/a b.png">
<img src="/img/a%20b.png"> <img src=" img\\a b.png&#10;"> <img src="../../img/./x/../a b.png">
<img src="%2e/img/a%20b.png"> <img> <a href='海.txt'> <a href='%E6%B5%B7.txt'>
<a href='&#x6d77;.txt'> <a href="mailto:a@b.c"> <a href="javascript:x()">
<img src="data:image/gif;base64,x"> <a href="https://example.org/x"> <a href="//example.org/x">
<a href="tel:1"> <img srcset="img/a%20b.png 1x, /img/Photo.JPG 2x">
<img srcset="data:image/png;base64,x 1x,img/Photo.JPG">
<form action="none"><button formaction="none"></form>
<link rel="preconnect" href="/none"><link rel=stylesheet href=style.css> <!-- <a href="none"> -->
<script>document.write("<a href=none>")</script><script src=app.js></script>
<style>/* url(none) */ a::after { content: 'url(none)'; src: local(none) }</style>
<x-link href="none"> <meta http-equiv="refresh" content="5">
<svg><use href="#top-of-all2"/><g id="top-of-all2"/></svg>
"""

BROKEN = [
    *('<a href="none.html">', '<a href="/about/x">', '<a href="blog/none">', '<a href="About">'),
    *('<a href="#none">', '<a href="about.html#none">', '<a href="/#none">', '<a href="100%.txt">'),
    *('<area href="none">', '<iframe src="none">', '<img src="none">', '<video poster="none">'),
    *('<source src="none">', '<track src="none">', '<object data="none">', '<embed src="none">'),
    *('<input type=image src="none">', '<audio src="none">', '<script src="none"></script>'),
    *('<img src=x srcset="none 2x">'.replace("src=x ", ""), '<source srcset="app.js 1x,none 2x">'),
    *("<link rel=stylesheet href=none>", '<link rel="next" href="/none">', "<a href='..%2fx'>"),
    *('<link rel=preload imagesrcset="none 1x">', '<svg><image xlink:href="none"></svg>'),
    *(
        '<meta http-equiv=refresh content="0; url=none">',
        "<meta http-equiv=Refresh content=0;none>",
    ),
    *('<p style="background: url(none)">', "<style>\n@import 'none';</style>", '<a href="/\t/[x">'),
    *('<style>a { background: URL( "none" ) }</style>', '<a href="/.hidden">', "<a href='/a\\b'>"),
    *('<a href="/a/..//About.html">', '<a href="/a%2fb">', f'<a href="/{"a" * 9000}">'),
    *('<img src="about.html">', '<script src="/about"></script>', '<a href="img/photo.jpg">'),
]


def pages(links: list[str]) -> dict[str, str | bytes]:
    """A page for each, which begins with two lines without a link."""
    return {f"{number}.html": f"<!doctype html>\n<p>\n{html}" for number, html in enumerate(links)}


def test_good_links(site: Path) -> None:
    write(site, {"good.html": GOOD})
    assert [(each.line, each.what) for each in check(site)] == []


@pytest.mark.parametrize("links", [BROKEN[::2], BROKEN[1::2]])
def test_broken_links(site: Path, links: list[str]) -> None:
    write(site, pages(links) | {".hidden": "x"})
    found = check(site)
    assert {each.kind for each in found} == {"link"}
    also = [(str(place["path"]), place["line"]) for each in found for place in each.also]
    assert sorted([(each.path, each.line) for each in found] + also) == sorted(
        (f"{number}.html", 4 if "\n" in html else 3) for number, html in enumerate(links)
    )


def test_the_cure_names_what_may_be_meant(site: Path) -> None:
    page = '<img src="IMG/photo.jpg"><a href="/About"><a href="/.env2"><a href="Blog/post2">'
    write(site, {"page.html": page, ".env2": "x"})
    cures = sorted(each.cure for each in check(site, "--ignore", "secret"))
    assert [cure.partition(":")[0] for cure in cures] == [
        *("Correct the link, or add what it leads to.", "Rename the file"),
        *("Write /about", "Write /img/Photo.JPG"),
    ]


def test_base_is_obeyed_wherever_it_stands(site: Path) -> None:
    page = '<a href="post.html"><base href="/blog/"><base href="/none/"><a href="#caf\u00e9">'
    write(site, {"page.html": page})
    assert check(site) == []
    write(site, {"page.html": '<base href="blog/"><a href="about.html"><a href="#none">'})
    assert len(places(check(site), "link")) == 2
    write(site, {"page.html": '<base href="https://example.org/"><a href="none">'})
    assert check(site) == []


def test_links_count_from_where_the_file_is_served(site: Path) -> None:
    write(site, {"blog/index.html": '<a href="post.html"><a href="../about.html">'})
    write(site, {"blog/x/index.html": '<a href="post.html"><a href="../post.html">'})
    assert places(check(site), "link") == [("blog/x/index.html", 1)]


def test_a_link_in_many_pages_is_one_finding(site: Path) -> None:
    for number in range(30):
        write(site, {f"p/{number:02}.html": '<a href="/none"><a href="/about#none">'})
    found = check(site)
    assert places(found, "link") == [("p/00.html", 1)] * 2
    assert {each.count for each in found} == {30}
    assert found[0].also[0] == {"path": "p/01.html", "line": 1}


def test_stylesheets_and_manifests(site: Path) -> None:
    css = '@import url("none.css");\n/* \n */ a { b: url(../app.js) url(none.png) }'
    manifest = (
        '{"start_url": "/about",\n "icons": [{"src": "none.png"}, {"src": "../app.js"}, 7],\n'
        '"shortcuts": [{"url": "/none", "icons": [{"src": "none2.png"}]}], "screenshots": {}}'
    )
    write(site, {"css/a.css": css, "m/site.webmanifest": manifest, "m/manifest.json": "[[["})
    assert places(check(site), "link") == [
        *(("css/a.css", 1), ("css/a.css", 3)),
        *(("m/site.webmanifest", 2), ("m/site.webmanifest", 3), ("m/site.webmanifest", 3)),
    ]


def test_redirected_links_are_found_only_when_asked_for(site: Path) -> None:
    write(site, {"page.html": '<a href="/blog">', "_redirects": "/old /about.html\n"})
    write(site, {"page2.html": '<a href="/old"><a href="/old#team"><a href="/about">'})
    assert check(site) == []
    found = check(site, "--strict")
    assert places(found, "redirected") == [("page.html", 1), ("page2.html", 1)]
    assert "/blog/." in found[0].cure


def test_links_follow_the_sites_redirects(site: Path) -> None:
    rules = "/old /none.html\n/away https://example.org/\n/place /about#none\n/here /about#team\n"
    write(site, {"_redirects": rules + "/1 /2\n/2 /1\n"})
    write(site, {"page.html": '<a href="/old"><a href="/away"><a href="/here"><a href="/place">'})
    write(site, {"page2.html": '<a href="/1">'})
    found = check(site, "--ignore", "loop")
    assert places(found, "link") == [
        *(("_redirects", line) for line in (1, 3)),
        *[("page.html", 1), ("page2.html", 1)],
    ]
    assert [
        word in each.what
        for word, each in zip(["none", "#none", "/old", "round"], found, strict=True)
    ] == [True] * 4
    assert found[1].also == [{"path": "page.html", "line": 1}]


def test_destinations_that_lead_to_nothing(site: Path) -> None:
    rules = [
        *("/a /none", "/b /about", "/c/* /blog/:splat", "/d https://example.org/none"),
        *("/e/* /none.html 200", "/f/* /index.html 200", "/g/* /none2.html 404", "/h /b"),
        "/i /about#none",
    ]
    write(site, {"_redirects": "\n".join(rules)})
    found = check(site)
    assert places(found, "link") == [("_redirects", line) for line in (1, 5, 7, 9)]


def test_parts_that_a_rewrite_answers_with_a_page_are_found(site: Path) -> None:
    write(site, {"_redirects": "/* /index.html 200\n"})
    write(site, {"page.html": '<a href="/route"><img src="/none.png"><script src="none.js">'})
    found = check(site)
    assert places(found, "link") == [("page.html", 1), ("page.html", 1)]
    assert all("wants a part" in each.what for each in found)


def test_single_page_applications(site: Path) -> None:
    write(site, {"index.html": '<a href="/route/x#y"><script src="/app.js"></script>'})
    assert len(check(site)) == 1
    assert check(site, "--spa") == []
    write(site, {"index.html": '<a href="/route"><script src="app.js"></script>'})
    found = check(site, "--spa")
    assert places(found, "link") == [("index.html", 1)]
    assert "any path" in found[0].what


def test_the_page_for_what_is_missing_is_shown_anywhere(site: Path) -> None:
    write(site, {"blog/404.html": '<a href="/about"><a href="#x" id="x"><img src="a.png">'})
    assert places(check(site, "--ignore", "type"), "link")[0] == ("blog/404.html", 1)
    write(site, {"blog/404.html": '<base href="/"><a href="about">'})
    assert check(site) == []


def test_options_of_the_server_count(site: Path) -> None:
    write(site, {"page.html": '<a href="/about"><a href="/files/">'})
    assert check(site) == []
    assert len(check(site, "--no-listing")) == 1
    assert len(check(site, "--no-clean-urls")) == 1
    (site.parent / "portico.toml").write_text("listing = false\nclean_urls = false\n")
    assert len(check(site, "--config", str(site.parent / "portico.toml"))) == 2


def test_what_needs_a_password_is_there(site: Path) -> None:
    write(site, {"page.html": '<a href="/blog/"><a href="/none">'})
    (site.parent / "portico.toml").write_text('users = "users"\naccess = ["/* users=read"]\n')
    found = check(site, "--config", str(site.parent / "portico.toml"))
    assert ["/none" in each.what for each in found] == [True]


@pytest.mark.parametrize("rules", ["", "/*\n  ! ETag\n"])
@pytest.mark.parametrize("size", [0, 100_000])
def test_fragments_are_looked_for_in_what_is_served(site: Path, rules: str, size: int) -> None:
    """Whether the pages have entity tags or not, are small or large, come before or after."""
    page = (
        f'<a href="a.html#good"><a href="z.html#good"><a href="a.html#bad"><p id=good>{"x" * size}'
    )
    write(site, {"a.html": page, "m.html": page, "z.html": page, "_headers": rules})
    write(site, {"m.html": page + '<a href="z.html#bad">', "_redirects": "/r /a.html 200\n"})
    write(site, {"q.html": '<a href="r#good"><a href="r#none">'})
    found = check(site)
    assert [(each.path, each.count) for each in found] == [
        ("a.html", 3),
        ("m.html", 1),
        ("q.html", 1),
    ]


def test_large_pages_are_not_searched_but_found(site: Path) -> None:
    write(site, {"large.html": "<a href=none>\n" * 700_000})
    write(site, {"page.html": '<a href="large.html#none">'})
    assert check(site) == []


def test_hostile_markup_takes_no_recursion(site: Path) -> None:
    write(site, {"deep.html": "<div>" * 100_000 + "<a href=none>"})
    write(site, {"odd.html": "<![if x]><a href=none2 <b ><!x><!-- &#xd800; &#99999999; <?x </"})
    write(site, {"m.webmanifest": "[" * 100_000, "odd.css": 'url(\'none\nurl("\\none" @import'})
    assert {"deep.html", "odd.html"} <= {each.path for each in check(site)}


@pytest.mark.parametrize("bit", ["<!--", "<![", "<!", "</", "<a ", '<a href="', "<a href='x", "&#"])
def test_hostile_markup_takes_no_more_than_its_length(bit: str) -> None:
    """Each of these would take hours if it were read again and again."""
    page = Page(f"<a href=first>{bit * 200_000}")
    assert [link.url for link in page.links] == ["first"]


@pytest.mark.parametrize("bit", ["/*", "url(", "url('", "'", '"', "\\", "@import ", "url(\\"])
def test_hostile_css_takes_no_more_than_its_length(bit: str) -> None:
    assert {link.url for link in css_links("url(first)" + bit * 200_000)} >= {"first"}


def test_what_has_no_end_is_read_as_browsers_do(site: Path) -> None:
    write(
        site, {"page.html": '<a href="/about"><![CDATA[ > <img src="none"> <!-- <img src="none3">'}
    )
    assert len(check(site)) == 1


# --- the readers by themselves


def test_srcset_is_cut_as_browsers_do_it() -> None:
    html = "<img srcset=' a.png , b,c.png 1x,d.png (x, y) 2x,,e.png,'>"
    assert [link.url for link in Page(html).links] == ["a.png", "b,c.png", "d.png", "e.png"]


def test_css_is_read_with_its_escapes() -> None:
    css = r"""@import"a\62 .css";url(c\).png)url( 'd e' )url()url(a b)myurl(x)"url(y)" url(z)"""
    assert [link.url for link in css_links(css)] == ["ab.css", "c).png", "d e", "a", "z"]


@pytest.mark.parametrize(
    "text", ["[]", '{"icons": {"16": "a"}}', '{"a": {"src": "b"}}', "not json"]
)
def test_other_json_is_no_manifest(text: str) -> None:
    assert list(manifest_links(text)) == []


@pytest.mark.parametrize(
    ("base", "reference", "path", "fragment"),
    [
        ("/a/b.html", "c", "/a/c", ""),
        ("/a/b.html", "?x y#z", "/a/b.html?x%20y", "z"),
        ("/a/b.html", "#z", "/a/b.html", "z"),
        ("/a/b.html", "../../../c", "/c", ""),
        ("/a/", "%2E%2e/c%2fd", "/c%2fd", ""),
        ("/a/", "\t/b\n/\u00e9 ", "/b/%C3%A9", ""),
        ("/a/", "b:c/../d", None, None),
        ("/a/", "\\\\host/x", None, None),
        ("/a/", "http://site.example/", None, None),
        ("/a/", "./x:y;z", "/a/x:y;z", ""),
    ],
)
def test_references_are_resolved(
    base: str, reference: str, path: str | None, fragment: str | None
) -> None:
    found = resolve(OWN + base, reference)
    assert (found and found.path, found and found.fragment) == (path, fragment)


def test_site_made_for_a_path_is_checked_below_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "home.html": '<a href="/docs/about">1</a> <a href="/about">2</a> <a href="guide/">',
            "about.html": '<a href="/docs/">1</a> <a href="/docs/About">2</a> <a href="./">3</a>',
            "guide/home.html": '<a href="../about.html">1</a> <a href="../../about">2</a>',
        },
    )
    found = check(tmp_path, "--base", "docs", "--index", "home.html")
    assert places(found, "link") == [("about.html", 1), ("guide/home.html", 1)]
    assert "Write /docs/about" in found[0].cure
    assert found[1].also == [{"path": "home.html", "line": 1}]
