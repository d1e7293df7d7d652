"""The command ``wsd``: its words, what each prints, and its exit status."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from wsd import __version__, daemon, systemd
from wsd.adminclient import ASK_AS, Admin, Denied, Forbidden, Unreachable
from wsd.bench.command import add_options, bench
from wsd.config import (
    ConfigError,
    Settings,
    load,
    load_whereabouts,
    render_default,
    render_effective,
)
from wsd.config_listen import certificate_warnings
from wsd.daemon import NOT_RUNNING, UNKNOWN, pid_path
from wsd.pidfile import running_pid

EX_CONFIG = 78
"""sysexits(3): the configuration is wrong.  systemd does not restart the daemon for it."""

RELOAD_S = 5.0

Handler = Callable[[argparse.Namespace, Settings], int]


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.command == "config" and not options.effective:
        print(render_default(), end="")
        return 0
    if options.command == "bench":
        try:
            return bench(options)
        except KeyboardInterrupt:
            return 130
    options.config = options.config or os.environ.get("WSD_CONFIG") or None
    handler: Handler = options.handler
    try:
        settings = _settings(options)
        return EX_CONFIG if settings is None else handler(options, settings)
    except (Unreachable, Denied) as error:
        print(f"wsd: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of `wsd tail | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _settings(options: argparse.Namespace) -> Settings | None:
    """Those that are configured, or None after saying what is wrong with them.

    What only asks a running daemon, or ends it, is done all the same if the file still says where
    that is: the mistake may be the reason for asking.
    """
    try:
        return load(options.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
    if not options.needs_daemon:
        return None
    try:
        settings = load_whereabouts(options.config)
    except ConfigError:
        return None
    return settings if _find_pid(settings) else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wsd", description="A chat daemon for a website's visitors."
    )
    parser.add_argument("--version", action="version", version=f"wsd {__version__}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        help="the configuration (default: $WSD_CONFIG, else embedded defaults with state in ./var)",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(
        name: str, handler: Handler, text: str, needs_daemon: bool = False
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, parents=[shared])
        added.set_defaults(handler=handler, needs_daemon=needs_daemon)
        return added

    command("run", _run, "serve in the foreground")
    command("start", _start, "serve as a daemon")
    command("stop", _stop, "end the daemon, letting its clients go gently", needs_daemon=True)
    command("restart", _restart, "stop, then start")
    command(
        "status", _status, "say how the daemon is (exit status 3: not running)", needs_daemon=True
    )
    command("reload", _reload, "have the daemon read its configuration again")
    command("check", _check, "check the configuration (exit status 78: it is wrong)")
    config = command("config", _config, "print the commented default configuration")
    config.add_argument("--effective", action="store_true", help="print what is in force instead")
    say = command("say", _say, "say something in a room", needs_daemon=True)
    say.add_argument("room")
    say.add_argument("text", nargs="+")
    say.add_argument("--name", help="under which name (default: page.title)")
    tail = command("tail", _tail, "print what is said in a room, as it is said", needs_daemon=True)
    tail.add_argument("room")
    tail.add_argument("--json", action="store_true", help="print whole events, one a line")
    command("rooms", _rooms, "list the rooms that have people in them", needs_daemon=True)
    who = command("who", _who, "list the people in a room", needs_daemon=True)
    who.add_argument("room")
    # Not one of those above: it has nothing to do with the configured daemon.
    text = "measure a daemon of its own: messages a second, CPU time, latency, memory"
    add_options(commands.add_parser("bench", help=text, description=text))
    return parser


# -- the daemon's life


def _run(options: argparse.Namespace, settings: Settings) -> int:
    return daemon.run(settings, options.config)


def _start(options: argparse.Namespace, settings: Settings) -> int:
    return daemon.start(settings, options.config)


def _stop(options: argparse.Namespace, settings: Settings) -> int:
    pid = _find_pid(settings)
    if pid is None:
        print("wsd: not running", file=sys.stderr)
        return 0
    if service := systemd.service_of(pid):
        return service.do("stop")
    return daemon.stop(settings, pid)


def _restart(options: argparse.Namespace, settings: Settings) -> int:
    pid = _find_pid(settings)
    if pid is not None and (service := systemd.service_of(pid)):
        return service.do("restart")
    if why := daemon.hindrance(settings):  # before the stop, not after it
        print(f"wsd: {why}", file=sys.stderr)
        return 1
    if pid is not None and daemon.stop(settings, pid):
        return 1
    return daemon.start(settings, options.config)


def _find_pid(settings: Settings) -> int | None:
    """The master: by the PID file of ``wsd start``, else by asking the daemon itself.

    Raises Forbidden.
    """
    pid = _pid_of_file(settings)
    if pid is None:
        try:
            pid = int(Admin(settings).call("info")["pid"])
        except Forbidden:
            raise
        except (Unreachable, Denied):
            return None
    return pid


def _pid_of_file(settings: Settings) -> int | None:
    path = pid_path(settings)
    try:
        return running_pid(path)
    except PermissionError as error:
        raise Forbidden(f"{path}: {error.strerror}; {ASK_AS}") from None


def _status(options: argparse.Namespace, settings: Settings) -> int:
    try:
        return _describe(settings)
    except Forbidden as error:
        print(f"wsd: not known: {error}")
        return UNKNOWN


def _describe(settings: Settings) -> int:
    try:
        info = Admin(settings).call("info")
    except Unreachable as error:
        pid = _pid_of_file(settings)
        if pid is None:
            if isinstance(error, Forbidden):
                raise
            print("wsd: not running")
            return NOT_RUNNING
        print(f"wsd: pid {pid} runs but does not answer: {error}")
        return 1
    state = "ready" if info["ready"] else "not ready"
    print(
        f"wsd {info['version']}: {state}, pid {info['pid']}, up {info['uptime_s']:.0f} s, "
        f"{info['connections']} connections"
    )
    for process in info["processes"][1:]:
        ready = "ready" if process["ready"] else "not ready"
        starts = f"{process['starts']} starts"
        print(f"  {process['name']:<10} pid {process['pid']:<8} {ready}, {starts}")
    return 0 if info["ready"] else 1


def _reload(options: argparse.Namespace, settings: Settings) -> int:
    """The file is checked here first (``main`` did it); the daemon then says what it made of it."""
    admin = Admin(settings)
    before = admin.call("info")
    os.kill(before["pid"], signal.SIGHUP)
    deadline = time.monotonic() + RELOAD_S
    while time.monotonic() < deadline:
        info = admin.call("info")
        if info["reloads_failed"] > before["reloads_failed"]:
            print(f"wsd: {info['note']}", file=sys.stderr)
            return 1
        if info["reloads"] > before["reloads"]:
            print("wsd: reloaded")
            return 0
        time.sleep(0.02)
    print("wsd: the daemon did not answer the reload", file=sys.stderr)
    return 1


# -- the configuration


def _check(options: argparse.Namespace, settings: Settings) -> int:
    for warning in certificate_warnings(settings.listen, time.time()):
        print(f"wsd: warning: {warning}", file=sys.stderr)
    if not any(listen.path for listen in settings.admin):
        print("wsd: warning: admin: no Unix socket, which wsd reload, status, say and others need",
              file=sys.stderr)  # fmt: skip
    print(f"wsd: {options.config or 'embedded defaults'}: ok")
    return 0


def _config(options: argparse.Namespace, settings: Settings) -> int:
    print(render_effective(settings), end="")
    return 0


# -- talking to it


def _say(options: argparse.Namespace, settings: Settings) -> int:
    Admin(settings).call("say", room=options.room, text=" ".join(options.text), name=options.name)
    return 0


def _tail(options: argparse.Namespace, settings: Settings) -> int:
    for event in Admin(settings).lines("tail", room=options.room):
        line = json.dumps(event, ensure_ascii=False) if options.json else _as_text(event)
        print(line, flush=True)
    return 0


def _as_text(event: dict[str, Any]) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(event["time"]))
    if event["type"] == "message":
        text = "(deleted)" if event.get("deleted") else event["text"]
        return f"{clock} {event['seq']} <{event['name']}> {_printable(text)}"
    if event["type"] == "edit":
        return f"{clock} {event['seq']} * {event['ref']} now reads: {_printable(event['text'])}"
    return f"{clock} {event['seq']} * {event['type']} {event.get('ref', '')}".rstrip()


def _printable(text: str) -> str:
    """What a guest wrote must not steer the administrator's terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _rooms(options: argparse.Namespace, settings: Settings) -> int:
    for room in sorted(Admin(settings).call("rooms")["rooms"], key=lambda r: -r["online"]):
        print(f"{room['room']:<32} {room['online']:>6} online {room['head']:>10} events")
    return 0


def _who(options: argparse.Namespace, settings: Settings) -> int:
    for person in Admin(settings).call("who", room=options.room)["people"]:
        print(f"{person['uid']} {person['name']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
