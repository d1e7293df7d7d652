"""What the table is written as: the default file, what is in force, the reference."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from wsd.config import (
    Settings,
    load,
    render_default,
    render_effective,
    render_reference,
    table,
)

ROOT = Path(__file__).parent.parent

CHANGED = """\
listen: ["127.0.0.1:0", "[::1]:8003", "unix:/run/x.sock"]
admin: ["127.0.0.1:1", "127.0.0.1:2"]
workers: 3
state: "/var/lib/a b"
origins: ["*", "https://*.example.com"]
page: {title: "A \\"quoted\\" # title: 公告", default_room: "null", language: zh-CN}
rooms:
  lobby: {history: {size: 600, keep: 90m}, limits: {text: 5, every: 0}, origins: [],
          modes: {slow_s: 10, on: true, note: "10", half: 0.5}}
  "公告": {}
  on: {modes: {readonly: true}}
limits: {message: 100KiB, every: 1500ms, queue: 1000000}
compression: on
log: {format: json}
"""


def load_text(tmp_path, text):
    path = tmp_path / "wsd.yaml"
    path.write_text(text)
    return load(str(path), {})


class TestDefaultFile:
    def test_is_the_defaults(self, tmp_path):
        assert load_text(tmp_path, render_default()) == Settings()

    def test_has_every_key_with_a_comment_above(self):
        lines = render_default().splitlines()
        for path, row in table().rows.items():
            indent = "  " if "." in path else ""
            name = path.rpartition(".")[2]
            places = [n for n, line in enumerate(lines) if line.startswith(f"{indent}{name}:")]
            kinds = [lines[n - 1] for n in places]
            assert any(row.key.kind.name[1:] in kind for kind in kinds), path
            if row.key.restart:
                assert any(kind.endswith("(restart)") for kind in kinds), path

    def test_lines_fit(self):
        assert max(map(len, render_default().splitlines())) <= 100

    def test_another_reader_finds_the_same_keys(self):
        found = yaml.safe_load(render_default())
        paths = [
            f"{section}.{name}" if isinstance(names, dict) and names else section
            for section, names in found.items()
            for name in (names if isinstance(names, dict) and names else [""])
        ]
        assert paths == list(table().rows)


class TestEffective:
    @pytest.mark.parametrize("text", [CHANGED, "echo: false"])
    def test_loads_again(self, tmp_path, text):
        loaded = load_text(tmp_path, text)
        assert load_text(tmp_path, render_effective(loaded)) == loaded

    def test_embedded_defaults_load_again(self, tmp_path):
        loaded = load(None, {})
        assert load_text(tmp_path, render_effective(loaded)) == loaded

    def test_is_readable(self, tmp_path):
        lines = render_effective(load_text(tmp_path, CHANGED)).splitlines()
        assert "  message: 100KiB" in lines
        assert "  every: 1.5s" in lines
        assert "  keep: 30d" in lines
        assert "workers: 3" in lines
        assert 'admin: ["127.0.0.1:1", "127.0.0.1:2"]' in lines
        assert (
            "  lobby: {history: {size: 600, keep: 90m}, limits: {text: 5, every: 0},"
            in "\n".join(lines)
        )


class TestReference:
    def test_has_every_key_once(self):
        lines = render_reference().splitlines()
        for path, row in table().rows.items():
            (line,) = (line for line in lines if line.startswith(f"| `{path}` |"))
            cells = line.strip("| ").split(" | ")
            assert len(cells) == 7
            assert cells[1] == f"`{row.default_text}`"
            assert cells[5] == ("restart" if row.key.restart else "reload")
            assert row.key.help.replace("*", "\\*") == cells[6]


@pytest.mark.parametrize(
    ("path", "what", "render"),
    [
        ("etc/wsd.yaml", "default", render_default),
        ("docs/configuration.md", "reference", render_reference),
    ],
)
def test_generated_files_are_fresh(path, what, render):
    assert (ROOT / path).read_text() == render(), f"python -m wsd.config {what} > {path}"


class TestCommand:
    def run(self, *arguments):
        command = [sys.executable, "-m", "wsd.config", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    def test_default(self):
        assert self.run("default").stdout == render_default()

    def test_reference(self):
        assert self.run("reference").stdout == render_reference()

    def test_usage(self):
        done = self.run("nonsense")
        assert (done.returncode, done.stdout) == (64, "")
        assert done.stderr.startswith("usage: ")
