"""Files that are no configuration: each gives one line with file and line number.

The first table is the list of bad configurations that `wsd check` and `wsd reload` must survive.
"""

import os
import time
from pathlib import Path

import pytest

from wsd import config_file
from wsd.config import ConfigError, Settings, load
from wsd.config_file import Entries, Items, Problem, Report, Scalar, parse, printable

BOMB = "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n"

THE_LIST = {
    "syntax": (
        "echo: false\nlisten: [a\n",
        "2: not valid YAML: while parsing a flow sequence, did not find expected ',' or ']'"
        " (from line 2)",
    ),
    "unknown key": (
        "limits:\n  txt: 5\n",
        "2: limits.txt: unknown key (did you mean limits.text?)",
    ),
    "wrong type": ("limits:\n  text: many\n", "2: limits.text: many is not a whole number"),
    "bounds": (
        "echo: true\nworkers: 1000\n",
        "2: workers: 1000 is out of bounds: 1 to 64",
    ),
    "duplicate key": (
        "limits:\n  text: 5\n  burst: 5\n  text: 6\n",
        "4: limits.text: given twice (first on line 2)",
    ),
    "tabs": ("limits:\n\ttext: 5\n", "2: indented with a tab; YAML wants spaces"),
    "empty": ("", "1: the file is empty (wsd config prints the defaults)"),
    "unreadable": (None, "1: cannot be read: Is a directory"),
    "binary": (b"\x7fELF\x02\x01\0\0", "1: not a text file: character U+007F"),
    "YAML bomb": (BOMB, "2: &b contains an alias: YAML bomb"),
    "!!python/object": (
        'echo: no\nstate: !!python/object/apply:os.system ["touch pwned"]\n',
        "2: the tag !!python/object/apply:os.system is not allowed",
    ),
    "missing certificate file": (
        "listen:\n- address: 127.0.0.1:1\n  tls:\n    certificate: /no/c.pem\n    key: pair.key\n",
        "4: listen[0].tls.certificate: /no/c.pem cannot be read: No such file or directory",
    ),
    "bad size": (
        "\nlimits: {message: lots}\n",
        "2: limits.message: lots is not a size like 512B, 64KiB or 1MiB",
    ),
}

MORE = {
    "only comments": ("# a\n\n# b\n", "1: the file is empty (wsd config prints the defaults)"),
    "only a document": ("---\n", "1: the file is empty (wsd config prints the defaults)"),
    "null": ("null", "1: the file is empty (wsd config prints the defaults)"),
    "a list": ("# a\n- echo\n", "2: expected keys and values, like `echo: false`"),
    "a text": ("echo", "1: expected keys and values, like `echo: false`"),
    "NUL": (b"echo: no\npage: {title: \0}\n", "2: not a text file: character U+0000"),
    "NUL after old line ends": (b"echo: no\r\r\n\0", "3: not a text file: character U+0000"),
    "UTF-16": ("echo: false".encode("utf-16"), "1: the file is UTF-16; save it as UTF-8"),
    "Latin-1": (b"# one\n# two\n# caf\xe9\n", "3: not UTF-8 text: byte 0xe9"),
    "line separator": ("echo: no # \u2028", "1: not a text file: character U+2028"),
    "BOM in the middle": ("echo: no\n# \ufeff", "2: not a text file: character U+FEFF"),
    "too large": (b"#" * 10_000_000, "1: the file is larger than 1024KiB"),
    "refers to itself": ("a: 1\nb: &a [*a,*a]\n", "2: *a refers to itself: YAML bomb"),
    "many aliases": (
        "a: &a 1\nb: [" + "*a," * 101 + "]\n",
        "2: more than 100 aliases: YAML bomb",
    ),
    "unknown anchor": ("a: *b", '1: no anchor &b (for the text "*b" write the quotes)'),
    "a lone star": (
        "origins: *",
        "1: not valid YAML: while scanning an alias, did not find expected alphabetic or numeric"
        ' character (put quotes around a value that begins with a sign, like "*")',
    ),
    "depth": ("a: " + "[" * 100_000, "1: more than 20 levels deep"),
    "own tag": ("echo: !mine true", "1: the tag !mine is not allowed"),
    "binary tag": ("state: !!binary aGk=", "1: the tag !!binary is not allowed"),
    "tag of another type": ("echo: !!map true", "1: the tag !!map is not allowed"),
    "tag on a list": ("listen: !!set {a}", "1: the tag !!set is not allowed"),
    "a list as key": ("? [a]\n: 1", "1: a key must be a word"),
    "second document": ("echo: no\n---\necho: no\n", "2: a second document; one file is one"),
    "open quote": (
        "echo: no\npage: {title: 'a\n\n\n",
        "2: not valid YAML: while scanning a quoted scalar, found unexpected end of stream"
        " (from line 2)",
    ),
    "duplicate section": (
        "ping: {every: 20s}\nlog:\nping:\n",
        "3: ping: given twice (first on line 1)",
    ),
    "duplicate in a list": (
        "listen:\n- {address: 'a:1',\n   address: 'a:2'}",
        "3: listen[].address: given twice (first on line 2)",
    ),
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(data: str | bytes | None) -> str:
        if data is None:
            # Tests may run as root, who can read everything but a directory.
            Path("wsd.yaml").mkdir()
        else:
            Path("wsd.yaml").write_bytes(data.encode() if isinstance(data, str) else data)
        return "wsd.yaml"

    return write


def refusal(path: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return str(caught.value)


@pytest.mark.parametrize("name", THE_LIST)
def test_the_list_of_bad_configurations(write, name):
    data, expected = THE_LIST[name]
    if name == "missing certificate file":
        Path("pair.key").write_text("")
    assert refusal(write(data)) == f"wsd.yaml:{expected}"
    assert not Path("pwned").exists()


def test_the_list_is_complete():
    assert len(THE_LIST) == 13


@pytest.mark.parametrize("name", MORE)
def test_more_bad_configurations(write, name):
    data, expected = MORE[name]
    started = time.monotonic()
    assert refusal(write(data)) == f"wsd.yaml:{expected}"
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize("name", THE_LIST)
def test_both_parsers_report_the_same_line(write, monkeypatch, loader, name):
    """PyYAML without libyaml words syntax errors differently, but on the same line."""
    found = getattr(config_file.yaml, loader, None)
    if found is None:
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(config_file, "_Loader", found)
    data, expected = THE_LIST[name]
    Path("pair.key").write_text("")
    line = int(expected.split(":")[0])
    assert refusal(write(data)).startswith(f"wsd.yaml:{line}: ")


class TestUnreadable:
    def test_missing(self):
        expected = "/no/such/file:1: cannot be read: No such file or directory"
        assert refusal("/no/such/file") == expected

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
    def test_no_permission(self, write):
        path = write("echo: false")
        Path(path).chmod(0)
        assert refusal(path) == "wsd.yaml:1: cannot be read: Permission denied"

    def test_no_permission_as_anyone(self, write, monkeypatch):
        def refuse(*args):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(config_file, "open", refuse, raising=False)
        path = write("echo: false")
        assert refusal(path) == "wsd.yaml:1: cannot be read: Permission denied"

    def test_a_name_that_is_none(self):
        assert refusal("a\0b\n") == "a\\x00b\\n:1: cannot be read: embedded null byte"


class TestTolerated:
    @pytest.mark.parametrize(
        "text",
        [
            "\ufeffecho: true",
            "%YAML 1.1\n---\necho: true\n...\n",
            "echo: !!bool true",
            "!!map {echo: true}",
            "{echo: true, page: {title: wsd}}",
            "echo: true\r\npage:\r\n  title: wsd\r\n",
            "echo: true # \ttabs \t\npage: {title:  wsd} \t\n",
            '"echo": true',
        ],
    )
    def test_forms(self, write, text):
        assert load(write(text), {}) == Settings(echo=True)

    def test_aliases_of_plain_values(self, write):
        text = "rooms:\n  a: &slow {limits: {every: 9s}}\n  b: *slow\n"
        rooms = load(write(text), {}).rooms
        assert rooms["a"] == rooms["b"]
        assert rooms["b"].limits.every == 9.0

    def test_an_alias_takes_the_line_where_it_is_used(self, write):
        text = "page: {title: &a maybe}\nlog:\n\necho: *a\n"
        assert refusal(write(text)) == "wsd.yaml:4: echo: maybe is not true or false"

    def test_a_text_by_its_tag(self, write):
        assert "is a text" in refusal(write("limits: {text: !!str 5}"))


class TestNodes:
    def test_lines_and_quotes(self):
        report = Report()
        root = parse(
            "f", "a: 1\nb:\n  - '2'\n  - [x]\nc: {d: |\n   t}\n".replace("|\n   t", "t"), report
        )
        assert root == Entries(
            "f",
            1,
            {
                "a": Scalar("f", 1, "1"),
                "b": Items(
                    "f", 2, (Scalar("f", 3, "2", True), Items("f", 4, (Scalar("f", 4, "x"),)))
                ),
                "c": Entries("f", 5, {"d": Scalar("f", 5, "t")}),
            },
        )

    def test_what_was_written_stays(self):
        root = parse("f", "[off, 010, 1:30, 1e3, 2024-01-01, ~, .inf, =]", Report())
        assert isinstance(root, Items)
        texts = [item.text for item in root.items if isinstance(item, Scalar)]
        assert texts == ["off", "010", "1:30", "1e3", "2024-01-01", "~", ".inf", "="]

    def test_a_problem_is_one_line(self):
        problem = Problem("a\nb", 3, "k\r", "\x1b[31m\u2028 é 公告 \udcff\U0001f600")
        assert str(problem) == "a\\nb:3: k\\r: \\x1b[31m\\u2028 é 公告 \\udcff\U0001f600"

    def test_printable_leaves_what_is(self):
        assert printable("é 公告 ' \" \\") == "é 公告 ' \" \\"
