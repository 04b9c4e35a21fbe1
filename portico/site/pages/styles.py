"""The styles of the pages made here, and the policy that allows the style and nothing else."""

from __future__ import annotations

from binascii import b2a_base64
from functools import lru_cache

from portico.site.origin.etags import sha256

# The styles, in light and dark. Each pair of text and background has a contrast of at least 4.5
# (WCAG 2.2, 1.4.3).
_BASE = """
:root{color-scheme:light dark;--paper:#fcfbf8;--ink:#26231e;--soft:#6c665b;--line:#e8e3d8;
--tint:#f4f0e7;--link:#17567f;--stone:#c4853c}
@media(prefers-color-scheme:dark){:root{--paper:#191a1d;--ink:#ebe7df;--soft:#a39c8f;
--line:#303136;--tint:#222328;--link:#8fc6ec;--stone:#d6a262}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{margin:0;font:400 clamp(1.75rem,5vw,2.5rem)/1.2 "Iowan Old Style","Palatino Linotype",Palatino,
P052,Georgia,serif;overflow-wrap:anywhere}
a{color:var(--link);text-decoration-thickness:1px;text-underline-offset:.2em}
a:hover{text-decoration-thickness:2px}
a:focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:3px}
main{margin:0 auto;padding:clamp(1.5rem,6vw,4rem) clamp(1rem,4vw,2.5rem)}
"""

NOTICE = (
    _BASE
    + """\
main{display:grid;align-content:center;min-height:88vh;min-height:88svh;max-width:38rem}
svg{color:var(--stone);margin-bottom:1.25rem}
p{margin:.9rem 0 0}
.status{margin:0 0 .15rem;color:var(--soft);letter-spacing:.12em}
.detail{border-left:2px solid var(--line);padding-left:.9rem;color:var(--soft);
overflow-wrap:anywhere}
"""
)
"""The style of error pages."""

LISTING = (
    _BASE
    + """\
html{scroll-padding-top:4rem}
main{max-width:56rem}
bdi{white-space:pre-wrap;overflow-wrap:anywhere}
nav ol{display:flex;flex-wrap:wrap;margin:0 0 .35rem;padding:0;list-style:none;color:var(--soft)}
nav li::after{content:"/"/"";margin:0 .45rem}
table{width:100%;margin-top:1.75rem;border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th{padding:0;font-weight:400;text-align:left}
thead th{position:sticky;top:0;z-index:1;background:var(--paper);color:var(--soft);
font-size:.8125rem;box-shadow:inset 0 -1px var(--line)}
thead th:first-child{padding-left:.6rem}
thead a{display:block;padding:.6rem 0;color:inherit;text-decoration:none}
thead a:hover{text-decoration:underline}
th[aria-sort]{color:var(--ink)}
th[aria-sort]:first-child a::after,th+th[aria-sort] a::before{content:"\\2191"/"";margin:0 .35rem}
th[aria-sort=descending]:first-child a::after,th+th[aria-sort=descending] a::before{
content:"\\2193"/""}
tbody tr{border-bottom:1px solid var(--line)}
tbody tr:hover{background:var(--tint)}
th+th,td{padding-left:1.25rem;text-align:right;white-space:nowrap}
th:last-child,td:last-child{padding-right:.6rem}
td{color:var(--soft);font-size:.875rem}
td.empty{padding:2.5rem .6rem;text-align:center}
tbody th{width:100%}
tbody a{display:block;position:relative;padding:.55rem 0 .55rem 2.35rem;text-decoration:none}
table a:focus-visible{outline-offset:-2px}
tbody a:hover bdi{text-decoration:underline}
tbody a::before{content:"";position:absolute;left:.7rem;top:.8rem;width:.8rem;height:1rem;
border:1.5px solid var(--soft);border-radius:2px 6px 2px 2px;box-sizing:border-box;opacity:.55}
tbody a:is([href$="/"],[href*="/?"])::before{left:.6rem;top:.92rem;width:1rem;height:.8rem;border:0;
opacity:1;background:var(--stone);
clip-path:polygon(0 8%,4% 0,36% 0,48% 16%,100% 16%,100% 100%,0 100%)}
tbody a[href^="../"]::before{top:.8rem;height:1rem;background:var(--soft);
clip-path:polygon(50% 6%,88% 46%,78% 56%,57% 34%,57% 94%,43% 94%,43% 34%,22% 56%,12% 46%)}
footer{margin-top:1.25rem;padding-left:.6rem;color:var(--soft);font-size:.875rem}
@media(max-width:34rem){td span,thead span{display:none}th+th,td{padding-left:.75rem}
td{font-size:.8125rem}}
"""
)
"""The style of listings."""


@lru_cache(maxsize=2)
def content_security_policy(style: str) -> str:
    """Return the Content-Security-Policy field value for a page with this `style`.

    It allows the one style, by its digest, so that even a mistake in escaping could not add
    another; and the site's own favicon, which browsers request with every page.
    """
    digest = b2a_base64(sha256(style.encode()), newline=False).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'self'"
    )
