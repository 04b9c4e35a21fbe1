"""Portico: a static web server in pure Python, on the standard library's sockets.

On the command line: ``python3 -m portico [DIR]``. In a program::

    with portico.Server("site") as server:
        print(server.url)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from portico.config.config import ConfigError as ConfigError
    from portico.server.embedded import Server as Server
    from portico.server.net.listeners import BindError as BindError

__version__ = "0.1.0"
__all__ = ["BindError", "ConfigError", "Server", "__version__"]

_HOMES = {
    "BindError": "portico.server.net.listeners",
    "ConfigError": "portico.config.config",
    "Server": "portico.server.embedded",
}


def __dir__() -> list[str]:
    """Return the public names too that have not been asked for yet."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    """Import the public names when they are first asked for, so that the command starts fast."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
