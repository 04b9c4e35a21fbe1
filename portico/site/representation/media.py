"""Media types by file name, for the Content-Type field of a file.

Rule: one table decides, the same on every system, whatever the machine's own registry contains.
Types are written as IANA registers them; unregistered ones have the name in common use.

    charset     Text is assumed to be UTF-8, and declared so where the type defines the parameter.
                JSON and WebVTT are UTF-8 by definition. XML names its encoding in the document,
                which the parameter would override (RFC 7303, 3), so it has none.
    suffix      The part after the last dot, in any case: `app.tar.gz` is a gzip file. A dot at the
                beginning of a name starts no suffix.
    source      Code and configuration are `text/plain`, which browsers show. They would save a file
                of a type that they do not know, such as `application/yaml`.
    the rest    `application/octet-stream` (RFC 2046, 4.5.1). A browser saves such files.

Limit: only the name counts here; `content_type` looks at the content as well.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN = "application/octet-stream"

# One row: the field value, then its suffixes.
_BY_SUFFIX = """
    Text
        text/html; charset=utf-8                            html htm shtml
        text/css; charset=utf-8                             css
        text/javascript; charset=utf-8                      js mjs cjs
        text/markdown; charset=utf-8                        md markdown
        text/csv; charset=utf-8                             csv
        text/tab-separated-values; charset=utf-8            tsv
        text/calendar; charset=utf-8                        ics
        text/vcard; charset=utf-8                           vcf
        text/turtle; charset=utf-8                          ttl
        text/n3; charset=utf-8                              n3
        text/vtt                                            vtt
        text/cache-manifest                                 appcache
        text/uri-list                                       uri uris
        text/x-component                                    htc
        text/x-opml                                         opml
        message/rfc822                                      eml mht mhtml
        application/mbox                                    mbox

    Text to be read as it stands, source code included
        text/plain; charset=utf-8       txt text log asc nfo rst adoc org tex bib srt diff patch
        text/plain; charset=utf-8       mdx rmd qmd textile wiki ris cue ass ssa sbv lrc po pod
        text/plain; charset=utf-8       ini cfg conf env properties lock sum mod sql gql graphql
        text/plain; charset=utf-8       yaml yml toml hcl tf tfvars edn ron kdl cson proto thrift
        text/plain; charset=utf-8       py pyi pyx c h cc cpp cxx hpp cs go rs zig swift kt java
        text/plain; charset=utf-8       rb pl pm lua r jl hs ml ex exs erl clj lisp el scala nim d
        text/plain; charset=utf-8       cljs dart groovy kts vb fs fsx pas f90 f95 asm tcl rkt scm
        text/plain; charset=utf-8       hh hxx inl ipp mm cu cuh v sv vhdl sol elm cr php rake
        text/plain; charset=utf-8       sh bash zsh fish bat cmd ps1 awk sed cmake mk gradle nix
        text/plain; charset=utf-8       bzl ninja spec service socket timer desktop repo
        text/plain; charset=utf-8       ts mts cts tsx jsx vue svelte astro scss sass less styl
        text/plain; charset=utf-8       coffee glsl wgsl hlsl vert frag wat qml hbs mustache ejs
        text/plain; charset=utf-8       pug haml liquid njk twig erb j2 jinja tmpl tpl csl puml
        text/plain; charset=utf-8       gv gcode md5 sha1 sha256 sha512 dsc buildinfo changes

    Data
        application/json                                    json map topojson har czml
        application/manifest+json                           webmanifest
        application/ld+json                                 jsonld
        application/geo+json                                geojson
        application/feed+json                               jsonfeed
        application/x-ndjson                                ndjson jsonl
        application/x-ipynb+json                            ipynb
        application/json5                                   json5
        application/cbor                                    cbor
        application/bson                                    bson
        application/vnd.msgpack                             msgpack
        application/x-protobuf                              pb pbf
        application/n-triples                               nt
        application/n-quads                                 nq
        application/trig                                    trig
        application/sparql-query                            rq
        application/x-hdf5                                  h5 hdf5
        application/x-netcdf                                nc
        application/dicom                                   dcm
        application/fits                                    fits fts
        application/vnd.tcpdump.pcap                        pcap
        application/vnd.sqlite3                             sqlite sqlite3
        application/vnd.apache.parquet                      parquet
        application/vnd.apache.arrow.file                   arrow feather
        application/vnd.apache.arrow.stream                 arrows
        application/vnd.pmtiles                             pmtiles
        application/vnd.mapbox-vector-tile                  mvt
        application/geopackage+sqlite3                      gpkg
        application/vnd.dbf                                 dbf
        application/vnd.shp                                 shp
        application/vnd.las                                 las
        application/vnd.laszip                              laz
        application/vnd.google-earth.kmz                    kmz
        application/wasm                                    wasm

    XML
        application/xml                                     xml xsd rng
        application/xml-dtd                                 dtd
        application/rdf+xml                                 rdf owl
        application/mathml+xml                              mathml mml
        application/wsdl+xml                                wsdl
        application/xliff+xml                               xlf xliff
        application/ttml+xml                                ttml dfxp
        application/smil+xml                                smil smi
        application/xspf+xml                                xspf
        application/tei+xml                                 tei
        application/gml+xml                                 gml
        application/vnd.openstreetmap.data+xml              osm
        application/vnd.garmin.tcx+xml                      tcx
        application/vnd.recordare.musicxml+xml              musicxml
        application/x-plist                                 plist webloc
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
        image/avif                                          avif avifs
        image/svg+xml                                       svg
        image/vnd.microsoft.icon                            ico cur
        image/bmp                                           bmp dib
        image/apng                                          apng
        image/jxl                                           jxl
        image/tiff                                          tif tiff
        image/heic                                          heic
        image/heif                                          heif
        image/heic-sequence                                 heics
        image/heif-sequence                                 heifs
        image/jp2                                           jp2
        image/jpx                                           jpx jpf
        image/jxr                                           jxr wdp hdp
        image/x-jng                                         jng
        image/ktx                                           ktx
        image/ktx2                                          ktx2
        image/vnd.ms-dds                                    dds
        image/vnd.radiance                                  hdr
        image/aces                                          exr
        image/x-tga                                         tga
        image/x-icns                                        icns
        image/x-xbitmap                                     xbm
        image/x-xpixmap                                     xpm
        image/x-portable-bitmap                             pbm
        image/x-portable-graymap                            pgm
        image/x-portable-pixmap                             ppm
        image/x-portable-anymap                             pnm
        image/vnd.wap.wbmp                                  wbmp
        image/vnd.djvu                                      djvu djv
        image/vnd.dxf                                       dxf
        image/vnd.dwg                                       dwg
        image/emf                                           emf
        image/wmf                                           wmf
        image/x-adobe-dng                                   dng
        image/x-xcf                                         xcf
        image/vnd.adobe.photoshop                           psd

    Fonts
        font/woff2                                          woff2
        font/woff                                           woff
        font/ttf                                            ttf
        font/otf                                            otf
        font/collection                                     ttc otc
        application/vnd.ms-fontobject                       eot
        application/x-font-type1                            pfa pfb
        application/x-font-bdf                              bdf
        application/x-font-pcf                              pcf

    Sound
        audio/mpeg                                          mp3 mp2 mpga
        audio/mp4                                           m4a m4b
        audio/aac                                           aac adts
        audio/ogg                                           ogg oga opus spx
        audio/flac                                          flac
        audio/wav                                           wav
        audio/webm                                          weba
        audio/matroska                                      mka
        audio/midi                                          mid midi kar
        audio/aiff                                          aif aiff aifc
        audio/basic                                         au snd
        audio/amr                                           amr
        audio/ac3                                           ac3
        audio/x-caf                                         caf
        audio/x-ms-wma                                      wma
        audio/x-realaudio                                   ra
        audio/x-mpegurl                                     m3u
        audio/x-scpls                                       pls

    Video
        video/mp4                                           mp4 m4v f4v mp4v
        video/webm                                          webm
        video/quicktime                                     mov qt
        video/ogg                                           ogv ogm
        video/matroska                                      mkv
        video/mpeg                                          mpg mpeg mpe m1v m2v
        video/mp2t                                          m2ts m2t
        video/iso.segment                                   m4s
        video/3gpp                                          3gp 3gpp
        video/3gpp2                                         3g2
        video/x-msvideo                                     avi
        video/x-ms-wmv                                      wmv
        video/x-ms-asf                                      asf asx
        video/x-flv                                         flv
        video/x-mng                                         mng
        application/ogg                                     ogx
        application/vnd.rn-realmedia                        rm
        application/x-shockwave-flash                       swf
        application/vnd.apple.mpegurl                       m3u8
        application/dash+xml                                mpd

    Documents
        application/pdf                                     pdf
        application/epub+zip                                epub
        application/x-mobipocket-ebook                      mobi prc
        application/vnd.amazon.ebook                        azw azw3
        application/x-fictionbook+xml                       fb2
        application/vnd.comicbook+zip                       cbz
        application/vnd.comicbook-rar                       cbr
        application/rtf                                     rtf
        application/postscript                              ps eps ai
        application/x-dvi                                   dvi
        application/oxps                                    oxps
        application/vnd.ms-xpsdocument                      xps
        application/vnd.ms-htmlhelp                         chm
        application/msword                                  doc
        application/vnd.ms-excel                            xls
        application/vnd.ms-powerpoint                       ppt pps
        application/vnd.ms-outlook                          msg
        application/vnd.ms-project                          mpp
        application/vnd.ms-word.document.macroenabled.12                            docm
        application/vnd.ms-excel.sheet.macroenabled.12                              xlsm
        application/vnd.ms-excel.sheet.binary.macroenabled.12                       xlsb
        application/vnd.ms-powerpoint.presentation.macroenabled.12                  pptm
        application/vnd.visio                               vsd vsdx
        application/x-msaccess                              mdb
        application/vnd.openxmlformats-officedocument.wordprocessingml.template     dotx
        application/vnd.openxmlformats-officedocument.spreadsheetml.template        xltx
        application/vnd.openxmlformats-officedocument.presentationml.template       potx
        application/vnd.openxmlformats-officedocument.presentationml.slideshow      ppsx
        application/vnd.openxmlformats-officedocument.wordprocessingml.document     docx
        application/vnd.openxmlformats-officedocument.spreadsheetml.sheet           xlsx
        application/vnd.openxmlformats-officedocument.presentationml.presentation   pptx
        application/vnd.oasis.opendocument.text             odt
        application/vnd.oasis.opendocument.spreadsheet      ods
        application/vnd.oasis.opendocument.presentation     odp
        application/vnd.oasis.opendocument.graphics         odg
        application/vnd.oasis.opendocument.formula          odf
        application/vnd.oasis.opendocument.chart            odc
        application/vnd.oasis.opendocument.base             odb
        application/vnd.oasis.opendocument.text-template            ott
        application/vnd.oasis.opendocument.spreadsheet-template     ots
        application/vnd.oasis.opendocument.presentation-template    otp
        application/vnd.apple.pages                         pages
        application/vnd.apple.numbers                       numbers
        application/vnd.apple.keynote                       key

    Solid models
        model/gltf+json                                     gltf
        model/gltf-binary                                   glb
        model/vnd.usdz+zip                                  usdz
        model/obj                                           obj
        model/mtl                                           mtl
        model/stl                                           stl
        model/3mf                                           3mf
        model/step                                          step stp
        model/iges                                          iges igs
        model/vrml                                          wrl vrml
        model/x3d+xml                                       x3d
        model/vnd.collada+xml                               dae
        model/vnd.usda                                      usda
        application/vnd.autodesk.fbx                        fbx
        application/x-blender                               blend
        application/zip+dotlottie                           lottie

    Archives, packages and disk images
        application/zip                                     zip whl egg nupkg vsix conda
        application/gzip                                    gz tgz svgz crate
        application/zstd                                    zst tzst
        application/x-brotli                                br
        application/x-bzip2                                 bz2 tbz tbz2
        application/x-lzip                                  lz
        application/x-lzma                                  lzma
        application/x-compress                              z
        application/x-cpio                                  cpio
        application/vnd.ms-cab-compressed                   cab
        application/x-xz                                    xz txz
        application/x-tar                                   tar
        application/x-7z-compressed                         7z
        application/vnd.rar                                 rar
        application/java-archive                            jar war ear
        application/x-java-archive-diff                     jardiff
        application/x-java-jnlp-file                        jnlp
        application/vnd.android.package-archive             apk
        application/vnd.debian.binary-package               deb udeb
        application/vnd.flatpak                             flatpak
        application/vnd.flatpak.ref                         flatpakref
        application/vnd.flatpak.repo                        flatpakrepo
        application/vnd.snap                                snap
        application/vnd.appimage                            appimage
        application/x-xpinstall                             xpi
        application/x-chrome-extension                      crx
        application/msix                                    msix
        application/msixbundle                              msixbundle
        application/appx                                    appx
        application/appxbundle                              appxbundle
        application/appinstaller                            appinstaller
        application/x-msi                                   msi
        application/vnd.apple.installer+xml                 mpkg
        application/x-virtualbox-ova                        ova
        application/x-rpm                                   rpm
        application/x-apple-diskimage                       dmg
        application/x-iso9660-image                         iso
        application/vnd.microsoft.portable-executable       exe dll

    Transfers, keys and signatures
        application/x-bittorrent                            torrent
        application/x-zsync                                 zsync
        application/metalink+xml                            metalink
        application/x-nzb                                   nzb
        application/internet-shortcut                       url
        application/x-ns-proxy-autoconfig                   pac
        application/x-apple-aspen-config                    mobileconfig
        application/vnd.apple.pkpass                        pkpass
        application/vnd.apple.pkpasses                      pkpasses
        application/pem-certificate-chain                   pem
        application/pkix-cert                               cer crt der
        application/pkix-crl                                crl
        application/pkcs10                                  csr p10
        application/pkcs7-mime                              p7c p7m
        application/pkcs7-signature                         p7s
        application/x-pkcs7-certificates                    p7b
        application/x-pkcs12                                p12 pfx
        application/pgp-signature                           sig
        application/pgp-encrypted                           gpg pgp

    Octets that only programs of their own read
        application/octet-stream                            bin dat data inv img pck
        application/octet-stream                            unityweb npy npz safetensors gguf
        application/octet-stream                            onnx qcow2 vmdk vdi vhd vhdx ply splat
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
        application/json                openid-credential-issuer jwt-vc-issuer uma2-configuration
        application/json                ssf-configuration smart-configuration gnap-as-rs
        application/json                nodeinfo jmap webauthn web-identity passkey-endpoints
        application/json                posh open-resource-discovery
        application/jrd+json            webfinger
        application/xrd+xml             host-meta
        application/linkset+json        api-catalog
        application/link-format         core
        application/trafficadvice+json  traffic-advice
        application/td+json             wot
        application/entity-statement+jwt    openid-federation
        text/plain; charset=utf-8       atproto-did csvm
"""

# The same for files without a suffix in a folder of .well-known: Matrix has `matrix/client`, LNURL
# `lnurlp/NAME`, and OAuth `oauth-authorization-server/TENANT` (RFC 8414, 3).
_BY_FOLDER = """
        application/json                matrix lnurlp
"""


def _read(table: str) -> dict[str, str]:
    """Return the rows of a table as a dictionary. Lines without a `/` are titles."""
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
_TYPE_OF_FOLDER = _TYPE_OF_NAME | _read(_BY_FOLDER)

# Types that shrink under compression, besides those that begin with `text/` or end in `+json` or
# `+xml`.
_COMPRESSIBLE_TYPES = """
    application/json application/json5 application/x-ndjson
    application/n-triples application/n-quads application/trig application/sparql-query
    application/xml application/xml-dtd application/x-plist application/x-apple-aspen-config
    application/rtf application/postscript application/mbox message/rfc822
    application/x-ns-proxy-autoconfig application/appinstaller application/x-java-jnlp-file
    application/vnd.apple.mpegurl application/pem-certificate-chain
    application/wasm application/vnd.ms-fontobject font/ttf font/otf font/collection
    image/bmp image/vnd.microsoft.icon image/vnd.dxf model/obj model/mtl model/step model/vrml
    """
_COMPRESSIBLE = frozenset(_COMPRESSIBLE_TYPES.split())


def media_type(name: str, names: Sequence[str] = ()) -> str:
    """Return the Content-Type field value for a file called `name` (RFC 9110, 8.3).

    `name` is one file name, not a path; `names` are the whole path, which counts in the folder
    `.well-known` (RFC 8615). Unknown names give `application/octet-stream`.
    """
    stem, dot, suffix = name.rpartition(".")
    if dot and stem:
        return _TYPE_OF_SUFFIX.get(suffix.lower(), UNKNOWN)
    if len(names) > 2 and names[0] == ".well-known":
        return _TYPE_OF_FOLDER.get(names[1].lower(), UNKNOWN)
    return _TYPE_OF_NAME.get(name.lower(), UNKNOWN)


def is_listed(name: str) -> bool:
    """Return whether the suffix of a file is in the table, even if only as `UNKNOWN`."""
    stem, _, suffix = name.rpartition(".")
    return bool(stem) and suffix.lower() in _TYPE_OF_SUFFIX


@lru_cache(maxsize=512)
def is_compressible(media_type: str) -> bool:
    """Whether content of this type becomes smaller in a content coding, as text does.

    `media_type` is a field value, with or without parameters, in any case. Types that are already
    compressed (images, sound, video, archives, WOFF fonts) and unknown types do not.
    """
    essence = media_type.partition(";")[0].strip().lower()
    return (
        essence.startswith("text/")
        or essence.endswith(("+json", "+xml"))
        or essence in _COMPRESSIBLE
    )
