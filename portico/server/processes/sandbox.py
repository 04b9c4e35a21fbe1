"""The sandbox: the kernel holds a serving process to what it needs (Linux, Landlock).

Rules:
- Files beneath the root can be read, and changed if there is `--allow`. The folders of the
  certificates and of the users file can be read, because a new file appears there when one of them
  is replaced.
- Python, its packages and the system's libraries can be read. To import at the start all that may
  be imported some day would take more time than the start, and 10 MiB.
- No TCP port can be bound and no TCP connection opened; listening sockets are there before.
- No process outside can be sent a signal. No abstract unix socket outside can be reached.

What a thread is held to cannot be loosened, for those that it starts neither. But the root can
become another folder: a build makes it anew, a symlink leads to the next release. So there are two
circles. The whole process is held to the folders around the root, before it has a second thread.
The thread that serves, and all that it starts, are held to the root itself. When that is replaced,
another thread goes on, held to the new one.

The kernel tells how much of this it knows (its ABI), and what it knows is used.

Limits: UDP, unix sockets with a path, and what is done without opening a file (stat, readlink,
chmod, chown, utime) are not held (landlock(7)). The first thread, which waits for signals, is held
to the outer circle only.
"""

from __future__ import annotations

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
"""Numbers of system calls, the same on all architectures that Python is built for."""
_PR_SET_NO_NEW_PRIVS = 38
_VERSION = 1
"""The flag of landlock_create_ruleset(2) that asks for the ABI."""
_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(1, 6))
_MAKE_DIR, _MAKE_REG, _REFER, _TRUNCATE = 1 << 7, 1 << 8, 1 << 13, 1 << 14
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
"""Rights that a rule for a single file may have."""
_READ = _READ_FILE | _READ_DIR
_CHANGE = (
    _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
)
_KNOWN = ((5, 16), (3, 15), (2, 14), (1, 13))
"""From which ABI on how many rights to files are known, each a bit."""
_NETWORK_ABI, _BIND_AND_CONNECT = 4, 0b11
_SCOPE_ABI, _ABSTRACT_SOCKETS, _SIGNALS = 6, 0b01, 0b10
_MOVING_ABI = 2
"""Before it, nothing can be moved from one folder to another, as uploads are."""

SIGNAL_SECONDS = 1.0
"""How late a signal may be handled that comes in the very moment in which the wait begins."""
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
"""Where the system's shared libraries are; Python loads some with a module."""


class Held:
    """The root that a thread is held to."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._identity = _identity(root)

    def is_replaced(self) -> bool:
        """Return whether the root is another folder now, or another file, which cannot be read."""
        now = _identity(self._root)
        return now is not None and now != self._identity


class Sandbox:
    """Holds this process, and the thread that serves. Made before there is a second thread."""

    def __init__(self, config: Config, report: Callable[[str], None], *, is_alone: bool) -> None:
        """Hold the process, if `config` says so and the system can do it.

        One that `is_alone` also does what a supervisor does for workers. `report` is told if the
        kernel refuses; then nothing holds it.
        """
        self._config = config
        self._root = absolute(config.root)
        self._report = report
        self._is_alone = is_alone
        abi = landlock_abi() if config.sandbox else 0
        self._abi = abi if abi >= _needed(config) else 0
        if self._abi:
            for path in self._of_processes():  # held open, or the kernel soon makes others of them
                with suppress(OSError):
                    os.open(path, os.O_PATH | os.O_CLOEXEC)
            self._restrict([*self._rules(_around(self._root)), *self._of_sockets()])

    def run(self, serve: Callable[[Held | None], bool]) -> None:
        """Call `serve` in a thread that is held to the root; again in a new one if it returns True.

        This thread waits, for signals as well. Without a sandbox it calls `serve(None)` itself.
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
                self._restrict(self._rules([self._root]))
                self._look_at_root()
                goes_on = serve(held)
            except BaseException as error:  # noqa: BLE001
                problem = error
            ended.release()

        while goes_on and problem is None:
            ended.acquire()
            # It inherits the mask, so that signals interrupt this thread, which has to handle them.
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
            return  # it may come later

    def _restrict(self, rules: Iterable[tuple[str, int]]) -> None:
        """Hold this thread, and those that it starts, to `rules` as well."""
        scopes = _SIGNALS | _ABSTRACT_SOCKETS
        if os.environ.get("NOTIFY_SOCKET", "").startswith("@"):
            scopes = _SIGNALS  # or the service manager could not be told anything
        rights_to_files = next((1 << count) - 1 for least, count in _KNOWN if self._abi >= least)
        handled = struct.pack(
            "=QQQ",
            rights_to_files,
            _BIND_AND_CONNECT if self._abi >= _NETWORK_ABI else 0,
            scopes if self._abi >= _SCOPE_ABI else 0,
        )
        try:
            ruleset = _call(_CREATE_RULESET, handled, len(handled), 0)
            for path, rights in rules:
                _allow(ruleset, path, rights & rights_to_files)
            _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            _call(_RESTRICT_SELF, ruleset, 0)
            os.close(ruleset)
        except OSError as error:
            self._report(f"no sandbox, the system refuses it: {error.strerror}")

    def _rules(self, roots: Iterable[str]) -> Iterator[tuple[str, int]]:
        """Yield the paths that may be used, and the rights to what is there and beneath."""
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
            yield "/dev/tty", _READ_FILE | _WRITE_FILE  # whether the terminal is there

    def _of_sockets(self) -> Iterator[tuple[str, int]]:
        """Yield the folders of unix sockets, whose files the first thread removes at the end.

        Not for what serves: this is a right to all that is beneath, such as to all of /run.
        """
        for address in (*self._config.listens, self._config.metrics) if self._is_alone else ():
            if address.startswith(UNIX):
                yield os.path.dirname(absolute(address.removeprefix(UNIX))), _REMOVE_FILE

    def _of_processes(self) -> list[str]:
        """Return what is read about this process: which file systems are remote, and metrics."""
        of_metrics = ["/proc/self/fd", "/proc/self/statm"]
        measures = self._is_alone and self._config.metrics
        return ["/proc/self/mountinfo", *(of_metrics if measures else [])]


def describe(config: Config) -> str:
    """Return a line for the operator: what holds those that serve `config`, or why nothing does.

    Empty if nothing is to.
    """
    if not config.sandbox:
        return ""
    abi = landlock_abi()
    if abi < _needed(config):
        return f"Sandbox: none, {_lacking(abi)}."
    root = absolute(config.root)
    reads = ", ".join(dict.fromkeys([root, *_folders_of_files(config)])) + " (and Python's code)"
    writes = f"writes only beneath {root}" if config.allows else "writes nothing"
    connects = ", opens no TCP connection" if abi >= _NETWORK_ABI else ""
    return f"Sandbox (Landlock ABI {abi}): reads only beneath {reads}, {writes}{connects}."


def _around(root: str) -> set[str]:
    """Return the folders in which another root may appear at this path.

    Those in which it lies, and in which the symlinks on the way lead to something: the next release
    will be there. The top folder of the system is none of them, nor are links in it, which are part
    of the system's layout.
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
    """Return the folders of the files that are read again when they change, and of what they are.

    A link is in one folder and leads to another, as certbot's do. Of a file in the top folder, or
    in this user's home, the file itself.
    """
    files = [*config.tls_certs, *config.tls_keys, config.tls_client_ca, config.users]
    paths = [absolute(path) for path in files if path]
    found: dict[str, None] = {}
    for path in (*paths, *map(os.path.realpath, paths)):
        folder = os.path.dirname(path)
        found[path if _holds_home(folder) else folder] = None
    return list(found)


def own_code() -> list[str]:
    """Return where this package and the standard library are: folders, or an archive."""
    own = os.path.dirname(sys.modules["portico"].__file__ or "")
    while own and not os.path.exists(own):  # it is in an archive
        own = os.path.dirname(own)
    return [own, os.path.dirname(os.__file__)]


def _code() -> Iterator[str]:
    """Yield where Python finds modules and libraries: not the folder in which it was started."""
    yield from own_code()
    yield os.path.join(sys.base_prefix, "lib")
    yield from _LIBRARIES
    yield from (path for path in sys.path[1:] if not _holds_home(path))


def _holds_home(folder: str) -> bool:
    """Return whether all that this user has is in a folder."""
    home = os.path.realpath(os.path.expanduser("~"))
    return is_below(home, os.path.realpath(folder))


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Allow `rights` at and beneath a path, if there is something. Raises OSError."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # so there is nothing to be read
    if not os.path.isdir(path):
        rights &= _OF_FILES
    _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    os.close(place)


def _needed(config: Config) -> int:
    """Return the ABI below which this configuration cannot be served in a sandbox."""
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
    """Return the version of the kernel's Landlock; 0 if it has none, or it is switched off."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, 0, _VERSION)
    except (OSError, ImportError):  # Python may be built without ctypes
        return 0


def _call(number: int, *arguments: object) -> int:
    """Make a system call. Raises OSError."""
    import ctypes

    result: int = _libc().syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _libc() -> Any:  # noqa: ANN401
    import ctypes

    return ctypes.CDLL(None, use_errno=True)
