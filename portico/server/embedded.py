"""Portico within a program: a server in a thread of its own, for tests, previews and tools.

A server changes nothing global: no signal handlers, no logging, no working directory. Several
servers may run at once.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from portico.config.config import Config, ConfigError, check_serving
from portico.server.net.listeners import CLEAR, HTTPS, bind, has_tls, url_of
from portico.server.worker import Worker
from portico.site.dotfiles import check_secrets

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


_NOT_HERE = {
    **dict.fromkeys(("listen", "listens"), "one address, of host and port"),
    "lan": "one address, of host and port",
    "open": "no browser",
    "https": "the certificate of tls_cert",
    "redirect_http": "one address, of host and port",
    "workers": "one worker",
    **dict.fromkeys(("sandbox", "user"), "the rights of the program"),
    **dict.fromkeys(("access_log", "log_format", "color"), "no access log"),
}
"""Options of the command line that would have no effect, and what a Server has instead."""


class Server:
    """Serves the folder `root` while the `with` block runs.

    ::

        with portico.Server("site") as server:
            urllib.request.urlopen(server.url + "index.html")

    Port 0 stands for any free port. `options` are those of the command line, with underscores, as
    in `docs/reference.md`. There is no access log. Raises ConfigError for a bad option or folder;
    `start` raises BindError if the address cannot be bound.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = ".",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        **options: object,
    ) -> None:
        for name, instead in _NOT_HERE.items():
            if name in options:
                raise ConfigError(f"argument {name}: a Server has {instead}; leave it out")
        self._config = Config.of(root=os.fspath(root), host=host, port=port, **options)
        if self._config.metrics:
            raise ConfigError("argument metrics: a Server has no metrics; leave it out")
        check_serving(self._config)
        check_secrets(self._config)
        self._worker: Worker | None = None
        self._thread: threading.Thread | None = None
        self._asked_to_stop = threading.Lock()
        self._url = ""

    def __repr__(self) -> str:
        where = f"at {self._url}" if self._url else "not started"
        return f"<portico.Server of {self._config.root!r}, {where}>"

    @property
    def url(self) -> str:
        """The URL of the folder, such as "http://127.0.0.1:40001/"."""
        return self._url

    @property
    def requests(self) -> int:
        """The number of requests answered so far."""
        return 0 if self._worker is None else self._worker.requests

    def start(self) -> None:
        """Bind, and start the thread. Clients can connect when this returns. To be called once."""
        if self._thread is not None:
            msg = "this server has been started before; make a new one"
            raise RuntimeError(msg)
        import logging  # noqa: F401 (`warn` imports it: now, while descriptors are free)

        listeners = bind(self._config)
        scheme = HTTPS if has_tls(self._config) else CLEAR
        self._url = url_of(listeners[0], scheme) + self._config.base[1:]
        self._worker = Worker(self._config, listeners)
        self._thread = threading.Thread(target=self._worker.run, name="portico", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish responses within the grace time, close every socket, and wait for the thread.

        May be called from any thread but the server's own.
        """
        if self._worker is not None and self._thread is not None:
            if self._asked_to_stop.acquire(blocking=False):  # a second stop would cut responses
                self._worker.stop()
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
