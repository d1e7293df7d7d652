// The connection to wsd: one WebSocket that comes back by itself, the position in each room, and an
// outbox (outbox.js) that outlives both the connection and a reload. Knows nothing about the page that uses it.

/**
 * The public interface; everything else may change.
 *
 *     import { Client, ClientError } from "https://chat.example/static/client.js";
 *     const client = new Client({ rooms: ["lobby"] });    // further options: url, storageKey
 *     client.on("message", ({ room, message, cid }) => …); // `on` returns a function that ends it
 *     client.connect();
 *     client.say("lobby", "hi");                          // now, or as soon as there is a connection
 *
 * Life: `connect()`, `reconnectNow()`, `close()`. Rooms: `join(room)`, `leave(room)`, and `rooms`, a Map
 * from a name to {online, people, modes}. Oneself: `uid`, `name`, `role`, `rename(name)`. Talking:
 * `say(room, text, {reply_to})`, `outbox(room)`, `retry(cid)`, `discard(cid)`, `edit(room, seq, text)`,
 * `delete(room, seq)`, `history(room, before, limit)`, `typing(room)`; any other command of
 * docs/protocol.md with `request(command)`. What returns a promise rejects with a {@link ClientError}.
 *
 * Events, and their details:
 *
 * - `state`: {@link State}, also in `client.state`
 * - `identity`: {uid, name, role}
 * - `join`: {room, recovered, follows}; after every welcome and every join
 * - `reset`: {room, before}; what was shown is no longer connected to what comes: forget it. Events
 *   from `before` on follow
 * - `replayed`: {room, recovered}; the stored events that follow a join have all been given
 * - `message`: {room, message, replay, cid}; `cid` when it is the echo of our own `say`
 * - `edit`: {room, seq, text, replay} · `delete`: {room, seq, replay}; `seq` names the message
 * - `mode`: {room, modes} · `presence`: {room, online, people} · `typing`: {room, uid, name}
 * - `outbox`: {change, item, seq?, shown?, error?, retryAt?}; change is added, sending, waiting,
 *   sent, failed or removed
 * - `bye`: {code, reason} · `error`: {code, message, room}; an error that answers no request
 *
 * Each event of a room is given once and in the order of its `seq`, whatever happens to the connection.
 */

// How nothing is lost or shown twice (docs/protocol.md, positions). A room's stored events are numbered
// without holes. The position moves only to the next number: a lower one is a duplicate and is
// dropped, a higher one proves a hole, and then we join again from the position instead of showing
// what came after it. Asking twice is harmless in both directions: what arrives again is dropped
// here by its number, what is said again is dropped by the server by its `cid`.

import { Outbox, Store } from "./outbox.js";

const SUBPROTOCOL = "wsd.v1";
const OPEN_TIMEOUT_MS = 10_000;      // from connecting to `welcome`
const REPLY_TIMEOUT_MS = 15_000;
const PROBE_TIMEOUT_MS = 4_000;
const PROBE_AFTER_MS = 3_000;        // a connection heard from this recently needs no probe
const BACKOFF_BASE_MS = 500;
const BACKOFF_MAX_MS = 20_000;
const GOOD_AFTER_MS = 30_000;        // a connection that lived this long starts the back-off anew
const SILENCE_SLACK_MS = 10_000;     // beyond `ping_s`
const HIDDEN_SILENCE_MS = 70_000;    // browsers run the timers of hidden pages once a minute
const TYPING_EVERY_MS = 3_000;
const TYPING_UP_TO = 50;             // people online; above this nobody is told who types
const REJOIN_EVERY_MS = 1_000;
const OUTBOX_MAX = 100;

/** Errors after which the same message may be sent again; every other one is final. */
const RETRYABLE = new Set(["rate", "busy", "storage", "timeout", "disconnected"]);

/**
 * @typedef {"idle"|"connecting"|"online"|"waiting"|"stopped"} Status
 *
 * @typedef {object} State
 * @property {Status} status
 * @property {number} [retryAt]  when `waiting` ends (milliseconds, as Date.now)
 * @property {number} [code]     close code, when `stopped`
 * @property {string} [reason]   the server's name for it, when it gave one
 *
 * @typedef {object} Message
 * @property {number} seq
 * @property {number} time       seconds since 1970
 * @property {string} uid
 * @property {string} name
 * @property {string} [role]
 * @property {string} text
 * @property {number} [reply_to]
 * @property {boolean} [edited]
 * @property {boolean} [deleted]
 *
 * @typedef {import("./outbox.js").OutboxItem} OutboxItem
 */

/** What the server answered instead of `ok`, or why there was no answer (`timeout`, `disconnected`). */
export class ClientError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {number} [retryMs]
   */
  constructor(code, message = code, retryMs = undefined) {
    super(message);
    this.name = "ClientError";
    this.code = code;
    this.retryMs = retryMs;
  }
}

/** Where this client stands in one room, and what is known about the room. */
class Room {
  /** @param {string} name */
  constructor(name) {
    this.name = name;
    /** @type {string|null} the life of the log that `seq` counts in; null: never joined */
    this.epoch = null;
    this.seq = 0;
    this.target = 0;              // replaying until seq reaches it
    this.replaying = false;
    this.recovered = false;       // whether the replay in progress is only what we missed
    this.online = 0;
    /** @type {Map<string, string>} uid to name; may be incomplete in a large room */
    this.people = new Map();
    /** @type {Record<string, unknown>} */
    this.modes = {};

    this.joining = false;
    this.joinedAt = 0;
    this.seqAtPing = -1;
    this.typingAt = 0;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.rejoinTimer = undefined;

    /** @type {OutboxItem|null} the one `say` that waits for its answer */
    this.inFlight = null;
    /** @type {number|undefined} seq of an event taken for the echo of `inFlight` */
    this.echoSeq = undefined;
    /** @type {Map<number, string>} seq to cid: answered, but the event has not come yet */
    this.answered = new Map();
    /** @type {ReturnType<typeof setTimeout>|undefined} set while the server told us to wait */
    this.holdTimer = undefined;
  }

  /** @returns {string|null} */
  get position() {
    return this.epoch === null ? null : `${this.epoch}.${this.seq}`;
  }
}

/** @param {number} code close codes that mean: do not come back */
function meansStayAway(code) {
  return (code >= 3500 && code <= 3999) || (code >= 4500 && code <= 4999);
}

/** @param {string} position @returns {[string, number]} */
function splitPosition(position) {
  const dot = position.lastIndexOf(".");
  return [position.slice(0, dot), Number(position.slice(dot + 1))];
}

function isHidden() {
  return globalThis.document?.visibilityState === "hidden";
}

/** See the head of this file. */
export class Client extends EventTarget {
  /**
   * @param {object} options
   * @param {string|URL} [options.url]    the daemon's address; by default where this file came from
   * @param {string[]} options.rooms
   * @param {string} [options.storageKey] prefix in localStorage and sessionStorage
   * @param {typeof WebSocket} [options.WebSocket]
   */
  constructor({ url = new URL("..", import.meta.url), rooms, storageKey = "wsd", WebSocket = globalThis.WebSocket }) {
    super();
    this.uid = "";
    this.name = "";
    this.role = "guest";
    /** @type {Map<string, Room>} */
    this.rooms = new Map(rooms.map((name) => [name, new Room(name)]));
    /** @type {State} */
    this.state = { status: "idle" };

    this.#url = new URL(url);
    this.#WebSocket = WebSocket;
    this.#identity = new Store("localStorage", `${storageKey}.identity`);
    this.#outbox = new Outbox(new Store("sessionStorage", `${storageKey}.outbox`));
    this.name = this.#identity.read()?.name ?? "";
  }

  #url;
  #WebSocket;
  #identity;
  #outbox;

  /** @type {WebSocket|null} */
  #socket = null;
  #welcomed = false;
  #lastId = 0;
  /** @type {Map<number, {resolve: (reply: any) => void, reject: (error: ClientError) => void, timer: ReturnType<typeof setTimeout>}>} */
  #requests = new Map();
  /** @type {string|null} a name chosen while there was no connection */
  #wantedName = null;
  #helloRefusals = 0;

  #attempts = 0;
  #welcomedAt = 0;
  /** @type {[number, number]|null} the server's wish for the next return, from `bye` */
  #returnWindow = null;
  #byeCode = 0;
  #byeReason = "";
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #retryTimer;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #openTimer;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #silenceTimer;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #probeTimer;
  #pingMs = 25_000;
  #heardAt = 0;
  /** @type {AbortController|null} removes the wake-up listeners */
  #listening = null;

  // ---------------------------------------------------------------- what the page calls

  /** Connects, and from then on comes back by itself until {@link close}. */
  connect() {
    if (!this.#listening) this.#listenForWake();
    if (this.#socket) return;
    this.#attempts = 0;
    this.#open();
  }

  /** Connects at once instead of waiting for the next attempt. */
  reconnectNow() {
    if (this.state.status === "waiting" || this.state.status === "stopped") this.#open();
  }

  /**
   * Calls `handler` with the detail of every event of this type.
   * @param {string} type
   * @param {(detail: any) => void} handler
   * @returns {() => void} ends it
   */
  on(type, handler) {
    const listener = (/** @type {Event} */ event) => handler(/** @type {CustomEvent} */ (event).detail);
    this.addEventListener(type, listener);
    return () => this.removeEventListener(type, listener);
  }

  /** Enters one more room, now if connected. @param {string} name */
  join(name) {
    if (this.rooms.has(name)) return;
    const room = new Room(name);
    this.rooms.set(name, room);
    this.#rejoin(room);
  }

  /** Leaves a room. What was said there and has no answer is kept for when it is joined again. @param {string} name */
  leave(name) {
    const room = this.rooms.get(name);
    if (!room) return;
    this.rooms.delete(name);
    clearTimeout(room.rejoinTimer);
    clearTimeout(room.holdTimer);
    this.request({ type: "leave", room: name }).catch(() => {});    // gone with the connection as well
  }

  close() {
    this.#listening?.abort();
    this.#listening = null;
    this.#letGo();
    this.#setState({ status: "idle" });
  }

  /**
   * Says something: now if possible, else as soon as it is.
   * @param {string} room
   * @param {string} text
   * @param {{reply_to?: number}} [options]
   * @returns {OutboxItem|null} null when too much is waiting already
   */
  say(room, text, { reply_to } = {}) {
    if (this.#outbox.items.length >= OUTBOX_MAX) return null;
    /** @type {OutboxItem} */
    const item = { cid: this.#outbox.nextCid(), room, text, time: Date.now() / 1000, status: "queued" };
    if (reply_to !== undefined) item.reply_to = reply_to;
    this.#outbox.add(item);
    this.#emit("outbox", { change: "added", item });
    this.#sendNext(this.rooms.get(room));
    return item;
  }

  /** @param {string} room @returns {readonly OutboxItem[]} */
  outbox(room) { return this.#outbox.items.filter((item) => item.room === room); }

  /** Sends a failed item again, in its old place. @param {string} cid */
  retry(cid) {
    const item = this.#outbox.find(cid);
    if (item?.status !== "failed") return;
    item.status = "queued";
    delete item.error;
    this.#outbox.save();
    this.#emit("outbox", { change: "added", item });
    this.#sendNext(this.rooms.get(item.room));
  }

  /** Gives up on an item. @param {string} cid */
  discard(cid) {
    const item = this.#outbox.find(cid);
    if (!item) return;
    this.#outbox.remove(cid);
    this.#emit("outbox", { change: "removed", item });
  }

  /** @param {string} room @param {number} seq @param {string} text */
  edit(room, seq, text) { return this.request({ type: "edit", room, seq, text }); }

  /** @param {string} room @param {number} seq */
  delete(room, seq) { return this.request({ type: "delete", room, seq }); }

  /**
   * Without a connection the name is kept and asked for with the next `hello`.
   * @param {string} name
   * @returns {Promise<void>}
   */
  async rename(name) {
    if (!this.#welcomed) {
      this.#wantedName = name;
      this.#setIdentity({ name });
      return;
    }
    const reply = await this.request({ type: "rename", name });
    this.#setIdentity({ token: reply.token, name: reply.name ?? name });
  }

  /**
   * A page of what was said before `before`, oldest first.
   * @param {string} room
   * @param {number} before
   * @param {number} [limit]
   * @returns {Promise<{messages: Message[], more: boolean}>}
   */
  async history(room, before, limit = 50) {
    const reply = await this.request({ type: "history", room, before, limit });
    const known = this.rooms.get(room);
    // Another epoch: these numbers belong to another log. Joining again ends in a `reset`.
    if (known && reply.epoch && reply.epoch !== known.epoch) {
      this.#rejoin(known);
      throw new ClientError("disconnected");
    }
    return { messages: reply.messages ?? [], more: Boolean(reply.more) };
  }

  /** Tells the others that this guest is writing; may be called for every key. @param {string} room */
  typing(room) {
    const known = this.rooms.get(room);
    if (!known || !this.#welcomed || known.online > TYPING_UP_TO) return;
    if (Date.now() - known.typingAt < TYPING_EVERY_MS) return;
    known.typingAt = Date.now();
    this.#send({ type: "typing", room });
  }

  /**
   * Sends a command and waits for its answer.
   * @param {Record<string, unknown>} command without `id`
   * @param {number} [timeoutMs]
   * @returns {Promise<any>} rejects with a {@link ClientError}
   */
  request(command, timeoutMs = REPLY_TIMEOUT_MS) {
    if (!this.#socket || (!this.#welcomed && command.type !== "hello")) {
      return Promise.reject(new ClientError("disconnected"));
    }
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#requests.delete(id);
        reject(new ClientError("timeout"));
      }, timeoutMs);
      this.#requests.set(id, { resolve, reject, timer });
      this.#send({ ...command, id });
    });
  }

  // ---------------------------------------------------------------- opening, losing, coming back

  #open() {
    this.#letGo();
    this.#setState({ status: "connecting" });
    const address = new URL("chat", this.#url);
    address.protocol = this.#url.protocol === "https:" || this.#url.protocol === "wss:" ? "wss:" : "ws:";
    const [first] = this.rooms.keys();
    if (first !== undefined) address.searchParams.set("room", first);

    let socket;
    try {
      socket = new this.#WebSocket(address.href, SUBPROTOCOL);
    } catch {
      this.#lost(1006, "");    // refused by the browser, by a policy for instance
      return;
    }
    this.#socket = socket;
    this.#openTimer = setTimeout(() => this.#lost(1006, ""), OPEN_TIMEOUT_MS);
    socket.onopen = () => this.#hello();
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#lost(event.code, event.reason);
  }

  /** Drops the connection, if there is one, and everything that waits for it. */
  #letGo() {
    for (const timer of [this.#retryTimer, this.#openTimer, this.#silenceTimer, this.#probeTimer]) clearTimeout(timer);
    this.#probeTimer = undefined;
    const socket = this.#socket;
    this.#socket = null;
    this.#welcomed = false;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    for (const room of this.rooms.values()) {
      clearTimeout(room.rejoinTimer);
      room.rejoinTimer = undefined;
      room.joining = false;
    }
    const waiting = [...this.#requests.values()];
    this.#requests.clear();
    for (const { reject, timer } of waiting) {
      clearTimeout(timer);
      reject(new ClientError("disconnected"));
    }
  }

  /** @param {number} code @param {string} reason */
  #lost(code, reason) {
    const wasGood = this.#welcomed && Date.now() - this.#welcomedAt >= GOOD_AFTER_MS;
    this.#letGo();
    const byeCode = this.#byeCode;
    const why = reason || this.#byeReason;
    this.#byeCode = 0;
    this.#byeReason = "";
    if (meansStayAway(code) || meansStayAway(byeCode)) {
      this.#setState({ status: "stopped", code: meansStayAway(code) ? code : byeCode, reason: why });
      return;
    }
    if (wasGood) this.#attempts = 0;
    this.#comeBackIn(this.#nextDelay());
  }

  // Full jitter: anywhere between at once and the ceiling, so that a thousand clients that lost the
  // same server spread out. A server that said goodbye knows better how long it needs.
  #nextDelay() {
    if (this.#returnWindow) {
      const [from, to] = this.#returnWindow;
      this.#returnWindow = null;
      return from + Math.random() * Math.max(0, to - from);
    }
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    return Math.random() * ceiling;
  }

  /** @param {number} delayMs */
  #comeBackIn(delayMs) {
    this.#setState({ status: "waiting", retryAt: Date.now() + delayMs });
    this.#retryTimer = setTimeout(() => this.#open(), delayMs);
  }

  async #hello() {
    const kept = this.#identity.read() ?? {};    // read every time: another tab may have renamed us
    const rooms = Object.fromEntries([...this.rooms.values()].map((room) => [room.name, room.position]));
    /** @type {Record<string, unknown>} */
    const hello = { type: "hello", rooms };
    if (kept.token) hello.token = kept.token;
    const name = this.#wantedName ?? kept.name;
    if (name) hello.name = name;
    try {
      await this.request(hello, OPEN_TIMEOUT_MS);    // `welcome` itself is handled in #receive
    } catch (error) {
      if (error instanceof ClientError) this.#helloRefused(error);
    }
  }

  // A refused token or name is given up once each; the rest is for later or for good.
  /** @param {ClientError} error */
  #helloRefused(error) {
    if (error.code === "disconnected" || error.code === "timeout") return;    // #lost acts
    const kept = this.#identity.read() ?? {};
    this.#helloRefusals += 1;
    if (this.#helloRefusals <= 2 && (error.code === "name_taken" || error.code === "name_bad")) {
      this.#wantedName = null;
      this.#identity.write({ token: kept.token });
      this.#emit("error", { code: error.code, message: error.message });
      this.#hello();
    } else if (this.#helloRefusals <= 2 && error.code === "auth") {
      this.#identity.write({ name: kept.name });
      this.#hello();
    } else if (RETRYABLE.has(error.code)) {
      this.#letGo();
      this.#comeBackIn(Math.max(error.retryMs ?? 0, this.#nextDelay()));
    } else {
      this.#letGo();
      this.#setState({ status: "stopped", reason: error.code });
    }
  }

  /** @param {any} welcome */
  #welcome(welcome) {
    clearTimeout(this.#openTimer);
    this.#welcomed = true;
    this.#welcomedAt = Date.now();
    this.#helloRefusals = 0;
    this.#wantedName = null;
    this.#returnWindow = null;
    this.uid = welcome.uid;
    this.role = welcome.role ?? "guest";
    if (welcome.ping_s > 0) this.#pingMs = welcome.ping_s * 1000;
    this.#setIdentity({ token: welcome.token, name: welcome.name });
    this.#setState({ status: "online" });
    this.#watchSilence();
    for (const room of this.rooms.values()) {
      const joined = welcome.rooms?.[room.name];
      if (joined) this.#joined(room, joined);
      else this.#emit("error", { code: "unknown_room", message: "", room: room.name });
    }
    for (const room of this.rooms.values()) this.#sendNext(room);
  }

  // ---------------------------------------------------------------- is anybody there?

  // Frames only note the time; one timer looks at it. A busy room would otherwise set and clear a
  // timer for every message.
  #watchSilence() {
    clearTimeout(this.#silenceTimer);
    const left = this.#silenceLimitMs() - this.#silentForMs();
    this.#silenceTimer = setTimeout(() => {
      if (this.#silentForMs() >= this.#silenceLimitMs()) this.#lost(1006, "");
      else this.#watchSilence();
    }, Math.max(0, left));
  }

  #silenceLimitMs() {
    const limit = this.#pingMs + SILENCE_SLACK_MS;
    return isHidden() ? Math.max(limit, HIDDEN_SILENCE_MS) : limit;
  }

  // Date.now, not performance.now: the latter may stand still while the machine sleeps. A clock that
  // was set back only makes the next frame count as the first one.
  #silentForMs() {
    const silent = Date.now() - this.#heardAt;
    return silent < 0 ? 0 : silent;
  }

  #listenForWake() {
    const listening = new AbortController();
    this.#listening = listening;
    const wake = () => { if (!isHidden()) this.#wake(); };
    const { signal } = listening;
    globalThis.addEventListener?.("online", wake, { signal });
    globalThis.addEventListener?.("pageshow", wake, { signal });
    globalThis.document?.addEventListener("visibilitychange", wake, { signal });
    globalThis.document?.addEventListener("resume", wake, { signal });
  }

  // The machine slept, the network changed or the page was frozen: the socket may look open and be
  // dead. A timer that should have told us was asleep as well, so look now.
  #wake() {
    if (this.state.status === "waiting") { this.#open(); return; }
    if (!this.#welcomed) return;
    if (this.#silentForMs() >= this.#pingMs + SILENCE_SLACK_MS) {
      this.#lost(1006, "");
      this.reconnectNow();
      return;
    }
    this.#watchSilence();
    if (this.#silentForMs() >= PROBE_AFTER_MS) this.#probe();
  }

  // The answer does not matter, that any frame comes does (#receive ends the probe).
  #probe() {
    if (this.#probeTimer !== undefined) return;
    const [room] = this.rooms.values();
    if (!room) return;
    this.#probeTimer = setTimeout(() => { this.#lost(1006, ""); this.reconnectNow(); }, PROBE_TIMEOUT_MS);
    this.request({ type: "history", room: room.name, before: room.seq + 1, limit: 1 }).catch(() => {});
  }

  // ---------------------------------------------------------------- frames

  /** @param {Record<string, unknown>} command */
  #send(command) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(command));
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#heardAt = Date.now();
    clearTimeout(this.#probeTimer);
    this.#probeTimer = undefined;
    let frame;
    try { frame = JSON.parse(/** @type {string} */ (data)); } catch { return; }
    if (frame === null || typeof frame !== "object") return;
    if (frame.type === "welcome") this.#welcome(frame);
    if (this.#answer(frame)) return;
    const room = this.rooms.get(frame.room);
    switch (frame.type) {
      case "message": case "edit": case "delete": case "mode":
        if (room) this.#stored(room, frame);
        break;
      case "presence": if (room) this.#presence(room, frame); break;
      case "typing":
        if (room && frame.uid !== this.uid && room.online <= TYPING_UP_TO) {
          this.#emit("typing", { room: room.name, uid: frame.uid, name: room.people.get(frame.uid) });
        }
        break;
      case "ping": this.#compareHeads(frame.heads ?? {}); break;
      case "bye": this.#bye(frame); break;
      case "error": this.#emit("error", { code: frame.code, message: frame.message, room: frame.room }); break;
      default: break;    // newer than we are
    }
  }

  /** @param {any} frame @returns {boolean} whether it was the answer to a request */
  #answer(frame) {
    const request = this.#requests.get(frame.id);
    if (!request) return false;
    this.#requests.delete(frame.id);
    clearTimeout(request.timer);
    if (frame.type === "error") request.reject(new ClientError(frame.code, frame.message, frame.retry_ms));
    else request.resolve(frame);
    return true;
  }

  /** @param {any} bye the server closes the connection itself, when it is this connection's turn */
  #bye(bye) {
    this.#byeCode = bye.code ?? 0;
    this.#byeReason = bye.reason ?? "";
    if (Array.isArray(bye.retry_ms)) this.#returnWindow = [bye.retry_ms[0] ?? 0, bye.retry_ms[1] ?? 0];
    this.#emit("bye", { code: this.#byeCode, reason: this.#byeReason });
  }

  // ---------------------------------------------------------------- the position

  /** @param {Room} room @param {any} joined from `welcome` or the answer to `join` */
  #joined(room, joined) {
    const [epoch, head] = splitPosition(joined.position);
    const follows = joined.follows ?? 0;
    room.joining = false;
    room.joinedAt = Date.now();
    room.recovered = Boolean(joined.recovered) && room.epoch === epoch;
    if (!room.recovered) {
      room.epoch = epoch;
      room.seq = head - follows;
      room.answered.clear();
      this.#emit("reset", { room: room.name, before: room.seq + 1 });
    }
    room.target = head;
    room.replaying = true;
    if (joined.online !== undefined) room.online = joined.online;
    this.#emit("join", { room: room.name, recovered: room.recovered, follows });
    this.#emit("presence", { room: room.name, online: room.online, people: room.people });
    this.#setModes(room, joined.modes ?? {});
    this.#maybeReplayed(room);
  }

  /** @param {Room} room @param {any} event */
  #stored(room, event) {
    if (room.epoch === null || event.seq <= room.seq) return;
    if (event.seq > room.seq + 1) { this.#rejoin(room); return; }
    room.seq = event.seq;
    this.#deliver(room, event);
    this.#maybeReplayed(room);
  }

  /** @param {Room} room @param {any} event */
  #deliver(room, event) {
    const detail = { room: room.name, replay: room.replaying };
    switch (event.type) {
      case "message": this.#emit("message", { ...detail, message: event, cid: this.#echoOf(room, event) }); break;
      case "edit": this.#emit("edit", { ...detail, seq: event.ref, text: event.text }); break;
      case "delete": this.#emit("delete", { ...detail, seq: event.ref }); break;
      case "mode": this.#setModes(room, event.modes ?? {}); break;
    }
  }

  /** @param {Room} room */
  #maybeReplayed(room) {
    if (!room.replaying || room.seq < room.target) return;
    room.replaying = false;
    this.#emit("replayed", { room: room.name, recovered: room.recovered });
  }

  // A hole that the server does not fill would make us ask as fast as the line allows, hence the pause.
  /** @param {Room} room */
  #rejoin(room) {
    if (room.joining || room.rejoinTimer !== undefined || !this.#welcomed) return;
    const wait = room.joinedAt + REJOIN_EVERY_MS - Date.now();
    if (wait > 0 && wait <= REJOIN_EVERY_MS) { this.#rejoinIn(room, wait); return; }
    room.joining = true;
    this.request({ type: "join", room: room.name, after: room.position }).then(
      (reply) => this.#joined(room, reply),
      (error) => {
        room.joining = false;
        if (error.code === "disconnected") return;
        if (error.code === "timeout") this.#lost(1006, "");
        else if (RETRYABLE.has(error.code)) this.#rejoinIn(room, error.retryMs ?? REJOIN_EVERY_MS);
        else this.#emit("error", { code: error.code, message: error.message, room: room.name });
      },
    );
  }

  /** @param {Room} room @param {number} waitMs */
  #rejoinIn(room, waitMs) {
    room.rejoinTimer = setTimeout(() => { room.rejoinTimer = undefined; this.#rejoin(room); }, waitMs);
  }

  // A head above our position is an event that never came. While a replay is on its way that is
  // normal, unless nothing of it arrived since the last ping.
  /** @param {Record<string, number>} heads */
  #compareHeads(heads) {
    for (const room of this.rooms.values()) {
      const stuck = !room.replaying || room.seq === room.seqAtPing;
      room.seqAtPing = room.seq;
      if (room.epoch !== null && heads[room.name] > room.seq && stuck) this.#rejoin(room);
    }
  }

  // ---------------------------------------------------------------- who and how

  /** @param {Room} room @param {any} event */
  #presence(room, event) {
    room.online = event.online ?? room.online;
    if (event.full) room.people.clear();
    for (const uid of event.left ?? []) room.people.delete(uid);
    for (const [uid, name] of event.joined ?? []) {
      room.people.set(uid, name);
      // Renamed in another tab. The token there is newer than ours; storage already has it.
      if (uid === this.uid && name !== this.name) this.#setIdentity({ name });
    }
    this.#emit("presence", { room: room.name, online: room.online, people: room.people });
  }

  /** @param {Room} room @param {Record<string, unknown>} modes */
  #setModes(room, modes) {
    room.modes = modes;
    this.#emit("mode", { room: room.name, modes });
  }

  /** @param {{token?: string, name?: string}} change */
  #setIdentity({ token, name }) {
    const kept = this.#identity.read() ?? {};
    this.name = name || this.name;
    this.#identity.write({ token: token || kept.token, name: this.name });
    this.#emit("identity", { uid: this.uid, name: this.name, role: this.role });
  }

  // ---------------------------------------------------------------- the outbox

  // One `say` per room is under way at a time: if two were and the first met `rate`, the second could
  // overtake it.
  /** @param {Room|undefined} room */
  #sendNext(room) {
    if (!room || !this.#welcomed || room.inFlight || room.holdTimer !== undefined) return;
    const item = this.#outbox.head(room.name);
    if (!item) return;
    item.status = "sent";
    room.inFlight = item;
    room.echoSeq = undefined;
    this.#outbox.save();
    this.#emit("outbox", { change: "sending", item });
    const { cid, text, reply_to } = item;
    this.request({ type: "say", room: room.name, text, cid, ...(reply_to !== undefined && { reply_to }) }).then(
      (ok) => this.#said(room, item, ok.seq),
      (error) => this.#notSaid(room, item, error),
    );
  }

  /** @param {Room} room @param {OutboxItem} item @param {number} seq */
  #said(room, item, seq) {
    room.inFlight = null;
    this.#outbox.remove(item.cid);
    const came = seq <= room.seq;    // the event overtook its answer, or this was a repetition
    if (!came) room.answered.set(seq, item.cid);
    this.#emit("outbox", { change: "sent", item, seq, shown: came });
    this.#sendNext(room);
  }

  /** @param {Room} room @param {OutboxItem} item @param {ClientError} error */
  #notSaid(room, item, error) {
    room.inFlight = null;
    if (!this.#outbox.find(item.cid)) { this.#sendNext(room); return; }    // discarded meanwhile
    if (!RETRYABLE.has(error.code)) {
      item.status = "failed";
      item.error = { code: error.code, message: error.message };
      this.#outbox.save();
      this.#emit("outbox", { change: "failed", item, error });
      this.#sendNext(room);
      return;
    }
    item.status = "queued";
    this.#outbox.save();
    if (error.code === "disconnected") {    // `welcome` goes on
      this.#emit("outbox", { change: "waiting", item, error });
      return;
    }
    const waitMs = error.retryMs ?? (error.code === "timeout" ? 0 : 1000 + Math.random() * 1000);
    room.holdTimer = setTimeout(() => { room.holdTimer = undefined; this.#sendNext(room); }, waitMs);
    this.#emit("outbox", { change: "waiting", item, error, retryAt: Date.now() + waitMs });
  }

  // Which of our own `say` this message is. Its answer says so for sure, but the event may come first;
  // then the text tells. A wrong guess (the same words from our other tab) mends itself: the answer
  // names another seq, and that event is shown as well. An old message from a newcomer's replay is
  // never taken for an answer.
  /** @param {Room} room @param {Message} message @returns {string|undefined} */
  #echoOf(room, message) {
    if (message.uid !== this.uid) return undefined;
    const cid = room.answered.get(message.seq);
    if (cid !== undefined) {
      room.answered.delete(message.seq);
      return cid;
    }
    const waiting = room.inFlight;
    if (!waiting || room.echoSeq !== undefined || waiting.text.trim() !== message.text.trim()) return undefined;
    if (room.replaying && !room.recovered) return undefined;
    room.echoSeq = message.seq;
    return waiting.cid;
  }

  /** @param {string} type @param {unknown} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @param {State} state */
  #setState(state) {
    this.state = state;
    this.#emit("state", state);
  }
}
