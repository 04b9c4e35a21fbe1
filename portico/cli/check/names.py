"""Checks the names of files and folders: secrets, leftovers, and what the server does not serve.

Rule: the server's own code (`site.target`) decides which names are served; the rules of other
systems are stated here. If the name of a secret is also used for harmless files (.pem, .key,
.json), a file is reported only if a private key is in the first 64 KiB of the content.
Limit: a secret with another name, or in an archive, is not found.
"""

from __future__ import annotations

import os
import re
import unicodedata
from typing import TYPE_CHECKING

from portico.cli.check.findings import Places
from portico.site.compression.encoders import SUFFIXES
from portico.site.target import is_safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.cli.check.findings import Findings
    from portico.cli.walk import Item

_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_LOOK = 65536
"""Bytes of a file in which a private key is looked for. The largest keys have about 13,000."""

_KEY = rb"PRIVATE KEY-----|PuTTY-User-Key-File"
_ACCOUNT = rb'"private_key"\s*:\s*"(?:-----BEGIN|[^"]{16})'

# A pattern for the whole name in lower case, followed by "/" for a folder; what such an entry looks
# like; and a pattern for the content, if the name alone does not tell.
_SECRETS = (
    (r"\.(git|svn|hg|bzr)/?", "the history of the sources", b""),
    (r"\.(aws|azure)/?", "credentials of a cloud account", b""),
    (r"\.(gnupg|ssh)/?", "private keys", b""),
    (r"\.docker/?", "credentials of a registry", b""),
    (r"\.kube/?", "credentials of a cluster", b""),
    (r"\.env[^/]*", "settings with passwords", b""),
    (r"\.(npmrc|pypirc|netrc|pgpass|dockercfg|git-credentials)", "passwords", b""),
    (r"_netrc|(\.htpasswd|wp-config\.php)[^/]*", "passwords", b""),
    (r"\.(bash|zsh|psql|mysql|python)_history", "commands once typed", b""),
    (r"id_(rsa|dsa|ecdsa|ed25519)(_sk)?", "a private key", b""),
    (r".+\.(p12|pfx|jks|keystore|kdbx)", "a store of private keys or passwords", b""),
    (r".+\.(sql|sqlite3?|db|dump)", "a database or its dump", b""),
    (r".+~|#.+#|.+\.(bak|swp|swo|orig|old)", "a leftover of an editor, or a backup", b""),
    (r".+\.(pem|key|ppk)", "a private key", _KEY),
    (r".+\.json", "the private key of a service account", _ACCOUNT),
)


def check_collisions(items: Sequence[Item], findings: Findings) -> None:
    """Report names in one folder that macOS or Windows treat as the same name."""
    first: dict[str, str] = {}
    for item in items:
        known = first.setdefault(fold(item.name), item.name)
        if known != item.name:
            what = (
                f'The name differs from "{known}" only in letters\' case or Unicode form; '
                "macOS and Windows keep only one of the two."
            )
            findings.add("case", Places(item.shown), what, "Rename one of them.")


def fold(name: str) -> str:
    """Return `name` in a form that is equal for names that macOS or Windows treat as the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def check_secret(item: Item, findings: Findings) -> bool:
    """Report a secret or leftover, which should not be in a site. Return whether `item` is one."""
    meaning = _secret(item)
    if meaning is None:
        return False
    if item.is_hidden:
        what = f"This looks like {meaning}. It is not served, because its name begins with a dot."
        cure = "Move it out of the site all the same: another server, or a copy, may show it."
    else:
        what = f"This looks like {meaning}, and everybody can read it."
        cure = "Move it out of the site, and change what it gives away."
    findings.add("secret", Places(item.shown), what, cure)
    return True


def _secret(item: Item) -> str | None:
    """Return what the item seems to be; None if it is neither a secret nor a leftover."""
    if not (item.is_file or item.is_folder) or (item.leads_out and not item.is_hidden):
        return None
    name = item.name.lower() + "/" * item.is_folder
    for suffix in SUFFIXES.values():
        name = name.removesuffix(suffix)
    for pattern, meaning, content in _SECRETS:
        if re.fullmatch(pattern, name) and (not content or re.search(content, _beginning(item))):
            return meaning
    return None


def _beginning(item: Item) -> bytes:
    try:
        with open(item.path, "rb") as file:
            return file.read(_LOOK)
    except OSError:
        return b""


def check_name(item: Item, findings: Findings) -> None:
    """Report an item whose name, target, type or permissions may keep it from being served."""
    if item.is_hidden:
        return
    problem = _name_problem(item.name) or _target_problem(item)
    mode = os.R_OK | os.X_OK if item.is_folder else os.R_OK
    effective = os.access in os.supports_effective_ids
    if problem is not None:
        findings.add("name", Places(item.shown), *problem)
    elif not os.access(item.path, mode, effective_ids=effective):
        what = "This user has no right to read it, so the server may not have it either (403)."
        rest = " and to enter it." if item.is_folder else "."
        cure = f"Give the server's user the right to read it{rest}"
        findings.add("access", Places(item.shown), what, cure)


def _name_problem(name: str) -> tuple[str, str] | None:
    """Return what is wrong with a name and how to mend it; None if nothing is wrong."""
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
    """Return what is wrong with the target of a symlink, or with the type of an item, and the cure.

    Return None if nothing is wrong.
    """
    if item.leads_out:
        cure = "Put a copy in its place, or serve the folder that holds both."
        return "The symlink leads out of the site, so it is not served (404).", cure
    if item.status is None and item.problem is None:
        return "The symlink leads to nothing.", "Correct or delete it."
    if item.status is not None and not item.is_folder and not item.is_file:
        return "This is neither a file nor a folder, so it is not served (404).", "Move it away."
    return None
