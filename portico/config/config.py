"""The configuration, and where its values come from.

Precedence: flags, then environment, then TOML file, then defaults. Every value is checked, even one
that is overridden. A bad value raises ConfigError, which says where the value is, what is wrong and
what would be right. Only reading the TOML file, `check_root` and `check_writing` access the disk.
"""

from __future__ import annotations

import os

from portico.config.kinds import ADDRESS, ADDRESSES, FILE, FILES, FOLDER, HTTP, UNIX, Kind
from portico.config.options import OPTIONS, PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from portico.config.kinds import Block

_BY_KEY = {key: option for option in OPTIONS for key in (option.name, option.attribute)}

_SIMILAR = 0.6
"""Least similarity (difflib) at which a known name is suggested: one or two letters are wrong."""

_CONFLICTS = {
    "listen": {"host", "port", "lan"},
    "host": {"listen", "lan"},
    "lan": {"listen", "host"},
    "port": {"listen"},
}
"""Options that exclude others, with the options that each excludes. In a source of higher
precedence, an option replaces those that it excludes."""

DEFAULT_FILE = "portico.toml"
"""The configuration file that is read if no other is named and it is in the current folder."""


class ConfigError(Exception):
    """A mistake of the operator. The message says where, what is wrong, and what to do."""


class Config:
    """All options, checked and frozen. Times are in seconds, sizes in bytes.

    The attributes repeat the table of options for type checkers; a test compares them with it.
    """

    __slots__ = (*(option.attribute for option in OPTIONS), "given")

    root: str
    listing: bool
    clean_urls: bool
    index: str
    base: str
    spa: bool
    hidden: bool
    cors: bool
    isolate: bool
    headers: tuple[str, ...]
    immutables: tuple[str, ...]
    compress: bool
    allows: tuple[str, ...]
    users: str
    accesses: tuple[Block, ...]
    trust_uploads: bool
    max_upload: int
    upload_expiry: float
    keep_free: int
    sync: bool
    insecure_writes: bool
    port: int
    host: str
    lan: bool
    listens: tuple[str, ...]
    allow_hosts: tuple[str, ...]
    workers: int
    sandbox: bool
    user: str
    https: bool
    tls_certs: tuple[str, ...]
    tls_keys: tuple[str, ...]
    tls_client_ca: str
    redirect_http: str
    hsts: int
    trust_proxies: tuple[str, ...]
    trust_proxy_header: str
    proxy_protocol: bool
    open: bool
    access_log: bool
    log_format: str
    color: str
    metrics: str
    health: str
    max_connections: int
    client_connections: int
    client_requests: int
    client_bandwidth: int
    head_timeout: float
    idle_timeout: float
    send_timeout: float
    grace: float
    cache_size: int
    config: str
    given: frozenset[str]
    """The names of the options that were set, even those set to their defaults."""

    def __init__(self, values: Mapping[str, object]) -> None:
        """`values` are by option name, and already checked; `of` and `load` check values."""
        for option in OPTIONS:
            value = values.get(option.name, option.default)
            object.__setattr__(self, option.attribute, value)
        object.__setattr__(self, "given", frozenset(values))

    @classmethod
    def load(cls, flags: Mapping[str, object], environ: Mapping[str, str]) -> Config:
        """Return the configuration from flags (by option name), environment and file.

        The file is the one that flags or environment name, else DEFAULT_FILE if it exists. Raises
        ConfigError.
        """
        given = _checked(flags, lambda key: _BY_KEY[key].flag if key in _BY_KEY else key)
        return cls(_layers(given, environ, DEFAULT_FILE))

    @classmethod
    def of(cls, **options: object) -> Config:
        """Return the configuration from keyword arguments, without the environment.

        The keywords are the names of attributes or options. The file is read only if `config` names
        one. Raises ConfigError.
        """
        return cls(_layers(_checked(options, lambda key: f"argument {key}"), {}))

    def settings(self) -> dict[str, object]:
        """Return the values that differ from the defaults, by option name, as `Config` takes them.

        The path of the configuration file is left out, since the file's values are included.
        """
        return {
            option.name: value
            for option in OPTIONS
            if (value := getattr(self, option.attribute)) != option.default
            and option.name != "config"
        }

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Config is frozen: cannot set {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Config is frozen: cannot delete {name}")

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


def _layers(
    given: dict[str, object], environ: Mapping[str, str], default_file: str = ""
) -> dict[str, object]:
    """Return the values of file, environment and `given`, merged by precedence."""
    environment = _from_environment(environ)
    path = given.get("config", environment.get("config"))
    if path is None and default_file and os.path.lexists(default_file):
        path = default_file
    values: dict[str, object] = {} if path is None else {"config": path}
    for layer in (_from_file(path) if isinstance(path, str) else {}, environment, given):
        for name, others in _CONFLICTS.items():
            if name in layer:
                values = {key: value for key, value in values.items() if key not in others}
        values |= layer
    return values


def _checked(values: Mapping[str, object], where: Callable[[str], str]) -> dict[str, object]:
    """Return the converted values by option name. `where` describes a key's place, for errors.

    Raises ConfigError for an unknown key, a bad value, and options that exclude each other.
    """
    found: dict[str, object] = {}
    for key, raw in values.items():
        option = _BY_KEY.get(key.replace("-", "_"))
        if option is None:
            raise ConfigError(f"{where(key)}: no such option{suggestion(key, _BY_KEY)}")
        if option.name in found:
            raise ConfigError(f"{where(key)}: given twice, in two spellings; keep one")
        try:
            found[option.name] = option.kind.convert(raw)
        except ValueError as problem:
            wrong = str(problem) or f"{raw!r} is not {option.kind.expects}"
            raise ConfigError(f"{where(key)}: {wrong}") from None
    for key in values:
        if conflicts := sorted(_CONFLICTS.get(_name_of(key), set()) & found.keys()):
            raise ConfigError(f"{where(key)}: cannot be combined with {' and '.join(conflicts)}")
    return found


def _name_of(key: str) -> str:
    return _BY_KEY[key.replace("-", "_")].name


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    """Return the options in the environment. Empty and unknown variables are ignored."""

    def where(name: str) -> str:
        return f"environment variable {_BY_KEY[name].variable}"

    given = {option.name: environ.get(option.variable) for option in OPTIONS}
    if (given["port"] or "").startswith("tcp://"):
        # For a service called NAME, Kubernetes sets <NAME>_PORT in every pod of the namespace.
        wrong = "was set by Kubernetes for a service named portico; set enableServiceLinks: false"
        raise ConfigError(f"{where('port')}: {given['port']!r} {wrong}")
    return _checked({name: text for name, text in given.items() if text}, where)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable with our prefix that is not an option.

    Variables that Kubernetes sets for services whose names begin with "portico" get no warning.
    """
    names = [option.name.upper() for option in OPTIONS]
    return [
        f"the environment variable {PREFIX}{name} is ignored: there is no such option"
        f"{suggestion(name, names, PREFIX)}"
        for variable, value in environ.items()
        if (name := variable.removeprefix(PREFIX)) not in {variable, *names}
        and not _is_of_kubernetes(name, value)
    ]


def _is_of_kubernetes(name: str, value: str) -> bool:
    """Whether Kubernetes sets such a variable: SERVICE_HOST, PORT_80_TCP_ADDR, or a URL."""
    is_url = value.startswith(("tcp://", "udp://", "sctp://"))
    return is_url or not {"SERVICE", "TCP", "UDP", "SCTP"}.isdisjoint(name.split("_"))


def _from_file(path: str) -> dict[str, object]:
    """Return the options in a TOML file. Relative paths are relative to the file's folder."""
    import tomllib  # not needed without a file

    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8-sig")
        table = tomllib.loads(text)
    except OSError as problem:
        raise ConfigError(f"cannot read {path}: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{path}, line {_line_at(problem)}: not UTF-8") from None
    except (ValueError, RecursionError) as problem:
        raise ConfigError(f"{path}: not valid TOML: {problem}") from None

    def where(key: str) -> str:
        return f"{path}, line {_line_of(key, text)}, key {key}"

    if "config" in table:
        raise ConfigError(f"{where('config')}: a configuration file cannot name another")
    found = _checked(table, where)
    folder = os.path.dirname(path)
    for name, value in found.items():
        found[name] = _from_folder(folder, _BY_KEY[name].kind, value)
    return found


def _from_folder(folder: str, kind: Kind, value: object) -> object:
    """Return `value` with its relative paths, those of unix sockets too, joined to `folder`."""
    if isinstance(value, tuple) and kind in {FILES, ADDRESSES}:
        one = FILE if kind is FILES else ADDRESS
        return tuple([_from_folder(folder, one, item) for item in value])
    if isinstance(value, str) and kind in {FOLDER, FILE}:
        return os.path.join(folder, value)
    if isinstance(value, str) and kind is ADDRESS and value.startswith(UNIX):
        return UNIX + os.path.join(folder, value.removeprefix(UNIX))
    return value


def _line_at(problem: UnicodeDecodeError) -> int:
    return problem.object.count(b"\n", 0, problem.start) + 1


def _line_of(key: str, text: str) -> int:
    """Return the number of the first line with a given top-level key of a valid TOML text.

    Lines are collected until they are valid TOML by themselves: then they are one statement.
    """
    import tomllib

    start, piece = 1, ""
    for number, line in enumerate(text.split("\n"), start=1):
        piece += line + "\n"
        try:
            if key in tomllib.loads(piece):
                return start
        except tomllib.TOMLDecodeError:
            continue
        start, piece = number + 1, ""
    raise AssertionError(f"{key} is not in the text")


def suggestion(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Return the end of an error message that suggests names similar to `word`, else "".

    `prefix` is put before each suggested name.
    """
    import difflib

    names, bare = sorted(known), word.strip("-")
    close = [name for name in names if bare and name.strip("-").startswith(bare)]
    if not close:
        similarity = {name: difflib.SequenceMatcher(None, word, name).ratio() for name in names}
        best = max(similarity.values())
        close = [name for name in names if similarity[name] == best > _SIMILAR]
    return f"; did you mean {' or '.join([prefix + name for name in close])}?" if close else ""


def check_serving(config: Config) -> str:
    """Check options that depend on each other. Return the real path of the root.

    Raises ConfigError.
    """
    root = check_root(config, or_file=True)
    check_writing(config)
    _check_tls(config)
    _check_proxies(config)
    return root


def check_writing(config: Config) -> None:
    """Raise ConfigError if strangers could write, or options about writing do not fit together."""
    named = [name for _, given in config.accesses for name in given if name != "anonymous"]
    if named and not config.users:
        raise ConfigError(f"--access names {named[0]!r}, but there is no file of --users")
    if not config.allows:
        return
    if os.path.isfile(config.root):
        raise ConfigError("--allow needs a folder to write to, not a single file")
    if os.open not in os.supports_dir_fd:
        raise ConfigError("--allow needs a system that opens files beneath a folder (openat)")
    addresses = [address.removeprefix(HTTP) for address in config.listens]
    hosts = [address.rpartition(":")[0] for address in addresses]
    hosts = hosts or ["*" if config.lan else config.host]
    is_local = all(map(_is_local, hosts)) and not config.trust_proxies
    if config.insecure_writes or is_local or not _anyone_may_write(config):
        return
    raise ConfigError(
        "anyone who reaches this server could write with --allow; give passwords with --users, "
        "listen on 127.0.0.1 only, without a proxy, or accept that with --insecure-writes"
    )


def _check_tls(config: Config) -> None:
    """Raise ConfigError for options of TLS that do not fit together. No file is read."""
    if config.https and config.tls_certs:
        raise ConfigError("--https makes a certificate of its own: give no --tls-cert with it")
    needing = {"tls_keys": "--tls-key", "tls_client_ca": "--tls-client-ca"}
    needing |= {"redirect_http": "--redirect-http"}
    needing |= {} if config.trust_proxies else {"hsts": "--hsts"}
    for attribute, flag in needing.items():
        if getattr(config, attribute) and not (config.https or config.tls_certs):
            raise ConfigError(f"{flag} needs TLS: give a certificate with --tls-cert")
    if config.tls_keys and len(config.tls_keys) != len(config.tls_certs):
        raise ConfigError("--tls-key: give one for each --tls-cert, in the same order, or none")
    if config.redirect_http.startswith(UNIX):
        raise ConfigError("--redirect-http needs HOST:PORT, not a unix socket")
    if config.redirect_http and HTTP + config.redirect_http in config.listens:
        raise ConfigError("--redirect-http: the site itself is served there; keep one")
    if config.redirect_http and config.listens and all(map(_is_plain, config.listens)):
        raise ConfigError("--redirect-http: none of --listen is served with TLS; add HOST:PORT")


def _is_plain(address: str) -> bool:
    return address.startswith((UNIX, HTTP))


def _check_proxies(config: Config) -> None:
    """Raise ConfigError for options about proxies without any trusted proxy."""
    for name in ("trust_proxy_header", "proxy_protocol"):
        if name in config.given and not config.trust_proxies:
            flag = _BY_KEY[name].flag
            raise ConfigError(f"{flag} needs --trust-proxy: the addresses of the proxies")


def _anyone_may_write(config: Config) -> bool:
    """Whether clients without a password have a right to write."""
    if not config.accesses:
        return not config.users
    return any(block[1].get("anonymous", frozenset()) - {"read"} for block in config.accesses)


def _is_local(host: str) -> bool:
    """Whether only this machine reaches `host`. Not so for a unix socket: a proxy may use it."""
    return host.strip("[]") in {"localhost", "::1"} or host.startswith("127.")


def check_root(config: Config, *, or_file: bool = False) -> str:
    """Return the real path, absolute and without symlinks, of the folder to serve.

    Raises ConfigError if it is missing, not readable, or not a folder; `or_file` allows a regular
    file as well.
    """
    root = config.root
    try:
        path = os.path.realpath(root, strict=True)
        if or_file and os.path.isfile(path):
            with open(path, "rb"):
                return path
        os.scandir(path).close()
        os.stat(os.path.join(path, "."))
    except FileNotFoundError:
        cure = f"; for a port: --port {root}" if root.isdigit() else ""
        what = "file or folder" if or_file else "folder"
        raise ConfigError(f"no such {what}: {root!r}{cure}") from None
    except NotADirectoryError:
        raise ConfigError(f"not a folder: {root!r}") from None
    except OSError as problem:
        raise ConfigError(f"cannot read {root!r}: {problem.strerror}") from None
    return path
