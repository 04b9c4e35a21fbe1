"""RFC 9110, 8.4.1, 12.4, 12.5.3, 12.5.5 and 15.5.7: content codings, chosen with the client."""

from __future__ import annotations

from tests.conformance.case import DEFINED, MAY, MUST, SHOULD, Case, Check, Exchange, ask, case
from tests.conformance.checks import (
    any_coding,
    coded,
    coding,
    either,
    every,
    gunzipped,
    lacks,
    lists,
    measured,
    one_of,
    same,
    status,
    told,
    whole,
)
from tests.conformance.served import DATA, SCRIPT, STYLE

SECTION = "9110 12.5.3"


def accepting(*values: str, path: str = "/style.css", method: str = "GET") -> Exchange:
    """A request with one line of Accept-Encoding for each of `values`."""
    return ask(path, *(f"Accept-Encoding: {value}" for value in values), method=method)


def prefers(name: str, value: str, rule: str, check: Check, level: str = DEFINED) -> Case:
    """A case of what is sent for one value of Accept-Encoding."""
    return case(name, SECTION, level, rule, accepting(value), check=check)


def best(name: str, value: str, rule: str, *codings: str, has: str = "gzip") -> Case:
    """A case of which coding is best: one of `codings`, on a server that has the coding `has`."""
    exchanges = accepting(has), accepting(value)
    check = every(coded(name=has), one_of(*codings))
    return case(name, SECTION, DEFINED, rule, *exchanges, check=check)


# fmt: off
CASES: tuple[Case, ...] = (
    case(
        "no-accept-encoding",
        SECTION,
        DEFINED,
        "Without Accept-Encoding any coding is acceptable.",
        ask("/style.css"),
        check=any_coding(),
    ),
    prefers("accept-gzip", "gzip", "A coding that the client lists is used where it exists: gzip.",
            coding("gzip"), MAY),
    prefers("accept-br", "br",
            "A coding that the client lists is used where it exists: br.", coding("br"), MAY),
    prefers("accept-zstd", "zstd",
            "A coding that the client lists is used where it exists: zstd.", coding("zstd"), MAY),
    prefers("accept-star", "*", "An asterisk stands for every coding that is not listed.",
            any_coding()),
    prefers("accept-empty", "", "An empty value: the client wants no coding.",
            coding("identity")),
    prefers("accept-identity", "identity", "Only identity is listed: no coding.",
            coding("identity"), SHOULD),
    prefers("accept-unknown", "compress, x-unknown",
            "None of the listed codings is at hand: the plain form is sent.",
            coding("identity"), SHOULD),
    prefers("q-zero", "gzip;q=0", "A quality of 0 means: not acceptable.",
            coding("identity"), SHOULD),
    prefers("q-zero-long", "gzip;q=0.000, br;q=0.0",
            "A quality of 0 may be written with decimals.",
            coding("identity"), SHOULD),
    prefers("q-zero-and-star", "*, gzip;q=0, br;q=0, zstd;q=0",
            "What is listed by name is not meant by the asterisk.", coding("identity"), SHOULD),
    best("q-highest-br", "gzip;q=0.5, br;q=1.0",
         "Of several codings the acceptable one with the highest quality is preferred.", "br",
         has="br"),
    best("q-highest-gzip", "br;q=0.5, gzip;q=1.0, zstd;q=0.2",
         "The highest quality is preferred in whatever order the codings come.", "gzip"),
    best("q-default", "br;q=0.9, gzip",
         "A coding without a quality has quality 1.", "gzip"),
    prefers("q-smallest", "gzip;q=0.001", "A quality of 0.001 is acceptable.",
            one_of("gzip", "identity")),
    best("q-identity-higher", "identity;q=1.0, gzip;q=0.5",
         "The plain form can be the preferred one.", "identity"),
    best("q-identity-lower", "gzip;q=1.0, identity; q=0.5, *;q=0",
         "The plain form can be the second choice.", "gzip"),
    best("star-zero", "*;q=0, gzip",
         "An asterisk with 0 excludes what is not listed, the plain form included.", "gzip"),
    best("star-preferred", "gzip;q=0.5, *;q=1.0",
         "An asterisk may be preferred to what is listed.", "br", "zstd", "identity", has="br"),
    best("identity-zero", "identity;q=0, gzip",
         "The plain form can be excluded by name.", "gzip"),
    best("identity-zero-star", "identity;q=0, *;q=0.1",
         "The plain form, excluded by name, is not meant by the asterisk.", "gzip", "br", "zstd"),
    prefers("star-zero-identity", "*;q=0, identity;q=0.1",
            "An entry for identity is more specific than the asterisk.", coding("identity")),
    case(
        "coding-case",
        "9110 8.4.1",
        DEFINED,
        "The names of codings are case-insensitive.",
        accepting("gzip"),
        accepting("GZip;q=1"),
        check=every(coded(), coding("gzip")),
    ),
    case(
        "x-gzip",
        "9110 8.4.1.3",
        SHOULD,
        "x-gzip is the same as gzip.",
        accepting("gzip"),
        accepting("x-gzip"),
        check=every(coded(), coding("gzip")),
    ),
    case(
        "q-case-and-space",
        "9110 12.4.2",
        DEFINED,
        "White space may stand around the semicolon, and q is case-insensitive.",
        accepting("gzip ; Q=0"),
        check=coding("identity"),
    ),
    case(
        "accept-encoding-lines",
        "9110 5.3",
        DEFINED,
        "Several lines of one list field are one list.",
        accepting("br"),
        accepting("gzip;q=0.1", "br;q=0.9"),
        check=every(coded(name="br"), coding("br")),
    ),
    case(
        "accept-encoding-empty-members",
        "9110 5.6.1.2",
        MUST,
        "Empty members of a list are ignored: in Accept-Encoding.",
        accepting("gzip"),
        accepting(", ,gzip,,"),
        check=every(coded(), coding("gzip")),
    ),
    case(
        "nothing-acceptable",
        "9110 12.4.1",
        DEFINED,
        "If nothing at hand is acceptable, the answer is 406, or as if nothing had been said.",
        accepting("identity;q=0", path="/data.bin"),
        check=either(status(406), whole(DATA)),
    ),
    case(
        "nothing-acceptable-star",
        "9110 12.4.1",
        DEFINED,
        "If an asterisk with quality 0 leaves nothing, the answer is 406, or as if "
            "nothing had been said.",
        accepting("*;q=0"),
        check=either(status(406), any_coding()),
    ),
    case(
        "406-honoured",
        "9110 15.5.7",
        MAY,
        "The server honours what the client excludes: 406.",
        accepting("identity;q=0", path="/data.bin"),
        check=status(406),
    ),
    case(
        "406-says-what-there-is",
        "9110 15.5.7",
        SHOULD,
        "The content of a 406 lists what there is to choose from.",
        accepting("*;q=0"),
        check=every(
            measured(406),
            told("no list", lambda answer: b"gzip" in answer.content and b"br" in answer.content),
        ),
    ),
    case(
        "only-coded-file",
        SECTION,
        MAY,
        "A file that exists only in a coding is sent in it.",
        accepting("gzip", path="/script.js"),
        check=gunzipped(SCRIPT),
    ),
    case(
        "only-coded-file-any",
        SECTION,
        DEFINED,
        "A file that exists only in a coding is sent in it without Accept-Encoding, "
            "too: then any coding is acceptable.",
        ask("/script.js"),
        check=every(measured(200, 406), gunzipped(SCRIPT)),
    ),
    case(
        "only-coded-file-refused",
        "9110 12.4.1",
        DEFINED,
        "If a file exists only in a coding that is not acceptable: 406, or the file "
            "nevertheless.",
        accepting("identity", path="/script.js"),
        check=every(measured(200, 406), either(status(406), gunzipped(SCRIPT))),
    ),
    case(
        "vary-on-coded",
        "9110 12.5.5",
        SHOULD,
        "A coded answer says in Vary that Accept-Encoding chose it.",
        accepting("gzip"),
        check=every(coded(), lists("vary", "Accept-Encoding")),
    ),
    case(
        "vary-on-plain",
        "9110 12.5.5",
        SHOULD,
        "The plain answer of a resource that has coded ones says so in Vary, too.",
        accepting("gzip"),
        ask("/style.css"),
        check=every(coded(), any_coding(), lists("vary", "Accept-Encoding")),
    ),
    case(
        "vary-on-head",
        "9110 12.5.5",
        SHOULD,
        "The answer to HEAD says so in Vary, too.",
        accepting("gzip", method="HEAD"),
        check=every(coded(), status(200), lists("vary", "Accept-Encoding")),
    ),
    case(
        "vary-on-304",
        "9110 12.5.5",
        SHOULD,
        "A 304 says so in Vary, too.",
        accepting("gzip"),
        ask("/style.css", "Accept-Encoding: gzip", "If-None-Match: {etag}"),
        check=every(coded(), status(304), lists("vary", "Accept-Encoding")),
    ),
    case(
        "vary-only-where-it-varies",
        "9110 12.5.5",
        DEFINED,
        "A resource with one representation does not vary by Accept-Encoding.",
        accepting("gzip", path="/data.bin"),
        check=every(
            whole(DATA),
            told("varies", lambda answer: "accept-encoding" not in answer.members("vary")),
        ),
    ),
    case(
        "head-of-coded",
        "9110 9.3.2",
        SHOULD,
        "HEAD negotiates as GET does.",
        accepting("gzip"),
        accepting("gzip", method="HEAD"),
        check=same("content-encoding", "content-length", "content-type", "etag", "vary"),
    ),
    case(
        "codings-of-nothing",
        SECTION,
        DEFINED,
        "Accept-Encoding does not matter to what is not there.",
        accepting("identity;q=0", path="/missing"),
        check=status(404),
    ),
    case(
        "plain-after-coded",
        SECTION,
        DEFINED,
        "Who does not accept a coding does not get it because another one did.",
        accepting("gzip"),
        accepting("identity"),
        check=every(whole(STYLE), lacks("content-encoding")),
    ),
)
# fmt: on
