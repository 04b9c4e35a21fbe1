"""Sound and pictures that tell which second of them is played: made here, from nothing.

A film has one picture for each second, which shows the second's number in black and white bars. It
is a WebM file: EBML elements (RFC 8794) as Matroska (RFC 9559) defines them. Void elements make it
so long that no browser loads it all ahead.
"""

from __future__ import annotations

import base64
import io
import struct
import wave
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDTH, HEIGHT = 256, 64
BARS = 8
PADDING = 1 << 19
"""Octets that each second takes besides its picture."""

_ENCODE = """async ([seconds, width, height, bars]) => {
  const pictures = [];
  const encoder = new VideoEncoder({
    output: chunk => {
      const octets = new Uint8Array(chunk.byteLength);
      chunk.copyTo(octets);
      pictures.push(btoa(String.fromCharCode(...octets)));
    },
    error: error => { throw error; },
  });
  encoder.configure({codec: 'vp8', width, height, bitrate: 1000000});
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d');
  for (let second = 0; second < seconds; second++) {
    for (let bar = 0; bar < bars; bar++) {
      context.fillStyle = second >> bar & 1 ? 'white' : 'black';
      context.fillRect(bar * width / bars, 0, width / bars, height);
    }
    const frame = new VideoFrame(canvas, {timestamp: second * 1e6});
    encoder.encode(frame, {keyFrame: true});
    frame.close();
  }
  await encoder.flush();
  return pictures;
}"""

READ_SECOND = f"""async film => {{
  const context = new OffscreenCanvas({WIDTH}, {HEIGHT}).getContext('2d');
  context.drawImage(film, 0, 0);
  const row = context.getImageData(0, {HEIGHT // 2}, {WIDTH}, 1).data;
  let second = 0;
  for (let bar = 0; bar < {BARS}; bar++)
    if (row[4 * (bar + 0.5) * {WIDTH // BARS}] > 128) second |= 1 << bar;
  return second;
}}"""
"""A function for the page: which second's picture a video element shows."""


def film(page: Page, seconds: int) -> bytes:
    """A WebM file; `page` must come from this machine, for only then it has an encoder."""
    pictures: list[str] = page.evaluate(_ENCODE, [seconds, WIDTH, HEIGHT, BARS])
    assert len(pictures) == seconds
    head = _element("1a45dfa3", _element("4282", b"webm"), _number("4287", 2), _number("4285", 2))
    info = _element(
        "1549a966",
        _number("2ad7b1", 1_000_000),  # nanoseconds of one unit of time
        _element("4489", struct.pack(">d", 1000.0 * seconds)),
        _element("4d80", b"Portico"),
        _element("5741", b"Portico"),
    )
    shape = _element("e0", _number("b0", WIDTH), _number("ba", HEIGHT))
    track = [_number(name, 1) for name in ("d7", "73c5", "83")]  # number, identity, video
    tracks = _element("1654ae6b", _element("ae", *track, _element("86", b"V_VP8"), shape))
    clusters = [
        _element(
            "1f43b675",
            _number("e7", 1000 * second),
            _element("a3", b"\x81\0\0\x80", base64.b64decode(picture)),
            _element("ec", bytes(PADDING)),
        )
        for second, picture in enumerate(pictures)
    ]
    start = len(info) + len(tracks) + len(_cues(clusters, 0))
    return head + _element("18538067", info, tracks, _cues(clusters, start), *clusters)


def _cues(clusters: list[bytes], position: int) -> bytes:
    """The index: where the cluster of each second is; the first one is at `position`."""
    points = []
    for second, cluster in enumerate(clusters):
        place = _element("b7", _number("f7", 1), _number("f1", position))
        points.append(_element("bb", _number("b3", 1000 * second), place))
        position += len(cluster)
    return _element("1c53bb6b", *points)


def _element(name: str, *content: bytes) -> bytes:
    """An EBML element: its ID, in eight octets its size, its content."""
    octets = b"".join(content)
    return bytes.fromhex(name) + struct.pack(">Q", len(octets) | 1 << 56) + octets


def _number(name: str, value: int) -> bytes:
    return _element(name, struct.pack(">Q", value))


def sound(seconds: int) -> bytes:
    """A WAV file of silence, in stereo."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(2)
        written.setsampwidth(2)
        written.setframerate(48_000)
        written.writeframes(bytes(4 * 48_000 * seconds))
    return file.getvalue()
