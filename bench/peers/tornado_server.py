"""A broadcast server with Tornado: ``python tornado_server.py PORT``."""

import asyncio
import sys
from collections import defaultdict

from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler

rooms: dict[str, set["Chat"]] = defaultdict(set)


class Chat(WebSocketHandler):
    def check_origin(self, origin: str) -> bool:
        return True

    def open(self) -> None:
        self.room = rooms[self.request.path]
        self.room.add(self)

    def on_message(self, message: str | bytes) -> None:
        for member in self.room:
            try:
                member.write_message(message)
            except WebSocketClosedError:
                pass

    def on_close(self) -> None:
        self.room.discard(self)


async def main() -> None:
    application = Application([(r"/.*", Chat)])
    application.listen(int(sys.argv[1]), "127.0.0.1", backlog=4096)
    await asyncio.Event().wait()


asyncio.run(main())
