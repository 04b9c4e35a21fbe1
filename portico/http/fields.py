"""One function for each field's rule: values in, meaning out, ProtocolError where there is none.

Only fields whose meaning decides how a message is framed or routed are judged here; a request that
is ambiguous in one of these is how requests are smuggled, so nothing is repaired (RFC 9112, 11.2).
"""

from __future__ import annotations

from portico.http.h1.grammar import CONTENT_LENGTH, HOST, TOKEN
from portico.http.message import CHUNKED, ProtocolError


def content_length(lengths: list[str], codings: list[str], version: int) -> int:
    """The octets of content that follow the head, or CHUNKED (RFC 9112, 6.3).

    `lengths` are the values of Content-Length, `codings` those of Transfer-Encoding. RFC 9112 lets
    a recipient mend a Content-Length that is repeated, or that stands beside a Transfer-Encoding;
    both are refused here.
    """
    if codings:
        if lengths:
            raise ProtocolError(400, "Transfer-Encoding and Content-Length exclude each other.")
        if version == 0:
            raise ProtocolError(400, "HTTP/1.0 has no Transfer-Encoding.")
        if len(codings) > 1:
            raise ProtocolError(400, "There is more than one Transfer-Encoding field.")
        names = [name.strip(" \t").lower() for name in codings[0].split(",")]
        if names[-1] != "chunked" or names.count("chunked") > 1:
            raise ProtocolError(400, "The last transfer coding must be chunked, and only once.")
        if len(names) > 1:
            raise ProtocolError(501, "The only transfer coding known here is chunked.")
        return CHUNKED
    if not lengths:
        return 0
    if len(lengths) > 1 or not CONTENT_LENGTH.fullmatch(lengths[0]):
        raise ProtocolError(400, "Content-Length must be one decimal number.")
    return int(lengths[0])


def host(values: list[str], version: int) -> str:
    """The authority that Host names; "" only for HTTP/1.0 without the field (RFC 9112, 3.2)."""
    if not values and version == 0:
        return ""
    if len(values) != 1:
        raise ProtocolError(400, "A request has exactly one Host field.")
    if not HOST.fullmatch(values[0]):
        raise ProtocolError(400, "The Host field does not name a host.")
    return values[0]


def host_name(authority: str) -> str:
    """The host of a valid authority: lower case, no port, no root dot (RFC 3986, 6.2.2.1)."""
    found = HOST.fullmatch(authority)
    return found[1].lower().removesuffix(".") if found else ""


def keep_alive(values: list[str], version: int) -> bool:
    """Does the connection outlive this exchange, as the client wants it (RFC 9112, 9.3)?"""
    if not values:
        return version == 1
    options = {option.strip(" \t").lower() for value in values for option in value.split(",")}
    if any(option and not TOKEN.fullmatch(option) for option in options):
        raise ProtocolError(400, "The Connection field is not a list of tokens.")
    if "close" in options:
        return False
    return version == 1 or "keep-alive" in options


def expects_continue(values: list[str], version: int) -> bool:
    """Does the client wait for 100 (Continue) before it sends content (RFC 9110, 10.1.1)?"""
    if not values or version == 0:
        return False
    if [value.lower() for value in values] != ["100-continue"]:
        raise ProtocolError(417, "The only expectation known here is 100-continue.")
    return True
