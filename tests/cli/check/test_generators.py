"""`portico check` on what site generators write by default: no false alarm.

The sites here are small ones of our own, which have what is peculiar to a generator's output.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.check.checking import check, write

SITEMAP = b"<?xml version='1.0'?><urlset><url><loc>https://a.example/</loc></url></urlset>"

SPHINX = {
    "index.html": """<!doctype html>
<html class="no-js" lang="en" data-content_root="./"><head><meta charset="utf-8">
<link rel="index" title="Index" href="genindex.html"><link rel="next" href="api.html">
<link rel="stylesheet" type="text/css" href="_static/pygments.css?v=d111a655">
<script src="_static/documentation_options.js?v=5929fcd5"></script></head>
<body><svg style="display: none;"><symbol id="svg-toc"></symbol></svg>
<a href="#">Home</a><svg><use href="#svg-toc"></use></svg>
<form action="search.html" method="get"><input name="q"></form>
<h1>Home<a class="headerlink" href="#home" title="Link to this heading">¶</a></h1>
<section id="home"><span id="id1"></span><a href="#f" id="id2">1</a>
<p id="f"><a href="#id2">1</a> note</p></section>
<a href="api.html#mod.A">A</a> <a href="_sources/index.rst.txt" rel="nofollow">Source</a></html>
""",
    "api.html": """<dl><dt class="sig" id="mod.A"><a href="_modules/mod.html#A">[source]</a>
<a class="headerlink" href="#mod.A">¶</a></dt></dl><a rel="prev" href="index.html">Up</a>""",
    "genindex.html": '<link rel="index" href="#"><a href="#A"><b>A</b></a><h2 id="A">A</h2>',
    "search.html": '<script src="searchindex.js" defer></script><noscript>x</noscript>',
    "_modules/mod.html": """<a href="../index.html">T</a><div class="viewcode-block" id="A">
<a class="viewcode-back" href="../api.html#mod.A">[docs]</a></div>""",
    "_sources/index.rst.txt": "Home\n====\n",
    "_static/documentation_options.js": "const DOCUMENTATION_OPTIONS = {};",
    "_static/pygments.css": "pre { line-height: 125%; } .c { background: url(file.png) }",
    "_static/file.png": b"\x89PNG",
    "searchindex.js": 'Search.setIndex({"docnames":["api"]})',
    "objects.inv": b"# Sphinx inventory version 2\n# Project: T\nx\xda\x8d\xcf\xff",
    ".buildinfo": "config: 1",
    ".nojekyll": "",
}
MKDOCS_MATERIAL = {
    "index.html": """<link rel="icon" href="assets/favicon.png"><link rel="next" href="sub/a%20b/">
<link href="https://fonts.gstatic.com" rel="preconnect" crossorigin>
<input class="md-toggle" id="__drawer"><label for="__drawer"></label>
<a href="#commands" class="md-skip">Skip</a><a href="." class="md-logo">T</a>
<h2 id="commands">Commands<a class="headerlink" href="#commands">&para;</a></h2>
<script id="__config" type="application/json">{"base": ".", "search": "assets/none.js"}</script>
<script src="assets/bundle.min.js"></script>""",
    "404.html": """<link rel="icon" href="/assets/favicon.png"><a href="/" title="T">T</a>
<a href="/sub/a%20b/">A</a><script src="/assets/bundle.min.js"></script>""",
    "sub/a b/index.html": """<base><a href="../.." title="T">T</a> <a href="./">A</a>
<span id="__span-0-1"><a id="__codelineno-0-1" name="__codelineno-0-1" href="#__codelineno-0-1"></a>
</span><sup id="fnref:1"><a href="#fn:1">1</a></sup><li id="fn:1"><a href="#fnref:1">back</a></li>
<a href="../../#commands">Commands</a><h1 id="a-u">A ü<a href="#a-u">&para;</a></h1>""",
    "assets/favicon.png": b"\x89PNG",
    "assets/bundle.min.js": "x\n//# sourceMappingURL=bundle.min.js.map\n",
    "assets/bundle.min.js.map": '{"version": 3, "sources": ["src/none.ts"]}',
    "search/search_index.json": '{"docs": [{"location": "none/#x"}]}',
    "sitemap.xml": SITEMAP,
    "sitemap.xml.gz": gzip.compress(SITEMAP),
}
VITE = {
    "index.html": """<!doctype html><link rel="icon" type="image/svg+xml" href="/vite.svg" />
<script type="module" crossorigin src="/assets/index-CgYMNPpC.js"></script>
<link rel="modulepreload" crossorigin href="/assets/vendor-XlyKSLnJ.js">
<link rel="stylesheet" crossorigin href="/assets/index-XlyKSLnJ.css"><div id="app"></div>""",
    "vite.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>',
    "manifest.json": '{"index.html": {"file": "assets/index.js", "src": "src/main.ts"}}',
    "assets/index-CgYMNPpC.js": 'import"./vendor-XlyKSLnJ.js";fetch("/api/none")',
    "assets/vendor-XlyKSLnJ.js": "export{}",
    "assets/index-XlyKSLnJ.css": """@font-face{src:url(/assets/a-1.woff2?#iefix)format("woff2")}
a{filter:url(#blur);background:url("data:image/svg+xml,%3Csvg xmlns='x'%3E")}""",
    "assets/a-1.woff2": b"wOF2",
}
HUGO = {
    "index.html": """<link rel=alternate type=application/rss+xml href=/index.xml title=T>
<link rel=canonical href=https://a.example/><a href=/posts/one/>One</a><a href=/tags/x/>x</a>
<img src=/posts/one/a_hu_1.webp srcset="/posts/one/a_hu_1.webp 480w, /posts/one/a_hu_1.webp 2x">""",
    "index.xml": '<?xml version="1.0" encoding="utf-8"?><rss><link>https://a.example/</link></rss>',
    "404.html": "<a href=/>Home</a>",
    "posts/one/index.html": '<a href="#h">H</a><h2 id=h>H</h2><a href=../../tags/x/ rel=tag>x</a>',
    "posts/one/a_hu_1.webp": b"RIFF",
    "posts/page/1/index.html": """<meta http-equiv=refresh content="0; url=https://a.example/posts/">
<link rel=canonical href=https://a.example/posts/>""",
    "tags/x/index.html": "<a href=/posts/one/>One</a>",
}
DOCUSAURUS = {
    "index.html": """<!doctype html><html lang=en data-has-hydrated=false><meta charset=UTF-8>
<link data-rh=true rel=icon href=/img/favicon.ico /><link rel=canonical href=https://a.example/ />
<link rel=preconnect href=https://ABC-dsn.algolia.net crossorigin=anonymous />
<script>document.write('<a href="none">')</script><script src=/assets/js/main.54a3a741.js defer>
</script><div role=region><a class=skip href=#__docusaurus_skipToContent_fallback>Skip</a></div>
<svg><symbol id=theme-svg-external-link></symbol><use href=#theme-svg-external-link /></svg>
<div id=__docusaurus_skipToContent_fallback><a href=/docs/intro>Tutorial</a><a href=/blog>Blog</a>
<a href="#" aria-haspopup=true role=button>Menu</a></div>""",
    "404.html": '<a href="/">Home</a><link rel=icon href=/img/favicon.ico />',
    "docs/intro/index.html": "<h2 id=start>Start<a href=#start class=hash-link></a></h2>",
    "blog/index.html": "<a href=/docs/intro#start>Start</a>",
    "blog/atom.xml": '<?xml version="1.0" encoding="utf-8"?><feed/>',
    "assets/js/main.54a3a741.js": "/*! For license information please see main.js.LICENSE.txt */",
    "img/favicon.ico": b"\0\0\1\0",
    ".nojekyll": "",
}
PAGEFIND = {
    "pagefind/wasm.en.pagefind": b"\x1f\x8b\x08\0\xff",
    "pagefind/a.pf_meta": b"\x1f\x8b\xff",
}


@pytest.mark.parametrize(
    "files",
    [SPHINX, MKDOCS_MATERIAL, VITE, HUGO | PAGEFIND, DOCUSAURUS],
    ids=["Sphinx", "mkdocs-material", "Vite", "Hugo", "Docusaurus"],
)
def test_nothing_is_found(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    write(tmp_path, files)
    for path in tmp_path.rglob("*"):
        os.utime(path, (10**9, 10**9))
    found = check(tmp_path)
    assert [(each.path, each.what) for each in found] == []


@pytest.mark.parametrize(
    ("package", "sources", "command"),
    [
        (
            "material",
            {
                "mkdocs.yml": "site_name: T\ntheme:\n  name: material\n",
                "docs/index.md": "# Home\n\n[B](sub/b.md#two-words)\n",
                "docs/sub/b.md": "# B\n\n## Two words\n\n[home](../index.md)\n",
            },
            ["mkdocs", "build", "--quiet", "--site-dir", "out"],
        ),
        (
            "sphinx",
            {
                "conf.py": 'project = "T"\nextensions = ["sphinx.ext.viewcode"]\n',
                "index.rst": "Home\n====\n\n.. toctree::\n\n   b\n\n:ref:`search`\n",
                "b.rst": "B\n=\n\n.. _part:\n\nPart\n----\n\n:ref:`part` :doc:`index`\n",
            },
            ["sphinx", "-q", "-b", "html", ".", "out"],
        ),
    ],
    ids=["mkdocs-material", "Sphinx"],
)
def test_nothing_is_found_in_what_is_built_here(
    tmp_path: Path, package: str, sources: dict[str, str | bytes], command: list[str]
) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    write(tmp_path, sources)
    subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, check=True, timeout=300)
    assert [(each.path, each.what) for each in check(tmp_path / "out")] == []
