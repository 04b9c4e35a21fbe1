from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.config.config import (
    Config,
    ConfigError,
    check_root,
    check_serving,
    unknown_variables,
)
from portico.config.options import OPTIONS, Option

# For every option: a text, the same as a native value, and what the attribute then holds.
SAMPLES: dict[str, tuple[str, object, object]] = {
    "root": ("/srv/site", "/srv/site", "/srv/site"),
    "listing": ("no", False, False),
    "clean_urls": ("no", False, False),
    "index": ("home.html", "home.html", "home.html"),
    "base": ("docs", "/docs", "/docs/"),
    "spa": ("yes", True, True),
    "hidden": ("yes", True, True),
    "cors": ("on", True, True),
    "isolate": ("1", True, True),
    "header": ("A:1\nB: x, y", ["A:1", "B: x, y"], ("A: 1", "B: x, y")),
    "immutable": ("/a/*, *.js", ["/a/*", "*.js"], ("/a/*", "*.js")),
    "compress": ("0", False, False),
    "allow": ("delete, create", ["delete", "create"], ("create", "delete")),
    "users": ("/etc/users", "/etc/users", "/etc/users"),
    "access": (
        "/* anonymous=read",
        ["/* anonymous=read"],
        (("/*", {"anonymous": frozenset({"read"})}),),
    ),
    "trust_uploads": ("yes", True, True),
    "max_upload": ("0", 0, 0),
    "upload_expiry": ("60", 60, 60.0),
    "keep_free": ("1G", 1 << 30, 1 << 30),
    "sync": ("no", False, False),
    "insecure_writes": ("yes", True, True),
    "port": ("0", 0, 0),
    "host": ("[::1]", "::1", "::1"),
    "lan": ("yes", True, True),
    "listen": (":80, [::1]:0", ["*:80", "[::1]:0"], ("*:80", "[::1]:0")),
    "allow_host": ("A.test, b.test.", ["a.test", "B.test."], ("a.test", "b.test")),
    "workers": ("auto", "auto", 0),
    "sandbox": ("no", False, False),
    "user": ("33", 33, "33"),
    "https": ("yes", True, True),
    "tls_cert": ("/a.pem, /b.pem", ["/a.pem", "/b.pem"], ("/a.pem", "/b.pem")),
    "tls_key": ("/a.key", ["/a.key"], ("/a.key",)),
    "tls_client_ca": ("/ca.pem", "/ca.pem", "/ca.pem"),
    "redirect_http": (":80", "*:80", "*:80"),
    "hsts": ("3600", 3600, 3600),
    "trust_proxy": (
        "10.0.0.0/8, ::FFFF:10.0.0.1,unix",
        ["10.0.0.0/8", "::ffff:a00:1", "unix"],
        ("10.0.0.0/8", "10.0.0.1/32", "unix"),
    ),
    "trust_proxy_header": ("forwarded", "forwarded", "forwarded"),
    "proxy_protocol": ("yes", True, True),
    "open": ("yes", True, True),
    "access_log": ("off", False, False),
    "log_format": ("json", "json", "json"),
    "color": ("never", "never", "never"),
    "metrics": (":9100", "*:9100", "*:9100"),
    "health": ("/-/health", "/-/health", "/-/health"),
    "max_connections": ("10", 10, 10),
    "client_connections": ("20", 20, 20),
    "client_requests": ("30", 30, 30),
    "client_bandwidth": ("1M", 1 << 20, 1 << 20),
    "head_timeout": ("0.5", 0.5, 0.5),
    "idle_timeout": ("5", 5, 5.0),
    "send_timeout": ("86400", 86_400, 86_400.0),
    "grace": (".25", 0.25, 0.25),
    "cache_size": ("16MiB", 16 << 20, 16 << 20),
    "config": ("", "", ""),  # its own tests are below
}
SETTABLE = [option for option in OPTIONS if option.name != "config"]
each_option = pytest.mark.parametrize("option", SETTABLE, ids=lambda option: option.name)


def values(config: Config) -> dict[str, object]:
    return {option.attribute: getattr(config, option.attribute) for option in OPTIONS}


def refusal(flags: dict[str, object] | None = None, /, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Config.load(flags or {}, environ)
    return str(caught.value)


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_every_option_has_a_sample() -> None:
    assert list(SAMPLES) == [option.name for option in OPTIONS]


def test_typed_attributes_agree_with_the_table() -> None:
    declared = {option.attribute: option.kind.type_name for option in OPTIONS}
    declared["given"] = "frozenset[str]"  # which options were set
    assert Config.__annotations__ == declared
    assert list(Config.__annotations__) == list(declared)


def test_defaults_are_values_of_their_kind() -> None:
    config = Config.load({}, {})
    for option in OPTIONS:
        value = getattr(config, option.attribute)
        assert type(value).__name__ == option.kind.type_name.partition("[")[0]
        if value != "":
            assert option.kind.convert(value) == value


def test_the_defaults() -> None:
    assert values(Config.of()) == {
        "root": ".",
        "listing": True,
        "clean_urls": True,
        "index": "index.html",
        "base": "/",
        "spa": False,
        "hidden": False,
        "cors": False,
        "isolate": False,
        "headers": (),
        "immutables": (),
        "compress": True,
        "allows": (),
        "users": "",
        "accesses": (),
        "trust_uploads": False,
        "max_upload": 1 << 30,
        "upload_expiry": 86_400.0,
        "keep_free": 256 << 20,
        "sync": True,
        "insecure_writes": False,
        "port": 8080,
        "host": "localhost",
        "lan": False,
        "listens": (),
        "allow_hosts": (),
        "tls_certs": (),
        "tls_keys": (),
        "tls_client_ca": "",
        "https": False,
        "redirect_http": "",
        "hsts": 0,
        "trust_proxies": (),
        "trust_proxy_header": "x-forwarded",
        "proxy_protocol": False,
        "workers": 1,
        "sandbox": True,
        "user": "",
        "open": False,
        "access_log": True,
        "log_format": "auto",
        "color": "auto",
        "metrics": "",
        "health": "",
        "max_connections": 4096,
        "client_connections": 0,
        "client_requests": 0,
        "client_bandwidth": 0,
        "head_timeout": 10.0,
        "idle_timeout": 60.0,
        "send_timeout": 60.0,
        "grace": 5.0,
        "cache_size": 64 * 1024 * 1024,
        "config": "",
    }


@each_option
def test_each_source_sets_each_option_and_no_other(option: Option, tmp_path: Path) -> None:
    text, native, value = SAMPLES[option.name]
    file = tmp_path / "portico.toml"
    file.write_text(f"{option.name.replace('_', '-')} = {toml(native)}\n")
    same = tmp_path / "same.toml"
    same.write_text(f"{option.attribute} = {toml(native)}\n")
    expected = values(Config.of()) | {option.attribute: value}
    assert expected != values(Config.of())
    assert values(Config.load({option.name: text}, {})) == expected
    assert values(Config.load({}, {option.variable: text})) == expected
    assert values(Config.of(**{option.attribute: native})) == expected
    for path in (file, same):
        loaded = values(Config.load({}, {"PORTICO_CONFIG": str(path)}))
        assert loaded == expected | {"config": str(path)}
        # A keyword weighs more than the file it names; the environment is not asked.
        loaded = values(Config.of(config=path, **{option.attribute: native}))
        assert loaded == expected | {"config": str(path)}


@each_option
def test_each_source_refuses_nonsense_for_each_option(option: Option, tmp_path: Path) -> None:
    file = tmp_path / "portico.toml"
    file.write_text(f"\n# a comment\n{option.name} = {{ a = 1 }}\n")
    nonsense = "a\0:b"
    assert refusal({option.name: nonsense}).startswith(f"{option.flag}: {nonsense!r} is not ")
    place = f"environment variable {option.variable}: "
    assert refusal(**{option.variable: nonsense}).startswith(place)
    assert refusal({"config": str(file)}).startswith(f"{file}, line 3, key {option.name}: ")
    with pytest.raises(ConfigError, match=f"^argument {option.attribute}: "):
        Config.of(**{option.attribute: None})


def test_flags_outweigh_environment_outweighs_file(tmp_path: Path) -> None:
    file = tmp_path / "portico.toml"
    file.write_text('port = 1\nhost = "one.test"\ngrace = 1\nallow_host = ["one.test"]\n')
    environ = {"PORTICO_PORT": "2", "PORTICO_HOST": "two.test", "PORTICO_ALLOW_HOST": "two.test"}
    config = Config.load({"config": str(file), "port": "3"}, environ)
    assert (config.port, config.host, config.grace) == (3, "two.test", 1.0)
    assert config.allow_hosts == ("two.test",)


def test_a_bad_value_is_refused_even_where_another_outweighs_it() -> None:
    assert "PORTICO_PORT" in refusal({"port": "80"}, PORTICO_PORT="x")


def test_an_empty_variable_is_unset_and_a_foreign_one_is_ignored() -> None:
    config = Config.load({}, {"PORTICO_PORT": "", "PORTICO_SERVICE_HOST": "10.0.0.1"})
    assert config.port == 8080


def test_an_unknown_variable_is_told_with_the_nearest_name() -> None:
    told = "the environment variable PORTICO_{} is ignored: there is no such option{}"
    environ = {"PORTICO_PROT": "80", "PORTICO_XYZZY": "", "PORTICO_PORT": "80", "PORTICOX": "1"}
    of_kubernetes = {
        "PORTICO_SERVICE_HOST": "10.0.0.1",
        "PORTICO_SERVICE_PORT_HTTP": "80",
        "PORTICO_PORT_80_TCP_ADDR": "10.0.0.1",
        "PORTICO_API_PORT": "tcp://10.0.0.1:80",
    }
    assert unknown_variables(environ | of_kubernetes) == [
        told.format("PROT", "; did you mean PORTICO_PORT or PORTICO_ROOT?"),
        told.format("XYZZY", ""),
    ]


def test_the_port_that_kubernetes_sets_is_explained() -> None:
    message = refusal(PORTICO_PORT="tcp://10.0.0.1:80")
    assert "PORTICO_PORT" in message
    assert "enableServiceLinks: false" in message


WHOLE = "is not a whole number from 0 to 65535"
SECONDS = "is not a number of seconds from 0.001 to 86400"
BYTES = "is not a number of bytes, or a size such as 512K"
WORKERS = "is not a whole number from 1 to 1024, or auto"
NO_HOST = "is not a host name or an IP address; give no scheme, port or path"
NO_ADDRESS = "is not an address such as "
NO_NETWORK = "is not an address, a network such as 10.0.0.0/8, or unix"
NO_PATH = "is not a path such as /-/health"

BAD_HOSTS = ["", "http://a.test", "a.test:80", "[::1]:80", "a b", "a/b", "a\r\n"]

# By option, as text and, with its attribute, as a native value: what is refused, and how.
BAD: list[tuple[str, str, list[str]]] = [
    (
        *("port", WHOLE),
        [
            "65536",
            "-1",
            "",
            " 80",
            "80 ",
            "+80",
            "8_0",
            "0x50",
            "8e1",
            "80.0",
            "٨٠",
            "9" * 5000,
            "-",
        ],
    ),
    (
        *("grace", SECONDS),
        ["0", "0.0009", "86400.5", "nan", "inf", "-1", "1e3", "1_0", "", ".", "1.2.3", "9" * 999],
    ),
    ("cache_size", BYTES, ["8MB", "M", "8 M", "-1", "1.5M", "1T", "8MM", "1025G", "0x10", ""]),
    ("workers", WORKERS, ["", "0", "0.5", "many", "1025", "-1", "1e3"]),
    ("host", NO_HOST, BAD_HOSTS),
    (
        *("metrics", NO_ADDRESS),  # a port alone would be meant for this machine, and open to all
        ["8080", "", ":", ":x", ":65536", "::1:80", "[::1]", "[1.2.3.4]:80", "[*]:80", "a.test:-1"],
    ),
    ("metrics", NO_ADDRESS, ["http://a.test:80", "a b:80", "unix:", "unix:a\0b"]),
    ("health", NO_PATH, ["/", "//", "a", "/a?b", "/a#b", "/a b", "/ä", "/%61", "/a//b", "/../a"]),
    ("health", NO_PATH, ["/a/.", "/a\\b", "/a\r\n"]),
    ("trust_proxy", NO_NETWORK, ["10", "10.0.0.0/33", "10.0.0", "a.test", "fe80::1%lo", "::/-1"]),
    ("trust_proxy", f"{NO_NETWORK}; bits beyond its length are set", ["10.0.0.1/8"]),
]
BAD_NATIVE: list[tuple[str, str, list[object]]] = [
    ("port", WHOLE, [True, 80.0, None, 65_536, [80]]),
    ("head_timeout", SECONDS, [True, float("nan"), float("inf"), 0, "soon"]),
    ("allow_hosts", NO_HOST, [[host] for host in BAD_HOSTS]),
    ("allow_hosts", "is not a host name", [["**"], ["*a.test"], ["a.*"], ["*."], ["."]]),
    ("listens", NO_ADDRESS, [["8080"], ["::1:80"], [""]]),
]


@pytest.mark.parametrize(
    ("name", "message", "text"), [(*row, text) for *row, texts in BAD for text in texts]
)
def test_bad_texts(name: str, message: str, text: str) -> None:
    assert message in refusal({name: text})


@pytest.mark.parametrize(
    ("name", "message", "value"), [(*row, value) for *row, values in BAD_NATIVE for value in values]
)
def test_bad_native_values(name: str, message: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^argument {name}: .*{message}"):
        Config.of(**{name: value})


@pytest.mark.parametrize(
    ("attribute", "value", "kept"),
    [
        *(("cache_size", f"{size}", size) for size in (0, 1)),
        *(("cache_size", text, 512 << 10) for text in ("512K", "512k")),
        *(("cache_size", text, 8 << 20) for text in ("8M", "8mib")),
        *(("cache_size", text, int(text[:-3]) << 30) for text in ("1GiB", "1024GIB")),
        *(("listing", word, True) for word in ("yes", "TRUE", "On", "1")),
        *(("listing", word, False) for word in ("no", "False", "OFF", "0")),
        *(("host", host, host) for host in ("localhost", "0.0.0.0", "::", "fe80::1%eth0")),
        ("host", "a-b.example.test", "a-b.example.test"),
        ("cors", "yes", True),
        ("allow_hosts", "a.test", ("a.test",)),
        ("allow_hosts", "a.test,b.test,", ("a.test", "b.test")),
        ("allow_hosts", ["a.test", "::2"], ("a.test", "[::2]")),
        ("allow_hosts", ["*", "*.Example.test."], ("*", "*.example.test")),
        ("listens", "127.0.0.1:8080,", ("127.0.0.1:8080",)),
        ("listens", ["localhost:0", "unix:a:b"], ("localhost:0", "unix:a:b")),
        ("listens", ["[::1]:65535", "[fe80::1%eth0]:80"], ("[::1]:65535", "[fe80::1%eth0]:80")),
        ("listens", [":80", "*:080", "a.test:1"], ("*:80", "a.test:1")),
        ("listens", ["unix:/run/portico.sock"], ("unix:/run/portico.sock",)),
        *(("health", path, path) for path in ("/-/health", "/health", "/a/", "/.well-known/up")),
        ("health", "/~a;b=c,d", "/~a;b=c,d"),
        ("root", Path("site"), "site"),
    ],
)
def test_good_values(attribute: str, value: object, kept: object) -> None:
    assert getattr(Config.of(**{attribute: value}), attribute) == kept


def test_listen_and_host_or_port_exclude_each_other(tmp_path: Path) -> None:
    file = tmp_path / "portico.toml"
    file.write_text('port = 1\nlisten = ":2"\n')
    assert refusal({"listen": [":1"], "port": "2"}) == "--listen: cannot be combined with port"
    assert "cannot be combined with listen" in refusal(PORTICO_HOST="a.test", PORTICO_LISTEN=":1")
    assert "key port: cannot be combined with listen" in refusal({"config": str(file)})
    with pytest.raises(
        ConfigError, match=r"argument listens: cannot be combined with host and port"
    ):
        Config.of(listens=[":1"], host="a.test", port=1)


def test_of_listen_and_port_the_weightier_source_counts() -> None:
    config = Config.load({"listen": [":1"]}, {"PORTICO_PORT": "2", "PORTICO_HOST": "a.test"})
    assert (config.listens, config.host, config.port) == (("*:1",), "localhost", 8080)
    config = Config.load({"port": "2"}, {"PORTICO_LISTEN": ":1"})
    assert (config.listens, config.host, config.port) == ((), "localhost", 2)


@pytest.mark.parametrize("listens", [["unix:s"], ["http://:8080", "unix:s"]])
def test_a_redirect_to_https_needs_an_address_with_tls(listens: list[str]) -> None:
    config = Config.of(tls_certs=["a"], redirect_http=":80", listens=listens)
    with pytest.raises(ConfigError, match="none of --listen is served with TLS"):
        check_serving(config)
    check_serving(Config.of(tls_certs=["a"], redirect_http=":80", listens=[*listens, ":443"]))


def test_a_relative_unix_socket_is_meant_from_the_folder_of_the_file(file: Path) -> None:
    file.write_text('listen = ["unix:run/a.sock", ":1", "unix:/b.sock"]\nmetrics = "unix:m"\n')
    inside = f"unix:{file.parent}/run/a.sock"
    assert Config.of(config=str(file)).metrics == f"unix:{file.parent}/m"
    assert Config.of(config=str(file)).listens == (inside, "*:1", "unix:/b.sock")


def test_settings_make_the_same_configuration_again(tmp_path: Path) -> None:
    file = tmp_path / "portico.toml"
    file.write_text('listen = ["unix:a"]\nroot = "public"\nspa = true\n')
    flags = {"config": str(file), "workers": "2", "access": ["/in/* users=create,read"]}
    config = Config.load(flags, {"PORTICO_IMMUTABLE": "/a/*"})
    settings = config.settings()
    assert set(settings) == {"listen", "root", "spa", "workers", "immutable", "access"}
    expected = values(config) | {"config": ""}
    as_workers_get_it = json.loads(json.dumps(settings, default=sorted))
    assert values(Config.of(**as_workers_get_it)) == expected
    assert values(Config(settings)) == expected
    assert Config.of().settings() == {}


def test_an_unknown_keyword_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        ConfigError, match=r"argument prot: no such option; did you mean port or root\?"
    ):
        Config.of(prot=80)
    with pytest.raises(ConfigError, match=r"argument zzz: no such option$"):
        Config.of(zzz=80)


def test_a_config_cannot_be_changed() -> None:
    config = Config.of(port=0)
    with pytest.raises(AttributeError, match="frozen: cannot set port"):
        config.port = 1
    with pytest.raises(AttributeError, match="frozen: cannot set prot"):
        config.prot = 1
    with pytest.raises(AttributeError, match="frozen: cannot delete port"):
        del config.port
    assert config.port == 0
    assert "port=0" in repr(config)


# --- the TOML file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "portico.toml"


def test_a_relative_root_is_meant_from_the_folder_of_the_file(file: Path) -> None:
    file.write_text('root = "public"\n')
    assert Config.of(config=str(file)).root == str(file.parent / "public")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "port = 1\n\nports = 2\n",
            "line 3, key ports: no such option; did you mean port",
        ),
        ("# port = 1\nport = 'x'\n", "line 2, key port: 'x' is not a whole number"),
        ("\r\n'port' = 'x'\r\n", "line 2, key port: 'x' is not a whole number"),
        ('host = """\nport = 1"""\n', "line 1, key host: "),
        (
            'allow-host = [\n "a",\n "b",\n]\n[server]\nport = 1\n',
            "line 5, key server: no such",
        ),
        ("head_timeout = 1\nhead-timeout = 2\n", "line 2, key head-timeout: given twice"),
        ("grace = 1\nconfig = 'a.toml'\n", "line 2, key config: a configuration file cannot name"),
        ("\ufeffport = 'x'\n", "line 1, key port: 'x' is not"),
        ("port = 1979-05-27\n", "line 1, key port: datetime.date(1979, 5, 27) is not a whole"),
    ],
)
def test_mistakes_in_the_file_are_named_with_their_line(
    file: Path, text: str, complaint: str
) -> None:
    file.write_bytes(text.encode())
    assert refusal({"config": str(file)}).startswith(f"{file}, {complaint}")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"port = 1\nhost\n", "(at line 2, column 5)"),
        (b"port = 1\nport = 2\n", "(at line 2, column "),
        (b"port = 1\nhost = '\xff'\n", ", line 2: not UTF-8"),
        (b"port = " + b"[" * 100_000, "not valid TOML"),
        (b"port = " + b"9" * 5000, "not valid TOML"),
    ],
)
def test_a_file_that_is_not_toml(file: Path, content: bytes, complaint: str) -> None:
    file.write_bytes(content)
    message = refusal({"config": str(file)})
    assert message.startswith(str(file))
    assert complaint in message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing = refusal(PORTICO_CONFIG=str(tmp_path / "none.toml"))
    assert missing == f"cannot read {tmp_path}/none.toml: No such file or directory"
    assert "Is a directory" in refusal({"config": str(tmp_path)})


def test_the_file_in_the_current_folder_is_read_unless_another_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("port = 1\n")
    (file.parent / "other.toml").write_text("grace = 1\n")
    monkeypatch.chdir(file.parent)
    config = Config.load({}, {})
    assert (config.port, config.config) == (1, "portico.toml")
    assert config.given == {"port", "config"}
    assert Config.load({"config": "other.toml"}, {}).given == {"grace", "config"}
    assert Config.of().given == set()


# --- whatever is given


native = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.lists(st.text()),
    st.binary(),
)


@each_option
@settings(max_examples=20)  # for each of fifty options
@given(value=native)
def test_any_value_is_either_taken_or_refused_in_words(option: Option, value: object) -> None:
    try:
        config = Config.of(**{option.attribute: value})
    except ConfigError as problem:
        message = str(problem)
    else:
        kept = getattr(config, option.attribute)
        assert option.kind.convert(kept) == kept
        return
    assert message.startswith(f"argument {option.attribute}: ")


# --- the root


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user can reach, other than those of tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def root_refusal(root: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        check_root(Config.of(root=root))
    return str(caught.value)


def test_the_root_comes_back_absolute_and_without_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "link").symlink_to("site")
    monkeypatch.chdir(tmp_path)
    assert check_root(Config.of(root="link")) == str((tmp_path / "site").resolve())
    assert check_root(Config.of()) == str(tmp_path.resolve())


def test_a_root_that_is_missing_a_file_or_a_loop(tmp_path: Path) -> None:
    (tmp_path / "page.html").touch()
    (tmp_path / "loop").symlink_to("loop")
    assert root_refusal(tmp_path / "none") == f"no such folder: '{tmp_path}/none'"
    assert "not a folder: " in root_refusal(tmp_path / "page.html")
    assert "not a folder: " in root_refusal(tmp_path / "page.html" / "below")
    assert "Too many levels" in root_refusal(tmp_path / "loop")


def test_a_port_in_the_place_of_the_root_is_recognised() -> None:
    assert root_refusal("8000").endswith("for a port: --port 8000")


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_root_without_the_right_to_read_or_enter(open_folder: Path, mode: int) -> None:
    site = open_folder / "site"
    site.mkdir(mode=0o755)
    site.chmod(mode)
    privileged = os.geteuid() == 0
    if privileged:
        os.seteuid(65_534)  # root may read everything: look at it as nobody does
    try:
        assert root_refusal(site) == f"cannot read {str(site)!r}: Permission denied"
    finally:
        if privileged:
            os.seteuid(0)
        site.chmod(0o755)


# --- the start


def test_the_import_is_light() -> None:
    """A start must not pay for what only some configurations or only errors need."""
    heavy = "argparse tomllib difflib dataclasses typing re pathlib json enum collections"
    found = f"set('{heavy}'.split()) & set(sys.modules)"
    code = f"import sys; import portico.config.config; print(*({found}))"
    command = [sys.executable, "-S", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
