"""What test_systemd.py runs as root inside a throw-away machine: the life of an installed wsd.

    python inside.py CHECKOUT WHEELS

The steps follow on one another.  Each reports itself on a line, ``step NAME ok DETAIL`` or
``step NAME failed TRACEBACK`` (JSON), and the next one runs whatever became of it.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

STEPS: dict[str, Callable[[], str | None]] = {}
CONFIG = Path("/etc/wsd/wsd.yaml")
DROP_IN = Path("/etc/systemd/system/wsd.service.d/test.conf")
URL = "http://127.0.0.1:8002/"
EDITED = """\
# edited by the administrator
workers: 2
limits: {every: 0, text: 1000}
drain: {spread: 1s}
"""
MAX_EXPOSURE = 1.5


def step(function: Callable[[], str | None]) -> Callable[[], str | None]:
    STEPS[function.__name__] = function
    return function


# -- helpers


def sh(*words: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, capture_output=True, text=True, timeout=90)
    if ok:
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def prop(name: str) -> str:
    return sh("systemctl", "show", "-P", name, "wsd").stdout.strip()


def main_pid() -> int:
    return int(prop("MainPID"))


def journal() -> str:
    return sh("journalctl", "-u", "wsd", "-o", "cat", "--no-pager").stdout


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""


def pid_of(name: str) -> int:
    """The service's process ``hub`` or ``worker 0``; 0 while there is none."""
    parent = main_pid()
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return 0
    return next((int(pid) for pid in children if title(int(pid)) == f"wsd: {name}"), 0)


def wait_for(condition: Callable[[], Any], what: str, timeout: float = 15) -> float:
    """Poll; the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout, f"not within {timeout} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


def get(path: str = "") -> int:
    try:
        with urllib.request.urlopen(URL + path, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def ready() -> bool:
    return sh("wsd", "status", ok=False).returncode == 0


class Client:
    """A visitor in the room lobby."""

    def __init__(self, name: str, after: str | None = None) -> None:
        self.socket: ClientConnection = connect(
            "ws://127.0.0.1:8002/chat", subprotocols=["wsd.v1"], open_timeout=5
        )
        self.n = 0
        self.seen: list[dict[str, Any]] = []
        self.socket.send(
            json.dumps({"type": "hello", "id": 0, "name": name, "rooms": {"lobby": after}})
        )
        self.welcome = self.until("welcome")

    def until(self, type_: str, timeout: float = 10, **fields: Any) -> dict[str, Any]:
        """The next object of a type with these values; those before it are in ``seen``."""
        deadline = time.monotonic() + timeout
        while True:
            frame = json.loads(self.socket.recv(timeout=max(deadline - time.monotonic(), 0.01)))
            self.seen.append(frame)
            if frame["type"] == type_ and fields.items() <= frame.items():
                return frame

    def say(self, text: str, answer: str = "ok") -> dict[str, Any]:
        self.n += 1
        self.socket.send(json.dumps({"type": "say", "id": self.n, "room": "lobby", "text": text}))
        return self.until(answer, id=self.n)

    def hears(self, text: str, timeout: float = 10) -> None:
        if not any(f["type"] == "message" and f["text"] == text for f in self.seen):
            self.until("message", timeout, text=text)

    def closed_with(self, timeout: float = 10) -> int:
        """Read to the end of the connection; the close code."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                text = self.socket.recv(timeout=max(deadline - time.monotonic(), 0.01))
                self.seen.append(json.loads(text))
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    def close(self) -> None:
        self.socket.close()


PAIR = ("chat.pem", "chat.key")


def make_pair(name: str) -> Path:
    """A folder with a certificate and its key, which root alone may read."""
    folder = Path("/root") / name
    if not folder.exists():
        folder.mkdir()
        certificate, key = (str(folder / file) for file in PAIR)
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
           "-nodes", "-subj", f"/CN={name}", "-out", certificate, "-keyout", key)  # fmt: skip
    return folder


def serve_tls(folder: Path, *unit: str) -> None:
    """Restart the service with the pair in ``folder``, and these lines in its unit."""
    DROP_IN.with_name("tls.conf").write_text("\n".join(["[Service]", *unit, ""]))
    certificate, key = (folder / file for file in PAIR)
    pair = 'listen: ["127.0.0.1:8002", {address: "127.0.0.1:8443", tls: {'
    CONFIG.write_text(EDITED + f"{pair}certificate: {certificate}, key: {key}}}}}]\n")
    sh("systemctl", "daemon-reload")
    sh("systemctl", "restart", "wsd")


def served() -> str:
    return ssl.get_server_certificate(("127.0.0.1", 8443))


# -- steps


@step
def install() -> str:
    done = sh(f"{CHECKOUT}/bin/install")
    assert "systemctl enable --now wsd" in done.stderr, done.stderr
    assert CONFIG.read_bytes() == Path(CHECKOUT, "etc/wsd.yaml").read_bytes()
    assert stat.S_IMODE(CONFIG.stat().st_mode) == 0o644
    assert sh("wsd", "check").stdout.strip() == f"wsd: {CONFIG}: ok"
    assert Path("/opt/wsd/docs/operations.md").exists()
    # The daemon as it is, but for shorter patience: this is no place to wait for 20 s.
    DROP_IN.parent.mkdir()
    DROP_IN.write_text("[Unit]\nStartLimitBurst=50\n[Service]\nWatchdogSec=3\n")
    sh("systemctl", "daemon-reload")
    release = os.path.realpath("/opt/wsd/current")
    python = os.path.realpath(f"{release}/bin/python")
    return f"{os.path.basename(release)} on {python}"


@step
def start() -> str:
    """Whoever connects right after `systemctl start` is served."""
    sh("systemctl", "start", "wsd")
    assert [get() for _ in range(20)] == [200] * 20
    assert ready()
    return prop("StatusText")


@step
def security() -> str:
    text = sh("systemd-analyze", "security", "--no-pager", "wsd").stdout
    found = re.search(r"Overall exposure level for wsd.service: ([\d.]+)", text)
    assert found, text
    assert float(found[1]) <= MAX_EXPOSURE, text
    return f"exposure {found[1]}"


@step
def confinement() -> str:
    """The sandbox is in force, and the files belong to a user that owns nothing else."""
    status = Path(f"/proc/{main_pid()}/status").read_text()
    uid = int(re.search(r"Uid:\t(\d+)", status)[1])
    assert uid != 0
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert re.search(r"CapEff:\t0+\n", status)
    for path, mode in (("/var/lib/wsd/", 0o700), ("/var/lib/wsd/wsd.db", 0o600)):
        found = os.stat(path)
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (uid, mode), path
    assert stat.S_IMODE(os.stat("/run/wsd/admin.sock").st_mode) == 0o600
    # What makes large rooms cheap is not among what the unit forbids.
    worker = pid_of("worker 0")
    opened = [os.readlink(fd) for fd in Path(f"/proc/{worker}/fd").iterdir()]
    assert "anon_inode:[io_uring]" in opened or "no_io_uring" in journal(), opened
    return f"user {pwd.getpwuid(uid).pw_name}"


@step
def install_again() -> str:
    """Under the running service, which notices nothing, whichever of its processes dies then."""
    before = main_pid()
    CONFIG.write_text(EDITED)
    done = sh(f"{CHECKOUT}/bin/install")
    assert "systemctl restart wsd" in done.stderr, done.stderr
    assert CONFIG.read_text() == EDITED
    assert not Path(f"{CONFIG}.new").exists()  # the default is what it was the last time
    worker = pid_of("worker 0")
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: pid_of("worker 0") not in (0, worker) and ready(), "a new worker")
    assert get() == 200
    assert main_pid() == before
    sh(f"{CHECKOUT}/bin/install")  # a third time: what the service runs from must stay
    releases = os.listdir("/opt/wsd/releases")
    maps = Path(f"/proc/{before}/maps").read_text()
    assert any(f"/releases/{release}/" in maps for release in releases)
    sh("systemctl", "restart", "wsd")
    assert get() == 200
    return f"releases kept: {' '.join(sorted(releases))}"


@step
def install_refused() -> str:
    """What cannot be installed leaves everything as it was."""
    releases, current = os.listdir("/opt/wsd/releases"), os.readlink("/opt/wsd/current")
    said = []
    hidden = Path("/root/hidden/python3")
    hidden.parent.mkdir()
    for environ, expected in (
        ({"WSD_PYTHON": str(hidden)}, "is hidden from services"),
        ({"PIP_FIND_LINKS": "/nowhere"}, "pip could not fetch the packages"),
    ):
        shutil.copy("/usr/bin/python3", hidden)
        done = subprocess.run(
            [f"{CHECKOUT}/bin/install"], capture_output=True, text=True,
            env={**os.environ, **environ}, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1 and expected in done.stderr, done.stderr
        said.append(done.stderr.splitlines()[-1])
    assert (os.listdir("/opt/wsd/releases"), os.readlink("/opt/wsd/current")) == (releases, current)
    assert ready()
    return "; ".join(said)


@step
def install_newer() -> str:
    """A newer version's default goes beside the administrator's file."""
    newer = Path("/tmp/newer")
    newer.mkdir()
    for name in ("bin", "wsd", "docs", "etc", "systemd"):
        shutil.copytree(Path(CHECKOUT, name), newer / name)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(Path(CHECKOUT, name), newer / name)
    default = newer / "etc/wsd.yaml"
    default.write_text(default.read_text() + "# and another setting\n")
    CONFIG.write_text(EDITED + "no_longer_there: 1\n")
    done = sh(f"{newer}/bin/install")
    assert Path(f"{CONFIG}.new").read_text() == default.read_text()
    assert f"{CONFIG}:5: no_longer_there: unknown key" in done.stderr, done.stderr
    assert CONFIG.read_text() == EDITED + "no_longer_there: 1\n"
    CONFIG.write_text(EDITED)
    assert ready()
    return f"{CONFIG}.new"


@step
def chat() -> str:
    ann, bo = Client("Ann"), Client("Bo")
    ann.say("hello from Ann")
    bo.hears("hello from Ann")
    bo.say("你好")
    ann.hears("你好")
    sh("wsd", "say", "lobby", "a word from the house")
    ann.hears("a word from the house")
    bo.hears("a word from the house")
    status = sh("wsd", "status").stdout
    assert f"pid {main_pid()}" in status
    ann.close()
    bo.close()
    return status.splitlines()[0]


@step
def reload_good() -> str:
    pid = main_pid()
    ann = Client("Ann")
    ann.say("x" * 100)  # within the limit so far
    CONFIG.write_text(EDITED.replace("text: 1000", "text: 50"))
    sh("systemctl", "reload", "wsd")
    assert ann.say("x" * 101, answer="error")["code"] == "too_long"
    ann.say("y" * 50)
    ann.close()
    assert (main_pid(), prop("ActiveState")) == (pid, "active")
    return "limits.text is in force, the client stayed"


@step
def reload_bad() -> str:
    pid = main_pid()
    ann = Client("Ann")
    CONFIG.write_text("workers: 2\nlimits:\n  txet: 70\n")
    assert sh("systemctl", "reload", "wsd", ok=False).returncode != 0
    assert (main_pid(), prop("ActiveState")) == (pid, "active")
    complaint = f"{CONFIG}:3: limits.txet"
    assert complaint in journal()
    ann.say("still here")
    assert ann.say("x" * 102, answer="error")["code"] == "too_long"  # the limit that was in force
    # Past the command's own check, the daemon refuses as well.
    os.kill(pid, signal.SIGHUP)
    refusal = f'reload_refused detail="{complaint}'
    wait_for(lambda: refusal in journal(), "the daemon's own refusal")
    ann.say("still here, too")
    ann.close()
    assert main_pid() == pid
    CONFIG.write_text(EDITED)
    sh("systemctl", "reload", "wsd")
    return next(line for line in journal().splitlines() if complaint in line)


@step
def kill_worker() -> str:
    pid, worker = main_pid(), pid_of("worker 1")
    os.kill(worker, signal.SIGKILL)
    took = wait_for(lambda: pid_of("worker 1") not in (0, worker) and ready(), "a new worker")
    assert (get(), main_pid()) == (200, pid)
    return f"{took * 1000:.0f} ms"


@step
def kill_hub() -> str:
    pid, hub = main_pid(), pid_of("hub")
    ann = Client("Ann")
    ann.say("before the hub died")
    os.kill(hub, signal.SIGKILL)
    ann.say("after the hub died")
    took = wait_for(lambda: pid_of("hub") not in (0, hub) and ready(), "a new hub")
    ann.close()
    assert main_pid() == pid
    return f"{took * 1000:.0f} ms"


@step
def watchdog() -> str:
    pid, began = main_pid(), time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: main_pid() not in (0, pid), "a restart by systemd", 20)
    wait_for(lambda: prop("ActiveState") == "active", "the service", 20)
    took = time.monotonic() - began
    assert get() == 200
    assert "Watchdog timeout" in sh("journalctl", "-u", "wsd", "--no-pager").stdout
    assert not Path(f"/proc/{pid}").exists()
    return f"{took:.1f} s after SIGSTOP of the master, WatchdogSec=3"


@step
def kill_master() -> str:
    pid, children = main_pid(), [pid_of("hub"), pid_of("worker 0"), pid_of("worker 1")]
    assert all(children)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: main_pid() not in (0, pid), "a restart by systemd")
    wait_for(lambda: prop("ActiveState") == "active", "the service")
    assert get() == 200
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    return "nobody left over"


@step
def restart() -> str:
    """History survives, and whoever is connected is told."""
    ann = Client("Ann")
    ann.say("said before the restart")
    systemctl = subprocess.Popen(["systemctl", "restart", "wsd"])
    code = ann.closed_with()
    assert systemctl.wait(30) == 0
    bye = next(frame for frame in ann.seen if frame["type"] == "bye")
    assert (bye["code"], code) == (3001, 1012)
    bo = Client("Bo")
    bo.hears("said before the restart")
    bo.hears("hello from Ann")
    bo.close()
    return json.dumps(bye)


@step
def by_wsd() -> str:
    """`wsd restart` and `stop` are systemd's to do, and nobody is told that nothing runs."""
    before = main_pid()
    sh("wsd", "restart")
    assert main_pid() not in (0, before) and get() == 200
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    asked = sh(*nobody, "wsd", "status", ok=False)
    assert asked.returncode == 4, asked
    assert sh(*nobody, "wsd", "stop", ok=False).returncode == 1
    assert get() == 200
    sh("wsd", "stop")
    assert prop("ActiveState") == "inactive"
    started = sh("wsd", "start", ok=False)
    assert started.returncode == 1 and "systemctl start wsd" in started.stderr, started
    sh("systemctl", "start", "wsd")
    return asked.stdout.strip()


@step
def certificates() -> str:
    """A key that a group may read, as docs/install.md says it; a renewal is a reload."""
    folder = Path("/etc/wsd/tls")
    first, second = make_pair("first"), make_pair("second")
    sh("groupadd", "--system", "wsd-keys")
    sh("install", "-d", "-m", "750", "-g", "wsd-keys", str(folder))

    def put(pair: Path) -> None:
        files = [str(pair / name) for name in PAIR]
        sh("install", "-m", "640", "-g", "wsd-keys", *files, str(folder))

    put(first)
    serve_tls(folder, "SupplementaryGroups=wsd-keys")
    pid, ann = main_pid(), Client("Ann")
    assert served() == (first / "chat.pem").read_text()
    put(second)
    assert served() == (first / "chat.pem").read_text()
    sh("systemctl", "reload", "wsd")
    wait_for(lambda: served() == (second / "chat.pem").read_text(), "the new certificate")
    (folder / "chat.pem").write_text("half a certifi")
    assert sh("systemctl", "reload", "wsd", ok=False).returncode != 0
    assert f"{CONFIG}:5: listen[1].tls.certificate: {folder}/chat.pem and" in journal()
    assert served() == (second / "chat.pem").read_text()
    ann.say("through all of it")
    ann.close()
    assert main_pid() == pid
    return "first, second, and no third"


@step
def credentials() -> str:
    """The same without a group: systemd hands over copies when the service starts."""
    pair = make_pair("first")
    load = [f"LoadCredential={name}:{pair / name}" for name in PAIR]
    serve_tls(Path("/run/credentials/wsd.service"), *load)
    assert served() == (pair / "chat.pem").read_text()
    reload = sh("systemctl", "reload", "wsd", ok=False).returncode  # 252 does not let it see them
    assert served() == (pair / "chat.pem").read_text()
    DROP_IN.with_name("tls.conf").unlink()
    CONFIG.write_text(EDITED)
    sh("systemctl", "daemon-reload")
    sh("systemctl", "restart", "wsd")
    return f"{sh('systemctl', '--version').stdout.splitlines()[0]}: reload exits with {reload}"


@step
def stop() -> str:
    began = time.monotonic()
    sh("systemctl", "stop", "wsd")
    took = time.monotonic() - began
    state = [prop(p) for p in ("ActiveState", "Result", "ExecMainStatus")]
    assert state == ["inactive", "success", "0"]
    assert took < 10
    assert sh("wsd", "status", ok=False).returncode == 3
    assert not Path("/run/wsd").exists()
    return f"{took:.1f} s"


@step
def bad_configuration() -> str:
    CONFIG.write_text("workers: 2\nlisten: [somewhere]\n")
    assert sh("systemctl", "start", "wsd", ok=False).returncode != 0
    time.sleep(2.5)  # RestartSec is 1
    state = [prop(p) for p in ("ActiveState", "ExecMainStatus", "NRestarts")]
    assert state == ["failed", "78", "0"]
    line = next(line for line in journal().splitlines() if f"{CONFIG}:2: listen" in line)
    CONFIG.write_text(EDITED)
    sh("systemctl", "start", "wsd")
    assert get() == 200
    return line


@step
def log_lines() -> str:
    """All that the daemon wrote is one event a line; none is the trace of a bug."""
    pattern = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (debug|info|warning|error) [\w.]+ \w+( |$)")
    text = journal()
    assert "Traceback" not in text and "traceback=" not in text, text
    lines = [line for line in text.splitlines() if re.match(r"\d{4}-", line)]
    assert len(lines) > 30
    odd = [line for line in lines if not pattern.match(line)]
    assert not odd, odd
    kernel = sh("journalctl", "-k", "--no-pager", ok=False).stdout + text
    assert not re.search(r"seccomp|SIGSYS|Operation not permitted", kernel, re.I), kernel
    return f"{len(lines)} lines"


@step
def uninstall() -> str:
    sh(f"{CHECKOUT}/bin/uninstall")
    for gone in ("/opt/wsd", "/usr/local/bin/wsd", "/etc/systemd/system/wsd.service"):
        assert not os.path.lexists(gone), gone
    assert sh("systemctl", "is-active", "wsd", ok=False).returncode != 0
    assert CONFIG.read_text() == EDITED
    assert Path("/var/lib/private/wsd/wsd.db").exists()
    # What stayed serves the next installation.
    sh(f"{CHECKOUT}/bin/install")
    sh("systemctl", "start", "wsd")
    bo = Client("Bo")
    bo.hears("said before the restart")
    bo.close()
    sh(f"{CHECKOUT}/bin/uninstall", "--purge")
    for gone in ("/opt/wsd", "/etc/wsd", "/var/lib/wsd", "/var/lib/private/wsd"):
        assert not os.path.lexists(gone), gone
    return "and installed once more, with the same messages"


def main() -> int:
    for name, function in STEPS.items():
        began = time.monotonic()
        try:
            outcome, detail = "ok", function() or ""
        except Exception:
            outcome, detail = "failed", traceback.format_exc()
        took = time.monotonic() - began
        print(f"step {name} {outcome} {json.dumps(f'{detail} [{took:.1f} s]')}", flush=True)
        if outcome == "failed":
            print(journal()[-6000:], flush=True)
    return 0


if __name__ == "__main__":
    CHECKOUT, WHEELS = sys.argv[1:]
    os.environ.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=WHEELS, SYSTEMD_COLORS="0")
    os.environ.update(PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    sys.exit(main())
