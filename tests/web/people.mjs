// Clients of the library as a test has them: what each was shown, and ways to wait for it.

import { createRequire } from "node:module";

import { Client } from "../../wsd/web/client.js";

const require = createRequire(import.meta.url);
const { WebSocket: Socket } = require("ws");
const WAIT_MS = 30_000;

/** A failure closes it, and that is all one hears of it, as in a browser. */
export class WebSocket extends Socket {
  constructor(...given) {
    super(...given);
    this.on("error", () => {});
  }
}

export class Person {
  /** Somebody in `lobby` until the test `t` ends; further options are the library's. */
  constructor(t, daemon, options = {}) {
    this.client = new Client({ url: daemon.url, rooms: ["lobby"], WebSocket, ...options });
    this.shown = [];      // texts in the order in which the page would show them
    this.events = [];     // everything, as [type, detail]
    for (const type of ["state", "join", "reset", "replayed", "message", "edit", "delete", "outbox", "bye", "error", "presence"]) {
      this.client.on(type, (detail) => this.events.push([type, detail]));
    }
    this.client.on("message", ({ message }) => this.shown.push(message.text));
    t.after(() => this.client.close());
    this.client.connect();
  }

  say(text) { return this.client.say("lobby", text); }

  all(type) { return this.events.filter(([each]) => each === type).map(([, detail]) => detail); }

  async online(transport) {
    await until(() => this.client.state.status === "online"
      && (!transport || this.client.state.transport === transport), () => `${JSON.stringify(this.client.state)}`);
    return this;
  }

  async sees(...texts) {
    await until(() => this.shown.length >= texts.length, () => `shown: ${this.shown}`);
  }
}

/** Waits until `condition` holds. */
export async function until(condition, what = () => String(condition), ms = WAIT_MS) {
  const deadline = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what()}`);
    await sleep(10);
  }
}

export const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

export const numbered = (count, start = 0) => Array.from({ length: count }, (_, number) => `message ${start + number}`);
