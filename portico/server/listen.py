"""Listening sockets: bind them, say where they can be reached.

Rule: what can be set once on the listening socket is inherited by each accepted one (Linux), so it
costs nothing per connection.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from portico.config import Config

    Acceptor = Callable[[], tuple[socket.socket, Any]]

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn."""
RECEIVE_BUFFER = 65536
"""Octets that the kernel may take from a client before we do; Linux doubles it."""
_DEFER_SECONDS = 1
"""For how long the kernel keeps a connection to itself that has sent nothing: a speculative one of
a browser's then costs nothing, and the request is there when the connection is accepted."""


class BindError(Exception):
    """The address cannot be had. The message tells the operator why, and what to do."""


def bind(config: Config) -> list[socket.socket]:
    """Listen on the configured host and port. Raises BindError."""
    host, port = config.host.strip("[]"), config.port
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError):
        cure = "use --host 127.0.0.1, or an address of this machine"
        msg = f"no address is known for host {config.host!r}; {cure}"
        raise BindError(msg) from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        _set_options(listener)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise BindError(_explain(error, config)) from None
    return [listener]


def acceptor(listener: socket.socket) -> Acceptor:
    """What `listener.accept` does, without its conversions to and from enums at each call.

    They come to 1.6 us, a twentieth of a connection that serves one request.
    """
    accept_descriptor = getattr(listener, "_accept", None)
    if accept_descriptor is None:  # it is no public name, so do without
        return listener.accept
    kind = int(listener.family), int(listener.type), listener.proto

    def accept() -> tuple[socket.socket, Any]:
        descriptor, address = accept_descriptor()
        return socket.socket(*kind, descriptor), address

    return accept


def _set_options(listener: socket.socket) -> None:
    if sys.platform == "win32":
        # There, SO_REUSEADDR would let another program take the port over.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        # The port can be bound again at once, though old connections linger in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # A reply is sent in as few calls as there can be; its last piece must not wait for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Or the kernel takes megabytes from a client that pipelines and does not read its replies.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    if hasattr(socket, "TCP_DEFER_ACCEPT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER_SECONDS)


def _explain(error: OSError, config: Config) -> str:
    """What went wrong, for the operator."""
    host, port = config.host, config.port
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use by another program; "
            f"choose another with --port {port + 1 if port < 65535 else 8080}, "
            "or let the system choose with --port 0"
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return (
            f"port {port} on {host} may not be used by this user; choose one above 1023 with --port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; use --host 127.0.0.1, or one of its own"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"


def url_of(listener: socket.socket) -> str:
    """The URL of a listening socket, for this machine's own use if it listens on all addresses."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return _url(host, port)


def reachable_urls(config: Config, listeners: list[socket.socket]) -> list[str]:
    """The URLs to print: first the one for this machine, then those by which others reach it."""
    urls = [url_of(listener) for listener in listeners]
    for listener in listeners:
        host, port = listener.getsockname()[:2]
        if host in {"0.0.0.0", "::"}:  # noqa: S104
            urls += [_url(address, port) for address in _own_addresses(listener.family)]
    if config.host == "localhost":
        urls[0] = _url("localhost", listeners[0].getsockname()[1])
    return list(dict.fromkeys(urls))


def is_loopback(listener: socket.socket) -> bool:
    """Can only this machine connect to it?"""
    host = listener.getsockname()[0]
    return bool(host == "::1" or host.startswith(("127.", "::ffff:127.")))


def _url(host: str, port: int) -> str:
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}/" if port == 80 else f"http://{host}:{port}/"


def _own_addresses(family: int) -> list[str]:
    """The machine's own addresses, loopback and link-local ones left out."""
    addresses: list[str] = []
    for source in (_interface_addresses, _named_addresses):
        try:
            addresses += source()
        except OSError:
            continue
    kept = [
        address
        for address in dict.fromkeys(addresses)
        if not address.startswith(("127.", "169.254.", "fe80"))
        and address != "::1"
        and (family == socket.AF_INET6 or ":" not in address)
    ]
    return sorted(kept, key=lambda address: ":" in address)


def _interface_addresses() -> list[str]:
    """The IPv4 address of each network interface, where the system tells (Linux)."""
    try:
        import fcntl
    except ImportError:
        return []
    get_interface_address = 0x8915  # SIOCGIFADDR
    addresses = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = name.encode()[:15].ljust(40, b"\0")
            try:
                answer = fcntl.ioctl(probe.fileno(), get_interface_address, request)
            except OSError:
                continue
            addresses.append(socket.inet_ntoa(answer[20:24]))
    return addresses


def _named_addresses() -> list[str]:
    """The addresses that this machine's own name stands for."""
    found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
