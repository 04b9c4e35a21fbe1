"""`portico [DIR]`: flags -> Config -> listen -> serve until stopped.

The banner goes to stderr, the access log to stdout. Modules of the server are imported only after
the arguments were checked, so that --help and mistakes are answered fast.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from functools import partial

from portico import __version__
from portico.cli.banner import banner, farewell, notes, open_browser, qr_code, remarks, warnings
from portico.cli.terminal import (
    FOUND,
    STDERR,
    STDOUT,
    STOPPED,
    Parser,
    SurplusArgumentError,
    UsageError,
    add_help,
    add_option,
    refuse,
    report,
    say,
    wants_color,
)
from portico.config.config import Config, ConfigError, check_serving, unknown_variables
from portico.config.kinds import FILE, FOLDER, cores
from portico.config.options import LIMITS, OPTIONS, OTHER
from portico.site.dotfiles import check_secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import NoReturn

    from portico.server.net.listeners import Listeners
    from portico.server.processes.signals import Signals
    from portico.server.processes.supervisor import Generation
    from portico.server.telemetry.endpoint import MetricsEndpoint
    from portico.server.worker import Worker

COMMON = frozenset(
    {
        *("root", "index", "spa", "hidden", "cors", "isolate", "header", "allow", "port", "host"),
        *("lan", "https", "open", "config"),
    }
)
"""The options that --help shows; --help-all shows all."""

INTRO = """\
Serve a folder over HTTP: without options the current one, to this machine
only, at http://localhost:8080/. Ctrl+C stops it.
"""

OUTRO = """\
examples:
  portico                      serve the current folder
  portico site -p 9000 --open  the folder "site", on this port, in a browser
  portico film.mp4 --lan       one file, for the phones in your network
  portico dist --spa --cors    a single-page application

other commands, each with its own --help:
  portico check [DIR]          find broken links, secrets, bad rules, ...
  portico compress [DIR]       write compressed files beside the originals
  portico explain URL          show how a request is answered, and why
  portico passwd NAME          make a password or a token for --users

Every option can also be an environment variable (PORTICO_PORT=8000) or a line
in portico.toml (port = 8000). Flags win over the environment, which wins over
the file.
"""


def run(argv: Sequence[str], signals: Signals) -> int:
    """Serve a folder with these arguments until stopped, and return the exit code.

    Raises ConfigError for a mistake of the operator.
    """
    flags = parse(argv)
    config = Config.load(flags, os.environ)
    root = _check(config)
    config, noted = _with_local_certificate(config)
    check_secrets(config)
    for text in unknown_variables(os.environ):
        report(text)

    from portico.server.net.listeners import BindError, bind_anew, discard
    from portico.server.processes.systemd import inherited_sockets

    _raise_descriptor_limit()
    listeners: Listeners = {}
    metrics = None
    try:
        inherited = inherited_sockets()
        listeners = inherited or bind_anew(config, {})
        if config.metrics:
            from portico.server.telemetry.endpoint import MetricsEndpoint

            metrics = MetricsEndpoint(config)
        serve = _serve if config.workers == 1 else _supervise
        program = _Program(flags, config, root, inherited, metrics, signals, noted)
        return serve(program.with_whole_paths(config), listeners, program)
    except (BindError, ConfigError) as problem:
        return refuse(problem)
    finally:
        discard(listeners)
        if metrics is not None:
            metrics.close()


def parse(argv: Sequence[str]) -> dict[str, object]:
    """Return the values given by flags, by option name, unchecked. Raises UsageError."""
    try:
        return vars(parser(COMMON).parse(argv))
    except SurplusArgumentError as problem:
        if problem.word.isdigit():
            raise UsageError(f"{problem}; for a port: --port {problem.word}") from None
        raise


def parser(shown: Collection[str] = ()) -> Parser:
    """Return the parser of all flags; its help has the options `shown`, or all if that is empty."""
    made = Parser("portico", "[options] [DIR]", INTRO, OUTRO)
    kept = [option for option in OPTIONS if not shown or option.name in shown]
    about = {LIMITS: "Times are in seconds, sizes in bytes (or 512K, 8M, 1G)."}
    titles = dict.fromkeys(option.group for option in kept)
    groups = {title: made.add_argument_group(title, about.get(title)) for title in titles}
    for option in OPTIONS:
        add_option(groups[option.group] if option in kept else made, option, in_help=option in kept)
    version = f"portico {__version__}"
    groups[OTHER].add_argument(
        "--version", action="version", version=version, help="Show the version."
    )
    add_help(groups[OTHER])
    groups[OTHER].add_argument("--help-all", action=_HelpAll, help="Show all options.")
    return made


class _HelpAll(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, *_: object) -> NoReturn:
        parser().print_help()
        raise SystemExit(STOPPED)


def _check(config: Config) -> str:
    """Check options that depend on each other or on files. Return the real path of the root.

    Raises ConfigError.
    """
    root = check_serving(config)
    if config.headers:
        from portico.site.responses import header_rules

        header_rules(config)
    if config.users:
        from portico.site.users import read_users

        for mistake in read_users(config.users)[2]:
            raise ConfigError(mistake)
    if config.user:
        from portico.server.processes.privileges import account

        account(config.user)
    return root


def _serve(config: Config, listeners: Listeners, program: _Program) -> int:
    """Serve in this process until stopped, and return the exit code."""
    from portico.server.net.listeners import schemes
    from portico.server.processes import privileges, systemd
    from portico.server.processes.sandbox import Sandbox
    from portico.server.processes.signals import reap
    from portico.server.telemetry.access_log import AccessLog
    from portico.server.telemetry.telemetry import Telemetry
    from portico.server.worker import Worker

    config = _at_terminal(config)
    user = privileges.account(config.user) if config.user else None
    log = AccessLog(STDOUT, config, report) if config.access_log else None
    counters = None if program.metrics is None else program.metrics.counters.add()
    worker = Worker(
        config,
        list(listeners.values()),
        Telemetry(log, counters, report, report),
        schemes=schemes(config, listeners),
        on_drain=systemd.stopping,
        on_wait=report,
    )
    program.signals.serve(worker, partial(_reload_certificates, worker), reap)
    program.open_browser(listeners)  # while this process may start another
    sandbox = Sandbox(config, report, is_alone=True)
    if user is not None:
        privileges.become(user, config, report, is_alone=True)
    program.started(config, listeners, sandbox.is_refused)
    begin = time.monotonic()
    systemd.ready("1 worker")
    systemd.watch(worker.later)
    sandbox.run(worker.run)
    say(farewell(worker.requests, worker.cut, time.monotonic() - begin))
    return STOPPED


def _supervise(config: Config, listeners: Listeners, program: _Program) -> int:
    """Serve in worker processes until stopped, and return the exit code."""
    if os.name != "posix":
        return refuse(ConfigError("--workers: there can be only one on this system"))
    from portico.server.processes.supervisor import Generation, StartError, Supervisor

    def on_start(workers: Config, listeners: Listeners, is_refused: bool) -> None:  # noqa: FBT001
        program.open_browser(listeners)
        program.started(workers, listeners, is_refused)

    check_certificates(config)
    supervisor = Supervisor(
        Generation(_at_terminal(config), listeners),
        load=program.load,
        on_start=on_start,
        report=report,
        metrics=None if program.metrics is None else program.metrics.counters,
    )
    program.signals.serve(supervisor, supervisor.reload, supervisor.reap)
    begin = time.monotonic()
    try:
        supervisor.run()
    except StartError as problem:
        refuse(problem)
        return FOUND
    say(farewell(supervisor.requests, supervisor.cut, time.monotonic() - begin))
    return STOPPED


class _Program:
    """The running command: its arguments, and its actions at the start and at a reload."""

    def __init__(
        self,
        flags: dict[str, object],
        config: Config,
        root: str,
        inherited: Listeners,
        metrics: MetricsEndpoint | None,
        signals: Signals,
        noted: Sequence[str],
    ) -> None:
        """`noted` is shown at the start."""
        self.signals = signals
        self._noted = noted
        self._here = _current_folder()
        self._flags = flags
        self._config = config
        self._root = root
        self.inherited = inherited
        """The listening sockets that the service manager has passed on; often none."""
        self.metrics = metrics

    def load(self, held: Listeners) -> Generation:
        """Read the configuration again, and return the next generation of workers.

        The listening sockets `held` are kept if they are still wanted. Raises ConfigError or
        BindError.
        """
        from portico.server.net.listeners import bind_anew
        from portico.server.processes.supervisor import Generation

        with contextlib.suppress(OSError):  # the name may lead to another folder by now
            os.chdir(self._here)
        config = Config.load(self._flags, os.environ)
        _check(config)
        config, _ = _with_local_certificate(config)
        check_secrets(config)
        check_certificates(config)
        if config.metrics != (self.metrics.address if self.metrics is not None else ""):
            raise ConfigError("another address for metrics takes a restart")
        listeners = self.inherited or bind_anew(config, held)
        return Generation(_at_terminal(self.with_whole_paths(config)), listeners)

    def with_whole_paths(self, config: Config) -> Config:
        """Return the configuration with absolute paths, joined to the folder of the start."""
        settings = config.settings()
        for option in OPTIONS:
            path = getattr(config, option.attribute)
            if option.kind in {FOLDER, FILE} and path and option.name != "config":
                settings[option.name] = os.path.join(self._here, path)
        return Config(settings)

    def started(self, workers: Config, listeners: Listeners, is_refused: bool) -> None:  # noqa: FBT001
        """Show the banner, and start to serve metrics. The sandbox may be refused."""
        from portico.server.net.listeners import is_local
        from portico.server.processes.sandbox import describe

        config, metrics, sockets = self._config, self.metrics, list(listeners.values())
        writable = bool(config.allows) and config.insecure_writes
        local = all(map(is_local, sockets))
        warned = warnings(self._root, local=local, writable=writable)
        if config.spa and not os.path.exists(os.path.join(self._root, config.index)):
            warned.append(f"no {config.index} in this folder, so --spa has no page to send.")
        if self.inherited and not {"host", "port", "listen", "lan"}.isdisjoint(config.given):
            warned.append("the service manager chose the address; host, port, listen are ignored.")
        if metrics is not None and not metrics.is_local:
            warned.append("everyone on your network can read the metrics.")
        urls = self._urls(listeners)
        noted = [*notes(config, [] if self.inherited else urls), *self._noted]
        if config.user:
            noted.append(f"It serves as user {config.user}.")
        noted += filter(None, [describe(config, is_refused=is_refused)])
        url = "" if metrics is None else metrics.url
        color = wants_color(config.color, STDERR)
        start = banner(self._root, urls, workers=workers.workers, metrics=url, color=color)
        say(start + remarks(noted, warned, color=color))
        if config.lan:
            say(qr_code(urls, color=color))
        if metrics is not None:
            metrics.start()

    def open_browser(self, listeners: Listeners) -> None:
        """Open the site in the browser if --open is given."""
        if self._config.open:
            open_browser(self._urls(listeners)[0])

    def _urls(self, listeners: Listeners) -> list[str]:
        from portico.server.net.listeners import reachable_urls, schemes

        config = self._config
        urls = reachable_urls(config, list(listeners.values()), schemes(config, listeners))
        if os.path.isfile(self._root):
            from portico.site.target import encode_name

            urls = [url + encode_name(os.path.basename(self._root)) for url in urls]
        return urls


def _at_terminal(config: Config) -> Config:
    """Return the configuration for workers, with `auto` decided: color, log format, workers."""
    auto = "short" if os.isatty(STDOUT) else "common"
    return Config(
        {
            **config.settings(),
            "color": "always" if wants_color(config.color, STDOUT) else "never",
            "log_format": auto if config.log_format == "auto" else config.log_format,
            "workers": config.workers or cores(),
        }
    )


def _current_folder() -> str:
    """Return the path of the current folder by which it was entered, as `pwd -L` does.

    This path may contain a symlink such as "current" to the present release. When the symlink is
    changed to the next release, the path leads there. Empty if the folder does not exist any more.
    """
    name = os.environ.get("PWD", "")
    with contextlib.suppress(OSError):
        return name if os.path.isabs(name) and os.path.samefile(name, ".") else os.getcwd()
    with contextlib.suppress(OSError):
        return os.getcwd()
    return ""


def check_certificates(config: Config) -> None:
    """Load the certificates, as workers will. Raises ConfigError if they cannot be used."""
    if config.tls_certs:
        from portico.server.net.certificates import Certificates

        Certificates(config)


def _with_local_certificate(config: Config) -> tuple[Config, list[str]]:
    """Return the configuration with what --https adds, and what is to be said of that."""
    if not config.https:
        return config, []
    from portico.cli.local_certificate import with_local_certificate

    config, line = with_local_certificate(config)
    return config, [line]


def _reload_certificates(worker: Worker) -> None:
    """Reload the certificates on SIGHUP: a single process cannot reload code and configuration."""
    from portico.server.processes import systemd

    systemd.reloading()
    if worker.reload_certificates():
        report("only certificates are reloaded: more needs --workers 2 or more, or auto")
        systemd.ready("1 worker; certificates were reloaded")
    else:
        report("not reloaded: that needs --workers 2 or more, or auto")
        systemd.ready("1 worker; nothing was reloaded")


def _raise_descriptor_limit() -> None:
    """Raise the limit of open descriptors to the highest that the system permits."""
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, OSError, ValueError):
        return  # this system has no such limit, or does not allow this one
