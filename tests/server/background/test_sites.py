"""Sites for threads: one for each thread at a time, and answers that nothing is known about."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier, Thread

from portico.config.config import Config
from portico.http.content_sink import ContentSink
from portico.http.h1.head import HeadParser
from portico.http.message import RequestHead, Response
from portico.server.background.sites import Sites
from portico.site.origin.folder import Folder
from portico.site.origin.freshness import Dependencies
from portico.site.site import Site
from tests.server.clients import PATIENCE, get


def test_what_changes_is_seen_and_no_answer_is_to_be_reused(tmp_path: Path) -> None:
    sites = Sites(lambda: Site(Folder(Config.of(root=str(tmp_path)), 0)))
    request = HeadParser().parse(get("/file"))
    for content in (b"one", b"other"):
        (tmp_path / "file").write_bytes(content)
        response, dependencies = sites.answer(request)
        assert isinstance(response, Response)
        assert b"".join(piece.in_memory or b"" for piece in response.content) == content
        assert dependencies is None
    (tmp_path / "file").unlink()
    response, _ = sites.answer(request)
    assert isinstance(response, Response)
    assert response.status == 404


def test_no_site_is_used_by_two_threads_at_once(tmp_path: Path) -> None:
    made: list[Site] = []
    meet = Barrier(3)

    class Slow(Site):
        def answer(self, request: RequestHead) -> tuple[Response | ContentSink, Dependencies]:
            meet.wait(PATIENCE)
            return super().answer(request)

    def make() -> Site:
        made.append(Slow(Folder(Config.of(root=str(tmp_path)), 0)))
        return made[-1]

    sites = Sites(make)
    for _ in range(2):
        threads = [
            Thread(target=sites.answer, args=(HeadParser().parse(get("/")),)) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(made) == 3
