// A WebSocket: commands up, frames down, one JSON object per message.

import { parse } from "./json.js";

const SUBPROTOCOL = "wsd.v1";

/** @typedef {import("./transport.js").Host} Host */

export class WebSocketTransport {
  /** @param {Host} host */
  constructor(host) {
    this.kind = /** @type {const} */ ("websocket");
    const address = new URL("chat", host.base);
    address.protocol = /^(https|wss):$/.test(host.base.protocol) ? "wss:" : "ws:";
    const [room] = Object.keys(host.hello().rooms);    // rooms may have origins of their own
    if (room !== undefined) address.searchParams.set("room", room);
    const socket = this.#socket = new host.WebSocket(address.href, SUBPROTOCOL);
    socket.onopen = () => this.send(host.hello());
    socket.onmessage = ({ data }) => {
      const frame = parse(data);
      if (frame) host.received(this, frame);
    };
    socket.onclose = ({ code, reason }) => host.ended(this, code, reason);
  }

  /** @type {WebSocket} */
  #socket;

  /** @param {object} command */
  send(command) {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(command));
  }

  close() {
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
