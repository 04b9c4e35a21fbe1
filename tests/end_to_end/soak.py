"""A server under mixed load for a long time: is it the same at the end as at the beginning?

Run it by itself: `python3 -m tests.end_to_end.soak --seconds 3600`. Two workers serve by TCP, TLS
and a unix socket. Visitors check every response, octet by octet; uploaders write, resume and
delete; a file is replaced all the time; slow readers take a large file; and hostile clients say
nothing, nonsense, or half of something. In the second half the server is reloaded again and again,
each time with other options and another certificate.

Rule: memory (Pss) and descriptors are flat, once the caches are full, and fall back when all
clients have gone; every response is right; stderr says nothing but that it was reloaded,
and whose handshakes have failed.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import random
import signal
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import portico
from tests.end_to_end.killing import Uploader
from tests.end_to_end.writing import replace
from tests.server.certifying import TlsClient, make
from tests.server.clients import PATIENCE, Answer, Client, UnixClient, eventually, get, request
from tests.server.processes.supervised import Supervised

HELD = 100
"""Connections that hostile clients keep open at once."""
SLACK = 2 << 20
"""Octets by which the memory of a process may differ between two times, besides a twentieth: what
malloc keeps depends on chance."""
RELOAD_SECONDS = 120
GRACE = 5.0
"""Seconds after which a reload closes connections that are idle: the default of --grace."""
LARGE = 4 << 20
OPTIONS = """\
listen = ["127.0.0.1:0", "http://127.0.0.1:0", "unix:soak.sock"]
tls_cert = "cert.pem"
workers = 2
allow = "write"
insecure_writes = true
keep_free = 0
cache_size = "8M"
log_format = "json"
cors = {cors}
root = "site"
"""


class ResumingClient(TlsClient):
    """A client that resumes the last session half of the times."""

    last: ClassVar[ssl.SSLSession | None] = None

    def __init__(self, url: str, context: ssl.SSLContext, *, receive_buffer: int = 0) -> None:
        session = random.choice([None, self.last])
        super().__init__(url, context, session=session, receive_buffer=receive_buffer)

    def close(self) -> None:
        ResumingClient.last = self.tls.session
        super().close()


class Site:
    """The files that are served, as they should come."""

    def __init__(self, root: Path, dice: random.Random) -> None:
        self.files = {
            "/small.txt": b"small\n",
            "/page.html": b"<!doctype html><title>Page</title><p>Some text.</p>\n" * 400,
            "/image.png": dice.randbytes(90_000),
            "/large.bin": dice.randbytes(LARGE),
            **{
                f"/folder/{number}.css": b"p { margin: %d }\n" % number * 99 for number in range(50)
            },
        }
        (root / "folder").mkdir(parents=True)
        for path, content in self.files.items():
            (root / path[1:]).write_bytes(content)
        self.tags: dict[str, str] = {}
        self._changing = root / "changing.txt"
        self.version = 0
        self.change()

    def change(self) -> None:
        """Replace the file that changes by its next version."""
        replace(self._changing, b"%09d\n" % (self.version + 1) * 5000)
        self.version += 1


class Actor(threading.Thread):
    """A client that does its step again and again, with pauses; what is wrong is a problem."""

    def __init__(self, step: Callable[[], None], pause: float, problems: list[str]) -> None:
        super().__init__(daemon=True)
        self._step, self._pause, self._problems = step, pause, problems
        self.is_over = threading.Event()

    def run(self) -> None:
        dice = random.Random(self.name)
        while not self.is_over.wait(dice.uniform(0, 2 * self._pause)):
            try:
                self._step()
            except Exception as problem:  # noqa: BLE001 (told at the end)
                self._problems.append(f"{time.strftime('%X')}: {problem!r}"[:500])


class Visitor:
    """Asks for all kinds of things, one after another, and looks at each answer."""

    def __init__(self, site: Site, connect: Callable[[], Client], seed: int) -> None:
        self._site, self._connect = site, connect
        self._dice = random.Random(seed)
        self._client: Client | None = None
        self._left = 0
        self._answered = 0.0
        self.answers = 0
        self.late = 0
        """Requests on a connection that was idle for so long that a reload had closed it: what any
        client has to expect (RFC 9112, 9.3.1). They happen where this machine is too busy."""

    def step(self) -> None:
        """Ask once, on a new connection from time to time."""
        client = self._client
        idle = time.monotonic() - self._answered
        if client is None:
            client, idle = self._connect(), 0
            self._client, self._left = client, self._dice.randint(1, 60)
        self._left -= 1
        kinds = [self._whole, self._whole, self._part, self._known, self._coded, self._head]
        try:
            kind = self._dice.choice([*kinds, self._missing, self._listing, self._changing])
            answer = kind(client)
        except ConnectionError as problem:
            self.leave()
            if idle < GRACE:
                raise ConnectionError(f"{problem}: {kind.__name__}, idle for {idle} s") from problem
            self.late += 1
            return
        except BaseException:
            self.leave()
            raise
        self.answers += 1
        self._answered = time.monotonic()
        if answer.closes or not self._left:
            self.leave()

    def leave(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _path(self) -> tuple[str, bytes]:
        """Return a file that is asked for, a large one seldom."""
        path, content = self._dice.choice(list(self._site.files.items()))
        if len(content) == LARGE and self._dice.random() < 0.5:
            return self._path()
        return path, content

    def _whole(self, client: Client) -> Answer:
        path, content = self._path()
        query = self._dice.choice(["", "", f"?{self._dice.random()}"])
        answer = client.ask(get(path + query))
        assert answer.status == 200, (path, answer.status)
        assert answer.content == content, path
        assert self._site.tags.setdefault(path, answer.fields["etag"]) == answer.fields["etag"]
        return answer

    def _part(self, client: Client) -> Answer:
        path, content = self._path()
        first = self._dice.randrange(len(content))
        last = self._dice.randrange(first, min(len(content), first + 100_000))
        answer = client.ask(get(path, f"Range: bytes={first}-{last}"))
        assert answer.status == 206, (path, answer.status)
        assert answer.content == content[first : last + 1], path
        return answer

    def _known(self, client: Client) -> Answer:
        path, _ = self._path()
        if path not in self._site.tags:
            return self._whole(client)
        answer = client.ask(get(path, f"If-None-Match: {self._site.tags[path]}"))
        assert answer.status == 304, (path, answer.status)
        return answer

    def _coded(self, client: Client) -> Answer:
        path, content = self._path()
        answer = client.ask(get(path, "Accept-Encoding: gzip"))
        is_coded = "content-encoding" in answer.fields
        assert (gzip.decompress(answer.content) if is_coded else answer.content) == content, path
        return answer

    def _head(self, client: Client) -> Answer:
        path, content = self._path()
        answer = client.ask(request("HEAD", path), method="HEAD")
        assert answer.fields["content-length"] == str(len(content)), path
        return answer

    def _missing(self, client: Client) -> Answer:
        answer = client.ask(get(f"/{self._dice.randrange(10**9)}"))
        assert answer.status == 404, answer.status
        return answer

    def _listing(self, client: Client) -> Answer:
        answer = client.ask(get("/folder/"))
        assert answer.content.count(b'.css"') >= 50, answer.status
        return answer

    def _changing(self, client: Client) -> Answer:
        """A whole version, and not one that was replaced before the request."""
        least = self._site.version
        answer = client.ask(get("/changing.txt"))
        assert int(answer.content[:9]) >= least
        assert answer.content == answer.content[:10] * 5000, "a mixture of versions"
        return answer


def read_slowly(
    connect: Callable[[], Client], content: bytes, seconds: float, is_over: threading.Event
) -> None:
    """Take a large file in so many seconds."""
    with connect() as client:
        client.send(get("/large.bin"))
        _, fields = client.head()
        pieces = [client.received]
        missing = int(fields["content-length"]) - len(client.received)
        while missing and not is_over.is_set():
            piece = client.socket.recv(65536)
            assert piece, f"cut, {missing} octets before the end"
            pieces.append(piece)
            missing -= len(piece)
            time.sleep(seconds * len(piece) / LARGE)
        assert content.startswith(b"".join(pieces))


def client_hello(context: ssl.SSLContext) -> bytes:
    """Return the first octets that a TLS client sends."""
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


class Hostile:
    """Says nothing, nonsense, or half of something, and stays or goes without a word."""

    def __init__(self, urls: list[str], hello: bytes) -> None:
        self._urls = urls
        self.count = 0
        self._held: deque[Client] = deque()
        self._dice = random.Random(1)
        self._starts = [
            b"", b"GET", get("/small.txt")[:-3], get("/small.txt") * 300, get("/large.bin"),
            b"\0\xff" * 5000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", get("/" + "x" * 100_000),
            hello, hello[:50], b"\x16\x03\x01\xff\xff" + b"x" * 3000, b"\x16\x03\x01\0\1\1" * 20,
            request("PUT", "/0/never.bin", "Content-Length: 99999999") + b"x" * 70_000,
            request("PUT", "/0/never.bin", "Transfer-Encoding: chunked") + b"fffff\r\nabc",
            request("GET", "/small.txt", "Transfer-Encoding: chunked", "Content-Length: 3"),
            get("/small.txt", *["Range: bytes=" + "0-0," * 1000]),
        ]  # fmt: skip

    def step(self) -> None:
        client = Client(self._dice.choice(self._urls), receive_buffer=4096)
        self._held.append(client)
        self.count += 1
        client.socket.settimeout(0.2)  # for a server that does not read what it does not want
        start = self._dice.choice(self._starts)
        pieces = [start] if len(start) > 100 else [bytes([each]) for each in start]
        with contextlib.suppress(TimeoutError):
            client.send_as_far_as_possible(pieces)
        if len(self._held) > HELD:
            self._dice.choice([Client.vanish, Client.close])(self._held.popleft())

    def end(self) -> None:
        """Leave."""
        while self._held:
            self._held.popleft().close()


class Sample(NamedTuple):
    """What the processes take at a moment."""

    seconds: float
    supervisor: int
    """Pss, in octets."""
    worker: int
    """Pss of the largest worker."""
    workers: int
    """How many there are: more than two during a reload."""
    descriptors: int
    """Of all processes."""


def sample(server: Supervised, seconds: float) -> Sample:
    """Look at the processes that there are now."""
    sizes, descriptors = {}, 0
    for pid in {server.popen.pid, *server.workers}:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            descriptors += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        if "\nPss:" in rollup:
            sizes[pid] = int(rollup.split("\nPss:")[1].split()[0]) << 10
    supervisor = sizes.pop(server.popen.pid)
    return Sample(seconds, supervisor, max(sizes.values()), len(sizes), descriptors)


def grown(samples: list[Sample], early: tuple[float, float], late: tuple[float, float]) -> str:
    """Say what is larger at the `late` share of the time than at the `early` one; "" if nothing."""
    whole = samples[-1].seconds
    first, second = (
        [each for each in samples if start <= each.seconds / whole <= end]
        for start, end in (early, late)
    )
    for name, slack in {"supervisor": SLACK, "worker": SLACK, "descriptors": HELD // 2}.items():
        was, now = (
            statistics.median(getattr(each, name) for each in part) for part in (first, second)
        )
        if now > was * 1.05 + slack:
            return f"{name}: {was:,.0f} at first, {now:,.0f} at the end"
    return ""


class Soak:
    """All of it, in `folder`; `samples` and `told` have what came of it."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder, self._seconds = folder, seconds
        self.problems: list[str] = []
        self.samples: list[Sample] = []
        self.told = ""
        self._site = Site(folder / "site", random.Random(1))
        self._configure(0)

    def _configure(self, number: int) -> None:
        replace(
            self._folder / "portico.toml",
            OPTIONS.format(cors=("false", "true")[number % 2]).encode(),
        )
        make(self._folder, "new.pem", "localhost").replace(self._folder / "cert.pem")

    def run(self) -> None:
        """Serve, and have clients come, for so long. Raises AssertionError for what is wrong."""
        environ = {"PYTHONPATH": str(Path(portico.__file__).parent.parent)}
        with Supervised(self._folder, "--config", "portico.toml", environ=environ) as server:
            server.start()
            banner = server.said
            at_rest = sample(server, 0)
            self._load(server)
            eventually(lambda: sample(server, 0).workers == 2)
            # Each worker may keep files open, those that visitors ask for.
            most = at_rest.descriptors + 2 * 2 * len(self._site.files)
            eventually(lambda: sample(server, 0).descriptors <= most)
            expected = ("portico: reloaded: 2 workers", "portico: no TLS with 127.0.0.1: ")
            lines = server.said.removeprefix(banner).splitlines()
            said = [line for line in lines if not line.startswith(expected)]
            assert not said, f"stderr: {said[:20]}"
            assert server.end() == 0
        assert not self.problems, f"{len(self.problems)} problems: {self.problems[:5]}"
        for early, late in (((0.2, 0.3), (0.4, 0.5)), ((0.55, 0.7), (0.85, 1.0))):
            assert not (what := grown(self.samples, early, late)), what

    def _load(self, server: Supervised) -> None:
        secure, clear, _ = server.urls
        (self._folder / "site" / "0").mkdir()
        (self._folder / "site" / "1").mkdir()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        connections: list[Callable[[], Client]] = [
            lambda: Client(clear),
            lambda: ResumingClient(secure, context),
            lambda: UnixClient(self._folder / "soak.sock"),
        ]
        visitors = [Visitor(self._site, connections[n % 3], n) for n in range(9)]
        uploaders = [
            Uploader(number, int(clear.rstrip("/").rpartition(":")[2]), 1 << 20, 1, pause=2)
            for number in range(2)
        ]
        hostile = Hostile([secure, clear], client_hello(context))
        steps = [(visitor.step, 0.15) for visitor in visitors]
        steps += [(hostile.step, 0.2), (self._site.change, 1.0)]
        over = threading.Event()
        large = self._site.files["/large.bin"]
        slow: list[Callable[[], Client]] = [
            lambda: Client(clear, receive_buffer=4096),
            lambda: ResumingClient(secure, context, receive_buffer=4096),
        ]
        actors = [Actor(step, pause, self.problems) for step, pause in steps]
        actors += [
            Actor(
                partial(read_slowly, connect, large, min(20, self._seconds / 20), over),
                2.0,
                self.problems,
            )
            for connect in slow
        ]
        threads: list[Actor | Uploader] = [*actors, *uploaders]
        for thread in threads:
            thread.start()
        try:
            reloads = self._watch(server)
        finally:
            over.set()
            for thread in threads:
                thread.is_over.set()
            for thread in threads:
                thread.join(3 * PATIENCE)
            hostile.end()
        for visitor in visitors:
            visitor.leave()
        for uploader in uploaders:
            self.problems += uploader.problems
            if broken := uploader.unknown + uploader.resumed:
                self.problems.append(f"{broken} uploads were broken off")
            uploader.check(self._folder / "site")
        self.told = (
            f"{sum(each.answers for each in visitors):,} responses checked, "
            f"{sum(each.acknowledged for each in uploaders):,} uploads, {reloads} reloads, "
            f"{self._site.version:,} replacements, {hostile.count:,} hostile connections, "
            f"{sum(each.late for each in visitors)} requests that came too late for a connection"
        )

    def _watch(self, server: Supervised) -> int:
        """Take samples until the time is over; in the second half, reload. Return how often."""
        began = time.monotonic()
        pause = max(5.0, self._seconds / 240)
        reloads, next_reload = 0, self._seconds / 2
        while (now := time.monotonic() - began) < self._seconds and len(self.problems) < 20:
            self.samples.append(sample(server, now))
            if now > next_reload:
                next_reload = now + pause
                reloads += 1
                self._configure(reloads)
                server.send(signal.SIGHUP)
                self._wait_for_reload(server, reloads)
            time.sleep(min(pause, 2.0))
        return reloads

    def _wait_for_reload(self, server: Supervised, times: int) -> None:
        """As `Supervised.reload`, but on a machine that has much else to do."""
        end = time.monotonic() + RELOAD_SECONDS
        while server.said.count("portico: reloaded: ") < times:
            assert time.monotonic() < end, f"no reload in {RELOAD_SECONDS} s: {server.said[-500:]}"
            time.sleep(0.05)


def plot(samples: list[Sample], path: Path) -> None:
    """Draw memory and descriptors over time, by matplotlib."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    minutes = [each.seconds / 60 for each in samples]
    with mpl.rc_context({"svg.hashsalt": "portico", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9.6, 3.4), layout="constrained")
        memory, descriptors = figure.subplots(1, 2)
        for name, color in {"worker": "#2f6fde", "supervisor": "#a9b4c0"}.items():
            sizes = [getattr(each, name) / (1 << 20) for each in samples]
            memory.plot(minutes, sizes, color=color, label=f"{name}, MiB (Pss)")
        descriptors.plot(
            minutes, [each.descriptors for each in samples], color="#2f6fde",
            label="descriptors of all processes",
        )  # fmt: skip
        for panel in (memory, descriptors):
            panel.axvline(minutes[-1] / 2, color="#a9b4c0", linestyle=":", label="reloads begin")
            panel.set_ylim(bottom=0)
            panel.set_xlabel("minutes")
            panel.spines[["top", "right"]].set_visible(False)
            panel.legend(fontsize=8, loc="lower right")
        figure.savefig(path, metadata={"Date": None})


def main() -> int:
    """Run it by the command line, and say what came of it; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--plot", type=Path, help="draw memory and descriptors here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        soak = Soak(Path(folder), given.seconds)
        try:
            soak.run()
        except AssertionError as problem:
            wrong = str([str(problem), *soak.problems[:5]])
        else:
            wrong = ""
    for each in soak.samples[:: max(1, len(soak.samples) // 12)]:
        sys.stdout.write(
            f"{each.seconds:6.0f} s: supervisor {each.supervisor >> 10:,} KiB, "
            f"largest of {each.workers} workers {each.worker >> 10:,} KiB, "
            f"{each.descriptors} descriptors\n"
        )
    sys.stdout.write(soak.told + "\n")
    if given.plot:
        plot(soak.samples, given.plot)
    if wrong:
        sys.stdout.write(f"WRONG: {wrong}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
