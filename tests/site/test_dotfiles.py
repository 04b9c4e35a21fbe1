"""What counts as a dotfile."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.config.config import Config, ConfigError
from portico.site.dotfiles import check_secrets, is_hidden
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


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"users": "site/users"}, "--users"),
        ({"tls_certs": ["c.pem"], "tls_keys": ["site/sub/k.pem"]}, "--tls-key"),
        ({"tls_certs": ["site/both.pem"]}, "--tls-cert"),
        ({"tls_certs": ["site/.state/both.pem"], "hidden": True}, "--tls-cert"),
    ],
)
def test_secrets_are_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], flag: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site").mkdir()
    with pytest.raises(ConfigError, match=f"{flag}: .* lies in the folder that is served"):
        check_secrets(Config.of(root="site", **options))


def test_secrets_elsewhere_or_hidden_are_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site").mkdir()
    check_secrets(Config.of(root="site", users="users", tls_certs=["site/.state/both.pem"]))
    check_secrets(Config.of(root="site", tls_certs=["site/cert.pem"], tls_keys=["key.pem"]))
