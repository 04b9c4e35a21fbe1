"""Names of a site that would surprise: collisions, names that are not served, symlinks astray.

Rule: what the server would do is asked of the code that decides it (`site.target`); what other
systems do is stated where no code here knows it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from portico.site.target import is_safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.cli.check.findings import Findings
    from portico.cli.check.walk import Item

_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_folder(items: Sequence[Item], findings: Findings) -> None:
    """Report names in one folder that macOS or Windows take for the same."""
    alike: dict[str, list[Item]] = {}
    for item in items:
        alike.setdefault(fold(item.name), []).append(item)
    for first, *others in alike.values():
        for other in others:
            findings.add(
                "case",
                (other.shown, None),
                f'The name differs from "{first.name}" only in letters\' case or Unicode form; '
                "macOS and Windows keep only one of the two.",
                "Rename one of them.",
            )


def fold(name: str) -> str:
    """`name` in a form that is the same for names that macOS or Windows take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def check_item(item: Item, findings: Findings) -> None:
    """Report a name that is not served everywhere, or leads to nothing that is."""
    if item.is_hidden:
        return
    found = _trouble(item.name) or _astray(item)
    if found is not None:
        findings.add("name", (item.shown, None), *found)
    elif not item.is_readable:
        findings.add(
            "access",
            (item.shown, None),
            "This user has no right to read it, so the server may not have it either (403).",
            "Give the server's user the right to read it"
            + (" and to enter it." if item.is_folder else "."),
        )


def _trouble(name: str) -> tuple[str, str] | None:
    """What is wrong with a name, and what to do."""
    if not is_safe(name, windows=False):
        return "A name with a backslash is never served (400).", "Rename it."
    if _NOT_UTF8.search(name):
        return (
            "The name is not UTF-8, so no link that is written as text leads to it.",
            "Rename it.",
        )
    if _CONTROL.search(name):
        return "The name has a control character, which links and logs garble.", "Rename it."
    if not is_safe(name, windows=True):
        return (
            "Windows cannot have this name, and Portico does not serve it there (400).",
            "Rename it if the site is ever to lie on Windows.",
        )
    return None


def _astray(item: Item) -> tuple[str, str] | None:
    """What is wrong with what the name leads to, and what to do."""
    if item.leads_out:
        return (
            "The symlink leads out of the site, so it is not served (404).",
            "Put a copy in its place, or serve the folder that holds both.",
        )
    if item.status is None:
        return "The symlink leads to nothing.", "Correct or delete it."
    if not item.is_folder and not item.is_file:
        return "This is neither a file nor a folder, so it is not served (404).", "Move it away."
    return None
