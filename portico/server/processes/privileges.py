"""`--user`: a server started as root binds its sockets, reads its keys, then becomes another user.

The supervisor of several workers stays root, so that a reload can read new keys and bind new ports;
it starts workers, and the only clients it serves are those of the metrics. Workers, and a server of
one process, give up root and its groups permanently before they accept a connection.
"""

from __future__ import annotations

import contextlib
import os
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from portico.config.config import ConfigError
from portico.server.processes.sandbox import own_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.config.config import Config


_NEEDED_LATER = (
    *("binascii", "fcntl", "hashlib", "json", "traceback", "unicodedata", "urllib.parse", "zlib"),
    *("brotli", "zstandard", "multipart"),
    *("portico.site.rules.headers", "portico.site.rules.redirects"),
)
"""Modules that common requests need; imported before the right to read them may be lost."""


class Account(NamedTuple):
    """A user of this system: user id, primary group id, and all group ids."""

    uid: int
    gid: int
    groups: list[int]


def account(name: str) -> Account:
    """Return the user with this name or decimal user id.

    Raises ConfigError if there is no such user, or this process is not root.
    """
    if not hasattr(os, "setuid"):
        raise ConfigError("--user: this system has no users as POSIX does")
    import pwd

    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        raise ConfigError(f"--user: there is no user {name!r} on this system") from None
    if os.geteuid() != 0:
        raise ConfigError("--user: only root can become another user; leave it out, or use sudo")
    return Account(entry.pw_uid, entry.pw_gid, os.getgrouplist(entry.pw_name, entry.pw_gid))


def become(
    user: Account, config: Config, report: Callable[[str], None] | None, *, is_alone: bool
) -> None:
    """Change this process to `user`, irrevocably.

    `report` is called for each certificate or key that the user cannot read, so that a renewed one
    needs a restart or reload, and for each folder of Python's code that the user cannot read.
    Raises ConfigError if the user cannot read the site or the users file, or the system does not
    let this process become the user.
    """
    code = own_code()  # before this process may lose the right to look it up
    for name in _NEEDED_LATER:
        with contextlib.suppress(ImportError):  # some are optional
            import_module(name)
    try:
        os.setgroups(user.groups)
        os.setgid(user.gid)
        os.setuid(user.uid)
    except OSError as error:  # in a container, root may lack the capabilities, or have no such id
        raise ConfigError(
            f"--user {config.user}: the system does not allow it ({error.strerror}): "
            "that takes CAP_SETUID and CAP_SETGID"
        ) from None
    for path in (config.root, config.users):
        if path and not _may_read(path):
            raise ConfigError(f"{path} cannot be read by --user {config.user}")
    for path in code:
        if report is not None and not _may_read(path):
            report(
                f"{path} cannot be read by --user {config.user}: what Python loads when it is "
                "needed, as for README pages, will fail; install Python and Portico elsewhere"
            )
    how = "a new one takes a restart" if is_alone else "a new one takes a reload (SIGHUP)"
    for path in dict.fromkeys((*config.tls_certs, *config.tls_keys, config.tls_client_ca)):
        if report is not None and path and not os.access(path, os.R_OK):
            report(f"{path} cannot be read by --user {config.user}: {how}")


def _may_read(path: str) -> bool:
    return os.access(path, os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK)
