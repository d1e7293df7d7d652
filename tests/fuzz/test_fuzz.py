"""The short form of the fuzzers (WS-35, WS-36, HP-63); `run.py` is the long one."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz import guided
from tests.fuzz.mutate import mutations
from tests.fuzz.over_wire import storm
from tests.fuzz.targets import TARGETS
from tests.support.daemon import Daemon, children_of
from tests.support.raw import Raw
from wsd.protocol.deflate import Inflater
from wsd.protocol.http import RequestParser
from wsd.protocol.proxy import ProxyParser
from wsd.protocol.session import Session

INPUTS = 10_000
UNGUIDED = 2000
CONNECTIONS = 500


@pytest.mark.parametrize("name", TARGETS)
def test_with_coverage_guidance(name: str) -> None:
    if missing := guided.why_missing():
        pytest.skip(missing)
    report = guided.fuzz(name, INPUTS, seed=1)
    assert report.crashes == 0, report.output
    assert report.inputs >= INPUTS
    assert report.edges > 20, "it does not see what it does"


@pytest.mark.parametrize("name", TARGETS)
def test_with_mutations(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds():
        target.check(seed)
    for data in islice(mutations(1, target.seeds(), target.scraps), UNGUIDED):
        target.check(data)


FED: dict[str, tuple[type, str]] = {
    "http": (RequestParser, "feed"),
    "frames": (Session, "receive"),
    "inflater": (Inflater, "inflate"),
    "proxy": (ProxyParser, "feed"),
}
"""By which method a target gives its bytes away."""


@pytest.mark.parametrize("name", TARGETS)
def test_what_depends_on_how_bytes_are_cut_is_found_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed, method = FED[name]
    feed = getattr(fed, method)

    def forgetful(self: object, data: bytes, *more: object) -> object:
        return feed(self, data[:-1] if len(data) < 40 else data, *more)

    monkeypatch.setattr(fed, method, forgetful)
    with pytest.raises(AssertionError):
        for seed in TARGETS[name].seeds():
            TARGETS[name].check(seed)


def test_over_the_wire(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "wsd", echo="true").start()
    try:
        before = sorted(children_of(daemon.pid))
        ends = storm(daemon, CONNECTIONS, seed=36)
        assert sorted(children_of(daemon.pid)) == before, "a process was replaced"
        assert ends.total() == CONNECTIONS
        assert not {"reset", "not let go"} & ends.keys(), ends
        assert ends["101"] > CONNECTIONS / 2 and ends["400"] > CONNECTIONS / 20
        with Raw((daemon.host, daemon.port)) as one:
            assert one.upgrade().hello("lobby")["type"] == "welcome"
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    assert "Traceback" not in daemon.output, daemon.output
