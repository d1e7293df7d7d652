"""What is right alone and wrong together: pairs of settings that have an order, listeners on one
address."""

import unicodedata
from collections.abc import Callable, Mapping

import msgspec

from wsd.config_file import Entries, Items, Node, Report
from wsd.config_listen import Listen
from wsd.config_table import Table

# (the smaller, the larger, whether they may be equal)
_ORDERED = (
    ("history.replay", "history.size", True),
    ("history.recover_max", "history.size", True),
    ("limits.text", "limits.message", True),
    ("ping.timeout", "ping.every", False),
    ("drain.spread", "drain.stop", False),
)


class CrossCheck:
    """`given` has the nodes of the keys that were written, by their dotted names."""

    def __init__(self, table: Table, given: Mapping[str, Node], report: Report) -> None:
        self._table = table
        self._given = given
        self._report = report

    def orders(self, settings: msgspec.Struct, for_room: Callable[[str], msgspec.Struct]) -> None:
        """Compares the pairs, for the site and for each room with overrides."""
        self._order(settings, self._given, "")
        for written, node in _below(self._given.get("rooms")).items():
            room = unicodedata.normalize("NFC", written)
            self._order(for_room(room), _flat(node), f"rooms.{room}.")

    def _order(self, holder: msgspec.Struct, given: Mapping[str, Node], prefix: str) -> None:
        """Of the pairs those of which the administrator has written both.  Against a default
        nobody has chosen nothing is wrong: the smaller of the two simply wins."""
        for smaller, larger, may_equal in _ORDERED:
            if not given.keys() >= {smaller, larger} or self._known_bad(prefix, smaller, larger):
                continue
            (low, low_text), (high, high_text) = (
                self._shown(holder, smaller), self._shown(holder, larger),
            )  # fmt: skip
            if low < high or (may_equal and low == high):
                continue
            words = "at most" if may_equal else "less than"
            message = f"{low_text} must be {words} {larger}, which is {high_text}"
            self._report.add(given[smaller], prefix + smaller, message)

    def _shown(self, holder: msgspec.Struct, path: str) -> tuple[float, str]:
        setting = self._table.rows[path]
        value = setting.of(holder)
        return value, setting.key.kind.show(value)

    def _known_bad(self, prefix: str, *keys: str) -> bool:
        """True when one of the keys has a problem already, and its value means nothing."""
        return any(self._report.has(key) or self._report.has(prefix + key) for key in keys)

    def listeners(self, **all_: tuple[Listen, ...]) -> None:
        """`all_` by their keys: no two on one address."""
        seen: set[str] = set()
        for key, listeners in all_.items():
            node = self._given.get(key)
            if node is None or self._report.has(key):
                continue
            items = node.items if isinstance(node, Items) else (node,)
            for item, listen in zip(items, listeners, strict=True):
                if listen.address in seen and (listen.path or listen.port):
                    self._report.add(item, key, f"{listen.address} is listened on twice")
                seen.add(listen.address)


def _below(node: Node | None) -> dict[str, Node]:
    return node.entries if isinstance(node, Entries) else {}


def _flat(room: Node) -> dict[str, Node]:
    """The nodes of one room's overrides by their names in the table."""
    sections = _below(room).items()
    return {f"{a}.{b}": node for a, section in sections for b, node in _below(section).items()}
