"""The status codes that this server sends, each with its reason phrase from the IANA registry.

The phrases are used in status lines, as headings of pages and as titles of problem details.
"""

from __future__ import annotations

# From RFC 9110, 15; 428, 429 and 431 from RFC 6585, 507 from RFC 4918.
REASONS: dict[int, str] = {
    # Informational
    100: "Continue",
    104: "Upload Resumption Supported",  # draft-ietf-httpbis-resumable-upload
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
    # Client error
    400: "Bad Request",
    401: "Unauthorized",
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
    # Server error
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}

REDIRECTS = frozenset({301, 302, 303, 307, 308})
