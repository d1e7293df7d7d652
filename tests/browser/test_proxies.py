"""The chat page in Chromium behind nginx, configured as docs/proxies.md says."""

from __future__ import annotations

import pytest

from tests.browser.test_page import errors, say, wait_online, wait_shown
from tests.support import certificates
from tests.support.proxies import Nginx


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_two_windows_chat_through_nginx(make_daemon, make_proxy, window, tmp_path, tls):
    daemon = make_daemon(log__level="debug")
    certificate = certificates.make(tmp_path, "localhost") if tls else None
    nginx = make_proxy(Nginx, daemon, certificate=certificate)
    ann, bob = (window(nginx.url(), any_certificate=tls) for _ in range(2))
    for each in (ann, bob):
        wait_online(each)
    say(ann, "hello through nginx")
    wait_shown(bob, "hello through nginx")
    for each in (ann, bob):
        assert errors(each) == []
    # It came by WebSockets, and not because the page has found another way. (Who is sent away first
    # may come back to the worker that is not told yet, and is sent away again.)
    daemon.stop()
    closed = "closed reason=restart transport=websocket"
    daemon.wait_for(lambda: daemon.output.count(closed) >= 2, "two are in the log")
