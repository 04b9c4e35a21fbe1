"""The servers that are compared: a table of how each is found, configured and started.

Rule: a server is data.  ``contender``s take part in every round; ``reference``s, which cost so
much more that a few per cent do not matter, in the first rounds only; the ``floor`` is the C loop,
which takes part where one small answer is right.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from bench import configs
from bench.load import compile_c
from bench.setup import ROOT, Launch, Pythons, Setup

QUESTION = "import sys, importlib.metadata as m; print(*(m.version(p) for p in sys.argv[1:]))"


@dataclass(frozen=True)
class Server:
    """One entry: ``version`` is None where the server is not to be had; ``prefix`` of its URLs.

    ``multiplies``: it can be told to run several workers.
    """

    name: str
    title: str
    version: Callable[[Pythons], str | None]
    launch: Callable[[Setup], Launch]
    kind: str = "contender"
    prefix: str = ""
    multiplies: bool = False


def output_of(words: list[str]) -> str | None:
    """What a short command says on both streams; None if it fails or does not exist."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (done.stdout + done.stderr).strip() if done.returncode == 0 else None


def number_in(text: str | None) -> str | None:
    """The first version number in *text*."""
    found = re.search(r"\d+(\.\d+)+\S*", text or "")
    return found.group().rstrip(",)") if found else None


def program(name: str, *question: str) -> Callable[[Pythons], str | None]:
    """The version of a program on the path, asked with these words."""

    def version(_: Pythons) -> str | None:
        path = find(name)
        return number_in(output_of([path, *question])) if path else None

    return version


def find(name: str) -> str | None:
    """A program on the path, or where Debian hides servers from users."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")


def packages(*names: str) -> Callable[[Pythons], str | None]:
    """The versions of Python packages in the peers' interpreter."""

    def version(pythons: Pythons) -> str | None:
        numbers = output_of([pythons.peers, "-c", QUESTION, *names])
        if numbers is None:
            return None
        pairs = zip(names, numbers.split(), strict=True)
        return ", ".join(f"{name} {number}" for name, number in pairs)

    return version


def portico_version(pythons: Pythons) -> str | None:
    """Portico's version, and that of the Python that runs it."""
    number = number_in(output_of([pythons.own, "-m", "portico", "--version"]))
    return f"{number}, {python_version(pythons)}" if number else None


def python_version(pythons: Pythons) -> str | None:
    """The version of the interpreter that runs Portico and http.server."""
    return output_of([pythons.own, "--version"])


def portico(setup: Setup) -> Launch:
    """``python3 -m portico`` from this checkout."""
    words = [setup.pythons.own, "-m", "portico", str(setup.site), "--host", "127.0.0.1"]
    words += ["--port", str(setup.port), "--no-compress"]
    words += ["--workers", str(setup.workers)] if setup.workers > 1 else []
    words += ["--max-connections", "16384", "--idle-timeout", "600"] if setup.crowd else []
    words += ["--log-format", "common"] if setup.log else ["--no-access-log"]
    return Launch(words, logs_to_output=True, working_folder=ROOT)


def nginx(setup: Setup, *, tuned: bool = False) -> Launch:
    """nginx in the foreground: a master and one worker."""
    words = [find("nginx") or "nginx", "-e", "stderr", "-p", str(setup.folder)]
    words += ["-c", str(setup.folder / "nginx.conf")]
    return Launch(words, {"nginx.conf": configs.nginx(setup, tuned=tuned)})


def nginx_tuned(setup: Setup) -> Launch:
    """nginx with its cache of open files and deferred accept."""
    return nginx(setup, tuned=True)


def lighttpd(setup: Setup) -> Launch:
    """lighttpd in the foreground."""
    words = [find("lighttpd") or "lighttpd", "-D", "-f", str(setup.folder / "lighttpd.conf")]
    return Launch(words, {"lighttpd.conf": configs.lighttpd(setup)})


def h2o(setup: Setup) -> Launch:
    """h2o in the foreground."""
    words = [find("h2o") or "h2o", "-c", str(setup.folder / "h2o.yaml")]
    return Launch(words, {"h2o.yaml": configs.h2o(setup)})


def caddy(setup: Setup) -> Launch:
    """Caddy; its home is the server's own folder, so that it leaves nothing behind."""
    words = [find("caddy") or "caddy", "run", "--adapter", "caddyfile"]
    words += ["--config", str(setup.folder / "Caddyfile")]
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(setup.folder))
    return Launch(words, {"Caddyfile": configs.caddy(setup)}, homes)


def limit(setup: Setup) -> Launch:
    """The C loop with one fixed answer."""
    compiled = compile_c("limit.c", setup.folder.parent)
    first, end = setup.part or (0, setup.page.stat().st_size)
    words = [str(compiled), str(setup.port), str(setup.folder / "head"), str(setup.page)]
    words += [str(first), str(end - first), "close" if setup.closes else "keep"]
    return Launch(words, {"head": fixed_head(setup, first, end)})


def fixed_head(setup: Setup, first: int, end: int) -> str:
    """A response head with the fields that the web servers send, too."""
    lines = [
        f"HTTP/1.1 {setup.status} {HTTPStatus(setup.status).phrase}",
        "Server: limit",
        "Date: Thu, 01 Jan 1970 00:00:00 GMT",
        "Content-Type: text/html; charset=utf-8",
        'ETag: "0123456789abcdef"',
        "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT",
    ]
    lines += [f"Content-Length: {end - first}"] if setup.status != 304 else []
    lines += [f"Content-Range: bytes {first}-{end - 1}/*"] if setup.status == 206 else []
    lines += ["Content-Encoding: gzip"] if setup.coded else []
    lines += ["Connection: close"] if setup.closes else []
    return "\r\n".join([*lines, "", ""])


def compiler_version(_: Pythons) -> str | None:
    """The C compiler that the loop is built with."""
    number = number_in(output_of(["cc", "-dumpfullversion"]))
    return f"cc {number}" if number else None


def http_server(setup: Setup) -> Launch:
    """The standard library's threading server."""
    script = setup.folder / "http_server.py"
    files = {script.name: configs.http_server(setup)}
    return Launch([setup.pythons.own, str(script)], files, logs_to_output=True)


def uvicorn(setup: Setup) -> Launch:
    """Starlette under uvicorn."""
    words = [setup.pythons.peers, "-m", "uvicorn", "app:app", "--app-dir", str(setup.folder)]
    words += ["--port", str(setup.port), "--timeout-keep-alive", "600"]
    words += [] if setup.log else ["--no-access-log", "--log-level", "warning"]
    return Launch(words, {"app.py": configs.starlette(setup)}, logs_to_output=True)


def granian(setup: Setup) -> Launch:
    """Granian serves a mounted folder from its compiled part; the application only says 404."""
    words = [setup.pythons.peers, "-m", "granian", "--interface", "wsgi", "app:app"]
    words += ["--working-dir", str(setup.folder), "--port", str(setup.port), "--workers", "1"]
    words += ["--static-path-route", "/static", "--static-path-mount", str(setup.site)]
    words += ["--backlog", "4096"]
    words += ["--backpressure", "12000"] if setup.crowd else []
    words += ["--access-log"] if setup.log else ["--no-access-log", "--log-level", "warning"]
    return Launch(words, {"app.py": configs.whitenoise(setup)}, logs_to_output=True)


def aiohttp(setup: Setup) -> Launch:
    """aiohttp's own server."""
    script = setup.folder / "app.py"
    files = {script.name: configs.aiohttp(setup)}
    return Launch([setup.pythons.peers, str(script)], files, logs_to_output=True)


def gunicorn(setup: Setup) -> Launch:
    """WhiteNoise under gunicorn's threads, the worker of its that keeps connections alive."""
    words = [setup.pythons.peers, "-m", "gunicorn", "app:app", "--chdir", str(setup.folder)]
    words += ["--bind", f"127.0.0.1:{setup.port}", "--workers", "1", "--worker-class", "gthread"]
    words += ["--threads", "8", "--keep-alive", "600", "--log-level", "error"]
    words += ["--worker-connections", "12000"] if setup.crowd else []
    words += ["--access-logfile", str(setup.log)] if setup.log else []
    return Launch(words, {"app.py": configs.whitenoise(setup)})


SERVERS = (
    Server("portico", "Portico", portico_version, portico, multiplies=True),
    Server("nginx", "nginx", program("nginx", "-v"), nginx, multiplies=True),
    Server("nginx-tuned", "nginx, tuned", program("nginx", "-v"), nginx_tuned, multiplies=True),
    Server("lighttpd", "lighttpd", program("lighttpd", "-v"), lighttpd, multiplies=True),
    Server("h2o", "h2o", program("h2o", "-v"), h2o, multiplies=True),
    Server("limit", "C loop (limit)", compiler_version, limit, "floor"),
    Server("caddy", "Caddy", program("caddy", "version"), caddy, "reference"),
    Server("http.server", "http.server", python_version, http_server, "reference"),
    Server("uvicorn", "Starlette, uvicorn", packages("uvicorn", "starlette"), uvicorn, "reference"),
    Server("granian", "Granian", packages("granian"), granian, "reference", "/static"),
    Server("aiohttp", "aiohttp", packages("aiohttp"), aiohttp, "reference"),
    Server(
        "gunicorn",
        "WhiteNoise, gunicorn",
        packages("gunicorn", "whitenoise"),
        gunicorn,
        "reference",
    ),
)


def by_names(names: list[str] | None) -> list[Server]:
    """The servers of these names in the table's order, or all; ValueError names a wrong one."""
    known = [server.name for server in SERVERS]
    for name in names or ():
        if name not in known:
            raise ValueError(f"no server {name!r}; there are {', '.join(known)}")
    return [server for server in SERVERS if not names or server.name in names]
