"""Reasons have one name each: what the source says and what the registry has is the same."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import wsd
from wsd import reasons
from wsd.protocol import frames

ROOT = Path(wsd.__file__).parent
TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text())
    for path in ROOT.rglob("*.py")
    if path.name != "reasons.py"
}

HTTP = {"HttpError": 1, "refuse": 1, "_unquote": 1}
COMMANDS = {"Refuse": 0, "Refused": 1, "Refusal": 0, "count_refusal": 0}
CLOSED = {"ProtocolError": 1, "abort": 0, "close": 0, "_finish": 0}
"""Functions that are given a reason, and in which place."""

INSIDE = {"unknown"}
"""Codes between hub and worker that nobody else sees."""


def given(places: dict[str, int], *folders: str) -> Iterator[tuple[str, str]]:
    """(file, reason) of each call that names its reason on the spot."""
    for file, tree in TREES.items():
        if not file.startswith(folders):
            continue
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            place = places.get(name, len(call.args))
            if place < len(call.args):
                argument = call.args[place]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield file, argument.value


@pytest.mark.parametrize(
    ("places", "folders", "table"),
    [
        (HTTP, ("protocol", "transports"), reasons.HTTP),
        (COMMANDS, ("chat", "hub", "transports"), reasons.COMMANDS),
        (CLOSED, ("protocol", "net", "transports"), reasons.CLOSED),
    ],
    ids=["http", "commands", "closed"],
)
def test_every_reason_in_the_source_is_registered(
    places: dict[str, int], folders: tuple[str, ...], table: dict[str, str]
) -> None:
    found = set(given(places, *folders))
    assert len(found) > 10, "the test looks at nothing"
    assert {(file, name) for file, name in found if name not in table.keys() | INSIDE} == set()


def test_what_a_frame_may_begin_wrong_with_is_registered() -> None:
    names = {first for first in frames._FIRST_BYTES if not isinstance(first, frames.Opcode)}
    assert names and names <= reasons.CLOSED.keys()


def test_every_registered_reason_is_used() -> None:
    said = {
        node.value
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    constants = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    }
    named = vars(reasons).items()
    ours = {value.name: name for name, value in named if isinstance(value, reasons.Reason)}
    tables = {*reasons.HTTP, *reasons.COMMANDS, *reasons.CLOSED}
    assert {name for name in tables - said if ours.get(name) not in constants} == set()


def test_names_are_identifiers_and_reasons_are_told_in_one_line() -> None:
    for table in (reasons.HTTP, reasons.COMMANDS, reasons.CLOSED):
        for name, why in table.items():
            assert name.isidentifier() and name.islower()
            assert why and "\n" not in why and "|" not in why


def test_the_reference_is_fresh() -> None:
    reference = ROOT.parent / "docs" / "reasons.md"
    assert reference.read_text() == reasons.render(), "python -m wsd.reasons > docs/reasons.md"
