"""What the copies of one site have in common: each thread has a `Site` of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.site.hosts import Hosts
from portico.site.origin.etags import Digests
from portico.site.pages.readme import Readmes
from portico.site.rules.rulebook import RulesParser, warn
from portico.site.uploads.uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from portico.config.config import Config
    from portico.site.access import Authenticator
    from portico.site.compression.cache import CompressionCache
    from portico.site.rules.rulebook import Report


class Resources:
    """The configuration of a site, and what it remembers and makes. For any thread."""

    def __init__(
        self,
        config: Config,
        hosts: Iterable[str] | None = None,
        copies: CompressionCache | None = None,
        report: Report = warn,
        *,
        users: Authenticator | None = None,
        uploads: Uploads | None = None,
    ) -> None:
        """`hosts` are those that are served (see `Hosts`). `copies` compresses; None: nothing does.

        `report` receives what is wrong with the site's files: rules, users, compressed siblings.
        `users` and `uploads` are those of the configuration, unless others are given.
        """
        if users is None and config.users:
            from portico.site.users import Users  # which takes OpenSSL, and time

            users = Users(config.users, report)
        self.config = config
        self.hosts = Hosts(hosts)
        self.copies = copies
        self.report = report
        self.users = users
        self.uploads = uploads or Uploads(config)
        self.readmes = Readmes()
        self.parser = RulesParser()
        self.digests = Digests()
