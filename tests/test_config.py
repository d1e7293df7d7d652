"""Settings: the table, its defaults, loading, overrides, cross-checks, what a reload can change.

The kinds of value have their own tests in test_config_values.py, YAML in test_config_file.py, the
written files in test_config_text.py.
"""

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsd.config import (
    ConfigError,
    Listen,
    RoomSettings,
    Settings,
    load,
    needs_restart,
    table,
)

# DESIGN section 6, copied: these names, forms and defaults are what users were promised.
DESIGN = """\
listen: ["127.0.0.1:8002"]
admin: "unix:/run/wsd/admin.sock"
workers: auto
state: /var/lib/wsd
runtime: /run/wsd
origins: []
trusted_proxies: [127.0.0.0/8, "::1/128"]
echo: false
page: {title: "wsd", default_room: lobby, language: auto}
rooms: {}
history: {size: 10000, keep: 30d, replay: 50, recover_max: 500, page_max: 200}
durability: full
limits:
  text: 1000
  message: 64KiB
  fragments: 1024
  burst: 5
  every: 2s
  address_share: 10
  repeat: 30s
  connections: 10000
  connections_per_address: 50
  queue: 1MiB
  rooms_per_connection: 16
timeouts: {header: 10s, hello: 10s, body: 20s, write: 30s, close: 5s, keep_alive: 30s}
ping: {every: 25s, timeout: 10s}
poll: {hold: 25s}
compression: off
drain: {spread: 10s, stop: 30s}
identity: {secret_file: "", guest_token_life: 30d}
log: {level: info, format: text}
"""

# The same as Python values, written by hand and not by the code under test.
DEFAULTS = {
    "listen": (Listen("127.0.0.1", 8002),),
    "admin": (Listen(path="/run/wsd/admin.sock"),),
    "workers": max(1, min(64, len(os.sched_getaffinity(0)))),
    "state": "/var/lib/wsd",
    "runtime": "/run/wsd",
    "origins": (),
    "trusted_proxies": ("127.0.0.0/8", "::1/128"),
    "echo": False,
    "page.title": "wsd",
    "page.default_room": "lobby",
    "page.language": "auto",
    "rooms": {},
    "history.size": 10000,
    "history.keep": 30 * 86400.0,
    "history.replay": 50,
    "history.recover_max": 500,
    "history.page_max": 200,
    "durability": "full",
    "limits.text": 1000,
    "limits.message": 65536,
    "limits.fragments": 1024,
    "limits.burst": 5,
    "limits.every": 2.0,
    "limits.address_share": 10,
    "limits.repeat": 30.0,
    "limits.connections": 10000,
    "limits.connections_per_address": 50,
    "limits.queue": 1048576,
    "limits.rooms_per_connection": 16,
    "timeouts.header": 10.0,
    "timeouts.hello": 10.0,
    "timeouts.body": 20.0,
    "timeouts.write": 30.0,
    "timeouts.close": 5.0,
    "timeouts.keep_alive": 30.0,
    "ping.every": 25.0,
    "ping.timeout": 10.0,
    "poll.hold": 25.0,
    "compression": "off",
    "drain.spread": 10.0,
    "drain.stop": 30.0,
    "identity.secret_file": "",
    "identity.guest_token_life": 30 * 86400.0,
    "log.level": "info",
    "log.format": "text",
}

RESTART = {"listen", "admin", "state", "runtime"}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes `wsd.yaml` in the current directory, so that problems begin with that name alone."""
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes) -> str:
        data = text.encode() if isinstance(text, str) else text
        Path("wsd.yaml").write_bytes(data)
        return "wsd.yaml"

    return write


def load_text(write, text, **environ) -> Settings:
    return load(write(text), environ)


def problems(write, text, **environ) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write(text), environ)
    lines = str(caught.value).split("\n")
    assert lines == [str(problem) for problem in caught.value.problems]
    return lines


def value_at(settings, path):
    for name in path.split("."):
        settings = getattr(settings, name)
    return settings


class TestDefaults:
    @pytest.mark.parametrize("path", DEFAULTS)
    def test_documented_default(self, write, path):
        assert value_at(load_text(write, DESIGN), path) == DEFAULTS[path]
        assert value_at(load_text(write, "echo: false"), path) == DEFAULTS[path]

    def test_the_table_has_these_keys_and_no_others(self):
        assert set(table().rows) == set(DEFAULTS)

    def test_defaults_need_no_file(self):
        assert load_paths(Settings()) == ("/var/lib/wsd", "/run/wsd", "unix:/run/wsd/admin.sock")

    def test_embedded_defaults_stay_in_the_current_directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        expected = (f"{tmp_path}/var", f"{tmp_path}/var/run", f"unix:{tmp_path}/var/run/admin.sock")
        assert load_paths(load(None, {})) == expected

    def test_embedded_defaults_otherwise_equal_the_files(self, write):
        checkout = load(None, {})
        paths = {name: getattr(checkout, name) for name in ("state", "runtime", "admin")}
        assert msgspec.structs.replace(load_text(write, DESIGN), **paths) == checkout

    def test_embedded_defaults_in_a_deep_directory(self, tmp_path, monkeypatch):
        deep = tmp_path / ("d" * 110)
        deep.mkdir()
        monkeypatch.chdir(deep)
        with pytest.raises(ConfigError) as caught:
            load(None, {})
        assert [p.key for p in caught.value.problems] == ["runtime"]
        assert str(caught.value).startswith("embedded defaults:1: runtime: the socket ")

    def test_every_key_has_a_sentence(self):
        for row in table().rows.values():
            assert row.key.help.strip()[-1] in ".}", row.path

    def test_documented_restarts(self):
        assert {path for path, row in table().rows.items() if row.key.restart} == RESTART


def load_paths(settings):
    return settings.state, settings.runtime, settings.admin[0].address


class TestPaths:
    def test_relative_paths_count_from_the_current_directory(self, write, tmp_path):
        text = "state: data\nruntime: ../run\nidentity: {secret_file: s}\nlisten: unix:a.sock"
        loaded = load_text(write, text)
        assert loaded.state == f"{tmp_path}/data"
        assert loaded.runtime == f"{tmp_path.parent}/run"
        assert loaded.identity.secret_file == f"{tmp_path}/s"
        assert loaded.listen[0].address == f"unix:{tmp_path}/a.sock"

    def test_admin_follows_runtime(self, write):
        assert load_text(write, "runtime: /x").admin == (Listen(path="/x/admin.sock"),)
        assert load_text(write, "echo: no", WSD__RUNTIME="/y").admin[0].path == "/y/admin.sock"
        loaded = load_text(write, "runtime: /x\nadmin: 127.0.0.1:9000")
        assert loaded.admin == (Listen("127.0.0.1", 9000),)


# One line of file, the one line it is answered with (after `wsd.yaml:`).
BAD_VALUES = [
    ("limits: {txt: 5}", "1: limits.txt: unknown key (did you mean limits.text?)"),
    ("text: 5", "1: text: unknown key (did you mean limits.text?)"),
    ("history: {text: 5}", "1: history.text: unknown key (did you mean limits.text?)"),
    ("limist: {text: 5}", "1: limist: unknown key (did you mean limits?)"),
    (
        "poll: {every: 5s}",
        "1: poll.every: unknown key (did you mean limits.every or ping.every?)",
    ),
    ("quux: 5", "1: quux: unknown key"),
    ("<<: {echo: true}", "1: <<: unknown key"),
    ('"a\\nb\\e": 5', "1: a\\nb\\x1b: unknown key"),
    ("limits: 5", "1: limits: expected keys and values, like {key: value}"),
    ("limits: [text]", "1: limits: expected keys and values, like {key: value}"),
    ("limits: {text: many}", "1: limits.text: many is not a whole number"),
    ("limits: {text: true}", "1: limits.text: true is not a whole number"),
    (
        'limits: {text: "500"}',
        '1: limits.text: "500" is a text; write the number without quotes',
    ),
    ("limits: {text: 5.0}", "1: limits.text: 5.0 is not a whole number"),
    ("limits: {text: 010}", "1: limits.text: 010 is not a whole number"),
    ("limits: {text: 0x10}", "1: limits.text: 0x10 is not a whole number"),
    ("limits: {text: 1_000}", "1: limits.text: 1_000 is not a whole number"),
    ("limits: {text: 0}", "1: limits.text: 0 is out of bounds: 1 to 1000000"),
    ("limits: {text: -1}", "1: limits.text: -1 is out of bounds: 1 to 1000000"),
    ("limits: {text: }", "1: limits.text: no value; expected a whole number of characters"),
    (
        "limits: {text: [5]}",
        "1: limits.text: expected a whole number of characters, found a list",
    ),
    (
        "limits: {text: {a: 5}}",
        "1: limits.text: expected a whole number of characters, found a mapping",
    ),
    (
        "limits: {message: 64KB}",
        "1: limits.message: 64KB is not a size like 512B, 64KiB or 1MiB (did you mean 64KiB?)",
    ),
    (
        "limits: {every: 2}",
        "1: limits.every: 2 is not a time like 500ms, 25s, 10m (did you mean 2s?)",
    ),
    ("timeouts: {body: 0}", "1: timeouts.body: 0 is out of bounds: 100ms to 1h"),
    ("echo: maybe", "1: echo: maybe is not true or false"),
    ("echo: 1", "1: echo: 1 is not true or false"),
    ('echo: "true"', '1: echo: "true" is not true or false'),
    ("durability: fast", "1: durability: fast is not one of full, normal, memory"),
    ("compression: gzip", "1: compression: gzip is not one of off, on"),
    ("workers: 0", "1: workers: 0 is out of bounds: 1 to 64"),
    ("workers: 65", "1: workers: 65 is out of bounds: 1 to 64"),
    ("workers: many", "1: workers: many is not a whole number"),
    (
        "page: {default_room: a b}",
        '1: page.default_room: "a b" is not a room name: 1 to 64 letters, digits, or _ . ~ -',
    ),
    ('page: {title: ""}', "1: page.title: a length of 0 is out of bounds: 1 to 100 characters"),
    ('page: {title: "a\\tb"}', '1: page.title: "a\\tb" has characters that cannot be shown'),
    ('state: ""', '1: state: "" is not a path'),
    ('state: "a\\0b"', '1: state: "a\\u0000b" is not a path'),
    ("listen: []", "1: listen: the list is empty; expected at least one address"),
    ("admin: []", "1: admin: the list is empty; expected at least one address"),
    ("listen: 8002", '1: listen: "8002" is not an address (did you mean 127.0.0.1:8002?)'),
    (
        "listen: ['a:1', ':2']",
        '1: listen[1]: ":2" is not an address (for all addresses: 0.0.0.0:2 or [::]:2)',
    ),
    ("admin: [{address: 'a:1'}]", "1: admin[0]: expected an address, found a mapping"),
    ("listen: {tls: x, address: 'a:1'}", "1: listen.tls: expected {certificate: FILE, key: FILE}"),
    ("listen: {}", "1: listen.address: this key is missing"),
    (
        "listen: [{address: 'a:1', ssl: 1}]",
        "1: listen[0].ssl: unknown key (known here: address, tls, proxy_protocol)",
    ),
    (
        "origins: [example.com]",
        '1: origins[0]: "example.com" is not an origin (did you mean https://example.com?)',
    ),
    (
        "trusted_proxies: [10.0.0.1/8]",
        '1: trusted_proxies[0]: "10.0.0.1/8" has bits beyond its mask (did you mean 10.0.0.0/8?)',
    ),
    ("rooms: [lobby]", "1: rooms: expected a mapping like {lobby: {history: {size: 100}}}"),
    (
        "rooms: {a b: {}}",
        '1: rooms.a b: "a b" is not a room name: 1 to 64 letters, digits, or _ . ~ -',
    ),
    (
        "rooms: {lobby: {limits: {queue: 1MiB}}}",
        "1: rooms.lobby.limits.queue: unknown key (did you mean limits.queue?)",
    ),
    (
        "rooms: {lobby: {history: {size: 0}}}",
        "1: rooms.lobby.history.size: 0 is out of bounds: 1 to 10000000",
    ),
    ("rooms: {lobby: {modes: {Slow: 1}}}", "1: rooms.lobby.modes.Slow: not the name of a mode"),
    (
        "rooms: {lobby: {modes: {slow: [1]}}}",
        "1: rooms.lobby.modes.slow: expected name: true, false, a number or a text",
    ),
    ("rooms: {lobby: {modes: 5}}", "1: rooms.lobby.modes: expected a mapping like {slow_s: 10}"),
    (
        'rooms: {"é": {}, "e\\u0301": {}}',
        "1: rooms.e\u0301: given twice, in different spellings of the same characters",
    ),
    # right alone, wrong together: blamed on what was given
    (
        "history: {size: 500, replay: 501}",
        "1: history.replay: 501 must be at most history.size, which is 500",
    ),
    (
        "history: {size: 9, recover_max: 20}",
        "1: history.recover_max: 20 must be at most history.size, which is 9",
    ),
    (
        "limits: {text: 100000, message: 64KiB}",
        "1: limits.text: 100000 must be at most limits.message, which is 64KiB",
    ),
    (
        "ping: {every: 10s, timeout: 10s}",
        "1: ping.timeout: 10s must be less than ping.every, which is 10s",
    ),
    (
        "drain: {spread: 1m, stop: 30s}",
        "1: drain.spread: 1m must be less than drain.stop, which is 30s",
    ),
    (
        "rooms: {lobby: {history: {size: 60, recover_max: 70}}}",
        "1: rooms.lobby.history.recover_max: 70 must be at most history.size, which is 60",
    ),
    ("listen: ['a:1', 'a:1']", "1: listen: a:1 is listened on twice"),
    ("{listen: 'a:1', admin: 'a:1'}", "1: admin: a:1 is listened on twice"),
]


class TestProblems:
    @pytest.mark.parametrize(("text", "line"), BAD_VALUES, ids=[text for text, _ in BAD_VALUES])
    def test_one_clear_line(self, write, text, line):
        assert problems(write, text) == [f"wsd.yaml:{line}"]

    def test_all_of_them_in_the_order_of_the_file(self, write):
        text = """\
# a comment
log:
  level: loud
limits:
  text: many
  texts: 5

listen:
  - 127.0.0.1:1
  - nowhere
  - "127.0.0.1:99999"
echo: 7
"""
        assert problems(write, text, WSD__POLL__HOLD="25") == [
            "wsd.yaml:3: log.level: loud is not one of debug, info, warning, error",
            "wsd.yaml:5: limits.text: many is not a whole number",
            "wsd.yaml:6: limits.texts: unknown key (did you mean limits.text?)",
            'wsd.yaml:10: listen[1]: "nowhere" is not an address'
            " like 127.0.0.1:8002, [::1]:8002 or unix:/run/wsd/chat.sock",
            'wsd.yaml:11: listen[2]: "99999" is not a port: 0 to 65535',
            "wsd.yaml:12: echo: 7 is not true or false",
            "environment:WSD__POLL__HOLD:1: poll.hold:"
            " 25 is not a time like 500ms, 25s, 10m (did you mean 25s?)",
        ]

    def test_lines_of_values_on_the_next_line(self, write):
        text = "page:\n  title:\n    - a\nrooms:\n  lobby:\n    limits:\n      text: x\n"
        assert problems(write, text) == [
            "wsd.yaml:2: page.title: expected a text, found a list",
            "wsd.yaml:7: rooms.lobby.limits.text: x is not a whole number",
        ]

    def test_a_wrong_value_is_not_compared(self, write):
        text = "history: {size: 0, replay: 10000}\nrooms: {a: {history: {size: 40}}}"
        assert problems(write, text) == [
            "wsd.yaml:1: history.size: 0 is out of bounds: 1 to 10000000"
        ]

    def test_a_room_is_not_blamed_for_the_server(self, write):
        text = "history: {size: 499, recover_max: 500}\nrooms: {a: {limits: {text: 5}}}"
        assert len(problems(write, text)) == 1

    def test_no_more_than_anyone_reads(self, write):
        text = "".join(f"key_{n}: 1\n" for n in range(5000))
        assert len(problems(write, text)) == 100

    def test_long_names_and_values_are_cut(self, write):
        for text in (f"{'x' * 5000}: 1", f"echo: {'x' * 5000}", f"rooms: {{{'x' * 5000}: 1}}"):
            lines = problems(write, text)
            assert len(lines) == 1
            assert len(lines[0]) < 250

    def test_a_section_left_without_keys_is_the_default(self, write):
        assert load_text(write, "limits:\n  # text: 5\npage:\n") == Settings()

    def test_numbers_and_words_are_texts_where_a_text_is_due(self, write):
        loaded = load_text(write, "page: {title: 2024, default_room: on}")
        assert (loaded.page.title, loaded.page.default_room) == ("2024", "on")

    @pytest.mark.parametrize(
        ("word", "value"), [("on", "on"), ("off", "off"), ("true", "on"), ('"on"', "on")]
    )
    def test_compression(self, write, word, value):
        assert load_text(write, f"compression: {word}").compression == value

    def test_port_0_may_be_taken_twice(self, write):
        assert len(load_text(write, "listen: ['127.0.0.1:0', '127.0.0.1:0']").listen) == 2


class TestEnvironment:
    def test_overrides_the_file(self, write):
        loaded = load_text(
            write,
            "limits: {text: 5}\npage: {title: a}",
            WSD__LIMITS__TEXT="500",
            WSD__LIMITS__CONNECTIONS_PER_ADDRESS="7",
            WSD_SINGLE="not ours",
            WSDX="nor this",
        )
        assert (loaded.limits.text, loaded.page.title) == (500, "a")
        assert loaded.limits.connections_per_address == 7

    def test_overrides_the_embedded_defaults(self):
        assert load(None, {"WSD__STATE": "/elsewhere"}).state == "/elsewhere"

    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            ("ORIGINS", "*", ("*",)),
            ("ORIGINS", "[]", ()),
            ("ORIGINS", '["https://a", "https://b"]', ("https://a", "https://b")),
            ("LISTEN", "[::]:8002", (Listen("::", 8002),)),
            ("LISTEN", "127.0.0.1:0", (Listen("127.0.0.1", 0),)),
            ("PAGE__TITLE", "Chat: the best #1", "Chat: the best #1"),
            ("PAGE__TITLE", '"quoted"', "quoted"),
            ("IDENTITY__SECRET_FILE", "", ""),
            ("COMPRESSION", "on", "on"),
            ("ECHO", "yes", True),
        ],
    )
    def test_values(self, write, name, text, value):
        loaded = load_text(write, "echo: false", **{f"WSD__{name}": text})
        assert value_at(loaded, name.lower().replace("__", ".")) == value

    def test_a_mapping(self, write):
        loaded = load_text(write, "echo: no", WSD__ROOMS="{lobby: {limits: {text: 5}}}")
        assert loaded.for_room("lobby").limits.text == 5

    @pytest.mark.parametrize(
        ("name", "text", "line"),
        [
            ("LIMITS__TEXT", "many", "limits.text: many is not a whole number"),
            ("LIMITS__TEXT", "", 'limits.text: "" is not a whole number'),
            ("LIMITS__TXT", "5", "limits.txt: unknown key (did you mean WSD__LIMITS__TEXT?)"),
            ("LIMITS", "{text: 5}", "limits: unknown key"),
            ("Echo", "true", "echo: unknown key (did you mean WSD__ECHO?)"),
            ("ROOMS", "{lobby: {x: 1}}", "rooms.lobby.x: unknown key"),
            ("ORIGINS", "[https://a/b]", None),
            ("PAGE__TITLE", "\udcff", 'page.title: "\\udcff" has characters that cannot be shown'),
            ("PAGE__TITLE", '"\udcff', 'page.title: "\\"\\udcff" has characters'),
            ("ROOMS", "{a: !!python/name:os 1}", "rooms: expected a mapping"),
        ],
    )
    def test_problems(self, write, name, text, line):
        (found,) = problems(write, "echo: false", **{f"WSD__{name}": text})
        start, expected = f"environment:WSD__{name}:1: ", line or "origins[0]: "
        assert found.startswith(start + expected)

    def test_a_bad_value_in_the_file_is_forgiven_when_overridden(self, write):
        assert load_text(write, "limits: {text: many}", WSD__LIMITS__TEXT="5").limits.text == 5

    def test_cross_checks_blame_the_variable(self, write):
        (found,) = problems(write, "drain: {stop: 5s}", WSD__DRAIN__SPREAD="10s")
        assert found == (
            "environment:WSD__DRAIN__SPREAD:1: drain.spread:"
            " 10s must be less than drain.stop, which is 5s"
        )

    @pytest.mark.parametrize(
        "text", ["history: {size: 100}", "ping: {every: 2s}", "drain: {stop: 5s}"]
    )
    def test_one_of_a_pair_alone_is_not_compared_with_a_default(self, write, text):
        assert load_text(write, text)


class TestRooms:
    TEXT = """\
history: {size: 1000}
limits: {text: 800, burst: 9}
origins: https://a.example
rooms:
  lobby:
    history: {size: 600, keep: 1h}
    limits: {text: 300, every: 0}
    modes: {slow_s: 10, readonly: true, factor: 0.5, note: hi, quoted: "10"}
  公告:
    origins: []
  bare:
"""

    def test_overrides(self, write):
        loaded = load_text(write, self.TEXT)
        lobby = loaded.for_room("lobby")
        assert isinstance(lobby, RoomSettings)
        assert (lobby.history.size, lobby.history.keep, lobby.history.replay) == (600, 3600.0, 50)
        assert (lobby.limits.text, lobby.limits.every, lobby.limits.burst) == (300, 0.0, 9)
        assert lobby.origins == ("https://a.example",)
        assert lobby.modes == {
            "slow_s": 10,
            "readonly": True,
            "factor": 0.5,
            "note": "hi",
            "quoted": "10",
        }
        assert type(lobby.modes["readonly"]) is bool

    def test_empty_origins_are_an_override(self, write):
        assert load_text(write, self.TEXT).for_room("公告").origins == ()

    @pytest.mark.parametrize("room", ["bare", "unheard-of"])
    def test_without_overrides(self, write, room):
        loaded = load_text(write, self.TEXT)
        expected = RoomSettings(loaded.history, loaded.limits, loaded.origins, {})
        assert loaded.for_room(room) == expected

    def test_is_made_once(self, write):
        loaded = load_text(write, self.TEXT)
        assert loaded.for_room("lobby") is loaded.for_room("lobby")
        assert loaded.for_room("x") is loaded.for_room("y")

    def test_names_are_normalised(self, write):
        loaded = load_text(write, 'rooms: {"e\\u0301": {limits: {text: 5}}}')
        assert loaded.for_room("é").limits.text == 5


class TestMsgpack:
    @pytest.mark.parametrize("text", [DESIGN, TestRooms.TEXT])
    def test_round_trip(self, write, text):
        loaded = load_text(write, text)
        loaded.for_room("lobby")  # what is cached does not travel
        data = msgspec.msgpack.encode(loaded)
        again = msgspec.msgpack.decode(data, type=Settings)
        assert again == loaded
        assert again.for_room("lobby") == loaded.for_room("lobby")

    def test_settings_cannot_be_changed(self):
        with pytest.raises(AttributeError):
            Settings().limits.text = 5  # type: ignore[misc]


class TestNeedsRestart:
    @pytest.mark.parametrize("path", sorted(set(DEFAULTS) - {"listen", "admin", "rooms"}))
    def test_scalars(self, path):
        old, new = changed(path)
        assert needs_restart(old, new) == ([path] if path in RESTART else [])

    @pytest.mark.parametrize(
        ("before", "after", "keys"),
        [("full", "normal", []), ("normal", "memory", ["durability"]),
         ("memory", "full", ["durability"]), ("memory", "memory", [])],
    )  # fmt: skip
    def test_only_memory_is_another_log(self, before, after, keys):
        old, new = Settings(durability=before), Settings(durability=after)
        assert needs_restart(old, new) == keys

    def test_rooms(self, write):
        assert needs_restart(Settings(), Settings(rooms={"a": load_room(write)})) == []

    def test_a_new_runtime_moves_the_admin_socket_too(self):
        assert needs_restart(Settings(), Settings(runtime="/x")) == ["admin", "runtime"]


def changed(path):
    """Two settings that differ in one key, and in nothing derived from it."""
    base = Settings(admin=(Listen("127.0.0.1", 1),))
    section, _, name = path.rpartition(".")
    holder = getattr(base, section) if section else base
    value = getattr(holder, name)
    other = not value if isinstance(value, bool) else value * 2 if value else "x"
    if isinstance(value, tuple):
        other = (*value, "x")
    new = msgspec.structs.replace(holder, **{name: other})
    return base, msgspec.structs.replace(base, **{section: new}) if section else new


def load_room(write):
    return load_text(write, "rooms: {a: {limits: {text: 5}}}").rooms["a"]


class TestAnyText:
    @settings(
        max_examples=300,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        st.one_of(
            st.binary(max_size=60),
            st.text("abcd:{}[]&*!|>'\"%@#-?, \n\t019.~\\eu").map(str.encode),
            st.sampled_from(sorted(DEFAULTS)).flatmap(
                lambda path: st.text(max_size=12).map(
                    lambda value: (
                        (path.replace(".", ": {") + ": " + value).encode("utf-8", "surrogatepass")
                        + b"}" * path.count(".")
                    )
                )
            ),
        )
    )
    def test_is_accepted_or_refused_in_single_lines(self, write, data):
        """Nothing but ConfigError comes out, every line complete, printable and of one piece."""
        try:
            load(write(data), {})
        except ConfigError as error:
            for line in str(error).split("\n"):
                assert line.isprintable()
                assert line.startswith("wsd.yaml:")
                assert int(line.split(":")[1]) in range(
                    1, data.count(b"\n") + data.count(b"\r") + 2
                )
