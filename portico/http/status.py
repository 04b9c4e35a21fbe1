"""The status codes this server may send, each with its registered reason phrase.

Rule: the phrases are those of the IANA registry, word for word, so that they may stand in a
status line, in a page's heading and as the title of problem details alike.
Limit: only what a server of files has a use for; a code that is missing here is not sent.
"""

from __future__ import annotations

# RFC 9110 section 15, but for 428, 429 and 431 (RFC 6585) and 507 (RFC 4918).
REASONS: dict[int, str] = {
    # Informational
    100: "Continue",
    # Successful
    200: "OK",
    201: "Created",
    204: "No Content",
    206: "Partial Content",
    # Redirection
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    # The client's part
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    421: "Misdirected Request",
    426: "Upgrade Required",
    428: "Precondition Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    # The server's part
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}
