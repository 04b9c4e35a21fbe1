"""Which names are dotfiles; these are neither served nor listed."""

from __future__ import annotations

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
