"""Imports inside ``wsd`` point downwards only (DESIGN section 8)."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import wsd

ROOT = Path(wsd.__file__).parent

# From the top to the bottom; what stands in one set is on one level.
ORDER = (
    {"__main__"},
    {"cli"},
    {"daemon", "adminclient", "bench", "client"},
    {"master", "pidfile"},
    {"worker"},
    {"child", "listeners"},
    {"hub"},
    {"transports"},
    {"chat"},
    {"net", "protocol"},
    {"systemd"},
    {
        "config",
        "config_table",
        "config_text",
        "config_check",
        "config_listen",
        "config_values",
        "config_file",
    },
    {"shared"},
    {"metrics", "tally", "allowances", "failpoints", "certificates"},
    {"logs", "names", "reasons", "strict_json"},
    {"__init__"},
)
LEVELS = {name: level for level, names in enumerate(ORDER) for name in names}

UPWARDS: set[tuple[str, str]] = {
    # The transports share the worker's link to the hub through their context.  DESIGN draws hub/
    # above transports/; the link itself knows nothing of them.
    ("transports.context", "hub.link"),
}
"""Where today's code differs from that order.  Whoever mends one takes it out of here."""


def modules() -> dict[str, Path]:
    """Dotted names below ``wsd``; of a package, its ``__init__``."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        if len(parts) > 1 and parts[-1] == "__init__":
            parts.pop()
        found[".".join(parts)] = path
    return found


MODULES = modules()


@cache
def imports(name: str) -> set[str]:
    """The modules of ``wsd`` that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = inner.removeprefix("wsd.") in MODULES
                found.add(inner if is_module else str(node.module))
    return {
        target.removeprefix("wsd").removeprefix(".") or "__init__"
        for target in found
        if target == "wsd" or target.startswith("wsd.")
    }


def top(name: str) -> str:
    return name.partition(".")[0]


def pairs() -> set[tuple[str, str]]:
    return {(name, target) for name in MODULES for target in imports(name)}


def test_every_module_has_a_level() -> None:
    assert {top(name) for name in MODULES} - LEVELS.keys() == set()


def test_imports_point_downwards() -> None:
    wrong = {
        (name, target)
        for name, target in pairs()
        if top(name) != top(target) and LEVELS[top(name)] >= LEVELS[top(target)]
        if not top(name).startswith("config")  # one module in several files
    }
    assert wrong == UPWARDS


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("chat", {"hub", "transports", "net", "worker", "master", "child", "protocol"}),
        ("net", {"chat", "hub", "transports", "protocol", "worker", "master", "config"}),
        ("hub", {"transports", "worker", "master", "child", "protocol"}),
        ("transports", {"worker", "master", "child"}),
        # Who only wants the client gets nothing of the daemon along but the protocol.
        ("client", LEVELS.keys() - {"client", "protocol", "__init__"}),
    ],
)
def test_packages_that_know_nothing_of_others(package: str, forbidden: set[str]) -> None:
    assert {(n, t) for n, t in pairs() if top(n) == package and top(t) in forbidden} == set()


def test_the_protocol_knows_only_itself() -> None:
    assert {t for n, t in pairs() if top(n) == "protocol" and top(t) != "protocol"} == set()


@pytest.mark.parametrize("package", ["chat", "protocol"])
def test_no_sockets(package: str) -> None:
    for name, path in MODULES.items():
        if top(name) == package:
            tree = ast.parse(path.read_text())
            used = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
            assert used & {"socket", "selectors", "ssl", "sqlite3", "asyncio", "threading"} == set()
            if package == "protocol":
                assert "time" not in used


def test_no_circles() -> None:
    """Each module can be imported by itself, in whatever order."""
    edges = {name: imports(name) - {name} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " > ".join((*path, name))
        if name not in done:
            for target in edges.get(name, set()):
                if target in MODULES:
                    visit(target, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())
