"""Rules of the RFCs' ABNF as compiled patterns, each below its rule.

Whole lines are matched as bytes, without their CRLF. Matching takes time linear in the input: a
character class is repeated possessively, so it never backtracks, and a group is repeated greedily,
but each repetition begins with a character that decides whether it matches. (A group must not be
repeated possessively: Python before 3.11.5 matches that wrongly.)
"""

from __future__ import annotations

import re

# token = 1*tchar (RFC 9110, 5.6.2)
_TCHAR = r"!#$%&'*+\-.^_`|~0-9A-Za-z"
TOKEN = re.compile(f"[{_TCHAR}]++")

# request-line = method SP request-target SP HTTP-version (RFC 9112, 3). The target may have all
# characters but white space and controls: browsers do not percent-encode "|", "{" and others in a
# query, and busybox wget, lftp and Java's HttpURLConnection do not encode non-ASCII bytes.
REQUEST_LINE = re.compile(
    rf"([{_TCHAR}]++) ([!-~\x80-\xff]++) HTTP/([0-9])\.([0-9])".encode("latin-1")
)

# The form of nearly every request line: origin-form, ASCII, HTTP/1.0 or 1.1. As a string.
# Groups: method, target, path, query, minor version.
USUAL_LINE = re.compile(rf"([{_TCHAR}]++) ((/[!\"$->@-~]*+)(?:\?([!\"$-~]*+))?) HTTP/1\.([01])")

# A valid request line with a query, in origin-form. Groups: the line before the query, and after.
QUERY_LINE = re.compile(rb"([A-Z]++ /[!-\"$->@-~\x80-\xff]*+)\?[!-\"$-~\x80-\xff]*+( HTTP/1\.[01])")

# field-line = field-name ":" OWS field-value OWS (RFC 9112, 5), without obs-fold; field-value is
# visible ASCII, SP, HTAB and obs-text (RFC 9110, 5.5). The caller strips the OWS.
FIELD_LINE = re.compile(rf"([{_TCHAR}]++):([\t -~\x80-\xff]*+)".encode("latin-1"))

# The bytes that a field value may have.
VALUE_OCTETS = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])

# Host = uri-host [ ":" port ] (RFC 9110, 7.2); uri-host = IP-literal / IPv4address / reg-name
# (RFC 3986, 3.2.2). RFC 3986 permits an empty host, but http does not (RFC 9110, 4.2.1).
HOST = re.compile(
    r"(\[[0-9A-Fa-f:.]++\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::([0-9]{0,5}+))?"
)

# Content-Length = 1*DIGIT (RFC 9110, 8.6). No file has a length of more than 18 digits.
CONTENT_LENGTH = re.compile(r"[0-9]{1,18}+")

# quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE (RFC 9110, 5.6.4)
QUOTED = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'

# chunk-size = 1*HEXDIG (RFC 9112, 7.1), then chunk-ext (7.1.1): *( BWS ";" BWS name [ BWS "=" BWS
# value ] ). Valid extensions are ignored. 15 digits limit the size to less than 2**60.
CHUNK_LINE = re.compile(
    (
        r"([0-9A-Fa-f]{1,15}+)"
        rf"(?:[\t ]*+;[\t ]*+[{_TCHAR}]++(?:[\t ]*+=[\t ]*+(?:[{_TCHAR}]++|{QUOTED}))?)*"
    ).encode("latin-1")
)

# absolute-form = absolute-URI (RFC 9112, 3.2.2), here with the schemes http and https:
# scheme "://" authority path-abempty [ "?" query ].
ABSOLUTE_FORM = re.compile(r"([Hh][Tt][Tt][Pp][Ss]?)://([^/?#]*+)(/[^?#]*+)?(?:\?([^#]*+))?")

# origin-form = absolute-path [ "?" query ] (RFC 9112, 3.2.1). A fragment is never sent.
ORIGIN_FORM = re.compile(r"(/[^?#]*+)(?:\?([^#]*+))?")
