// What the stream and the poll share: one POST, and commands by way of /send.
//
// Everything here works on plain http pages and from pages of other origins: no cookies are sent, and a
// text body needs no CORS preflight. A request whose answer is lost is made again: the server finds
// what it has done already by the `cid` of each command.

import { BAD_ORIGIN, parse } from "./json.js";

const SEND_TIMEOUT_MS = 12_000;    // the server gives up after 10 s
const SEND_TRIES = 4;
const MAX_COMMANDS = 16;

/** @typedef {import("./transport.js").Host} Host */
/** @typedef {import("./transport.js").Frame} Frame */

/** @param {number} ms */
export const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Between 0.3 and 1 s after the first failure, and up to 8 s after many. @param {number} failures from 1 */
export const retryMs = (failures) => Math.min(8_000, 500 * 2 ** (failures - 1)) * (0.6 + Math.random() * 0.4);

/**
 * @param {Host} host
 * @param {string} path
 * @param {object} body
 * @param {AbortSignal} signal
 * @returns {Promise<Response>} also with a status that says no
 */
export function post({ base, fetch }, path, body, signal) {
  return fetch(new URL(path, base).href, {
    method: "POST", body: JSON.stringify(body), signal, credentials: "omit", cache: "no-store",
  });
}

/**
 * @param {Host} host @param {string} path @param {object} body
 * @param {AbortController} abort
 * @param {number} timeoutMs
 * @returns {Promise<Frame[]>} rejects when the answer is not the daemon's: the network's, or a proxy's
 */
export async function ask(host, path, body, abort, timeoutMs) {
  const timer = setTimeout(() => abort.abort(), timeoutMs);
  try {
    return await framesOf(await post(host, path, body, abort.signal));
  } finally {
    clearTimeout(timer);
  }
}

// The one answer that every page may read says that this page may not read any.
/** @param {Response} response @returns {Promise<Frame[]>} */
export async function framesOf(response) {
  const value = parse(await response.text());
  if (value?.error?.code === BAD_ORIGIN) return [{ type: "error", ...value.error }];
  if (!Array.isArray(value)) throw new Error(`not an answer of wsd: ${response.status}`);
  return value;
}

/** Commands go up in the order in which they were given, one request at a time. */
export class Sender {
  /**
   * @param {Host} host
   * @param {(frame: Frame) => void} received
   * @param {() => void} failed when nothing gets through any more
   */
  constructor(host, received, failed) {
    this.#host = host;
    this.#received = received;
    this.#failed = failed;
  }

  #host;
  #received;
  #failed;
  /** @type {any[]} */
  #queue = [];
  #busy = false;
  #closed = false;
  #abort = new AbortController();

  /** @param {object} command */
  send(command) {
    this.#queue.push(command);
    if (!this.#busy) this.#run();
  }

  close() {
    this.#closed = true;
    this.#abort.abort();
  }

  async #run() {
    this.#busy = true;
    while (this.#queue.length && !this.#closed) {
      const commands = this.#queue.slice(0, MAX_COMMANDS);
      const replies = await this.#insist(commands);
      if (this.#closed) return;
      if (!replies) { this.#failed(); return; }
      this.#queue.splice(0, commands.length);
      for (const reply of replies) this.#received(reply);
    }
    this.#busy = false;
  }

  /** @param {any[]} commands @returns {Promise<Frame[]|null>} null: given up */
  async #insist(commands) {
    for (let failures = 1; failures <= SEND_TRIES && !this.#closed; failures += 1) {
      try {
        this.#abort = new AbortController();
        const body = { token: this.#host.token(), commands };
        const replies = await ask(this.#host, "send", body, this.#abort, SEND_TIMEOUT_MS);
        return replies.length === commands.length ? replies : this.#allRefused(commands, replies[0]);
      } catch {
        if (failures < SEND_TRIES) await pause(retryMs(failures));
      }
    }
    return null;
  }

  // One error for all of them. A token that is not taken any more needs a new hello.
  /** @param {any[]} commands @param {Frame} error */
  #allRefused(commands, error) {
    return error.code === "auth" ? null : commands.map(({ id }) => ({ ...error, id }));
  }
}
