// The connection to the daemon: how it is lost and comes back, whether anybody is there, and which
// answer belongs to which question. Which way it takes is race.js's business, what is said over it
// client.js's.
//
// Time is the monotonic clock's, which a change of the computer's clock leaves alone. But it may stand
// still while the machine sleeps, so after a wake-up the wall clock is asked as well.

import { Race } from "./race.js";
import { BAD_ORIGIN } from "./transports/json.js";

const REPLY_TIMEOUT_MS = 15_000;
const PROBE_TIMEOUT_MS = 2_000;
const PROBE_AFTER_MS = 3_000;        // a connection heard from this recently needs no probe
const BACKOFF_BASE_MS = 500;
const BACKOFF_MAX_MS = 20_000;
const GOOD_AFTER_MS = 30_000;        // a connection that lived this long starts the back-off anew
const SHUT_OUT_MS = 60_000;          // only a change of the daemon's configuration helps: no hurry
const SILENCE_SLACK_MS = 10_000;     // beyond a ping interval
const STREAM_SILENCE = 1.5;          // ping intervals; longer than that, something holds the stream back
const HIDDEN_SILENCE_MS = 70_000;    // browsers run the timers of hidden pages once a minute

/** Errors after which the same may be asked again; every other one is final. */
export const RETRYABLE = new Set(["rate", "busy", "storage", "timeout", "disconnected"]);

/**
 * @typedef {import("./transports/transport.js").Kind} Kind
 * @typedef {import("./transports/transport.js").Frame} Frame
 * @typedef {import("./transports/transport.js").Hello} Hello
 * @typedef {import("./transports/transport.js").Host} Host
 * @typedef {import("./transports/transport.js").Transport} Transport
 *
 * @typedef {object} State
 * @property {"idle"|"connecting"|"online"|"waiting"|"stopped"} status
 * @property {Kind} [transport]  when `online`
 * @property {number} [retryAt]  when `waiting` ends (milliseconds, as Date.now)
 * @property {number} [code]     close code, when `stopped`
 * @property {string} [reason]   the server's name for it, when it gave one; when `waiting`, `bad_origin`: it
 *   lets no page of this origin in
 *
 * @typedef {object} Owner
 * @property {() => Hello} hello
 * @property {() => string} token
 * @property {(welcome: Frame, isNew: boolean) => void} welcomed
 *   `isNew` is false for what polls and streams that follow each other bring
 * @property {(frame: Frame) => void} received
 * @property {(error: ClientError) => boolean} mend  hello was refused; whether another one may do better
 * @property {(state: State) => void} changed
 *
 * @typedef {object} Request
 * @property {Record<string, unknown>} command
 * @property {(reply: any) => void} resolve
 * @property {(error: ClientError) => void} reject
 * @property {ReturnType<typeof setTimeout>} timer
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

/** Too late with `hello`, which a client of ours always says: its machine stood still. */
const HELLO_TIMEOUT = 4501;

/** @param {number} code close codes that mean: do not come back */
function meansStayAway(code) {
  if (code === HELLO_TIMEOUT) return false;
  return (code >= 3500 && code <= 3999) || (code >= 4500 && code <= 4999);
}

function isHidden() {
  return globalThis.document?.visibilityState === "hidden";
}

export class Connection {
  /**
   * @param {Owner} owner
   * @param {Pick<Host, "base"|"WebSocket"|"fetch">} means
   * @param {Kind[]} kinds   of transports that may be used, the best first
   * @param {import("./outbox.js").Store} memory  of the last one that worked
   */
  constructor(owner, means, kinds, memory) {
    this.#owner = owner;
    const host = {
      ...means,
      hello: owner.hello,
      token: owner.token,
      received: this.#received.bind(this),
      ended: this.#ended.bind(this),
    };
    this.#race = new Race(host, kinds, memory, (code, reason) => this.#lost(code, reason));
  }

  #owner;
  #race;
  /** @type {State} */
  state = { status: "idle" };
  /** @type {Transport|null} the one in use; it has brought a `welcome` */
  #transport = null;

  #lastId = 0;
  /** @type {Map<number, Request>} */
  #requests = new Map();

  #attempts = 0;     // that the next wait follows
  #failures = 0;     // attempts in vain since the last welcome
  #welcomedAt = 0;
  /** @type {[number, number]|null} the server's wish for the next return, from `bye` */
  #returnWindow = null;
  #byeCode = 0;
  #byeReason = "";
  #waitsAsTold = false;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #retryTimer;

  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #silenceTimer;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #probeTimer;
  #pingMs = 25_000;
  #heardAt = 0;
  #heardAtWall = 0;
  /** @type {AbortController|null} removes the wake-up listeners */
  #listening = null;

  // ---------------------------------------------------------------- what the owner calls

  get isOnline() { return this.#transport !== null; }

  open() {
    if (!this.#listening) this.#listenForWake();
    if (this.#transport || this.#race.isUnderWay) return;
    this.#attempts = 0;
    this.#connect();
  }

  /** Connects at once instead of waiting for the next attempt. */
  reopen() {
    if (this.state.status === "waiting" || this.state.status === "stopped") this.#connect();
  }

  /** Gives up this connection for a new one. */
  replace() {
    this.#lost(1006, "");
    this.reopen();
  }

  close() {
    this.#listening?.abort();
    this.#listening = null;
    this.#letGo();
    this.#setState({ status: "idle" });
  }

  /** Says hello anew where rooms are entered that way. @returns {boolean} false: it takes `join` and `leave` */
  again() {
    this.#transport?.again?.();
    return this.#transport?.again !== undefined;
  }

  /** @param {Record<string, unknown>} command one that has no answer */
  send(command) { this.#transport?.send(command); }

  /**
   * Sends a command and waits for its answer.
   * @param {Record<string, unknown>} command without `id`
   * @param {number} [timeoutMs]
   * @returns {Promise<any>} rejects with a {@link ClientError}
   */
  request(command, timeoutMs = REPLY_TIMEOUT_MS) {
    if (!this.#transport) return Promise.reject(new ClientError("disconnected"));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#requests.delete(id);
        reject(new ClientError("timeout"));
      }, timeoutMs);
      this.#requests.set(id, { command: { ...command, id }, resolve, reject, timer });
      this.send({ ...command, id });
    });
  }

  // ---------------------------------------------------------------- winning, losing, coming back

  #connect() {
    this.#letGo();
    this.#setState({ status: "connecting" });
    this.#race.start(this.#failures === 0);
  }

  /** @param {Transport} transport @param {Frame} welcome */
  #won(transport, welcome) {
    const before = this.#transport;
    this.#transport = transport;
    before?.close();
    if (!before) this.#welcomedAt = performance.now();
    this.#failures = 0;
    this.#returnWindow = null;
    this.#byeCode = 0;
    this.#byeReason = "";
    if (welcome.ping_s > 0) this.#pingMs = welcome.ping_s * 1000;
    this.#race.win(transport);
    this.#setState({ status: "online", transport: transport.kind });
    this.#watchSilence();
    // Answers that the one before took along are asked for again.
    for (const { command } of this.#requests.values()) transport.send(command);
    this.#owner.welcomed(welcome, true);
  }

  /** @param {Transport} transport @param {number} code @param {string} reason */
  #ended(transport, code, reason) {
    if (transport === this.#transport) this.#lost(code, reason);
    else if (this.#race.has(transport)) this.#race.fail(transport, code, reason);
  }

  /** @param {Transport} transport @param {Frame} frame the answer to its hello */
  #refused(transport, frame) {
    if (this.#transport) { this.#race.fail(transport, 1006, ""); return; }
    const error = new ClientError(frame.code, frame.message, frame.retry_ms);
    if (this.#owner.mend(error)) this.#connect();
    else if (error.code === BAD_ORIGIN) this.#shutOut();
    else if (RETRYABLE.has(error.code)) this.#lost(1006, "", error.retryMs);
    else this.#stop(0, error.code);
  }

  /** Drops every transport, and what waits for an answer. */
  #letGo() {
    for (const timer of [this.#retryTimer, this.#silenceTimer, this.#probeTimer]) clearTimeout(timer);
    this.#probeTimer = undefined;
    this.#race.stop();
    const transport = this.#transport;
    this.#transport = null;
    transport?.close();
    const waiting = [...this.#requests.values()];
    this.#requests.clear();
    for (const { reject, timer } of waiting) {
      clearTimeout(timer);
      reject(new ClientError("disconnected"));
    }
  }

  /** @param {number} code @param {string} reason @param {number} [leastMs] to wait */
  #lost(code, reason, leastMs = 0) {
    if (this.#transport && performance.now() - this.#welcomedAt >= GOOD_AFTER_MS) this.#attempts = 0;
    if (!this.#transport) this.#failures += 1;
    const final = [code, this.#byeCode].find(meansStayAway);
    if (final !== undefined) { this.#stop(final, reason || this.#byeReason); return; }
    this.#letGo();
    this.#wait(Math.max(leastMs, this.#nextDelay()));
  }

  #shutOut() {
    this.#failures += 1;
    this.#waitsAsTold = false;
    this.#letGo();
    this.#wait(SHUT_OUT_MS * (1 + Math.random()), BAD_ORIGIN);
  }

  /** @param {number} delayMs @param {string} [reason] */
  #wait(delayMs, reason) {
    this.#setState({ status: "waiting", retryAt: Date.now() + delayMs, ...(reason && { reason }) });
    this.#retryTimer = setTimeout(() => this.#connect(), delayMs);
  }

  /** @param {number} code @param {string} reason */
  #stop(code, reason) {
    this.#letGo();
    this.#setState({ status: "stopped", ...(code && { code }), reason });
  }

  // Full jitter: anywhere between at once and the ceiling, so that a thousand clients that lost the
  // same server spread out. A server that said goodbye knows better how long it needs.
  #nextDelay() {
    this.#waitsAsTold = this.#returnWindow !== null;
    if (this.#returnWindow) {
      const [from, to] = this.#returnWindow;
      this.#returnWindow = null;
      return from + Math.random() * Math.max(0, to - from);
    }
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    return Math.random() * ceiling;
  }

  // ---------------------------------------------------------------- frames

  /** @param {Transport} transport @param {Frame} frame */
  #received(transport, frame) {
    const isRunner = this.#race.has(transport);
    if (transport !== this.#transport && !isRunner) return;
    if (isRunner && frame.type === "error") { this.#refused(transport, frame); return; }
    if (isRunner && frame.type !== "welcome") return;
    this.#heard();
    if (isRunner) this.#won(transport, frame);
    else if (frame.type === "welcome") this.#owner.welcomed(frame, false);
    else if (!this.#answer(frame)) {
      if (frame.type === "bye") this.#bye(frame);
      this.#owner.received(frame);
    }
  }

  /** @param {Frame} frame @returns {boolean} whether it was the answer to a request */
  #answer(frame) {
    const request = this.#requests.get(frame.id);
    if (!request) return false;
    this.#requests.delete(frame.id);
    clearTimeout(request.timer);
    if (frame.type === "error") request.reject(new ClientError(frame.code, frame.message, frame.retry_ms));
    else request.resolve(frame);
    return true;
  }

  /** @param {Frame} bye the server closes the connection itself, when it is this connection's turn */
  #bye(bye) {
    this.#byeCode = bye.code ?? 0;
    this.#byeReason = bye.reason ?? "";
    if (Array.isArray(bye.retry_ms)) this.#returnWindow = [bye.retry_ms[0] ?? 0, bye.retry_ms[1] ?? 0];
  }

  // ---------------------------------------------------------------- is anybody there?

  #heard() {
    this.#heardAt = performance.now();
    this.#heardAtWall = Date.now();
    clearTimeout(this.#probeTimer);
    this.#probeTimer = undefined;
  }

  // Frames only note the time; one timer looks at it. A busy room would otherwise set and clear a
  // timer for every message. A poll has its own time limits.
  #watchSilence() {
    clearTimeout(this.#silenceTimer);
    if (this.#transport?.kind === "poll") return;
    const leftMs = this.#silenceLimitMs() - (performance.now() - this.#heardAt);
    this.#silenceTimer = setTimeout(() => {
      if (performance.now() - this.#heardAt >= this.#silenceLimitMs()) this.#silent();
      else this.#watchSilence();
    }, Math.max(0, leftMs));
  }

  #silenceLimitMs() {
    const isStream = this.#transport?.kind === "stream";
    const limitMs = isStream ? this.#pingMs * STREAM_SILENCE : this.#pingMs + SILENCE_SLACK_MS;
    return isHidden() ? Math.max(limitMs, HIDDEN_SILENCE_MS) : limitMs;
  }

  #silent() {
    if (this.#transport?.kind !== "stream") { this.#lost(1006, ""); return; }
    this.#letGo();
    this.#setState({ status: "connecting" });
    this.#race.startWithoutStream();
  }

  #listenForWake() {
    const { signal } = this.#listening = new AbortController();
    const wake = () => { if (!isHidden()) this.#wake(); };
    globalThis.addEventListener?.("online", wake, { signal });
    globalThis.addEventListener?.("pageshow", wake, { signal });
    globalThis.document?.addEventListener("visibilitychange", wake, { signal });
    globalThis.document?.addEventListener("resume", wake, { signal });
  }

  // The machine slept, the network changed or the page was frozen: the connection may look open and
  // be dead. A timer that should have told us was asleep as well, so look now.
  #wake() {
    if (this.state.status === "waiting" && !this.#waitsAsTold) { this.#connect(); return; }
    if (!this.#transport || this.#probeTimer !== undefined) return;
    const silentMs = Math.max(performance.now() - this.#heardAt, Date.now() - this.#heardAtWall);
    if (silentMs < PROBE_AFTER_MS) return;
    this.#watchSilence();
    this.#probe();
  }

  // What the server does not know it answers with an error, at no cost. The answer does not matter,
  // that any frame comes does.
  #probe() {
    this.#probeTimer = setTimeout(() => this.replace(), PROBE_TIMEOUT_MS);
    if (!this.again()) this.request({ type: "probe" }, PROBE_TIMEOUT_MS).catch(() => {});
  }

  /** @param {State} state */
  #setState(state) {
    this.state = state;
    this.#owner.changed(state);
  }
}
