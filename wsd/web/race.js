// Which transport is used: a race of those that a browser has, and the way up from a worse one.
//
// The best starts. If it has brought no `welcome` after RACE_MS, a poll runs beside it, because
// everything lets a poll through. The first `welcome` wins. A transport that wins while another is in
// use takes its place: so from a poll we go on to a stream at once, and try a WebSocket again from time
// to time. Nothing is lost or doubled by such a change, since each begins with a hello that says
// which events we have. The winner is remembered for an hour, and then starts first.

import { WebSocketTransport } from "./transports/websocket.js";

const RACE_MS = 3_000;
const OPEN_TIMEOUT_MS = 10_000;                         // from the start of a transport to its `welcome`
const UPGRADE_AFTER_MS = [30_000, 120_000, 300_000];    // a WebSocket is tried again; the last repeats
const MEMORY_MS = 3_600_000;

/**
 * @typedef {import("./transports/transport.js").Kind} Kind
 * @typedef {import("./transports/transport.js").Host} Host
 * @typedef {import("./transports/transport.js").Transport} Transport
 */

/** @type {Partial<Record<Kind, new (host: Host) => Transport>>} */
const TRANSPORTS = { websocket: WebSocketTransport };

let failedLoads = 0;

// Nine visitors in ten never need them. Some browsers remember for as long as the page lives that a
// module could not be fetched, so another attempt needs another address.
async function loadFallbacks() {
  const again = failedLoads ? `?again=${failedLoads}` : "";
  failedLoads += 1;
  /** @type {typeof import("./transports/fallbacks.js")} */
  const { PollTransport, StreamTransport } = await import(`./transports/fallbacks.js${again}`);
  failedLoads = 0;
  Object.assign(TRANSPORTS, { stream: StreamTransport, poll: PollTransport });
}

export class Race {
  /**
   * @param {Host} host
   * @param {Kind[]} kinds    that may be used, the best first
   * @param {import("./outbox.js").Store} memory  of the last winner
   * @param {(code: number, reason: string) => void} nobody  called when all that could be tried have failed
   */
  constructor(host, kinds, memory, nobody) {
    this.#host = host;
    this.#kinds = kinds;
    this.#memory = memory;
    this.#nobody = nobody;
  }

  #host;
  #kinds;
  #memory;
  #nobody;
  /** @type {Map<Transport, ReturnType<typeof setTimeout>>} under way, each with its time limit */
  #runners = new Map();
  /** @type {Kind|undefined} what is in use */
  #winner;
  #trustsFirst = false;
  #isMute = false;    // started without the stream
  /** @type {ReturnType<typeof setTimeout>|undefined} the poll is still to start */
  #pollTimer;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #upgradeTimer;
  #upgrades = 0;
  /** @type {Set<Kind>} found broken since the page was loaded */
  #broken = new Set();

  get isUnderWay() { return this.#runners.size > 0; }

  /** @param {boolean} isFirst  nothing has been tried in vain since it last worked */
  start(isFirst) {
    this.stop();
    const known = this.#remembered();
    // What worked a while ago gets its time before we ask otherwise: the daemon may be restarting.
    this.#trustsFirst = isFirst && known !== undefined;
    const first = known ?? this.#kinds.find((kind) => this.#may(kind)) ?? this.#kinds[0];
    if (first !== "poll" && this.#may("poll")) this.#pollTimer = setTimeout(() => this.#startPoll(), RACE_MS);
    this.#run(first);
  }

  /** A stream was open and mute: if a poll gets through, something holds the stream back. */
  startWithoutStream() {
    this.stop();
    this.#isMute = true;
    this.#run(this.#may("poll") ? "poll" : "stream");
  }

  stop() {
    for (const transport of [...this.#runners.keys()]) this.#remove(transport);
    clearTimeout(this.#pollTimer);
    clearTimeout(this.#upgradeTimer);
    this.#pollTimer = this.#winner = undefined;
    this.#upgrades = 0;
    this.#isMute = false;
  }

  /** @param {Transport} transport @returns {boolean} */
  has(transport) { return this.#runners.has(transport); }

  /** The first `welcome` has come, or one of a better transport than is in use. @param {Transport} winner */
  win(winner) {
    const { kind } = winner;
    this.#forget(winner);
    for (const other of [...this.#runners.keys()]) if (!this.#isBetter(other.kind, kind)) this.#remove(other);
    clearTimeout(this.#pollTimer);
    this.#pollTimer = undefined;
    if (this.#isMute && kind === "poll") this.#broken.add("stream");
    this.#isMute = false;
    this.#winner = kind;
    this.#memory.write({ kind, until: Date.now() + MEMORY_MS });
    if (kind === "poll" && this.#may("stream")) this.#run("stream");
    this.#planUpgrade();
  }

  /** A runner has failed. @param {Transport} transport @param {number} code @param {string} reason */
  fail(transport, code, reason) {
    this.#remove(transport);
    if (this.#winner) {
      if (transport.kind === "stream") this.#broken.add("stream");
      return;
    }
    if (this.isUnderWay) return;
    if (this.#pollTimer !== undefined && !this.#trustsFirst) this.#startPoll();
    else this.#nobody(code, reason);
  }

  /** @param {Kind} kind */
  #run(kind) {
    const Way = TRANSPORTS[kind];
    if (!Way) { this.#fetchAndRun(kind); return; }
    /** @type {Transport} */
    let transport;
    try {
      transport = new Way(this.#host);
    } catch (error) {    // the browser forbids it, by a policy for instance
      transport = { kind, send() {}, close() {} };
      setTimeout(() => { if (this.has(transport)) this.fail(transport, 1006, ""); });
    }
    this.#add(transport);
  }

  /** Something stands for the transport until its code is there. @param {Kind} kind */
  #fetchAndRun(kind) {
    /** @type {Transport} */
    const placeholder = { kind, send() {}, close() {} };
    this.#add(placeholder);
    loadFallbacks().then(() => {
      if (!this.has(placeholder)) return;
      this.#forget(placeholder);
      this.#run(kind);
    }, () => { if (this.has(placeholder)) this.fail(placeholder, 1006, ""); });
  }

  /** @param {Transport} transport */
  #add(transport) {
    this.#runners.set(transport, setTimeout(() => this.fail(transport, 1006, ""), OPEN_TIMEOUT_MS));
  }

  #startPoll() {
    clearTimeout(this.#pollTimer);
    this.#pollTimer = undefined;
    this.#run("poll");
  }

  #planUpgrade() {
    clearTimeout(this.#upgradeTimer);
    if (this.#winner === "websocket" || !this.#may("websocket")) return;
    const afterMs = UPGRADE_AFTER_MS[Math.min(this.#upgrades, UPGRADE_AFTER_MS.length - 1)];
    this.#upgradeTimer = setTimeout(() => {
      this.#upgrades += 1;
      if (![...this.#runners.keys()].some(({ kind }) => kind === "websocket")) this.#run("websocket");
      this.#planUpgrade();
    }, afterMs);
  }

  /** @param {Transport} transport */
  #remove(transport) {
    this.#forget(transport);
    transport.close();
  }

  /** @param {Transport} transport */
  #forget(transport) {
    clearTimeout(this.#runners.get(transport));
    this.#runners.delete(transport);
  }

  /** @param {Kind} a @param {Kind} b */
  #isBetter(a, b) { return this.#kinds.indexOf(a) < this.#kinds.indexOf(b); }

  /** @param {Kind} kind */
  #may(kind) { return this.#kinds.includes(kind) && !this.#broken.has(kind); }

  /** @returns {Kind|undefined} */
  #remembered() {
    const { kind, until } = this.#memory.read() ?? {};
    const leftMs = until - Date.now();
    return leftMs > 0 && leftMs <= MEMORY_MS && this.#may(kind) ? kind : undefined;
  }
}
