"""A site to write in, and what clients do there."""

from __future__ import annotations

from pathlib import Path

from tests.server.clients import Answer, Client, request


def fill(tmp_path: Path) -> Path:
    """A site to write in: a file, a folder with a file, an empty folder, a way out."""
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "file.txt").write_bytes(b"old")
    (root / "folder" / "file.txt").write_bytes(b"old")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file.txt").write_bytes(b"outside")
    (root / "way-out").symlink_to(outside)
    (root / "link.txt").symlink_to(outside / "file.txt")
    return root


FORM = "Content-Type: multipart/form-data; boundary=limit"


def part(filename: str | None, content: bytes, name: str = "file") -> bytes:
    """A part of a form."""
    named = "" if filename is None else f'; filename="{filename}"'
    head = f'--limit\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def put(client: Client, path: str, content: bytes, *lines: str) -> Answer:
    head = request("PUT", path, f"Content-Length: {len(content)}", *lines)
    return client.ask(head + content)


def delete(client: Client, path: str, *lines: str) -> Answer:
    return client.ask(request("DELETE", path, *lines))


def files(root: Path) -> dict[str, bytes]:
    """Every file below the root that is no symlink, with its content."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
