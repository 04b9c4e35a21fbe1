"""Listening sockets: bind them, and tell the URLs at which they can be reached.

Socket options are set on the listening socket, because accepted sockets inherit them (Linux), so
they cost nothing per connection. The file of a unix socket has mode 0666: like a port on loopback,
every user of this machine can connect, unless the permissions of the file's folder forbid it.

The resolver is asked only for a host that the operator has configured by name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
from typing import TYPE_CHECKING

from portico.config.kinds import HTTP, UNIX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from portico.config.config import Config

    Listeners = dict[str, socket.socket]
    """Listening sockets by address, in the forms that the option `listen` takes."""

HTTPS, CLEAR, REDIRECT = "https", "http", "redirect"
"""How a listening socket is served: the site by HTTPS or by HTTP, or redirects to HTTPS."""
BACKLOG = 4096
"""Most connections that wait to be accepted; the kernel limits this to net.core.somaxconn."""
RECEIVE_BUFFER = 65536
"""The kernel's receive buffer of a connection, in bytes; Linux doubles it."""
_DEFER_SECONDS = 1
"""How long the kernel holds back a connection that has sent nothing. A connection that a browser
opens in advance then costs nothing, and most connections have a request when they are accepted."""
_SOCKET_UMASK = 0o111
"""The umask with which the file of a unix socket gets mode 0666 instead of 0777."""
_TRIES = 8
"""How many free IPv4 ports are tried until one is free for IPv6, too."""
_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT}


FURTHER_PORTS = 20
"""How many ports are tried, from the default one up, if the operator has not chosen one. For more
servers at once, the operator has to choose."""


class BindError(Exception):
    """An address cannot be bound. The message tells the operator why, and how to mend it."""


class PortInUseError(BindError):
    """The port is in use by another program."""


def _addresses(config: Config) -> tuple[str, ...]:
    """Return the addresses to listen on, in the forms that the option `listen` takes."""
    if config.listens:
        return config.listens
    host = config.host.strip("[]")
    if host == "::" or config.lan:  # IPv4 as well, as "::" means on Linux by default
        return (f"*:{config.port}",)
    return (f"[{host}]:{config.port}" if ":" in host else f"{host}:{config.port}",)


def bind(config: Config) -> list[socket.socket]:
    """Listen on the configured addresses. Raises BindError."""
    return list(bind_anew(config, {}).values())


def bind_anew(config: Config, held: Listeners) -> Listeners:
    """Return sockets for the configured addresses: from `held` if it has them, else new ones.

    A unix socket whose file is gone is made anew, because clients cannot connect to the old one. If
    the port is not configured and the default one is in use, the next free port is taken. Raises
    BindError, after closing the new sockets.
    """
    if {"port", "listen"}.isdisjoint(config.given):
        for further in range(FURTHER_PORTS):
            try:
                return _bind(config, held, further)
            except PortInUseError:
                continue
    return _bind(config, held, 0)


def _bind(config: Config, held: Listeners, further: int) -> Listeners:
    """Return sockets by configured address; `further` is added to ports. Raises BindError."""
    listeners = _bind_site(config, held, further)
    if config.redirect_http:
        address = HTTP + config.redirect_http
        try:
            listeners[address] = held.get(address) or _listen_to_redirect(address, config)
        except BindError:
            discard(listeners, kept=held)
            raise
    return listeners


def _bind_site(config: Config, held: Listeners, further: int) -> Listeners:
    if _is_localhost(config):
        addresses = (f"127.0.0.1:{config.port}", f"[::1]:{config.port}")
        kept = {address: held[address] for address in addresses if address in held}
        return kept or _listen_on_loopback(*addresses, config, further)
    listeners: Listeners = {}
    try:
        for address in _addresses(config):
            known = held.get(address)
            is_lost = isinstance(known, _UnixListener) and not known.has_file()
            if known is None or is_lost:
                known = _listen(address, config, further)
            listeners[address] = known
    except BindError:
        discard(listeners, kept=held)
        raise
    return listeners


def _is_localhost(config: Config) -> bool:
    return config.host == "localhost" and not (config.listens or config.lan)


def _listen_on_loopback(ipv4: str, ipv6: str, config: Config, further: int) -> Listeners:
    """Return sockets for both addresses, with the same port; for IPv4 alone if there is no IPv6.

    The resolver is not asked for localhost (RFC 6761, 6.3). Raises BindError.
    """
    tries = 1 if config.port else _TRIES
    while True:
        listener = _listen(ipv4, config, further)
        port = listener.getsockname()[1]
        try:
            return {ipv4: listener, ipv6: _listen_on(_ipv6_socket(only=True), ("::1", port))}
        except OSError as error:
            if error.errno in _NO_IPV6:
                return {ipv4: listener}
            listener.close()
            tries -= 1
            if not tries or error.errno != errno.EADDRINUSE:
                raise _bind_error(error, "::1", port, config) from None


def discard(listeners: Listeners, *, kept: Listeners | None = None) -> None:
    """Close the sockets in `listeners` that are not in `kept`, and remove their files.

    Sockets may be closed already.
    """
    for address, listener in listeners.items():
        if kept is None or kept.get(address) is not listener:
            listener.close()
            if isinstance(listener, _UnixListener) and listener.has_file():
                with contextlib.suppress(OSError):
                    os.unlink(listener.path)


def schemes(config: Config, listeners: Listeners) -> list[str]:
    """Return HTTPS, CLEAR or REDIRECT for each of `listeners`, in order."""
    return [_scheme(config, address, listener) for address, listener in listeners.items()]


def _scheme(config: Config, address: str, listener: socket.socket) -> str:
    if config.redirect_http and address == HTTP + config.redirect_http:
        return REDIRECT
    is_clear = address.startswith(HTTP) or is_unix(listener)
    return CLEAR if is_clear or not has_tls(config) else HTTPS


def has_tls(config: Config) -> bool:
    """Whether TCP sockets are served with TLS, unless their address begins with "http://"."""
    return bool(config.tls_certs)


class _UnixListener(socket.socket):
    """A unix socket that remembers the file which it has made."""

    def __init__(self, path: str) -> None:
        """Bind the socket to `path`. Raises OSError."""
        super().__init__(socket.AF_UNIX)
        # Not chmod afterwards, which would follow a symlink put in the place of the file.
        before = os.umask(_SOCKET_UMASK)
        try:
            self.bind(path)
            self.path = os.path.abspath(path)
            self._made = os.lstat(path)
        except OSError:
            self.close()
            raise
        finally:
            os.umask(before)

    def has_file(self) -> bool:
        """Whether the file at the path is still the one of this socket.

        The mtime is compared as well, since a file made later may get the same inode number.
        """
        try:
            found = os.lstat(self.path)
        except OSError:
            return False
        made = self._made
        return os.path.samestat(found, made) and found.st_mtime_ns == made.st_mtime_ns


def _listen_to_redirect(address: str, config: Config) -> socket.socket:
    try:
        return _listen(address, config, 0)
    except BindError as problem:
        raise BindError(f"--redirect-http: {str(problem).partition(';')[0]}") from None


def _listen(address: str, config: Config, further: int) -> socket.socket:
    if address.startswith(UNIX):
        return _listen_unix(address.removeprefix(UNIX))
    host, _, digits = address.removeprefix(HTTP).rpartition(":")
    port = int(digits) + further
    try:
        if host == "*":
            return _listen_on_all(port)
        found = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError):
        raise BindError(f"unknown host: {host!r}") from None
    except OSError as error:
        raise _bind_error(error, "all addresses", port, config) from None
    family, kind, protocol, _, place = found[0]
    try:
        if place[0] == "::":
            return _listen_on(_ipv6_socket(only=True), place)
        return _listen_on(socket.socket(family, kind, protocol), place)
    except OSError as error:
        raise _bind_error(error, host.strip("[]"), port, config) from None


def _listen_on_all(port: int) -> socket.socket:
    """Return one socket for IPv6 and IPv4, or for IPv4 alone if the system has no IPv6."""
    try:
        return _listen_on(_ipv6_socket(only=False), ("::", port))
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
    return _listen_on(socket.socket(socket.AF_INET), ("0.0.0.0", port))  # noqa: S104 (asked for)


def _ipv6_socket(*, only: bool) -> socket.socket:
    """Return a socket for IPv6 `only`, or for IPv4 as well, whatever the system's default.

    Raises OSError if there is no IPv6.
    """
    if not socket.has_ipv6:
        raise OSError(errno.EAFNOSUPPORT, "Python was built without IPv6")
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    return listener


def _listen_on(listener: socket.socket, place: Any) -> socket.socket:  # noqa: ANN401
    try:
        set_options(listener)
        if not is_unix(listener):
            listener.bind(place)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _listen_unix(path: str) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise BindError("this system has no unix sockets; listen on HOST:PORT")
    try:
        if _is_stale(path):
            os.unlink(path)
        return _listen_on(_UnixListener(path), path)
    except OSError as error:
        raise BindError(_explain_unix(error, path)) from None


def _is_stale(path: str) -> bool:
    """Whether `path` is a socket on which no server listens any more."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:  # its backlog is full, or we have no permission: a server listens
            return False
    return False


def set_options(listener: socket.socket) -> None:
    """Set the options that accepted connections inherit. A unix socket needs none."""
    if is_unix(listener):
        return
    if sys.platform == "win32":
        # On Windows, SO_REUSEADDR would let another program take over the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        # Allows binding the port while old connections are in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Otherwise the last segment of a response would wait for an acknowledgement (Nagle's algorithm,
    # which is not needed: a response is sent in as few calls as possible).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Otherwise the kernel buffers megabytes of a client that pipelines and reads no responses.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    if hasattr(socket, "TCP_DEFER_ACCEPT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER_SECONDS)


def _bind_error(error: OSError, host: str, port: int, config: Config) -> BindError:
    """Return the BindError that explains `error` to the operator."""
    address = {"all addresses": ""}.get(host, f"[{host}]" if ":" in host else host)
    option, zero = ("--listen", f"{address}:0") if config.listens else ("--port", "0")
    if error.errno == errno.EADDRINUSE:
        free = f"{option} {zero} takes any free one"
        return PortInUseError(f"port {port} on {host} is in use; choose another: {free}")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return BindError(f"port {port} on {host} is not allowed for this user; take one above 1023")
    if error.errno == errno.EADDRNOTAVAIL:
        return BindError(f"{host} is not an address of this machine")
    return BindError(f"cannot listen on {host}, port {port}: {error.strerror or error}")


def _explain_unix(error: OSError, path: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{path} is in use by another server, or is not a socket"
    if error.errno == errno.ENOENT:
        return f"no such folder: {os.path.dirname(path)!r}, for the unix socket {path!r}"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"this user may not create {path}"
    return f"cannot listen on {path}: {error.strerror or error}"


def url_of(listener: socket.SocketType, scheme: str = CLEAR) -> str:
    """Return the URL of a listening socket; the loopback URL if it listens on all addresses.

    A unix socket has no URL: the result is its address, in the form that the option `listen` takes.
    """
    if is_unix(listener):
        return UNIX + os.fsdecode(listener.getsockname()).replace("\0", "@")
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return _url(host, port, scheme)


def reachable_urls(
    config: Config, listeners: Sequence[socket.socket], schemes: Sequence[str] = ()
) -> list[str]:
    """Return the URLs to print: first those for this machine, then those for other machines.

    `schemes` has the scheme of each listener (see `schemes()`); if empty, all are CLEAR.
    """
    ways = list(zip(listeners, schemes or [CLEAR] * len(listeners), strict=True))
    ways = [(listener, scheme) for listener, scheme in ways if scheme != REDIRECT]
    if _is_localhost(config) and all(is_loopback(listener) for listener, _ in ways):
        named = [_url("localhost", each.getsockname()[1], scheme) for each, scheme in ways]
        return _below(config, named)
    urls, others = [], []
    for listener, scheme in ways:
        host, port = ("", 0) if is_unix(listener) else listener.getsockname()[:2]
        both = host == "::" and not listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        urls.append(_url("localhost", port, scheme) if both else url_of(listener, scheme))
        if host in {"0.0.0.0", "::"}:  # noqa: S104
            own = own_addresses(ipv4=host != "::" or both, ipv6=host == "::")
            others += [_url(address, port, scheme) for address in own]
    return _below(config, [*urls, *others])


def _below(config: Config, urls: list[str]) -> list[str]:
    """Return `urls` with the path of `--base` appended, without duplicates."""
    base = config.base[1:]
    return list(dict.fromkeys([url if url.startswith(UNIX) else url + base for url in urls]))


def is_loopback(listener: socket.socket) -> bool:
    """Whether `listener` is a TCP socket to which only this machine can connect.

    A unix socket is not one: a proxy connects to it, which may forward requests for any host.
    """
    host = "" if is_unix(listener) else listener.getsockname()[0]
    return bool(host == "::1" or host.startswith(("127.", "::ffff:127.")))


def is_local(listener: socket.socket) -> bool:
    """Whether only this machine can connect to `listener`."""
    return is_unix(listener) or is_loopback(listener)


def is_unix(listener: socket.SocketType) -> bool:
    """Whether `listener` is a unix socket."""
    return listener.family == getattr(socket, "AF_UNIX", None)


def _url(host: str, port: int, scheme: str) -> str:
    host = f"[{host}]" if ":" in host else host
    is_usual = port == (443 if scheme == HTTPS else 80)
    return f"{scheme}://{host}/" if is_usual else f"{scheme}://{host}:{port}/"


def own_addresses(*, ipv4: bool = True, ipv6: bool = True) -> list[str]:
    """Return the addresses of this machine, without loopback and link-local ones.

    IPv4 addresses come first, and in each family the one from which this machine sends to others.
    """
    addresses = _source_addresses() + _interface_addresses()
    kept = [
        address
        for address in dict.fromkeys(addresses)
        if not address.startswith(("127.", "169.254.", "fe80"))
        and address != "::1"
        and (ipv6 if ":" in address else ipv4)
    ]
    return sorted(kept, key=lambda address: ":" in address)


def _interface_addresses() -> list[str]:
    """Return the IPv4 address of each network interface (Linux only)."""
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


def _source_addresses() -> list[str]:
    """Return the addresses, one per family, from which this machine would send to others.

    Connecting a UDP socket sends nothing; the system only looks up the route.
    """
    found = []
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))  # addresses for documentation (RFC 5737, RFC 3849)
            found.append(str(probe.getsockname()[0]))
    return found
