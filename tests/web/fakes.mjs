// A network in memory and a settable clock, for tests of when things happen.

import { mock } from "node:test";

import { Client } from "../../wsd/web/client.js";
import "../../wsd/web/transports/fallbacks.js";    // so that fetching it takes no time that is not set here

/** Time that passes only when told to; `wall` may be set apart from it, as a computer's clock can. */
export class Clock {
  constructor(t, random = 0.5) {
    this.now = 1_000_000;
    this.wall = 1_700_000_000_000;
    mock.timers.enable({ apis: ["setTimeout"] });
    mock.method(performance, "now", () => this.now);
    mock.method(Date, "now", () => this.wall);
    mock.method(Math, "random", () => random);
    t.after(() => { mock.timers.reset(); mock.restoreAll(); });
  }

  async pass(ms, step = 50) {
    for (let left = ms; left > 0; left -= step) {
      const part = Math.min(step, left);
      this.now += part;
      this.wall += part;
      mock.timers.tick(part);
      await settle();
    }
  }
}

/** Until every promise that can be kept is kept. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => { setImmediate(resolve); });
}

/** WebSockets and requests, which a test answers; newest last. */
export class Network {
  constructor() {
    this.sockets = [];
    this.requests = [];
    const network = this;
    this.WebSocket = class {
      constructor(url) {
        this.url = url;
        this.readyState = 0;
        this.sent = [];
        network.sockets.push(this);
      }

      send(text) { this.sent.push(JSON.parse(text)); }

      close() { this.readyState = 3; }

      /** What the server does. */
      open() { this.readyState = 1; this.onopen(); }

      say(...frames) { for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) }); }

      welcome(fields) { this.open(); this.say(welcome(fields)); return this; }

      fail(code = 1006, reason = "") { this.readyState = 3; this.onclose?.({ code, reason }); }
    };
    this.fetch = (url, { body, signal }) => new Promise((resolve, reject) => {
      const request = {
        path: new URL(url).pathname, body: JSON.parse(body), isAborted: false,
        answer: (frames, status = 200) => resolve(new Response(JSON.stringify(frames), { status })),
        fail: () => reject(new TypeError("network")),
      };
      signal.addEventListener("abort", () => { request.isAborted = true; reject(new DOMException("", "AbortError")); });
      this.requests.push(request);
    });
  }

  get socket() { return this.sockets.at(-1); }

  asked(path) { return this.requests.filter((request) => request.path === path); }
}

/** A client on such a network; `events` is what it told. */
export function connect(t, network, options = {}) {
  const client = new Client({
    url: "http://chat.example/", rooms: ["lobby"], transports: ["websocket", "poll"],
    WebSocket: network.WebSocket, fetch: network.fetch, ...options,
  });
  client.events = [];
  for (const type of ["state", "message", "reset", "join", "replayed", "edit", "delete", "error", "outbox"]) {
    client.on(type, (detail) => client.events.push([type, detail]));
  }
  t.after(() => client.close());
  client.connect();
  return client;
}

export function welcome({ position = "epoch.0", follows = 0, recovered = false, ...more } = {}) {
  return {
    type: "welcome", uid: "gann", token: "a token", name: "Ann", role: "guest", ping_s: 25,
    rooms: { lobby: { position, follows, recovered, online: 1, modes: {} } }, ...more,
  };
}

export const message = (seq, text = `text ${seq}`, uid = "gbo") => ({ type: "message", room: "lobby", seq, time: 1, uid, name: "Bo", text });

/** Stands in for a browser's document and window; gone with the test. */
export function makePage(t, names = ["localStorage", "sessionStorage"]) {
  const page = new EventTarget();
  page.visibilityState = "visible";
  globalThis.document = page;
  globalThis.addEventListener = page.addEventListener.bind(page);
  for (const name of names) globalThis[name] = makeStorage();
  t.after(() => { for (const name of ["document", "addEventListener", ...names]) delete globalThis[name]; });
  return {
    show() { page.visibilityState = "visible"; page.dispatchEvent(new Event("visibilitychange")); },
    hide() { page.visibilityState = "hidden"; page.dispatchEvent(new Event("visibilitychange")); },
    happen(type) { page.dispatchEvent(new Event(type)); },
  };
}

function makeStorage() {
  const items = new Map();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => { items.set(key, String(value)); },
  };
}
