"""Decides the Response to a request, in a pipeline of stages.

Each stage returns the Response, or None to pass the request to the next stage:

1. method: GET, HEAD, OPTIONS and the methods of --allow are allowed; others get 405 or 501.
2. health: answers at the path of --health.
3. authority: a host that this server does not serve gets 421, and so does https without TLS.
4. options: OPTIONS gets the allowed methods; this is also the CORS preflight.
5. access: a client without the right gets 401, or 403 if its user is known (see `access`, `users`).
6. writing: the methods of --allow (see `uploads`); 403 if a page of another site sent the request.
7. rules: a redirect or rewrite in _redirects. Unless the rule is forced, an existing file takes
   precedence. A path that no file can have gets 400. Rules see the path in normal form (see
   `target`).
8. look-up: finds the path in the origin; /about also finds about.html.
9. representation: answers with a file (see `responses`), or with the listing of a folder.
10. page: 404, for browsers with the site's own error page; or a single-page application's page.

To add a stage, write a method with the same signature and list it in `Site._stages_of`. The whole
Response is decided before its first byte is sent. `Site.answer` also returns the dependencies of
the decision: while they hold, the same Response may be sent again (see `origin.freshness`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from portico.config.config import Config
from portico.http import conditional, digests
from portico.http.fields import host_name
from portico.http.message import ProtocolError, RequestHead, Response
from portico.http.status import REDIRECTS
from portico.site.access import ANONYMOUS, READ, Access, TooManyGuesses
from portico.site.context import Context
from portico.site.fields import private, varying, without
from portico.site.origin.freshness import Dependencies, Freshness, merge
from portico.site.origin.open_file import Waiting
from portico.site.origin.protocol import Directory, Failed, File, Precompressed, SlashRedirect
from portico.site.pages import errors
from portico.site.pages.errors import NO_CACHE, error, redirect
from portico.site.pages.listing import Frame, answer_listing
from portico.site.pages.readme import README
from portico.site.pages.upload import upload_part
from portico.site.representation.respond import under_conditions
from portico.site.representation.select import Selector, silent
from portico.site.resolver import Resolver
from portico.site.resources import Resources
from portico.site.responses import CACHING, DESCRIBING, Responses
from portico.site.rules.rulebook import Rulebook
from portico.site.target import encode_path, path_names, reference
from portico.site.uploads.resumable import upload_id
from portico.site.uploads.uploads import WRITE_FIELDS, is_cross_site, methods_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from portico.http.content_sink import ContentSink
    from portico.http.message import Field
    from portico.site.origin.protocol import Entry, Origin
    from portico.site.representation.select import Note
    from portico.site.rules.rulebook import Report

    Stage = Callable[["Site", RequestHead, Context], Response | ContentSink | None]

FIELDS_READ = (
    frozenset({"accept", "accept-encoding", "range", "sec-fetch-mode"})
    | conditional.FIELDS
    | digests.FIELDS
)
"""Request fields that can change a response, besides those that frame the request."""

# By method: the rights of which a client needs at least one.
_RIGHTS = {
    "GET": {READ},
    "HEAD": {READ},
    "PUT": {"create", "replace"},
    "POST": {"create", "replace"},
    "PATCH": {"create", "replace"},
    "MKCOL": {"create"},
    "DELETE": {"delete"},
}


class Site:
    """Answers requests with the files of an origin. For one thread at a time."""

    def __init__(
        self,
        origin: Origin,
        resources: Resources | None = None,
        *,
        report: Report | None = None,
        note: Note = silent,
        may_wait: bool = True,
    ) -> None:
        """`resources` can be shared by sites of the same folder; None: those of a default Config.

        `report` receives the mistakes in the site's rules files and compressed files; by default,
        the resources' own `report` does. `note` receives each step of a decision. Without
        `may_wait`, Waiting is raised where a thread has to decide.
        """
        resources = resources or Resources(Config.of())
        report = report or resources.report
        self.freshness: Freshness = origin.freshness
        """The rounds in which the dependencies of this site's responses are checked."""
        self._config = resources.config
        self._hosts = resources.hosts
        self._base = path_names(self._config.base)[:-1]
        self._resolver = Resolver(
            origin,
            note,
            self._base,
            clean_urls=self._config.clean_urls,
            hidden=self._config.hidden,
        )
        self._rules = Rulebook(origin, report, resources.parser, may_wait=may_wait)
        self._note = note
        self._may_wait = may_wait
        self._users = resources.users
        self._readmes = resources.readmes
        self._name = os.path.basename(os.path.abspath(self._config.root)) or "/"
        self._access = Access(self._config)
        selector = Selector(origin, resources.copies, note, report)
        self._responses = Responses(self._config, selector, self._rules, self._access, note)
        self._uploads = resources.uploads
        self._allowed = (*errors.READS, *methods_of(self._config.allows))
        self._is_stopping = False
        self._stages = self._stages_of(self._config)
        self._stages_of_get = self._stages_of(self._config, "GET")

    @property
    def fields_read(self) -> frozenset[str]:
        """The request fields that can change a response of this site."""
        fields = FIELDS_READ if self._config.spa else FIELDS_READ - {"sec-fetch-mode"}
        if self._users is not None:
            fields |= {"authorization"}
        return fields | WRITE_FIELDS if self._config.allows else fields

    def read_rules(self) -> None:
        """Read the site's rules files now, however long it takes, and report their mistakes."""
        with suppress(Waiting):  # then a thread reads them when the first request comes
            self._rules.bring_up_to_date(may_parse=True)

    def fail_health_checks(self) -> None:
        """Answer 503 at the path of --health from now on, because the server is about to stop."""
        self._is_stopping = True

    def answer(self, request: RequestHead) -> tuple[Response | ContentSink, Dependencies]:
        """Return the response to `request`, and the dependencies of the decision.

        If the request's content is needed first, return the ContentSink that takes the content,
        and None. Raises Waiting or Postponed.
        """
        context = Context()
        try:
            response = self._run_stages(request, context)
        except ProtocolError as problem:
            response, context.dependencies = self.refuse(problem, request), None
        if not isinstance(response, Response):
            return response, None
        # Redirects keep the query, and listings are sorted by it.
        is_fixed = response.status not in REDIRECTS and not isinstance(context.found, Directory)
        response.any_query = is_fixed and not context.reads_query
        if request.method == "HEAD":
            response.content = ()
        if self._config.cors:
            errors.add_cors(response, self._allowed if request.method == "OPTIONS" else ())
        if self._config.hsts and request.is_secure:  # never without TLS (RFC 6797, 7.2)
            hsts = ("Strict-Transport-Security", f"max-age={self._config.hsts}")
            response.fields = [*response.fields, hsts]
        if not self._access.is_open and self._depends_on_user(request, context):
            response.fields = private(response.fields)
            context.dependencies = None
        dependencies = context.dependencies
        return response, None if dependencies is None else tuple(dict.fromkeys(dependencies))

    def refuse(self, problem: ProtocolError, request: RequestHead | None = None) -> Response:
        """Return the Response to a request that broke the protocol; the connection then closes.

        `request` is None if the request could not be parsed.
        """
        response = error(problem.status, request, problem.detail)
        response.close = True
        if self._config.cors:
            errors.add_cors(response)
        return response

    @classmethod
    def _stages_of(cls, config: Config, method: str = "") -> tuple[Stage, ...]:
        """Return the stages that `config` needs for requests with this method ("": any method).

        Other stages are left out, because each stage costs time on every request.
        """
        is_get = method == "GET"
        stages: tuple[tuple[Stage, object], ...] = (
            (cls._check_method, not is_get),
            (cls._answer_health, config.health),
            (cls._check_authority, True),
            (cls._answer_options, not is_get),
            (cls._check_access, config.users or config.accesses),
            (cls._write, config.allows and not is_get),
            (cls._apply_rules, True),
            (cls._look_up, True),
            (cls._represent, True),
            (cls._answer_missing, True),
        )
        return tuple([stage for stage, is_needed in stages if is_needed])

    def _run_stages(self, request: RequestHead, context: Context) -> Response | ContentSink:
        for stage in self._stages_of_get if request.method == "GET" else self._stages:
            response = stage(self, request, context)
            if response is not None:
                return response
        raise AssertionError("the last stage always answers")

    # 1. Method

    def _check_method(self, request: RequestHead, _context: Context) -> Response | None:
        if request.method in self._allowed or self._is_for_upload(request):
            return None
        return errors.refuse_method(request, self._allowed)

    # 2. Health

    def _answer_health(self, request: RequestHead, _context: Context) -> Response | None:
        if request.path != self._config.health or request.method == "OPTIONS":
            return None
        self._note("Health: this is the path of --health.")
        status, text = (503, b"stopping\n") if self._is_stopping else (200, b"ok\n")
        return errors.unstored(status, "text/plain; charset=utf-8", text)

    # 3. Authority

    def _check_authority(self, request: RequestHead, _context: Context) -> Response | None:
        if request.scheme == "https" and not request.is_secure:  # RFC 9110, 7.4
            return error(421, request, "This connection is not encrypted, so https is not for it.")
        if self._hosts.are_meant(request.authority):
            return None
        self._note("Host: not one of this server.")
        return errors.refuse_host(request, host_name(request.authority))

    # 4. OPTIONS and CORS

    def _answer_options(self, request: RequestHead, context: Context) -> Response | None:
        if request.method != "OPTIONS":
            return None
        response = errors.options(self._allowed)
        response.fields = [*response.fields, *self._uploads.options()]
        if request.path != "*":
            self._rules.bring_up_to_date()
            context.depend_on(self._rules.dependencies)
            changed = self._responses.with_rules(request, response.fields)
            response.fields += [field for field in changed if _is_about_origins(field)]
        return response

    # 5. Access

    def _check_access(self, request: RequestHead, context: Context) -> Response | None:
        context.names = path_names(request.path)
        try:
            if self._users is not None:
                context.user = self._users.who(request, may_wait=self._may_wait)
                request.user = context.user  # for the log
        except TooManyGuesses as problem:
            self._note("Access: too many wrong passwords from this address.")
            return error(429, request, fields=[("Retry-After", str(problem.seconds))])
        if upload_id(context.names, self._base) is not None:
            return None  # whoever knows the upload's ID has the right
        rights = self._access.rights(context.names, context.user)
        allowed = ", ".join(sorted(rights)) or "nothing"
        self._note("Access: %s may do this here: %s.", context.user or ANONYMOUS, allowed)
        return None if rights & _RIGHTS[request.method] else self._deny(request, context)

    def _deny(self, request: RequestHead, context: Context) -> Response:
        """Return 401 with a challenge if a password could help (RFC 9110, 11.6.1), else 403."""
        if context.user is not None or self._users is None:
            return error(403, request)
        challenge = ("WWW-Authenticate", 'Basic realm="Portico", charset="UTF-8"')
        return error(401, request, fields=[challenge])

    def _depends_on_user(self, request: RequestHead, context: Context) -> bool:
        """Whether another user might have got another response."""
        known = request.get("authorization") is not None
        return known or not self._access.is_the_same_for_all(context.names)

    # 6. Writing

    def _write(self, request: RequestHead, context: Context) -> Response | ContentSink | None:
        if request.method in errors.READS and not self._is_for_upload(request):
            return None
        context.dependencies = None
        if request.method not in errors.READS and is_cross_site(request):
            self._note("Writing: a page of another site has sent this.")
            return error(403, request, "A page of another site cannot change what is here.")
        user = context.user
        return self._uploads.answer(
            request,
            lambda names: self._access.rights((*self._base, *names), user),
            may_wait=self._may_wait,
        )

    def _is_for_upload(self, request: RequestHead) -> bool:
        """Whether the request queries, continues or cancels an upload: see `uploads.resumable`."""
        if not self._config.allows or request.method not in {"HEAD", "PATCH", "DELETE", "POST"}:
            return False
        return upload_id(path_names(request.path), self._base) is not None

    # 7. Rules

    def _apply_rules(self, request: RequestHead, context: Context) -> Response | None:
        context.requested = context.names = path_names(request.path)
        self._rules.bring_up_to_date()
        context.depend_on(self._rules.dependencies)
        redirects = self._rules.redirects
        context.reads_query = redirects is not None and redirects.read_query
        if redirects is None:
            return None
        path, host = encode_path(context.names), host_name(request.authority)
        match = redirects.match(path, request.query, host)
        if match is None:
            return None
        if not match.forced:
            context.found = self._resolver.find(context.names)
            file = self._resolver.content(context.names, context.found)
            context.depend_on(merge(context.found.dependencies, file.dependencies))
            if isinstance(file, File | Precompressed | Failed):
                self._note(
                    "Rule: line %d of _redirects does not apply: a file comes first.", match.line
                )
                return None
        self._note("Rule: line %d of _redirects: %d %s", match.line, match.status, match.location)
        if match.status not in {200, 404}:
            return redirect(match.status, match.location)
        context.names = path_names(match.location.partition("#")[0].partition("?")[0])
        context.found = None
        context.rewrite = match.status
        return None

    # 8. Look-up

    def _look_up(self, request: RequestHead, context: Context) -> Response | None:
        if self._base and context.names == ("",):
            return redirect(302, reference(request.path, (*self._base, "")))
        if context.found is None:
            context.found = found = self._resolver.find(context.names)
            context.depend_on(found.dependencies)
            if context.rewrite is not None:
                slash = context.requested[-1] == "" if context.rewrite == 200 else None
                context.names, context.found = self._resolver.follow(context.names, found, slash)
                context.depend_on(context.found.dependencies)
        found = context.found
        if self._access.is_open or not isinstance(found, File | Precompressed | Directory):
            return None
        # Checked for this path too, to which a rule or a clean URL may have led.
        names = context.names if isinstance(found, Directory) else (*self._base, *found.names)
        return None if self._may_read(names, context) else self._deny(request, context)

    # 9. Representation

    def _represent(self, request: RequestHead, context: Context) -> Response | None:
        found = context.found
        if (names := _elsewhere(request, context)) is not None:
            query = "" if request.query is None else f"?{request.query}"
            return redirect(301, reference(request.path, names) + query)
        if isinstance(found, File | Precompressed):
            if context.rewrite == 404:
                return self._responses.error_page(request, found, context)
            cache = NO_CACHE if context.rewrite else self._responses.cache_control(request)
            return self._responses.file(request, found, cache, context)
        if isinstance(found, Failed):
            response = self._responses.error(found.status, request)
            response.cause = found.cause
            return response
        if isinstance(found, Directory) and self._config.listing and context.rewrite != 404:
            return self._listing(request, found, context)
        return None

    def _listing(self, request: RequestHead, found: Directory, context: Context) -> Response:
        """Return the listing of a folder; 304 or 412 if a condition of the request says so."""
        readme = ""
        found.entries = self._readable(found, context)
        if not found.is_long and not errors.prefers_json(request.get("accept")):
            entries = list(found.entries)
            found.entries = iter(entries)
            if any(entry.name == README for entry in entries):
                text = self._resolver.find((*context.names[:-1], README))
                context.depend_on(text.dependencies)
                readme = self._readmes.html(text, may_wait=self._may_wait)
        with self.freshness.budget:
            upload = upload_part(self._access.rights(context.names, context.user))
            frame = Frame(self._name, readme, upload)
            names, compress = context.requested[len(self._base) :], self._config.compress
            response = answer_listing(request, names, found, frame, compress=compress)
        response.fields = self._responses.with_rules(request, response.fields, DESCRIBING)
        response = under_conditions(request, response)
        return self._responses.error(412, request) if response.status == 412 else response

    def _may_read(self, names: tuple[str, ...], context: Context) -> bool:
        return self._access.is_open or READ in self._access.rights(names, context.user)

    def _may_read_file(self, found: File | Precompressed, context: Context) -> bool:
        return self._may_read((*self._base, *found.names), context)

    def _readable(self, found: Directory, context: Context) -> Iterator[Entry]:
        """Return the entries of a folder that the client may read."""
        if self._access.is_open:
            return found.entries
        folder = context.names[:-1]
        return (
            entry
            for entry in found.entries
            if self._may_read((*folder, entry.name, *([""] if entry.is_folder else [])), context)
        )

    # 10. Page

    def _answer_missing(self, request: RequestHead, context: Context) -> Response:
        if self._config.spa and _wants_page(request, context.requested[-1]):
            index = self._resolver.home(context.requested)
            if isinstance(index, File | Precompressed) and self._may_read_file(index, context):
                self._note("Page: /%s, because of --spa.", "/".join(index.names))
                response = self._responses.file(request, index, NO_CACHE, context)
                fields = [*without(response.fields, CACHING), ("Cache-Control", NO_CACHE)]
                response.fields = varying(fields, self._responses.vary)
                return response
        if errors.prefers_problem(request.get("accept")):
            return self._responses.error(404, request)
        page, folder, dependencies = self._resolver.nearest_page(context.names)
        context.depend_on(dependencies)
        if page is None or not self._may_read_file(page, context):
            if context.rewrite is not None:  # `context.names` is not the requested path
                return self._responses.error(404, request)
            if not (self._config.listing and self._may_read((*folder, ""), context)):
                folder = ()
            return self._responses.error(404, request, missing=(context.names, folder))
        self._note("Page: /%s is the nearest error page.", "/".join(page.names))
        return self._responses.error_page(request, page, context)


def _elsewhere(request: RequestHead, context: Context) -> tuple[str, ...] | None:
    """Return the path to redirect to, since relative links would lead elsewhere from this one.

    Return None if no redirect is needed.
    """
    found, names = context.found, context.requested
    if isinstance(found, SlashRedirect):
        return (*names, "") if found.is_folder else names[:-1]
    is_there = isinstance(found, File | Precompressed | Directory)
    is_encoded = names[-1] == "" and request.path.endswith(("%2f", "%2F"))
    return names if is_there and is_encoded else None


def _wants_page(request: RequestHead, name: str) -> bool:
    """Whether a request for a missing file is for a page, rather than for a part of a page.

    Browsers tell by Sec-Fetch-Mode; other clients have to accept HTML. `name`, the last one of the
    path, must have no suffix. (connect-history-api-fallback, which development servers use, has
    the same rule.)
    """
    if "." in name:
        return False
    mode = request.get("sec-fetch-mode")
    return errors.takes_html(request.get("accept")) if mode is None else mode == "navigate"


def _is_about_origins(field: Field) -> bool:
    """Whether a field tells browsers from which origins scripts may read a response (CORS)."""
    name = field[0].lower()
    return name.startswith("access-control-") or name == "vary"
