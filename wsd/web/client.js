// The client library: what a page calls, and what it is told. Knows nothing about the page that uses it.
//
// Its parts: connection.js (losing, coming back) on top of race.js (which transport) and transports/;
// room.js (positions); speaker.js and outbox.js (what is said); identity.js. docs/client.md has the whole.

/**
 * The public interface; everything else may change.
 *
 *     import { Client, ClientError } from "https://chat.example/static/client.js";
 *     const client = new Client({ rooms: ["lobby"] });    // more options: see the constructor
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
 * - `reset`: {room, before, isOther}; what was shown is no longer connected to what comes: forget it. Events
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

import { ClientError, Connection, RETRYABLE } from "./connection.js";
import { Identity } from "./identity.js";
import { Outbox, Store } from "./outbox.js";
import { Room } from "./room.js";

export { ClientError };

const TYPING_EVERY_MS = 3_000;
const TYPING_UP_TO = 50;             // people online; above this nobody is told who types
const REJOIN_AFTER_MS = 1_000;
const OUTBOX_MAX = 100;

/** @type {Kind[]} */
const KINDS = ["websocket", "stream", "poll"];

/**
 * @typedef {import("./connection.js").State} State
 * @typedef {import("./connection.js").Frame} Frame
 * @typedef {import("./connection.js").Kind} Kind
 * @typedef {import("./outbox.js").OutboxItem} OutboxItem
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
 */

/** A room, as the server writes it. @param {string} name */
const nfc = (name) => name.normalize("NFC");

/** What a room has among the server's, who may call it "constructor". @template T @param {Record<string, T>|undefined} entries @param {string} room */
function ownOf(entries, room) { return entries && Object.hasOwn(entries, room) ? entries[room] : undefined; }

/** See the head of this file. */
export class Client extends EventTarget {
  /**
   * @param {object} options
   * @param {string|URL} [options.url]    the daemon's address; by default where this file came from
   * @param {string[]} options.rooms
   * @param {string} [options.storageKey] prefix in localStorage and sessionStorage
   * @param {Kind[]} [options.transports] that may be used, the best first
   * @param {typeof globalThis.WebSocket} [options.WebSocket]
   * @param {typeof globalThis.fetch} [options.fetch]
   */
  constructor({
    url = import.meta.url.replace(/\/static\/.*$/, "/"), rooms, storageKey = "wsd", transports = KINDS,
    WebSocket = globalThis.WebSocket, fetch = globalThis.fetch,
  }) {
    super();
    this.#storageKey = storageKey;
    this.#identity = new Identity(this.#store("identity"), () => this.#tellIdentity());
    this.#outbox = new Outbox(new Store("sessionStorage", `${storageKey}.outbox`));
    /** @type {Map<string, Room>} */
    this.rooms = new Map(rooms.map(nfc).map((name) => [name, this.#makeRoom(name)]));
    const canStream = typeof globalThis.ReadableStream === "function";
    const kinds = transports.filter((kind) => (kind !== "websocket" || WebSocket) && (kind !== "stream" || canStream));
    const means = { base: new URL(url), WebSocket, fetch: (/** @type {[any, any]} */ ...given) => fetch(...given) };
    this.#connection = new Connection(
      {
        hello: () => this.#hello(),
        token: () => this.#identity.token(),
        welcomed: (welcome, isNew) => this.#welcomed(welcome, isNew),
        received: (frame) => this.#received(frame),
        mend: (error) => this.#mend(error),
        changed: (state) => this.#changed(state),
      },
      means, kinds.length ? kinds : ["poll"], this.#store("transport"),
    );
  }

  #storageKey;
  #identity;
  #outbox;
  #connection;
  /** @type {AbortController|null} */
  #listening = null;
  /** @type {Map<string, number>} */
  #typedAt = new Map();
  /** @type {WeakSet<Room>} missing in a welcome, and asked for since */
  #sought = new WeakSet();

  get uid() { return this.#identity.uid; }

  get name() { return this.#identity.name; }

  get role() { return this.#identity.role; }

  get state() { return this.#connection.state; }

  // ---------------------------------------------------------------- what the page calls

  /** Connects, and from then on comes back by itself until {@link close}. */
  connect() {
    if (!this.#listening) {
      this.#listening = new AbortController();
      const { signal } = this.#listening;
      globalThis.addEventListener?.("storage", () => this.#identity.look(), { signal });
    }
    this.#connection.open();
  }

  /** Connects at once instead of waiting for the next attempt. */
  reconnectNow() { this.#connection.reopen(); }

  close() {
    this.#listening?.abort();
    this.#listening = null;
    this.#connection.close();
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
    name = nfc(name);
    if (this.rooms.has(name)) return;
    const room = this.#makeRoom(name);
    this.rooms.set(name, room);
    room.rejoin();
  }

  /** Leaves a room. What was said there and has no answer is kept for when it is joined again. @param {string} name */
  leave(name) {
    name = nfc(name);
    const room = this.rooms.get(name);
    if (!room) return;
    this.rooms.delete(name);
    room.left();
    if (this.#connection.isOnline && !this.#connection.again()) {
      this.request({ type: "leave", room: name }).catch(() => {});    // gone with the connection as well
    }
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
    const item = { cid: this.#outbox.nextCid(), room: nfc(room), text, time: Date.now() / 1000, status: "queued" };
    if (reply_to !== undefined) item.reply_to = reply_to;
    this.#outbox.add(item);
    this.#queued(item);
    return item;
  }

  /** @param {string} room @returns {readonly OutboxItem[]} */
  outbox(room) { return this.#outbox.items.filter((item) => item.room === nfc(room)); }

  /** Sends a failed item again, in its old place. @param {string} cid */
  retry(cid) {
    const item = this.#outbox.find(cid);
    if (item?.status !== "failed") return;
    item.status = "queued";
    delete item.error;
    this.#outbox.save();
    this.#queued(item);
  }

  /** @param {OutboxItem} item */
  #queued(item) {
    this.#emit("outbox", { change: "added", item });
    this.rooms.get(item.room)?.speaker.next();
  }

  /** Gives up on an item. @param {string} cid */
  discard(cid) {
    const item = this.#outbox.find(cid);
    if (!item) return;
    this.#outbox.remove(cid);
    this.#emit("outbox", { change: "removed", item });
  }

  /** @param {string} room @param {number} seq @param {string} text */
  edit(room, seq, text) { return this.request({ type: "edit", room, seq, text, cid: this.#outbox.nextCid() }); }

  /** @param {string} room @param {number} seq */
  delete(room, seq) { return this.request({ type: "delete", room, seq, cid: this.#outbox.nextCid() }); }

  /**
   * Without a connection the name is kept and asked for with the next `hello`.
   * @param {string} name
   * @returns {Promise<void>}
   */
  async rename(name) {
    if (!this.#connection.isOnline) { this.#identity.want(name); return; }
    const reply = await this.request({ type: "rename", name });
    this.#identity.set({ token: reply.token, name: reply.name ?? name });
    this.#connection.again();    // a stream or poll may be with another worker, which learns it this way
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
    const known = this.rooms.get(nfc(room));
    // These numbers belong to another log than ours. Joining again ends in a `reset`.
    if (known?.isOtherEpoch(reply.epoch)) {
      known.rejoin();
      throw new ClientError("disconnected");
    }
    return { messages: reply.messages ?? [], more: Boolean(reply.more) };
  }

  /** Tells the others that this guest is writing; may be called for every key. @param {string} room */
  typing(room) {
    room = nfc(room);
    const known = this.rooms.get(room);
    if (!known || known.online > TYPING_UP_TO) return;
    const now = performance.now();
    if (now - (this.#typedAt.get(room) ?? -TYPING_EVERY_MS) < TYPING_EVERY_MS) return;
    this.#typedAt.set(room, now);
    this.#connection.send({ type: "typing", room });
  }

  /**
   * Sends a command and waits for its answer.
   * @param {Record<string, unknown>} command without `id`
   * @param {number} [timeoutMs]
   * @returns {Promise<any>} rejects with a {@link ClientError}
   */
  request(command, timeoutMs) { return this.#connection.request(command, timeoutMs); }

  // ---------------------------------------------------------------- the connection's owner

  /** @returns {import("./connection.js").Hello} */
  #hello() {
    const rooms = Object.fromEntries([...this.rooms.values()].map((room) => [room.name, room.position]));
    return { type: "hello", ...this.#identity.introduce(), rooms };
  }

  /** @param {Frame} welcome @param {boolean} isNew */
  #welcomed(welcome, isNew) {
    if (!this.#identity.welcomed(welcome)) { this.#connection.replace(); return; }
    for (const room of this.rooms.values()) {
      const entry = ownOf(welcome.rooms, room.name);
      if (entry) room.joined(entry, !isNew);
      else this.#missing(room, isNew);
      room.speaker.next();
    }
  }

  // It was entered after this hello had been said: so it is asked for. If the server does not have it,
  // the answer says so, or the next welcome where rooms are entered by a hello.
  /** @param {Room} room @param {boolean} isNew */
  #missing(room, isNew) {
    if (!isNew && this.#sought.delete(room)) this.#emit("error", { code: "unknown_room", message: "", room: room.name });
    if (!isNew) return;
    this.#sought.add(room);
    room.rejoin();
  }

  /** @param {ClientError} error @returns {boolean} */
  #mend(error) {
    const isName = error.code === "name_taken" || error.code === "name_bad";
    if (!this.#identity.giveUp(error.code)) return false;
    if (isName) this.#emit("error", { code: error.code, message: error.message });
    return true;
  }

  /** @param {State} state */
  #changed(state) {
    if (state.status !== "online") for (const room of this.rooms.values()) room.disconnected();
    this.#emit("state", state);
  }

  /** @param {Frame} frame */
  #received(frame) {
    const room = this.rooms.get(frame.room);
    switch (frame.type) {
      case "message": case "edit": case "delete": case "mode": room?.stored(frame); break;
      case "presence": if (room) this.#presence(room, frame); break;
      case "typing":
        if (room && frame.uid !== this.uid && room.online <= TYPING_UP_TO) {
          this.#emit("typing", { room: room.name, uid: frame.uid, name: room.people.get(frame.uid) });
        }
        break;
      case "ping": for (const each of this.rooms.values()) each.compareHead(ownOf(frame.heads, each.name)); break;
      case "bye": this.#emit("bye", { code: frame.code, reason: frame.reason }); break;
      case "error": this.#emit("error", { code: frame.code, message: frame.message, room: frame.room }); break;
      default: break;    // newer than we are
    }
  }

  /** @param {Room} room @param {Frame} change */
  #presence(room, change) {
    room.presence(change);
    // Renamed in another window. The token there is newer than ours; storage already has it.
    for (const [uid, name] of change.joined ?? []) {
      if (uid === this.uid && name !== this.name) this.#identity.set({ name });
    }
  }

  // ---------------------------------------------------------------- rooms

  /** @param {string} name */
  #makeRoom(name) {
    return new Room(name, {
      uid: () => this.uid,
      outbox: this.#outbox,
      isOnline: () => this.#connection.isOnline,
      request: (command) => this.request(command),
      emit: (type, detail) => this.#emit(type, detail),
      rejoin: (room) => this.#rejoin(room),
      excluded: (room, error) => this.#excluded(room, error),
    });
  }

  /** @param {Room} room @returns {Promise<Frame|null>} */
  async #rejoin(room) {
    if (this.#connection.again()) return null;
    const entry = await this.request({ type: "join", room: room.name, after: room.position });
    return this.rooms.get(room.name) === room ? entry : null;
  }

  /** @param {Room} room @param {ClientError} error @returns {number|undefined} */
  #excluded(room, error) {
    if (error.code === "disconnected") return undefined;    // the next hello joins
    if (error.code === "timeout") this.#connection.replace();
    else if (RETRYABLE.has(error.code)) return error.retryMs ?? REJOIN_AFTER_MS;
    else this.#emit("error", { code: error.code, message: error.message, room: room.name });
    return undefined;
  }

  // ---------------------------------------------------------------- small things

  /** @param {string} name */
  #store(name) { return new Store("localStorage", `${this.#storageKey}.${name}`); }

  #tellIdentity() { this.#emit("identity", { uid: this.uid, name: this.name, role: this.role }); }

  /** @param {string} type @param {object} detail */
  #emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}
