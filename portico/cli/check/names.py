"""Names in a site that would surprise: names that collide or are not served, broken symlinks.

Rule: what the server does is asked of the code that decides it (`site.target`); what other systems
do is stated here.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from portico.site.target import is_safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.cli.check.findings import Findings
    from portico.cli.walk import Item

_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_collisions(items: Sequence[Item], findings: Findings) -> None:
    """Report names in one folder that macOS or Windows take for the same."""
    first: dict[str, str] = {}
    for item in items:
        known = first.setdefault(fold(item.name), item.name)
        if known != item.name:
            what = (
                f'The name differs from "{known}" only in letters\' case or Unicode form; '
                "macOS and Windows keep only one of the two."
            )
            findings.add("case", (item.shown, None), what, "Rename one of them.")


def fold(name: str) -> str:
    """Return `name` in a form that is the same for names that macOS or Windows take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def check_name(item: Item, findings: Findings) -> None:
    """Report a name that is not served everywhere, or leads to nothing that is."""
    if item.is_hidden:
        return
    problem = _name_problem(item.name) or _target_problem(item)
    if problem is not None:
        findings.add("name", (item.shown, None), *problem)
    elif not item.is_readable():
        what = "This user has no right to read it, so the server may not have it either (403)."
        rest = " and to enter it." if item.is_folder else "."
        cure = f"Give the server's user the right to read it{rest}"
        findings.add("access", (item.shown, None), what, cure)


def _name_problem(name: str) -> tuple[str, str] | None:
    """Return what is wrong with a name, and what to do."""
    cure = "Rename it."
    if not is_safe(name, windows=False):
        return "A name with a backslash is never served (400).", cure
    if _NOT_UTF8.search(name):
        return "The name is not UTF-8, so no link written as text leads to it.", cure
    if _CONTROL.search(name):
        return "The name has a control character, which links and logs garble.", cure
    if not is_safe(name, windows=True):
        cure = "Rename it if the site is ever to lie on Windows."
        return "Windows cannot have this name, and Portico does not serve it there (400).", cure
    return None


def _target_problem(item: Item) -> tuple[str, str] | None:
    """Return what is wrong with what a name leads to, and what to do."""
    if item.leads_out:
        cure = "Put a copy in its place, or serve the folder that holds both."
        return "The symlink leads out of the site, so it is not served (404).", cure
    if item.status is None:
        return "The symlink leads to nothing.", "Correct or delete it."
    if not item.is_folder and not item.is_file:
        return "This is neither a file nor a folder, so it is not served (404).", "Move it away."
    return None
