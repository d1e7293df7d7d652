"""A broadcast server with picows, on uvloop if it is there: ``python picows_server.py PORT``."""

import sys
from collections import defaultdict

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

rooms: dict[bytes, set[WSTransport]] = defaultdict(set)


class Chat(WSListener):
    def __init__(self, path: bytes) -> None:
        self.room = rooms[path]

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.room.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            message = frame.get_payload_as_bytes()
            for member in self.room:
                member.send(WSMsgType.TEXT, message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.room.discard(transport)


def chat(request: WSUpgradeRequest) -> WSListener:
    return Chat(request.path)


async def main() -> None:
    server = await ws_create_server(chat, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


try:
    from uvloop import run
except ImportError:
    from asyncio import run
run(main())
