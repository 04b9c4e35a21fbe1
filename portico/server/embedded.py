"""Portico within a program: a server in a thread of its own, for tests, previews and tools.

Nothing global is touched: no signal, no log, no working directory. Several may run in one process.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from portico.config.config import Config, ConfigError, check_root
from portico.server.net.listeners import bind, url_of
from portico.server.worker import Worker

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Server:
    """Serves the folder `root` while the `with` block runs.

    ::

        with portico.Server("site") as server:
            urllib.request.urlopen(server.url + "HelloWorld.html")

    Port 0 takes a free one. `options` are those of the command line, with underscores:
    `docs/reference.md` lists them. There is no access log. Raises ConfigError for a bad option or
    folder, BindError when the address cannot be had.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = ".",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        **options: object,
    ) -> None:
        if not {"workers", "listen", "listens"}.isdisjoint(options):
            raise ConfigError("a Server has one worker and one address: give neither of these")
        self._config = Config.of(root=os.fspath(root), host=host, port=port, **options)
        if self._config.metrics:
            raise ConfigError("a Server has no metrics: the option is for the command line")
        check_root(self._config)
        self._worker: Worker | None = None
        self._thread: threading.Thread | None = None
        self._asked_to_stop = threading.Lock()
        self._url = ""

    @property
    def url(self) -> str:
        """Where it serves, with a slash at the end, such as "http://127.0.0.1:40001/"."""
        return self._url

    @property
    def requests(self) -> int:
        """Requests answered so far."""
        return 0 if self._worker is None else self._worker.requests

    def start(self) -> None:
        """Bind and serve in a thread; when this returns, connections are accepted."""
        if self._thread is not None:
            msg = "this server has been started before; make a new one"
            raise RuntimeError(msg)
        listeners = bind(self._config)
        self._url = url_of(listeners[0])
        self._worker = Worker(self._config, listeners)
        self._thread = threading.Thread(target=self._worker.run, name="portico", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish what is under way within the option `grace`, close every socket, end the thread.

        For any thread but its own; several may call it.
        """
        if self._worker is not None and self._thread is not None:
            if self._asked_to_stop.acquire(blocking=False):  # a second time would mean: at once
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
