"""The style sheets of the server's own pages, and the policy that allows nothing but them."""

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

# The sign on the icon of a file, with the file name suffixes that it is for.
_SIGNS = {
    "\u25b2": "avif gif ico jpeg jpg png svg webp",
    "\u25b8": "avi m4v mkv mov mp4 webm",
    "\u266a": "aac flac m4a mp3 oga ogg opus wav",
    "\u2261": "7z br bz2 deb gz jar rar tar tgz whl xz zip zst",
    "<": "c cpp css go h htm html java js json jsx php py rb rs sh toml ts tsx xml yaml yml",
    "\u00b6": "csv doc docx epub log md odt pdf rst rtf tsv txt",
}

NOTICE = (
    _BASE
    + """\
main{display:grid;align-content:center;min-height:88vh;min-height:88svh;max-width:38rem}
svg{color:var(--stone);margin-bottom:1.25rem}
p{margin:.9rem 0 0}
.status{margin:0 0 .15rem;color:var(--soft);letter-spacing:.12em}
.detail{border-left:2px solid var(--line);padding-left:.9rem;color:var(--soft);
overflow-wrap:anywhere}
pre{margin:.9rem 0 0;padding:.6rem .9rem;border-radius:6px;background:var(--tint);overflow:auto;
font:.9375rem/1.5 ui-monospace,Consolas,monospace;user-select:all}
"""
)
"""The style of error pages."""

LISTING = (
    _BASE
    + """\
html{scroll-padding-top:3.5rem}
main{display:flex;flex-direction:column;max-width:60rem;
padding:clamp(1.25rem,4vw,2.5rem) clamp(1rem,4vw,2.5rem)}
h1{font-size:clamp(1.5rem,4vw,2rem)}
bdi{white-space:pre-wrap;overflow-wrap:anywhere}
nav ol{display:flex;flex-wrap:wrap;margin:0 0 .15rem;padding:0;list-style:none;color:var(--soft)}
nav li::after{content:"/"/"";margin:0 .4rem}
main>footer{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;
justify-content:space-between;margin:.35rem 0 .75rem;min-height:2rem;color:var(--soft);
font-size:.875rem}
#list,article{order:1}
input{width:15rem;max-width:100%;padding:.3rem .6rem;border:1px solid var(--soft);border-radius:6px;
background:var(--paper);color:inherit;font:inherit;color:var(--ink)}
input:focus-visible{outline:2px solid var(--link);outline-offset:0}
#list{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
#list th{padding:0;font-weight:400;text-align:left}
#list thead th{position:sticky;top:0;z-index:1;background:var(--paper);font-size:.8125rem;
box-shadow:inset 0 -1px var(--line)}
button{padding:.4rem 0;border:0;background:none;color:var(--soft);font:inherit;cursor:pointer}
button:hover{text-decoration:underline}
button:focus-visible{outline:2px solid var(--link);outline-offset:-2px;border-radius:3px}
#list thead th:first-child{padding-left:.5rem}
th[aria-sort] button{color:var(--ink)}
th[aria-sort]:first-child button::after,th+th[aria-sort] button::before{content:"\\2191"/"";
margin:0 .35rem}
th[aria-sort=descending]:first-child button::after,
th+th[aria-sort=descending] button::before{content:"\\2193"/""}
#list tbody tr{border-bottom:1px solid var(--line)}
#list tbody tr:hover{background:var(--tint)}
#list th+th,#list td{padding-left:1.25rem;text-align:right;white-space:nowrap}
#list th:last-child,#list td:last-child{padding-right:.5rem}
#list td{color:var(--soft);font-size:.875rem}
#list td.empty{padding:2rem .5rem;text-align:center}
#list:has(.empty) thead{display:none}
#list tbody th{width:100%}
#list a{display:block;position:relative;padding:.2rem 0 .2rem 2.1rem;text-decoration:none}
#list a:focus-visible{outline-offset:-2px}
#list a:hover bdi{text-decoration:underline}
#list a::before{content:"";position:absolute;left:.6rem;top:.35rem;width:.9rem;height:1.1rem;
border:1.5px solid var(--soft);border-radius:2px 5px 2px 2px;color:var(--soft);
font:700 .625rem/.95rem system-ui,sans-serif;text-align:center;opacity:.75}
#list a:is([href$="/"],[href*="/?"])::before{left:.55rem;top:.52rem;width:1rem;height:.8rem;
border:0;opacity:1;background:var(--stone);
clip-path:polygon(0 8%,4% 0,36% 0,48% 16%,100% 16%,100% 100%,0 100%)}
"""
    + "".join(
        "#list a:is({})::before{{content:'{}'/''}}\n".format(
            ",".join(f"[href$='.{suffix}' i]" for suffix in suffixes.split()), sign
        )
        for sign, suffixes in _SIGNS.items()
    )
    + """\
article{margin-top:1.5rem;padding:.25rem 1.25rem 1.25rem;border:1px solid var(--line);
border-radius:8px;overflow-wrap:anywhere}
article :is(h2,h3,h4,h5,h6){margin:1.1rem 0 .5rem;line-height:1.3}
article :is(pre,table){display:block;overflow:auto;border-collapse:collapse}
article pre{padding:.75rem 1rem;border-radius:6px;background:var(--tint)}
article>pre:only-child{padding:0;background:none;white-space:pre-wrap}
article :is(code,pre){font:.875em/1.5 ui-monospace,Consolas,monospace}
article img{max-width:100%}
article :is(th,td){padding:.3rem .6rem;border:1px solid var(--line);text-align:left}
article blockquote{margin-left:0;padding-left:1rem;border-left:3px solid var(--line);
color:var(--soft)}
@media(max-width:34rem){
#list,#list thead,#list tbody,#list thead tr{display:block}
#list thead tr{display:flex;gap:1.25rem;position:sticky;top:0;z-index:1;background:var(--paper)}
#list thead th{padding:0!important;box-shadow:none}
#list thead th:first-child{flex:1}
#list tbody tr:not([hidden]){display:flex;flex-wrap:wrap;padding-bottom:.35rem}
#list tbody a{padding-bottom:0}
#list td:not(.empty){padding:0 0 0 2.1rem;font-size:.8125rem}
#list td:not(.empty)+td{padding-left:.9rem}
#list td:empty{display:none}
#list td:empty+td{padding-left:2.1rem}
#list td.empty{width:100%}
input{width:100%}
}
#upload{margin:1rem 0 .5rem;padding:.8rem 1rem;border:1px dashed var(--line);
border-radius:8px;background:var(--tint);font-size:.9375rem}
#upload p{margin:0 0 .5rem;color:var(--soft)}
#upload p:empty{display:none}
#upload form{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center}
#upload label{min-width:0;max-width:100%}
#upload input{width:auto;max-width:100%;padding:0;border:0;background:none;font:inherit;
font-size:.875rem;color:inherit}
#upload button,#list td button{font:inherit;font-size:.8125rem;padding:.2rem .7rem;
border-radius:6px;border:1px solid var(--line);background:var(--paper);color:var(--link);
cursor:pointer}
#list td button{margin-left:.75rem;padding:0 .5rem}
#upload ul{margin:.5rem 0 0;padding:0;list-style:none}
#upload li{display:flex;flex-wrap:wrap;gap:.25rem .75rem;align-items:center;padding:.25rem 0;
font-size:.875rem}
#upload li bdi{overflow-wrap:anywhere}
#upload li span{color:var(--soft)}
#upload li.failed span{color:var(--ink)}
#upload progress{flex:1 1 8rem;min-width:6rem;accent-color:var(--stone)}
.dropping #upload{border-color:var(--link);outline:2px solid var(--link)}
"""
)
"""The style of listings."""


@lru_cache(maxsize=4)
def content_security_policy(style: str, *scripts: str) -> str:
    """Return the Content-Security-Policy field value for a page with this `style` and `scripts`.

    It allows these by their digests, so that even a mistake in escaping could not add others. It
    also allows images of this site: the favicon, which browsers request with every page, and those
    in a README. A page with a script also has a form, which is sent to this site; a page with
    several scripts may send requests to this site.
    """
    active = "form-action 'none'"
    if scripts:
        active = f"script-src {' '.join(map(_digest, scripts))}; form-action 'self'"
    if len(scripts) > 1:
        active += "; connect-src 'self'"
    return (
        f"default-src 'none'; style-src {_digest(style)}; {active};"
        " img-src 'self'; base-uri 'none'; frame-ancestors 'self'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{b2a_base64(sha256(text.encode()), newline=False).decode()}'"
