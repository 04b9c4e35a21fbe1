"""The options: each is declared once, in OPTIONS.

Flags, `PORTICO_<NAME>` environment variables, TOML keys, `--help` and docs/reference.md derive from
that table.
"""

from __future__ import annotations

from portico.config.kinds import (
    ACCESS,
    ACCOUNT,
    ADDRESS,
    ADDRESSES,
    BASE,
    COLOR,
    CONNECTIONS,
    DAY,
    FILE,
    FILES,
    FOLDER,
    GLOBS,
    HEADERS,
    HOST,
    HOSTS,
    HSTS,
    LIMIT,
    LOG_FORMAT,
    NAME,
    NETWORKS,
    PORT,
    PROXY_HEADER,
    RIGHTS,
    SECONDS,
    SIZE,
    SWITCH,
    URL_PATH,
    WORKERS,
    Kind,
)

PREFIX = "PORTICO_"
"""The prefix of environment variables."""


class Option:
    """An option.

    `meaning` is a sentence for --help and for the reference page; `{values}` in it is replaced by
    `kind.expects`. `default` is the converted value. `aliases` are further flags, such as `-p`.
    """

    __slots__ = ("aliases", "default", "group", "kind", "meaning", "name")

    def __init__(
        self, name: str, kind: Kind, group: str, meaning: str, default: object, *aliases: str
    ) -> None:
        self.name = name
        self.aliases = aliases
        self.kind = kind
        self.group = group
        self.meaning = meaning.replace("{values}", kind.expects)
        self.default = default

    @property
    def attribute(self) -> str:
        """The name of the attribute of Config: a plural if the flag may be repeated."""
        if not self.repeatable:
            return self.name
        if self.name.endswith("xy"):
            return f"{self.name[:-1]}ies"
        return self.name + ("es" if self.name.endswith("s") else "s")

    @property
    def repeatable(self) -> bool:
        """Whether the flag may be given several times."""
        return self.kind in {HOSTS, GLOBS, ADDRESSES, HEADERS, RIGHTS, ACCESS, FILES, NETWORKS}

    @property
    def positional(self) -> bool:
        """Whether the option is a positional argument on the command line."""
        return self.kind is FOLDER

    @property
    def flag(self) -> str:
        """The option's name on the command line."""
        return self.kind.metavar if self.positional else "--" + self.name.replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        """All names of the option on the command line, the short one first."""
        return (*self.aliases, self.flag)

    @property
    def variable(self) -> str:
        """The name of the environment variable."""
        return PREFIX + self.name.upper()

    @property
    def shown_default(self) -> str:
        """The default as an operator would write it; "" if there is nothing to write."""
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if not self.default:
            return ""
        if self.kind.metavar == "SIZE" and isinstance(self.default, int):
            gibibytes, rest = divmod(self.default, 1 << 30)
            return f"{self.default >> 20}M" if rest else f"{gibibytes}G"
        if isinstance(self.default, float):
            return f"{self.default:g}"
        return str(self.default)


SERVING, WRITING, NETWORK, TLS = "What is served", "Writing", "Network", "HTTPS"
PROXY = "Behind a proxy"
LOG = "Browser, log and color"
WATCH, LIMITS, OTHER = "Metrics and health", "Limits", "Configuration and help"

# fmt: off
OPTIONS: tuple[Option, ...] = (
    Option("root", FOLDER, SERVING, "The folder to serve, or a single file.", "."),
    Option("listing", SWITCH, SERVING, "List folders that have no index file.", default=True),
    Option("clean_urls", SWITCH, SERVING, "Answer /about with about.html.", default=True),
    Option("index", NAME, SERVING, "The index file of folders.", "index.html"),
    Option("base", BASE, SERVING, "Serve below this path, as /docs/.", "/"),
    Option("spa", SWITCH, SERVING, "Answer missing pages with the root index.", default=False),
    Option("hidden", SWITCH, SERVING,
           "Serve dotfiles, except .git*, .env*, .ht* and .ssh*.", default=False),
    Option("cors", SWITCH, SERVING,
           "Send CORS headers: any website may fetch these files.", default=False),
    Option("isolate", SWITCH, SERVING,
           "Send COOP and COEP headers, which SharedArrayBuffer needs.", default=False),
    Option("header", HEADERS, SERVING,
           "Send this header, such as 'X-Robots-Tag: noindex'; repeatable.", ()),
    Option("immutable", GLOBS, SERVING,
           "Files that never change, such as '/assets/*'; repeatable.", ()),
    Option("compress", SWITCH, SERVING, "Compress text in the background.", default=True),
    Option("allow", RIGHTS, WRITING, "What clients may do: {values}.", ()),
    Option("users", FILE, WRITING, "The file of those who have a password; see passwd.", ""),
    Option("access", ACCESS, WRITING, "Who may do what at some paths; repeatable.", ()),
    Option("trust_uploads", SWITCH, WRITING, "Let uploaded pages run scripts.", default=False),
    Option("max_upload", SIZE, WRITING, "Size of one upload; 0 is any.", 1 << 30),
    Option("upload_expiry", SECONDS, WRITING, "Time to go on with a broken upload.", float(DAY)),
    Option("keep_free", SIZE, WRITING, "Space on the disk that uploads leave free.", 256 << 20),
    Option("sync", SWITCH, WRITING, "Answer when an upload is safely on the disk.", default=True),
    Option("insecure_writes", SWITCH, WRITING, "Let anyone write from anywhere.", default=False),
    Option("port", PORT, NETWORK,
           "Port to listen on; 0 is any free one. If the default is busy, the next free one.",
           8080, "-p"),
    Option("host", HOST, NETWORK,
           "Address to listen on; 0.0.0.0 is all of IPv4.", "localhost", "-b", "--bind"),
    Option("lan", SWITCH, NETWORK,
           "Listen on all addresses, and show the one for your network.", default=False),
    Option("listen", ADDRESSES, NETWORK,
           "Listen here instead: HOST:PORT, :PORT or unix:PATH; repeatable.", ()),
    Option("allow_host", HOSTS, NETWORK,
           "Answer requests for this host name as well; repeatable.", ()),
    Option("workers", WORKERS, NETWORK, "Processes; auto is one for each core.", 1),
    Option("sandbox", SWITCH, NETWORK, "Let the kernel confine the server (Linux).", default=True),
    Option("user", ACCOUNT, NETWORK, "Serve as this user, after listening as root.", ""),
    Option("https", SWITCH, TLS, "HTTPS for local work: makes a certificate.", default=False),
    Option("tls_cert", FILES, TLS, "HTTPS with this certificate; repeatable.", ()),
    Option("tls_key", FILES, TLS, "Its key, if in another file; in the same order.", ()),
    Option("tls_client_ca", FILE, TLS, "Demand certificates of these authorities.", ""),
    Option("redirect_http", ADDRESS, TLS, "Redirect requests here to HTTPS.", ""),
    Option("hsts", HSTS, TLS, "Seconds for which browsers insist on HTTPS.", 0),
    Option("trust_proxy", NETWORKS, PROXY,
           "Believe this proxy who its clients are; repeatable.", ()),
    Option("trust_proxy_header", PROXY_HEADER, PROXY,
           "Where it says so: {values}.", "x-forwarded"),
    Option("proxy_protocol", SWITCH, PROXY,
           "Demand the PROXY protocol; close all others.", default=False),
    Option("open", SWITCH, LOG, "Open the site in your browser.", False, "-o"),
    Option("access_log", SWITCH, LOG, "Write a line to stdout for each response.", default=True),
    Option("log_format", LOG_FORMAT, LOG,
           "Form of these lines: {values}; auto: short on a terminal, else common.", "auto"),
    Option("color", COLOR, LOG, "Color: {values}; auto obeys NO_COLOR.", "auto"),
    Option("metrics", ADDRESS, WATCH, "Show metrics for Prometheus here.", ""),
    Option("health", URL_PATH, WATCH, "Answer this path with 200, or 503 when stopping.", ""),
    Option("max_connections", CONNECTIONS, LIMITS, "Connections open at once, per worker.", 4096),
    Option("client_connections", LIMIT, LIMITS, "Connections of one address at once; 0: any.", 0),
    Option("client_requests", LIMIT, LIMITS, "Requests a second of one address; 0: any.", 0),
    Option("client_bandwidth", SIZE, LIMITS, "Bytes a second sent to one address; 0: any.", 0),
    Option("head_timeout", SECONDS, LIMITS,
           "Time a client has to send its request headers.", 10.0),
    Option("idle_timeout", SECONDS, LIMITS, "Time after which an idle connection is closed.", 60.0),
    Option("send_timeout", SECONDS, LIMITS,
           "Time a client may read nothing of a response.", 60.0),
    Option("grace", SECONDS, LIMITS, "Time to finish responses when stopping.", 5.0),
    Option("cache_size", SIZE, LIMITS, "Memory for cached responses, per worker; 0: none.",
           64 << 20),
    Option("config", FILE, OTHER, "Read options from this file instead of portico.toml.", ""),
)
# fmt: on
