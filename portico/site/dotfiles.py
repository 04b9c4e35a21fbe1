"""What counts as a dotfile, which is neither served nor listed."""

from __future__ import annotations

STAGING = ".portico"
"""The folder in the root for what is being written; never served."""

PRIVATE = (".git", ".env", ".ht", ".ssh", STAGING)
"""Dotfiles whose names begin so hold passwords, keys or histories, and are never served."""


def is_dotfile(name: str, *, hidden: bool = False) -> bool:
    """Whether a name is neither served nor listed; with `hidden` only PRIVATE ones are not."""
    return name.startswith(".") and (not hidden or name.lower().startswith(PRIVATE))


def is_hidden(names: tuple[str, ...], *, hidden: bool = False) -> bool:
    """Whether one of `names` is a dotfile or dot folder, except "/.well-known/" (RFC 8615)."""
    if "/." not in "/".join(("", *names)):  # nearly always, and sooner told
        return False
    return any(
        is_dotfile(name, hidden=hidden) and (index > 0 or name != ".well-known")
        for index, name in enumerate(names)
    )
