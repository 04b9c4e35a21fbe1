"""The objects that the copies of one site share: each thread has a `Site` of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.site.hosts import Hosts
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
    """The configuration of a site, with its users, uploads and caches. For any thread."""

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
        """`hosts` are the names of the hosts that are served: see `Hosts`.

        `copies` makes compressed copies of files; None: no copies are made. `report` receives the
        mistakes in the site's files: rules, users, compressed siblings. `users` and `uploads`
        default to those of the configuration.
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
