"""Listening sockets: bind them, say where they can be reached.

Rule: what can be set once on the listening socket is inherited by each accepted one (Linux), so it
costs nothing per connection. The file of a unix socket has mode 666: like a port on loopback, it is
there for everybody on this machine; the rights of the folder it lies in say who gets there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
from typing import TYPE_CHECKING

from portico.config.options import UNIX

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from portico.config.config import Config

    Listeners = dict[str, socket.socket]
    """Listening sockets by address, in the forms that the option `listen` takes."""

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn."""
RECEIVE_BUFFER = 65536
"""Octets that the kernel may take from a client before we do; Linux doubles it."""
_DEFER_SECONDS = 1
"""For how long the kernel keeps a connection to itself that has sent nothing: a speculative one of
a browser's then costs nothing, and the request is there when the connection is accepted."""
_SOCKET_MODE = 0o666
_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT}


class BindError(Exception):
    """The address cannot be had. The message tells the operator why, and what to do."""


def addresses(config: Config) -> tuple[str, ...]:
    """Where to listen, in the forms that the option `listen` takes."""
    if config.listens:
        return config.listens
    host = config.host.strip("[]")
    if host == "::":  # with IPv4, as Linux has it unless told otherwise
        return (f"*:{config.port}",)
    return (f"[{host}]:{config.port}" if ":" in host else f"{host}:{config.port}",)


def bind(config: Config) -> list[socket.socket]:
    """Listen on the configured addresses. Raises BindError."""
    return list(bind_anew(config, {}).values())


def bind_anew(config: Config, held: Listeners) -> Listeners:
    """The sockets for the configured addresses: of those that are `held`, else new ones.

    Raises BindError; then there are no new ones.
    """
    listeners: Listeners = {}
    try:
        for address in addresses(config):
            listeners[address] = held.get(address) or _listen(address, config)
    except BindError:
        discard({name: listeners[name] for name in listeners.keys() - held.keys()})
        raise
    return listeners


def discard(listeners: Listeners) -> None:
    """Close listening sockets; those of unix sockets that we made leave no file behind."""
    for address, listener in listeners.items():
        files = socket_files([listener]) if address.startswith(UNIX) else []
        listener.close()
        remove(files)


def socket_files(listeners: Iterable[socket.socket]) -> list[tuple[str, os.stat_result]]:
    """The files of those that are unix sockets, for `remove` when the sockets are closed."""
    files = []
    for listener in listeners:
        path = listener.getsockname() if is_unix(listener) else ""
        if path and isinstance(path, str):
            with contextlib.suppress(OSError):
                files.append((path, os.lstat(path)))
    return files


def remove(files: list[tuple[str, os.stat_result]]) -> None:
    """Remove the files of unix sockets, unless another server has taken their place.

    Its file may well have the same inode, but not the same mtime, too.
    """
    for path, known in files:
        with contextlib.suppress(OSError):
            found = os.lstat(path)
            if os.path.samestat(found, known) and found.st_mtime_ns == known.st_mtime_ns:
                os.unlink(path)


def _listen(address: str, config: Config) -> socket.socket:
    if address.startswith(UNIX):
        return _listen_unix(address.removeprefix(UNIX))
    host, _, port = address.rpartition(":")
    try:
        if host == "*":
            return _listen_everywhere(int(port))
        found = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError):
        cure = "use 127.0.0.1, or an address of this machine"
        raise BindError(f"no address is known for host {host!r}; {cure}") from None
    except OSError as error:
        raise BindError(_explain(error, "all addresses", int(port), config)) from None
    family, kind, protocol, _, place = found[0]
    try:
        if place[0] == "::":
            return _listen_on(_ipv6_socket(alone=True), place)
        return _listen_on(socket.socket(family, kind, protocol), place)
    except OSError as error:
        raise BindError(_explain(error, host.strip("[]"), int(port), config)) from None


def _listen_everywhere(port: int) -> socket.socket:
    """One socket for IPv6 and IPv4, or for IPv4 where the system has no IPv6."""
    if socket.has_ipv6:
        try:
            return _listen_on(_ipv6_socket(alone=False), ("::", port))
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return _listen_on(socket.socket(socket.AF_INET), ("0.0.0.0", port))  # noqa: S104 (asked for)


def _ipv6_socket(*, alone: bool) -> socket.socket:
    """One for IPv6 `alone`, or for IPv4 as well, whatever the system prefers."""
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
    return listener


def _listen_on(listener: socket.socket, place: Any) -> socket.socket:  # noqa: ANN401
    try:
        set_options(listener)
        listener.bind(place)
        if is_unix(listener):
            os.chmod(place, _SOCKET_MODE)
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
        return _listen_on(socket.socket(socket.AF_UNIX), path)
    except OSError as error:
        raise BindError(_explain_unix(error, path)) from None


def _is_stale(path: str) -> bool:
    """Was a socket's file left here by a server that is no more?"""
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
        except OSError:  # its queue is full, or we may not ask: somebody is there
            return False
    return False


def set_options(listener: socket.socket) -> None:
    """What each accepted connection inherits. A unix socket needs none of it."""
    if is_unix(listener):
        return
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


def _explain(error: OSError, host: str, port: int, config: Config) -> str:
    """What went wrong, for the operator."""
    option = "--listen" if config.listens else "--port"
    if error.errno == errno.EADDRINUSE:
        other = "" if config.listens else f" {port + 1 if port < 65535 else 8080}"
        zero = f"{host}:0" if config.listens else "0"
        return (
            f"port {port} on {host} is in use by another program; "
            f"choose another with {option}{other}, "
            f"or let the system choose with {option} {zero}"
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        cure = f"choose one above 1023 with {option}"
        return f"port {port} on {host} may not be used by this user; {cure}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; use 127.0.0.1, or one of its own"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"


def _explain_unix(error: OSError, path: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{path} is in use by another program, or is no socket; choose another path"
    if error.errno == errno.ENOENT:
        return f"{path} lies in a folder that does not exist; create it"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"{path} may not be made by this user; choose another folder"
    return f"cannot listen on {path}: {error.strerror or error}"


def url_of(listener: socket.socket) -> str:
    """The URL of a listening socket, for this machine's own use if it listens on all addresses.

    A unix socket has none: it is named as the option `listen` does.
    """
    if is_unix(listener):
        return UNIX + os.fsdecode(listener.getsockname()).replace("\0", "@")
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return _url(host, port)


def reachable_urls(config: Config, listeners: list[socket.socket]) -> list[str]:
    """The URLs to print: first those for this machine, then those by which others reach it."""
    urls = [url_of(listener) for listener in listeners]
    if config.host == "localhost" and not config.listens and not is_unix(listeners[0]):
        urls[0] = _url("localhost", listeners[0].getsockname()[1])
    for listener in listeners:
        host, *port = ("",) if is_unix(listener) else listener.getsockname()[:2]
        if host in {"0.0.0.0", "::"}:  # noqa: S104
            both = host == "::" and not listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            own = _own_addresses(ipv4=host != "::" or both, ipv6=host == "::")
            urls += [_url(address, *port) for address in (["127.0.0.1"] if both else []) + own]
    return list(dict.fromkeys(urls))


def is_loopback(listener: socket.socket) -> bool:
    """Does it listen on TCP, where only this machine can connect?

    A unix socket is something else: behind it is a proxy, with hosts that we do not know.
    """
    host = "" if is_unix(listener) else listener.getsockname()[0]
    return bool(host == "::1" or host.startswith(("127.", "::ffff:127.")))


def host_of(listener: socket.socket) -> str:
    """The host by which a client would name the address of a listening TCP socket."""
    host = str(listener.getsockname()[0])
    return f"[{host}]" if ":" in host else host


def is_local(listener: socket.socket) -> bool:
    """Can only this machine connect to it?"""
    return is_unix(listener) or is_loopback(listener)


def is_unix(listener: socket.socket) -> bool:
    """Is its address a path?"""
    return listener.family == getattr(socket, "AF_UNIX", None)


def _url(host: str, port: int) -> str:
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}/" if port == 80 else f"http://{host}:{port}/"


def _own_addresses(*, ipv4: bool, ipv6: bool) -> list[str]:
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
        and (ipv6 if ":" in address else ipv4)
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
