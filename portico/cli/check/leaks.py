"""Files that should not lie in a site: secrets, dumps, leftovers of editors.

Rule: the name decides; where a name has harmless uses too (.pem, .key, .json), the first 64 KiB of
the content have to hold a private key.
Limit: what has another name, or lies in an archive, is not found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from portico.site.compression.encoders import SUFFIXES

if TYPE_CHECKING:
    from portico.cli.check.findings import Findings
    from portico.cli.walk import Item

_LOOK = 65536
"""Octets of a file in which a private key is looked for. The largest in use have about 13,000."""

_FOLDERS = {
    **dict.fromkeys((".git", ".svn", ".hg", ".bzr"), "the history of the sources"),
    **dict.fromkeys((".aws", ".azure"), "credentials of a cloud account"),
    **dict.fromkeys((".gnupg", ".ssh"), "private keys"),
    ".docker": "credentials of a registry",
    ".kube": "credentials of a cluster",
}

# Each pattern must match a whole name in lower case.
_NAMES = {
    r"\.env.*": "settings with passwords",
    r"\.htpasswd.*": "passwords",
    r"\.(npmrc|pypirc|netrc|pgpass|dockercfg|git-credentials)": "passwords",
    r"_netrc|wp-config\.php.*": "passwords",
    r"\.(bash|zsh|psql|mysql|python)_history": "commands once typed",
    r"id_(rsa|dsa|ecdsa|ed25519)(_sk)?": "a private key",
    r".+\.(p12|pfx|jks|keystore|kdbx)": "a store of private keys or passwords",
    r".+\.(sql|sqlite3?|db|dump)": "a database or its dump",
    r".+~|#.+#|.+\.(bak|swp|swo|orig|old)": "a leftover of an editor, or a backup",
}
_KEY_FILE = re.compile(r".+\.(pem|key|ppk)")
_KEY = re.compile(rb"PRIVATE KEY-----|PuTTY-User-Key-File")
_ACCOUNT = re.compile(rb'"private_key"\s*:\s*"(?:-----BEGIN|[^"]{16})')


def check_leak(item: Item, findings: Findings) -> bool:
    """Report a file or folder that should not lie in a site. Return whether it is one."""
    meaning = _meaning(item)
    if meaning is None:
        return False
    if item.is_hidden:
        what = f"This looks like {meaning}. It is not served, because its name begins with a dot."
        cure = "Move it out of the site all the same: another server, or a copy, may show it."
    else:
        what = f"This looks like {meaning}, and everybody can read it."
        cure = "Move it out of the site, and change what it gives away."
    findings.add("secret", (item.shown, None), what, cure)
    return True


def _meaning(item: Item) -> str | None:
    """Return what the item seems to hold; None for nothing of this kind."""
    name = item.name.lower()
    if name in _FOLDERS:
        return _FOLDERS[name]
    if not item.is_file or item.leads_out:
        return None
    original = next(
        (name.removesuffix(end) for end in SUFFIXES.values() if name.endswith(end)), name
    )
    for pattern, meaning in _NAMES.items():
        if re.fullmatch(pattern, original):
            return meaning
    if _KEY_FILE.fullmatch(name) and _KEY.search(_beginning(item)):
        return "a private key"
    if name.endswith(".json") and _ACCOUNT.search(_beginning(item)):
        return "the private key of a service account"
    return None


def _beginning(item: Item) -> bytes:
    try:
        with open(item.path, "rb") as file:
            return file.read(_LOOK)
    except OSError:
        return b""
