"""The sandbox: the kernel restricts a serving process to what it needs (Linux, Landlock).

Rules:
- Files beneath the root can be read, and changed if there is `--allow`. The folders of the
  certificates and of the users file can be read, because a new file appears there when one of them
  is replaced.
- Python, its packages and the system's libraries can be read, since modules are imported when they
  are first needed. Importing them all at the start would more than double the time of the start,
  and take 10 MiB.
- No TCP port can be bound and no TCP connection opened; listening sockets are made before.
- No process outside can be sent a signal. No abstract unix socket outside can be reached.

A thread's restrictions can never be loosened, and the threads that it starts inherit them. But the
root can become another folder: a build makes it anew, or a symlink is changed to the next release.
So there are two levels. The outer one restricts the whole process to the folders around the root;
it is set before there is a second thread. The inner one restricts the thread that serves, and all
threads that it starts, to the root itself. When the root is replaced, a new thread continues,
restricted to the new root.

The kernel's Landlock ABI version tells which of these rules the kernel can enforce; these are used.

Limits: UDP, unix sockets with a path, and calls that do not open a file (stat, readlink, chmod,
chown, utime) are not restricted (landlock(7)). The first thread, which waits for signals, is
restricted at the outer level only.
"""

from __future__ import annotations

import errno
import os
import signal
import struct
import sys
from _thread import allocate_lock, start_new_thread
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from portico.config.kinds import UNIX
from portico.site.origin.fingerprint import absolute, is_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from portico.config.config import Config

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Landlock's system call numbers, the same on all architectures that Python is built for."""
_PR_SET_NO_NEW_PRIVS = 38
_VERSION = 1
"""The flag of landlock_create_ruleset(2) that asks for the ABI version."""
_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(1, 6))
_MAKE_DIR, _MAKE_REG, _REFER, _TRUNCATE = 1 << 7, 1 << 8, 1 << 13, 1 << 14
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
"""Rights that a rule for a single file may grant."""
_READ = _READ_FILE | _READ_DIR
_CHANGE = (
    _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
)
_KNOWN = ((5, 16), (3, 15), (2, 14), (1, 13))
"""(ABI version, number of file rights known from it on), newest first. Each right is a bit."""
_NETWORK_ABI, _BIND_AND_CONNECT = 4, 0b11
_SCOPE_ABI, _ABSTRACT_SOCKETS, _SIGNALS = 6, 0b01, 0b10
_MOVING_ABI = 2
"""The first ABI that can allow a rename from one folder to another, which uploads need."""

SIGNAL_SECONDS = 1.0
"""The most that the handling of a signal is delayed if it arrives just before the wait begins."""
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
"""Where the system's shared libraries are: importing a module may load some."""


class Held:
    """The root that a thread is restricted to, as it was when the thread started."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._identity = _identity(root)

    def is_replaced(self) -> bool:
        """Return whether the root's path leads to another folder now, unreadable for this thread.

        False while there is nothing at the path.
        """
        now = _identity(self._root)
        return now is not None and now != self._identity


class Sandbox:
    """Restricts this process, and the thread that serves. Make it before starting other threads."""

    def __init__(self, config: Config, report: Callable[[str], None], *, is_alone: bool) -> None:
        """Restrict the process, if `config.sandbox` is set and the kernel can do it.

        `is_alone` means that there is no supervisor, so this process also does a supervisor's work.
        `report` is called if the kernel refuses; then the process is not restricted.
        """
        self.is_refused = False
        """Whether the kernel, or a seccomp filter before it, refused the sandbox."""
        self._config = config
        self._root = absolute(config.root)
        self._report = report
        self._is_alone = is_alone
        abi = landlock_abi() if config.sandbox else 0
        self._abi = abi if abi >= _needed(config) else 0
        if self._abi:
            with suppress(ImportError):
                import zlib  # noqa: F401 (its library may lie outside what can be read later)
            # Kept open on purpose: a rule is bound to the inode, and the kernel drops and renews
            # those of /proc that are not in use.
            for path in self._of_processes():
                with suppress(OSError):
                    os.open(path, os.O_PATH | os.O_CLOEXEC)
            problem = self._restrict([*self._rules(_around(self._root)), *self._of_sockets()])
            if problem is not None:
                self._abi, self.is_refused = 0, True
                report(f"no sandbox, the system refuses it: {problem.strerror}")

    def run(self, serve: Callable[[Held | None], bool]) -> None:
        """Call `serve` in a thread restricted to the root; again in a new one if it returns True.

        The calling thread waits meanwhile, and handles signals. Without a sandbox it calls
        `serve(None)` itself.
        """
        if not self._abi:
            serve(None)
            return
        goes_on = True
        problem: BaseException | None = None
        ended = allocate_lock()

        def work() -> None:
            nonlocal goes_on, problem
            try:
                held = Held(self._root)
                refusal = self._restrict(self._rules([self._root]))
                if refusal is not None:
                    self._report(
                        f"the sandbox holds only to the folders around {self._root}, since the "
                        f"system refuses more: {refusal.strerror}"
                    )
                self._look_at_root()
                goes_on = serve(held)
            except BaseException as error:  # noqa: BLE001
                problem = error
            ended.release()

        while goes_on and problem is None:
            ended.acquire()
            # The new thread inherits the mask, so the kernel delivers signals to this thread, the
            # only one in which Python runs their handlers.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            start_new_thread(work, ())
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            while not ended.acquire(timeout=SIGNAL_SECONDS):
                continue
            ended.release()
        if problem is not None:
            raise problem

    def _look_at_root(self) -> None:
        try:
            os.close(os.open(self._root, os.O_RDONLY))
        except PermissionError:
            self._report(
                f"{self._root} leads to where the sandbox does not reach, since it was not there "
                "at the start: restart, or reload if there are several workers"
            )
        except OSError:
            return  # the root may be created later

    def _restrict(self, rules: Iterable[tuple[str, int]]) -> OSError | None:
        """Restrict this thread, and those that it starts later, to `rules` (see `_rules`).

        Earlier restrictions stay in force. Return the error if the kernel refuses.
        """
        scopes = _SIGNALS | _ABSTRACT_SOCKETS
        if os.environ.get("NOTIFY_SOCKET", "").startswith("@"):
            scopes = _SIGNALS  # the service manager listens on an abstract unix socket
        rights_to_files = next((1 << count) - 1 for least, count in _KNOWN if self._abi >= least)
        handled = struct.pack(
            "=QQQ",
            rights_to_files,
            _BIND_AND_CONNECT if self._abi >= _NETWORK_ABI else 0,
            scopes if self._abi >= _SCOPE_ABI else 0,
        )
        ruleset = -1
        try:
            ruleset = _call(_CREATE_RULESET, handled, len(handled), 0)
            for path, rights in rules:
                _allow(ruleset, path, rights & rights_to_files)
            _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            _call(_RESTRICT_SELF, ruleset, 0)
        except OSError as error:
            return error
        finally:
            if ruleset >= 0:
                os.close(ruleset)
        return None

    def _rules(self, roots: Iterable[str]) -> Iterator[tuple[str, int]]:
        """Yield pairs of a path and the rights granted at and beneath the path."""
        config = self._config
        for path in roots:
            yield path, _CHANGE if config.allows else _READ
        for path in _folders_of_files(config):
            yield path, _READ_FILE
        for path in _code():
            yield path, _READ
        for path in self._of_processes():
            yield path, _READ
        if self._is_alone:
            yield "/dev/tty", _READ_FILE | _WRITE_FILE  # see signals._has_terminal

    def _of_sockets(self) -> Iterator[tuple[str, int]]:
        """Yield the folders of unix sockets, whose files the first thread removes at the end.

        The thread that serves does not get this right, since it covers everything beneath such a
        folder, for example all of /run.
        """
        for address in (*self._config.listens, self._config.metrics) if self._is_alone else ():
            if address.startswith(UNIX):
                yield os.path.dirname(absolute(address.removeprefix(UNIX))), _REMOVE_FILE

    def _of_processes(self) -> list[str]:
        """Return the files of /proc to read: to find remote file systems, and for the metrics."""
        of_metrics = ["/proc/self/fd", "/proc/self/statm"]
        measures = self._is_alone and self._config.metrics
        return ["/proc/self/mountinfo", *(of_metrics if measures else [])]


def describe(config: Config, *, is_refused: bool) -> str:
    """Return a line for the operator: what the sandbox of `config` allows, or why there is none.

    Empty if `config` wants no sandbox.
    """
    if not config.sandbox:
        return ""
    if is_refused:
        return "Sandbox: none, because the system refuses it."
    abi = landlock_abi()
    if abi < _needed(config):
        return f"Sandbox: none, {_lacking(abi)}."
    root = os.path.normpath(absolute(config.root))
    folders = dict.fromkeys([root, *map(os.path.normpath, _folders_of_files(config))])
    reads = ", ".join(folders) + " (and Python's code)"
    writes = f"writes only beneath {root}" if config.allows else "writes nothing"
    connects = ", opens no TCP connection" if abi >= _NETWORK_ABI else ""
    return f"Sandbox (Landlock ABI {abi}): reads only beneath {reads}, {writes}{connects}."


def _around(root: str) -> set[str]:
    """Return the folders in which a later root at this path may lie.

    These are the folder that contains the root, and for each symlink on the path the folder that
    contains its target: the next release will be there. The file system's top folder is excluded,
    and so are symlinks in it, which are part of the system's layout.
    """
    path = os.path.normpath(root)
    real = os.path.realpath(root)
    found = {root, os.path.dirname(path), real, os.path.dirname(real)}
    while (above := os.path.dirname(path)) not in {os.sep, path}:
        if os.path.islink(path):
            found.add(os.path.dirname(os.path.realpath(path)))
        path = above
    return found - {os.sep} or {root}


def _folders_of_files(config: Config) -> list[str]:
    """Return the folders of the certificates, keys and users file, which are read when they change.

    A symlink gives two folders: its own and that of its target, as with certbot. A file in the top
    folder or in this user's home is returned itself, instead of that folder.
    """
    files = [*config.tls_certs, *config.tls_keys, config.tls_client_ca, config.users]
    paths = [absolute(path) for path in files if path]
    found: dict[str, None] = {}
    for path in (*paths, *map(os.path.realpath, paths)):
        folder = os.path.dirname(path)
        found[path if _holds_home(folder) else folder] = None
    return list(found)


def own_code() -> list[str]:
    """Return the paths of this package and the standard library: folders, or a zip archive."""
    own = os.path.dirname(sys.modules["portico"].__file__ or "")
    while own and not os.path.exists(own):  # the package is in an archive
        own = os.path.dirname(own)
    return [own, os.path.dirname(os.__file__)]


def _code() -> Iterator[str]:
    """Yield the paths of modules and libraries, without sys.path[0], the folder of the start.

    With PYTHONSAFEPATH that is the first of PYTHONPATH, which is wanted in any case.
    """
    yield from own_code()
    yield os.path.join(sys.base_prefix, "lib")
    yield from _LIBRARIES
    wanted = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    yield from (path for path in (*wanted, *sys.path[1:]) if not _holds_home(path))


def _holds_home(folder: str) -> bool:
    """Return whether this user's home folder is `folder` or lies beneath it."""
    home = os.path.realpath(os.path.expanduser("~"))
    return is_below(home, os.path.realpath(folder))


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Add a rule that grants `rights` at and beneath `path`, if it exists. Raises OSError."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
            raise
        return  # so there is nothing to be read
    try:
        if not os.path.isdir(path):
            rights &= _OF_FILES
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def _needed(config: Config) -> int:
    """Return the lowest Landlock ABI with which this configuration can be served in a sandbox."""
    return _MOVING_ABI if config.allows else 1


def _lacking(abi: int) -> str:
    if abi:
        return f"because uploads need Landlock ABI {_MOVING_ABI}, and this kernel has {abi}"
    return "because this system has no Landlock (Linux 5.13)"


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def landlock_abi() -> int:
    """Return the kernel's Landlock ABI version; 0 if there is no Landlock, or it is disabled."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, 0, _VERSION)
    except (OSError, ImportError):  # Python may be built without ctypes
        return 0


def _call(number: int, *arguments: object) -> int:
    """Make the system call `number`, and return its result. Raises OSError."""
    import ctypes

    result: int = _libc().syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _libc() -> Any:  # noqa: ANN401
    import ctypes

    return ctypes.CDLL(None, use_errno=True)
