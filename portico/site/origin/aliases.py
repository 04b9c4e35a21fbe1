"""Aliases: names by which a file system finds a file that is listed with another name.

File systems of Windows find a file by more than one name: GIT~1 may be .git, and "_headers." the
rules file. So a name that has such a form is accepted only if it is in the listing of its folder.
"""

from __future__ import annotations

import os
import re
from contextlib import closing

_FORM = re.compile(r"~[0-9]|[. ]$|::\$")


def may_be_alias(names: tuple[str, ...]) -> bool:
    """Return whether one of `names` has the form of an alias."""
    path = "/".join((*names, ""))  # a cheap test first, since hardly any name has such a form
    if "~" in path or "./" in path or " /" in path or "::$" in path:
        return any(map(_FORM.search, names))
    return False


def are_listed(folder: str, names: tuple[str, ...]) -> bool:
    """Return whether each of `names` that may be an alias is in the listing of its folder.

    The path `names` begins below `folder`. Waits for the disk.
    """
    for name in names:
        if _FORM.search(name):
            try:
                with closing(os.scandir(folder)) as entries:
                    if all(entry.name != name for entry in entries):
                        return False
            except OSError:
                return False
        folder = os.path.join(folder, name)
    return True
