"""`portico [DIR]`: flags -> Config -> listen -> serve until stopped.

The banner goes to stderr, the access log to stdout. Modules of the server are imported only when a
server is to be started.
"""

from __future__ import annotations

import contextlib
import os
import time

from portico import __version__
from portico.cli.banner import banner, farewell, what_to_know
from portico.cli.terminal import (
    FOUND,
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
from portico.config.config import (
    Config,
    ConfigError,
    check_root,
    check_writing,
    unknown_variables,
)
from portico.config.options import FILE, FOLDER, LIMITS, OPTIONS, OTHER, cores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.server.net.listeners import Listeners
    from portico.server.processes.signals import Signals
    from portico.server.processes.supervisor import Generation
    from portico.server.telemetry.endpoint import MetricsEndpoint

INTRO = """\
Serve a folder over HTTP. With no options at all: the current folder, at
http://localhost:8080/, to this machine only. Ctrl+C stops it.
"""

OUTRO = """\
examples:
  portico                      serve the current folder
  portico site --port 0        serve the folder "site" on any free port
  portico site --host 0.0.0.0  let others in your network read it as well
  portico --no-access-log      without a line for each response

other commands, each with its own --help:
  portico explain URL          how a request would be answered, and why
  portico check [DIR]          what would surprise on this site
  portico compress [DIR]       write compressed files beside the originals

Every option can also be set by an environment variable (PORTICO_PORT=8000) or
in the configuration file (port = 8000). Flags weigh most, the file least.
"""


def run(argv: Sequence[str], signals: Signals) -> int:
    """Serve a folder as these arguments say. Return the exit code.

    Raises ConfigError for a mistake of the operator.
    """
    flags = parse(argv)
    config = Config.load(flags, os.environ)
    root = check_root(config)
    check_writing(config)
    check_users(config)
    for text in unknown_variables(os.environ):
        report(text)

    from portico.server.net.listeners import BindError, bind_anew, discard
    from portico.server.processes.systemd import inherited_sockets

    _raise_descriptor_limit()
    here = _current_folder()
    listeners: Listeners = {}
    metrics = None
    try:
        inherited = inherited_sockets()
        listeners = inherited or bind_anew(config, {})
        if config.metrics:
            from portico.server.telemetry.endpoint import MetricsEndpoint

            metrics = MetricsEndpoint(config)
        serve = _serve if config.workers == 1 else _supervise
        program = _Program(flags, root, inherited, metrics, signals, here)
        return serve(_with_whole_paths(config, here), listeners, program)
    except (BindError, ConfigError) as problem:
        return refuse(problem)
    finally:
        discard(listeners)
        if metrics is not None:
            metrics.close()


def parse(argv: Sequence[str]) -> dict[str, object]:
    """Return the values given by flags, by option name, unchecked. Raises UsageError."""
    parser = Parser("portico", "[options] [DIR]", INTRO, OUTRO)
    about = {LIMITS: "Times are in seconds, sizes in bytes (or 512K, 8M, 1G)."}
    titles = dict.fromkeys(option.group for option in OPTIONS)
    groups = {title: parser.add_argument_group(title, about.get(title)) for title in titles}
    for option in OPTIONS:
        add_option(groups[option.group], option)
    version = f"portico {__version__}"
    groups[OTHER].add_argument(
        "--version", action="version", version=version, help="Show the version."
    )
    add_help(groups[OTHER])
    try:
        return vars(parser.parse(argv))
    except SurplusArgumentError as problem:
        if problem.word.isdigit():
            cure = f"if that is the port: --port {problem.word}"
            raise UsageError(f"{problem}; {cure}") from None
        raise


def _serve(config: Config, listeners: Listeners, program: _Program) -> int:
    """Serve in this process."""
    from portico.server.processes import systemd
    from portico.server.processes.signals import reap
    from portico.server.telemetry.access_log import AccessLog
    from portico.server.worker import Worker

    log = None
    if config.access_log:
        color = wants_color(config.color, STDOUT)
        log = AccessLog(STDOUT, config.log_format, color=color, report=report)
    worker = Worker(
        config,
        list(listeners.values()),
        log=log,
        counters=None if program.metrics is None else program.metrics.counters.add(),
        report=report,
        on_drain=systemd.stopping,
    )
    program.signals.serve(worker, _no_reload, reap)
    program.started(config, listeners)
    begin = time.monotonic()
    systemd.ready("1 worker")
    worker.run()
    say(farewell(worker.requests, time.monotonic() - begin))
    return STOPPED


def _supervise(config: Config, listeners: Listeners, program: _Program) -> int:
    """Serve in worker processes."""
    if os.name != "posix":
        return refuse(ConfigError("--workers: there can be only one on this system"))
    from portico.server.processes.supervisor import Generation, StartError, Supervisor

    supervisor = Supervisor(
        Generation(_for_workers(config), listeners),
        load=program.load,
        on_start=program.started,
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
    say(farewell(supervisor.requests, time.monotonic() - begin))
    return STOPPED


class _Program:
    """The command as it runs, as far as the supervisor needs it."""

    def __init__(
        self,
        flags: dict[str, object],
        root: str,
        inherited: Listeners,
        metrics: MetricsEndpoint | None,
        signals: Signals,
        here: str,
    ) -> None:
        self.signals = signals
        self._here = here
        self._flags = flags
        self._root = root
        self.inherited = inherited
        """The sockets that the service manager has passed on."""
        self.metrics = metrics

    def load(self, held: Listeners) -> Generation:
        """Return workers with the configuration as file and environment have it now."""
        from portico.server.net.listeners import bind_anew
        from portico.server.processes.supervisor import Generation

        with contextlib.suppress(OSError):  # its name may lead to another folder by now
            os.chdir(self._here)
        config = Config.load(self._flags, os.environ)
        check_root(config)
        check_writing(config)
        check_users(config)
        config = _with_whole_paths(config, self._here)
        if config.metrics != (self.metrics.address if self.metrics is not None else ""):
            raise ConfigError("another address for metrics takes a restart")
        return Generation(_for_workers(config), self.inherited or bind_anew(config, held))

    def started(self, config: Config, listeners: Listeners) -> None:
        """Show the banner, and serve metrics from now on."""
        from portico.server.net.listeners import is_local, reachable_urls

        metrics, sockets = self.metrics, list(listeners.values())
        warnings = what_to_know(self._root, local=all(map(is_local, sockets)))
        if config.spa and not os.path.exists(os.path.join(self._root, config.index)):
            warnings.append(
                f"there is no {config.index} in this folder, so --spa has no page to send."
            )
        if self.inherited and not {"host", "port", "listen"}.isdisjoint(config.settings()):
            warnings.append(
                "the service manager chose where to listen; host, port, listen are unused."
            )
        if metrics is not None and not metrics.is_local:
            warnings.append(
                "everyone who can reach this machine over the network can read the metrics."
            )
        url = "" if metrics is None else metrics.url
        say(banner(config, self._root, reachable_urls(config, sockets), warnings, url))
        if metrics is not None:
            metrics.start()


def _for_workers(config: Config) -> Config:
    """Return the configuration for workers, with what this process and its terminal decide."""
    color = "always" if wants_color(config.color, STDOUT) else "never"
    return Config({**config.settings(), "color": color, "workers": config.workers or cores()})


def _with_whole_paths(config: Config, here: str) -> Config:
    """Return the configuration with paths that do not depend on the current folder, `here`."""
    settings = config.settings()
    for option in OPTIONS:
        path = getattr(config, option.attribute)
        if option.kind in {FOLDER, FILE} and path and option.name != "config":
            settings[option.name] = os.path.join(here, path)
    return Config(settings)


def _current_folder() -> str:
    """Return the current folder by the name under which it was entered, as `pwd -L` does.

    That may lead through a symlink such as "current" to the release that is served today. When that
    is deleted, the name leads to the next one. Empty if the folder is deleted already.
    """
    name = os.environ.get("PWD", "")
    with contextlib.suppress(OSError):
        return name if os.path.isabs(name) and os.path.samefile(name, ".") else os.getcwd()
    with contextlib.suppress(OSError):
        return os.getcwd()
    return ""


def check_users(config: Config) -> None:
    """Raise ConfigError for the first mistake in the file of --users."""
    if config.users:
        from portico.site.users import read_users

        for mistake in read_users(config.users)[2]:
            raise ConfigError(mistake)


def _no_reload() -> None:
    """Answer SIGHUP in a single process, which cannot reload its code and configuration."""
    from portico.server.processes import systemd

    systemd.reloading()
    report("nothing is reloaded: that takes --workers 2 or more, or auto")
    systemd.ready("1 worker; nothing was reloaded")


def _raise_descriptor_limit() -> None:
    """Let the process have as many descriptors open as the system grants it."""
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, OSError, ValueError):
        return  # this system has no such limit, or does not allow this one
