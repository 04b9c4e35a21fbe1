"""Which names are dotfiles; these are neither served nor listed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from portico.config.config import ConfigError

if TYPE_CHECKING:
    from portico.config.config import Config

STAGING = ".portico"
"""The folder in the root for uploads that are not complete; never served."""

PRIVATE = (".git", ".env", ".ht", ".ssh", STAGING)
"""Names that begin like these have passwords, keys or histories; they are never served."""


def is_dotfile(name: str, *, hidden: bool = False) -> bool:
    """Return whether a name may not be served; with `hidden`, only PRIVATE names may not."""
    return name.startswith(".") and (not hidden or name.lower().startswith(PRIVATE))


def is_hidden(names: tuple[str, ...], *, hidden: bool = False) -> bool:
    """Return whether one of `names` is a dotfile, except a first ".well-known" (RFC 8615)."""
    if "/." not in "/".join(("", *names)):  # fast, and enough for nearly all paths
        return False
    return any(
        is_dotfile(name, hidden=hidden) and (index > 0 or name != ".well-known")
        for index, name in enumerate(names)
    )


def check_secrets(config: Config) -> None:
    """Raise ConfigError for a file with passwords or keys that clients could read in the root."""
    root = os.path.realpath(config.root)
    keys = {"--tls-key": config.tls_keys} if config.tls_keys else {"--tls-cert": config.tls_certs}
    for flag, paths in {"--users": [config.users], **keys}.items():
        for path in filter(None, paths):
            names = tuple(os.path.relpath(os.path.realpath(path), root).split(os.sep))
            if names[0] != os.pardir and not is_hidden(names, hidden=config.hidden):
                what = f"{path} lies in the folder that is served, so clients could read it"
                raise ConfigError(f"{flag}: {what}; move it out")
