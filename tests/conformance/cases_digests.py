"""RFC 9530: digests of the content and of the representation, where the client wants them."""

from __future__ import annotations

import base64
import hashlib
import re

from tests.conformance.case import (
    DEFINED,
    MAY,
    Case,
    Check,
    NotMeasuredError,
    Transcript,
    ask,
    case,
)
from tests.conformance.checks import coded, every, has, lacks, part, same, status, whole
from tests.conformance.served import DATA, TEXT, style

MEMBER = re.compile(r"([a-z][a-z0-9-]*)=:([0-9A-Za-z+/]*=*):")
HASHES = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}
REPR, CONTENT = "Want-Repr-Digest", "Want-Content-Digest"
WANTED = f"{REPR}: sha-256=10"


def digest(name: str, octets: bytes | None, algorithm: str = "sha-256") -> Check:
    """The last answer has the right digest in that field; `octets` None means: of its content."""

    def check(seen: Transcript) -> str | None:
        value = seen[-1].get(name)
        if value is None:
            raise NotMeasuredError(f"no {name}")
        members: dict[str, str] = {}
        for member in value.split(", "):
            found = MEMBER.fullmatch(member)
            if found is None:
                return f"{name}: {value[:40]}"
            members[found[1]] = found[2]
        of = seen[-1].content if octets is None else octets
        wanted = base64.b64encode(HASHES[algorithm](of).digest()).decode()
        return None if members.get(algorithm) == wanted else "another digest"

    return check


def wants(name: str, section: str, level: str, rule: str, line: str, check: Check) -> Case:
    return case(name, section, level, rule, ask("/text.txt", line), check=every(whole(TEXT), check))


# fmt: off
CASES: tuple[Case, ...] = (
    wants("repr-digest", "9530 3", MAY, "Repr-Digest is sent when it is wanted.",
          WANTED, every(has("repr-digest"), digest("repr-digest", TEXT))),
    wants("content-digest", "9530 2", MAY, "Content-Digest is sent when it is wanted.",
          f"{CONTENT}: sha-256=10", every(has("content-digest"), digest("content-digest", TEXT))),
    wants("digest-preferred", "9530 4", DEFINED,
          "Of several algorithms the one at hand is taken, unless its weight is 0.",
          f"{REPR}: unknown=10, sha-256=1", digest("repr-digest", TEXT)),
    wants("digest-weight-zero", "9530 4", DEFINED, "A weight of 0 means: not acceptable.",
          f"{REPR}: sha-256=0", lacks("repr-digest")),
    wants("digest-unknown", "9530 4", DEFINED,
          "Where no wanted algorithm is at hand, there is an answer without a digest.",
          f"{REPR}: unknown=10", lacks("repr-digest")),
    wants("digest-malformed", "9530 4", DEFINED, "A preference that is malformed is ignored.",
          f"{REPR}: sha-256=ten;;", lacks("repr-digest")),
    case("repr-digest-of-head", "9530 3", DEFINED,
         "Repr-Digest in a response to HEAD is of the representation that GET would "
         "send.",
         ask("/text.txt", WANTED, method="HEAD"),
         check=every(status(200), digest("repr-digest", TEXT))),
    case("content-digest-of-part", "9530 2", DEFINED,
         "In a 206 Content-Digest is of the part that is sent.",
         ask("/text.txt", f"{CONTENT}: sha-256=10", "Range: bytes=5-9"),
         check=every(part(TEXT, 5, 9), digest("content-digest", TEXT[5:10]))),
    case("repr-digest-of-part", "9530 3", DEFINED,
         "Repr-Digest in a 206 is of the whole representation.",
         ask("/text.txt", WANTED, "Range: bytes=5-9"),
         check=every(part(TEXT, 5, 9), digest("repr-digest", TEXT))),
    case("repr-digest-of-coded", "9530 3", DEFINED,
         "Repr-Digest is of the octets after the content coding.",
         ask("/style.css", WANTED, "Accept-Encoding: gzip"),
         check=every(coded(-1), digest("repr-digest", style("gzip")))),
    case("digests-both", "9530 2", DEFINED,
         "Content-Digest and Repr-Digest of a whole response are the same.",
         ask("/data.bin", WANTED, f"{CONTENT}: sha-256=10"),
         check=every(whole(DATA), digest("repr-digest", DATA), digest("content-digest", DATA))),
    case("digest-unwanted", "9530 4", DEFINED,
         "Who wants a digest gets the same representation as who wants none.",
         ask("/text.txt", WANTED), ask("/text.txt"),
         check=every(whole(TEXT), same("etag", "last-modified", "content-type"))),
)
# fmt: on
