"""What counts as a dotfile."""

from __future__ import annotations

import pytest

from portico.site.dotfiles import is_hidden
from portico.site.target import path_names


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        ("/.git/config", True),
        ("/.env", True),
        ("/%2eenv", True),
        ("/a/.env", True),
        ("/a/.b/c", True),
        ("/.a/", True),
        ("/...", True),
        ("/.well-known", False),
        ("/.well-known/", False),
        ("/%2ewell-known/security.txt", False),
        ("/.well-known/.env", True),
        ("/.well-known/a/.b/c", True),
        ("/a/.well-known/b", True),
        ("/.well-known2/a", True),
        ("/.Well-Known/a", True),
        ("/", False),
        ("/a.b/c.", False),
    ],
)
def test_dotfiles_are_hidden_except_the_well_known(path: str, hidden: bool) -> None:
    assert is_hidden(path_names(path)) is hidden
