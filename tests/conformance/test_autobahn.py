"""A sample of the Autobahn test suite against a daemon with the limits that it has by default.

``bin/test conformance`` runs all 517 cases (``run.py``); what came out is in docs/conformance.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance import environment, suite
from tests.conformance.suite import OK, Verdicts
from tests.support.daemon import Daemon

TIMEOUT_S = 300.0


@pytest.fixture(scope="module")
def autobahn() -> environment.Environment:
    try:
        return environment.prepare()
    except environment.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a daemon that echoes: one worker, default limits, compression."""
    directory = tmp_path_factory.mktemp("conformance") / "wsd"
    daemon = Daemon(directory, workers=1, echo="true", compression="on").start()
    yield daemon.ws("/echo")
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.output, daemon.output


Run = Callable[..., Verdicts]


@pytest.fixture
def run(autobahn: environment.Environment, echo: str, tmp_path: Path) -> Run:
    def run(*cases: str) -> Verdicts:
        return suite.run_cases(autobahn, echo, cases, tmp_path, timeout_s=TIMEOUT_S)

    return run


def test_ws_02_frames_fragments_utf8_and_closing(run: Run) -> None:
    verdicts = run(*(f"{chapter}.*" for chapter in (1, 2, 3, 4, 5, 6, 7, 10)))
    assert len(verdicts) == 247
    assert suite.deviations(verdicts) == {}


def test_ws_02_a_thousand_messages_on_one_connection(run: Run) -> None:
    verdicts = run("9.7.*", "9.8.*")
    assert len(verdicts) == 12
    assert suite.deviations(verdicts) == {}


def test_ws_02_a_message_over_the_limit_is_answered_with_1009(run: Run) -> None:
    verdicts = run("9.1.*", "9.2.*")
    assert len(verdicts) == 12
    fitting = {"9.1.1", "9.2.1"}  # 64 KiB
    codes = {case: verdict.close_code for case, verdict in verdicts.items()}
    assert {case for case, verdict in verdicts.items() if verdict.verdict == OK} == fitting
    assert codes == {case: 1000 if case in fitting else 1009 for case in codes}
