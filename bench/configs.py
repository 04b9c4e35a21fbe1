"""The other servers' configurations, as text: each set for speed.

Rule: one worker unless the setup says more, no limit on the requests of a connection, no access log
unless the scenario asks for one and then buffered where the server can, nothing compressed, coded
siblings used only where the scenario is about them, errors silent.
"""

from __future__ import annotations

import os

from bench.setup import Setup

NGINX_TUNED = """\
    open_file_cache max=10000 inactive=60s;
    open_file_cache_valid 60s;
    open_file_cache_errors on;
"""


def nginx(setup: Setup, *, tuned: bool = False) -> str:
    """nginx with sendfile and tcp_nopush; *tuned* adds its file cache and deferred accept.

    Several workers of a tuned one have a listening socket each.
    """
    door = (" deferred" + (" reuseport" if setup.workers > 1 else "")) if tuned else ""
    log = f"{setup.log} combined buffer=64k flush=1s" if setup.log else "off"
    temporary = "\n".join(
        f"    {kind}_temp_path {setup.folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""\
{"user root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes {setup.workers};
worker_rlimit_nofile 16384;
pid {setup.folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 12000; }}
http {{
    types {{ text/html html; application/octet-stream bin; }}
    sendfile on;
    tcp_nopush on;
{"    gzip_static on;" if setup.coded else ""}
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    log_not_found off;
    access_log {log};
{NGINX_TUNED if tuned else ""}{temporary}
    server {{
        listen 127.0.0.1:{setup.port}{door} backlog=4096;
        root {setup.site};
    }}
}}
"""


def lighttpd(setup: Setup) -> str:
    """lighttpd; its access log is buffered as it is, and it takes half as many clients as files."""
    files = 24576 if setup.crowd else 16384
    log = ""
    if setup.log:
        log = f'server.modules = ("mod_accesslog")\naccesslog.filename = "{setup.log}"\n'
    workers = f"server.max-worker = {setup.workers}\n" if setup.workers > 1 else ""
    return f"""\
{workers}{log}server.document-root = "{setup.site}"
server.bind = "127.0.0.1"
server.port = {setup.port}
server.errorlog = "/dev/null"
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 600
server.max-connections = 12000
server.max-fds = {files}
server.listen-backlog = 4096
server.defer-accept = 5
mimetype.assign = (".html" => "text/html", ".bin" => "application/octet-stream")
"""


def h2o(setup: Setup) -> str:
    """h2o, whose workers are threads; it defers accept by itself and cannot buffer its log."""
    log = f"access-log: {setup.log}\n" if setup.log else ""
    user = "user: root\n" if os.geteuid() == 0 else ""
    return f"""\
{user}num-threads: {setup.workers}
max-connections: 12000
http1-request-timeout: 600
error-log: /dev/null
{log}listen:
  host: 127.0.0.1
  port: {setup.port}
hosts:
  default:
    paths:
      /:
        file.dir: {setup.site}
        file.send-compressed: {"ON" if setup.coded else "OFF"}
"""


def caddy(setup: Setup) -> str:
    """Caddy's file server, in plain HTTP and without its administration port."""
    log = f"    log {{\n        output file {setup.log}\n    }}\n" if setup.log else ""
    return f"""\
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{setup.port} {{
    bind 127.0.0.1
{log}    root * {setup.site}
    file_server {{
        {"precompressed gzip" if setup.coded else ""}
    }}
}}
"""


def http_server(setup: Setup) -> str:
    """The standard library's server with keep-alive and a longer queue; silent unless it logs."""
    quiet = "" if setup.log else "\n    def log_message(self, *words):\n        pass\n"
    return f"""\
import functools
import http.server


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
{quiet}

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 4096


serve = functools.partial(Handler, directory={str(setup.site)!r})
Server(("127.0.0.1", {setup.port}), serve).serve_forever()
"""


def starlette(setup: Setup) -> str:
    """Starlette's static files, for uvicorn."""
    return f"""\
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

app = Starlette(routes=[Mount("/", StaticFiles(directory={str(setup.site)!r}))])
"""


def whitenoise(setup: Setup) -> str:
    """WhiteNoise, for gunicorn: files are looked up once, when it starts."""
    return f"""\
from whitenoise import WhiteNoise


def missing(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return [b""]


app = WhiteNoise(missing, root={str(setup.site)!r})
"""


def aiohttp(setup: Setup) -> str:
    """aiohttp's static route."""
    log = "logging.basicConfig(level=logging.INFO)\n" if setup.log else ""
    more = "" if setup.log else ", access_log=None"
    return f"""\
import logging

from aiohttp import web

{log}app = web.Application()
app.router.add_static("/", {str(setup.site)!r})
web.run_app(app, host="127.0.0.1", port={setup.port}, print=None{more})
"""
