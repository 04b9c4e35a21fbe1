"""The command line: flags -> Config -> bind -> serve until stopped.

Exit codes: 0 after a stop that was asked for, 2 for a mistake of the operator (one clear line, no
traceback), 1 if the first workers did not come up, 130 for Ctrl+C before the server was ready. The
banner goes to stderr, the access log to stdout. What belongs to the whole process (signals, the
limit on descriptors, standard streams) is touched only from here. Modules of the server are
imported only when one is to be started.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from importlib import import_module

from portico import __version__
from portico.cli.banner import banner, farewell, what_to_know
from portico.cli.terminal import (
    FOUND,
    INTERRUPTED,
    STDERR,
    STDOUT,
    STOPPED,
    Parser,
    UsageError,
    add_option,
    formatter,
    printable,
    refuse,
    say,
    wants_color,
)
from portico.config.config import Config, ConfigError, check_root, cores, suggestion
from portico.config.options import LIMITS, OPTIONS, OTHER, SWITCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from portico.server.net.listeners import Listeners
    from portico.server.processes.supervisor import Generation
    from portico.server.telemetry.endpoint import MetricsEndpoint

INTRO = """\
Serve a folder over HTTP. With no options at all: the current folder, at
http://127.0.0.1:8080/, to this machine only. Ctrl+C stops it.
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (that of the process, unless one is given) and return the exit code."""
    _open_standard_streams()
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except SystemExit:  # how argparse ends after --help and --version
        return STOPPED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read what a command tells has read enough
        return STOPPED
    finally:
        _flush()


COMMANDS = {
    "check": "portico.cli.check.command",
    "compress": "portico.cli.compress.command",
    "explain": "portico.cli.explain",
}
"""The commands besides serving, each a module with `run(argv)`, which returns an exit code."""
"""First words that do something else than serve a folder. `./check` is the folder of that name."""


def _run(argv: Sequence[str]) -> int:
    if argv and argv[0] in COMMANDS:
        command = import_module(COMMANDS[argv[0]])
        try:
            return int(command.run(argv[1:]))
        except ConfigError as problem:
            return refuse(problem, f"portico {argv[0]}")
    return _serve_folder(argv)


def _serve_folder(argv: Sequence[str]) -> int:
    try:
        flags = parse(argv)
        config = Config.load(flags, os.environ)
        root = check_root(config)
    except ConfigError as problem:
        return refuse(problem)

    from portico.server.net.listeners import BindError, bind_anew, discard
    from portico.server.processes.systemd import inherited_sockets

    _raise_descriptor_limit()
    try:
        inherited = inherited_sockets()
        listeners = inherited or bind_anew(config, {})
    except BindError as problem:
        return refuse(problem)
    try:
        monitor = _monitor(config)
    except (BindError, ConfigError) as problem:
        discard({} if inherited else listeners)
        return refuse(problem)
    program = _Program(flags, root, inherited, monitor)
    try:
        serve = _serve if config.workers == 1 else _supervise
        return serve(config, listeners, program)
    finally:
        if monitor is not None:
            monitor.close()


def _monitor(config: Config) -> MetricsEndpoint | None:
    """What shows metrics, if it is asked for. Raises ConfigError or BindError."""
    if not config.metrics:
        return None
    from portico.server.telemetry.endpoint import MetricsEndpoint

    return MetricsEndpoint(config)


def _serve(config: Config, listeners: Listeners, program: _Program) -> int:
    """Serve in this process."""
    from portico.server.net.listeners import remove, socket_files
    from portico.server.processes import systemd
    from portico.server.processes.signals import handle_signals
    from portico.server.telemetry.access_log import AccessLog
    from portico.server.worker import Worker

    log = None
    if config.access_log:
        color = wants_color(config.color, STDOUT)
        log = AccessLog(STDOUT, config.log_format, color=color)
    counters = None if program.monitor is None else program.monitor.counters.add()
    worker = Worker(
        config,
        list(listeners.values()),
        log=log,
        counters=counters,
        report=_report,
        on_drain=systemd.stopping,
    )
    restore = handle_signals(worker, _no_reload)
    files = [] if program.inherited else socket_files(listeners.values())
    try:
        program.started(config, listeners)
        begin = time.monotonic()
        systemd.ready("1 worker")
        worker.run()
        say(farewell(worker.requests, time.monotonic() - begin))
    finally:
        remove(files)
        restore()
    return STOPPED


def _supervise(config: Config, listeners: Listeners, program: _Program) -> int:
    """Serve in processes of their own."""
    if os.name != "posix":
        return refuse(ConfigError("--workers: there can be only one on this system"))
    from portico.server.processes.signals import handle_signals
    from portico.server.processes.supervisor import Generation, StartError, Supervisor

    supervisor = Supervisor(
        Generation(_settled(config), listeners),
        load=program.renew,
        on_start=program.started,
        report=_report,
        metrics=None if program.monitor is None else program.monitor.counters,
    )
    restore = handle_signals(supervisor, supervisor.reload)
    begin = time.monotonic()
    try:
        supervisor.run()
    except StartError as problem:
        refuse(problem)
        return FOUND
    finally:
        restore()
    say(farewell(supervisor.requests, time.monotonic() - begin))
    return STOPPED


class _Program:
    """What is known of this run, and what the supervisor calls."""

    def __init__(
        self,
        flags: dict[str, object],
        root: str,
        inherited: Listeners,
        monitor: MetricsEndpoint | None,
    ) -> None:
        self._flags = flags
        self._root = root
        self.inherited = inherited
        self.monitor = monitor

    def renew(self, held: Listeners) -> Generation:
        """Workers with the configuration as file and environment have it now; the flags stay."""
        from portico.server.net.listeners import bind_anew
        from portico.server.processes.supervisor import Generation

        config = Config.load(self._flags, os.environ)
        check_root(config)
        if config.metrics != (self.monitor.address if self.monitor is not None else ""):
            raise ConfigError("another address for metrics takes a restart")
        return Generation(_settled(config), self.inherited or bind_anew(config, held))

    def started(self, config: Config, listeners: Listeners) -> None:
        """Show the banner, and metrics from now on."""
        _show_banner(config, self._root, listeners, self)
        if self.monitor is not None:
            self.monitor.start()


def _settled(config: Config) -> Config:
    """The configuration for workers, with what depends on this process and its terminal decided."""
    color = "always" if wants_color(config.color, STDOUT) else "never"
    return Config({**config.settings(), "color": color, "workers": config.workers or cores()})


def _no_reload() -> None:
    """SIGHUP, where one process serves: its code and its configuration are as they are."""
    from portico.server.processes import systemd

    systemd.reloading()
    _report("nothing is reloaded: that takes --workers 2 or more, or auto")
    systemd.ready("1 worker; nothing was reloaded")


def parse(argv: Sequence[str]) -> dict[str, object]:
    """The values given by flags, by option name, not yet checked. Raises UsageError."""
    parser = _parser()
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        word = unknown[0].partition("=")[0]
        if word.startswith("-"):
            raise UsageError(f"there is no option {word}{suggestion(word, _flags())}")
        cure = f"; if that is the port: --port {word}" if word.isdigit() else ""
        cure = cure or suggestion(str(vars(given).get("root", "")), COMMANDS)
        raise UsageError(f"one folder is served, so {word!r} is too much{cure}")
    return vars(given)


def _flags() -> list[str]:
    flags = [option.flag for option in OPTIONS if not option.positional]
    negated = [f"--no-{option.flag[2:]}" for option in OPTIONS if option.kind is SWITCH]
    return [*flags, *negated, "--help", "--version"]


def _parser() -> Parser:
    parser = Parser(
        prog="portico",
        usage="portico [options] [DIR]",
        description=INTRO,
        epilog=OUTRO,
        formatter_class=formatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        add_help=False,
    )
    about = {LIMITS: "Times are in seconds, sizes in bytes (or 512K, 8M, 1G)."}
    titles = dict.fromkeys(option.group for option in OPTIONS)
    groups = {title: parser.add_argument_group(title, about.get(title)) for title in titles}
    for option in OPTIONS:
        add_option(groups[option.group], option)
    version = f"portico {__version__}"
    add = groups[OTHER].add_argument
    add("--version", action="version", version=version, help="Show the version.")
    add("-h", "--help", action="help", help="Show this text.")
    return parser


def _show_banner(config: Config, root: str, listeners: Listeners, program: _Program) -> None:
    from portico.server.net.listeners import is_local, reachable_urls

    sockets = list(listeners.values())
    warnings = what_to_know(root, local=all(map(is_local, sockets)))
    if program.inherited and not {"host", "port", "listen"}.isdisjoint(config.settings()):
        warnings.append("the service manager chose where to listen; host, port, listen are unused.")
    if program.monitor is not None and not program.monitor.is_local:
        warnings.append("whoever can reach this machine over the network can read the metrics.")
    metrics = "" if program.monitor is None else program.monitor.url
    say(banner(config, root, reachable_urls(config, sockets), warnings, metrics))


def _report(text: str) -> None:
    """Tell the operator what is wrong with the site, while it is served."""
    say(f"portico: {printable(text)}\n")


def _open_standard_streams() -> None:
    """Give a closed stdin, stdout or stderr to /dev/null, before a socket gets its number.

    The access log would otherwise be written to whatever connection happened to be number 1.
    """
    for descriptor in (0, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _flush() -> None:
    """Empty the streams here: at its end the interpreter would complain of a reader that left."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
        except (AttributeError, ValueError):
            continue


def _raise_descriptor_limit() -> None:
    """Let the process have as many descriptors open as the system grants it."""
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, OSError, ValueError):
        return  # no such limit on this system, or not this high: what there is must do
