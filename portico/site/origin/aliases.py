"""Names that may be another name of something else: an alias.

File systems of Windows know a file by more than one name: GIT~1 may be .git, and "_headers." the
rules file. So a name of such a form is taken only if a listing of its folder has it.
"""

from __future__ import annotations

import os
import re
from contextlib import closing

_FORM = re.compile(r"~[0-9]|[. ]$|::\$")


def may_be_alias(names: tuple[str, ...]) -> bool:
    """Return whether one of these names has the form of an alias."""
    path = "/".join((*names, ""))  # first what costs less, since hardly any name has such a form
    if "~" in path or "./" in path or " /" in path or "::$" in path:
        return any(map(_FORM.search, names))
    return False


def are_listed(folder: str, names: tuple[str, ...]) -> bool:
    """Return whether what may be an alias on a path below `folder` is a name that is there."""
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
