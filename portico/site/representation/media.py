"""Media types by file name, for the Content-Type field of a file.

Rule: one table decides, the same on every system, whatever the machine's own registry contains.
Types are written as IANA registers them; unregistered ones have the name in common use.

    charset     Text is assumed to be UTF-8, and declared so where the type defines the parameter.
                JSON and WebVTT are UTF-8 by definition. XML names its encoding in the document,
                which the parameter would override (RFC 7303, 3), so it has none.
    suffix      The part after the last dot, in any case: `app.tar.gz` is a gzip file. A dot at the
                beginning of a name starts no suffix.
    the rest    `application/octet-stream` (RFC 2046, 4.5.1). A browser saves such files.

Limit: only the name counts, never the content.
"""

from __future__ import annotations

from functools import lru_cache

UNKNOWN = "application/octet-stream"

# One row: the field value, then its suffixes.
_BY_SUFFIX = """
    Text
        text/html; charset=utf-8                            html htm
        text/css; charset=utf-8                             css
        text/javascript; charset=utf-8                      js mjs cjs
        text/markdown; charset=utf-8                        md markdown
        text/csv; charset=utf-8                             csv
        text/tab-separated-values; charset=utf-8            tsv
        text/calendar; charset=utf-8                        ics
        text/vcard; charset=utf-8                           vcf
        text/turtle; charset=utf-8                          ttl
        text/vtt                                            vtt

    Text to be read as it stands, source code included
        text/plain; charset=utf-8       txt text log asc nfo rst adoc org tex bib srt diff patch
        text/plain; charset=utf-8       ini cfg conf env properties lock sum mod sql gql graphql
        text/plain; charset=utf-8       py pyi pyx c h cc cpp cxx hpp cs go rs zig swift kt java
        text/plain; charset=utf-8       rb pl lua r jl hs ml ex exs erl clj lisp el scala nim d
        text/plain; charset=utf-8       sh bash zsh fish bat cmd ps1 awk sed cmake mk gradle nix
        text/plain; charset=utf-8       tsx jsx cts vue svelte astro scss sass less glsl wgsl

    Data
        application/json                                    json map topojson
        application/manifest+json                           webmanifest
        application/ld+json                                 jsonld
        application/geo+json                                geojson
        application/feed+json                               jsonfeed
        application/x-ndjson                                ndjson jsonl
        application/x-ipynb+json                            ipynb
        application/yaml                                    yaml yml
        application/toml                                    toml
        application/cbor                                    cbor
        application/vnd.sqlite3                             sqlite sqlite3
        application/vnd.apache.parquet                      parquet
        application/vnd.apache.arrow.file                   arrow feather
        application/vnd.apache.arrow.stream                 arrows
        application/vnd.pmtiles                             pmtiles
        application/wasm                                    wasm

    XML
        application/xml                                     xml xsd rng
        application/xslt+xml                                xsl xslt
        application/xhtml+xml                               xhtml xht
        application/rss+xml                                 rss
        application/atom+xml                                atom
        application/gpx+xml                                 gpx
        application/vnd.google-earth.kml+xml                kml
        application/metalink4+xml                           meta4
        application/opensearchdescription+xml               osdx

    Images
        image/jpeg                                          jpg jpeg jpe jfif
        image/png                                           png
        image/gif                                           gif
        image/webp                                          webp
        image/avif                                          avif
        image/svg+xml                                       svg
        image/vnd.microsoft.icon                            ico cur
        image/bmp                                           bmp
        image/apng                                          apng
        image/jxl                                           jxl
        image/tiff                                          tif tiff
        image/heic                                          heic
        image/heif                                          heif
        image/jp2                                           jp2
        image/ktx2                                          ktx2
        image/vnd.adobe.photoshop                           psd

    Fonts
        font/woff2                                          woff2
        font/woff                                           woff
        font/ttf                                            ttf
        font/otf                                            otf
        font/collection                                     ttc otc
        application/vnd.ms-fontobject                       eot

    Sound
        audio/mpeg                                          mp3
        audio/mp4                                           m4a m4b
        audio/aac                                           aac
        audio/ogg                                           ogg oga opus spx
        audio/flac                                          flac
        audio/wav                                           wav
        audio/webm                                          weba
        audio/matroska                                      mka
        audio/midi                                          mid midi
        audio/aiff                                          aif aiff

    Video
        video/mp4                                           mp4 m4v
        video/webm                                          webm
        video/quicktime                                     mov qt
        video/ogg                                           ogv
        video/matroska                                      mkv
        video/mpeg                                          mpg mpeg
        video/mp2t                                          ts mts m2ts
        video/iso.segment                                   m4s
        video/3gpp                                          3gp
        video/x-msvideo                                     avi
        application/vnd.apple.mpegurl                       m3u8
        application/dash+xml                                mpd

    Documents
        application/pdf                                     pdf
        application/epub+zip                                epub
        application/rtf                                     rtf
        application/postscript                              ps eps
        application/msword                                  doc
        application/vnd.ms-excel                            xls
        application/vnd.ms-powerpoint                       ppt
        application/vnd.openxmlformats-officedocument.wordprocessingml.document     docx
        application/vnd.openxmlformats-officedocument.spreadsheetml.sheet           xlsx
        application/vnd.openxmlformats-officedocument.presentationml.presentation   pptx
        application/vnd.oasis.opendocument.text             odt
        application/vnd.oasis.opendocument.spreadsheet      ods
        application/vnd.oasis.opendocument.presentation     odp

    Solid models
        model/gltf+json                                     gltf
        model/gltf-binary                                   glb
        model/vnd.usdz+zip                                  usdz
        model/obj                                           obj
        model/mtl                                           mtl
        model/stl                                           stl
        model/3mf                                           3mf

    Archives, packages and disk images
        application/zip                                     zip whl
        application/gzip                                    gz tgz
        application/zstd                                    zst
        application/x-brotli                                br
        application/x-bzip2                                 bz2
        application/x-xz                                    xz txz
        application/x-tar                                   tar
        application/x-7z-compressed                         7z
        application/vnd.rar                                 rar
        application/java-archive                            jar war
        application/vnd.android.package-archive             apk
        application/vnd.debian.binary-package               deb
        application/x-rpm                                   rpm
        application/x-apple-diskimage                       dmg
        application/x-iso9660-image                         iso
        application/vnd.microsoft.portable-executable       exe dll

    Transfers, keys and signatures
        application/x-bittorrent                            torrent
        application/x-zsync                                 zsync
        application/pem-certificate-chain                   pem
        application/pkix-cert                               cer crt
        application/pkix-crl                                crl
        application/pgp-signature                           sig
"""

# Whole names, in lower case, of files without a suffix.
_BY_NAME = """
    Texts at the top of a project
        text/plain; charset=utf-8       license licence copying copyright notice authors
        text/plain; charset=utf-8       contributors credits readme changelog changes history
        text/plain; charset=utf-8       news todo install version makefile dockerfile procfile
        text/plain; charset=utf-8       containerfile justfile vagrantfile gemfile rakefile
        text/plain; charset=utf-8       jenkinsfile cname

    Sums of a folder's files
        text/plain; charset=utf-8       md5sums sha1sums sha256sums sha512sums

    Resources of the folder .well-known
        application/json                apple-app-site-association openid-configuration
        application/json                oauth-authorization-server oauth-protected-resource
        application/json                uma2-configuration nodeinfo
        application/jrd+json            webfinger
        application/xrd+xml             host-meta
        application/linkset+json        api-catalog
        text/plain; charset=utf-8       atproto-did
"""


def _read(table: str) -> dict[str, str]:
    """Return the rows of a table as a dictionary. Titles are the lines without a `/`."""
    types: dict[str, str] = {}
    for row in table.splitlines():
        words = row.split()
        if not words or "/" not in words[0]:
            continue
        value = words.pop(0)
        if value.endswith(";"):
            value += " " + words.pop(0)
        types.update(dict.fromkeys(words, value))
    return types


_TYPE_OF_SUFFIX = _read(_BY_SUFFIX)
_TYPE_OF_NAME = _read(_BY_NAME)

# Types that shrink under compression, besides those that begin with `text/` or end in `+json` or
# `+xml`.
_COMPRESSIBLE_TYPES = """
    application/json application/x-ndjson application/yaml application/toml
    application/xml application/rtf application/postscript
    application/vnd.apple.mpegurl application/pem-certificate-chain
    application/wasm application/vnd.ms-fontobject font/ttf font/otf font/collection
    image/bmp image/vnd.microsoft.icon model/obj model/mtl
    """
_COMPRESSIBLE = frozenset(_COMPRESSIBLE_TYPES.split())


def media_type(name: str) -> str:
    """Return the Content-Type field value for a file called `name` (RFC 9110, 8.3).

    `name` is one file name, not a path. Unknown names give `application/octet-stream`.
    """
    stem, dot, suffix = name.rpartition(".")
    if dot and stem:
        return _TYPE_OF_SUFFIX.get(suffix.lower(), UNKNOWN)
    return _TYPE_OF_NAME.get(name.lower(), UNKNOWN)


@lru_cache(maxsize=512)
def is_compressible(media_type: str) -> bool:
    """Whether content of this type shrinks under a content coding, as text does.

    `media_type` is a field value, with or without parameters, in any case. Types that are already
    compressed (images, sound, video, archives, WOFF fonts) and unknown ones do not.
    """
    essence = media_type.partition(";")[0].strip().lower()
    return (
        essence.startswith("text/")
        or essence.endswith(("+json", "+xml"))
        or essence in _COMPRESSIBLE
    )
