// A broadcast server with the package ws: node ws_server.cjs PORT
// CommonJS, since NODE_PATH says where the package is, and modules of the other kind ignore that.
"use strict";
const { WebSocketServer } = require("ws");

const rooms = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });

server.on("connection", (socket, request) => {
  if (!rooms.has(request.url)) rooms.set(request.url, new Set());
  const room = rooms.get(request.url);
  room.add(socket);
  socket.on("message", (data, binary) => {
    for (const member of room) {
      if (member.readyState === socket.OPEN) member.send(data, { binary });
    }
  });
  socket.on("close", () => room.delete(socket));
});
