// Long polling: one request after the other, each a hello with the positions of now; commands go by
// /send. A poll that fails is simply made again, since nothing of it stays with the server.

import { Sender, ask, pause, retryMs } from "./http.js";
import { BAD_ORIGIN } from "./json.js";

const HOLD_S = 25;             // what the server holds at most; some proxies cut earlier
const SHORTEST_HOLD_S = 3;
const TIMEOUT_MS = 10_000;     // beyond the hold
const TRIES = 4;
const FINAL = new Set(["auth", "banned", "denied", "bad", BAD_ORIGIN]);    // errors that only a new hello can answer

/** @typedef {import("./transport.js").Host} Host */
/** @typedef {import("./transport.js").Frame} Frame */

export class PollTransport {
  /** @param {Host} host */
  constructor(host) {
    this.kind = /** @type {const} */ ("poll");
    this.#host = host;
    this.#sender = new Sender(host, (frame) => host.received(this, frame), () => this.#end());
    this.#run();
  }

  #host;
  #sender;
  #abort = new AbortController();
  #closed = false;
  #welcomed = false;
  #failures = 0;
  #holdS = HOLD_S;
  #atOnce = true;

  /** @param {object} command */
  send(command) { this.#sender.send(command); }

  /** Asks anew, from the positions of now, for an answer at once. */
  again() {
    this.#atOnce = true;
    this.#abort.abort();
  }

  close() {
    this.#closed = true;
    this.#abort.abort();
    this.#sender.close();
  }

  async #run() {
    while (!this.#closed) {
      const waitS = this.#atOnce ? 0 : this.#holdS;
      this.#atOnce = false;
      const abort = this.#abort = new AbortController();
      const askedAt = performance.now();
      try {
        const body = { ...this.#host.hello(), wait: waitS };
        const answer = await ask(this.#host, "poll", body, abort, TIMEOUT_MS + waitS * 1000);
        this.#failures = 0;
        await this.#take(answer);
      } catch {
        if (!this.#closed && !this.#atOnce) await this.#failed((performance.now() - askedAt) / 1000);
      }
    }
  }

  /** @param {Frame[]} answer */
  async #take(answer) {
    for (const frame of answer) {
      if (this.#closed) return;
      if (frame.type === "error" && this.#welcomed) await this.#refused(frame);
      else this.#host.received(this, frame);
      if (frame.type === "welcome") this.#welcomed = true;
      if (frame.type === "bye") this.#end();
    }
  }

  /** @param {Frame} error */
  async #refused(error) {
    if (FINAL.has(error.code)) this.#end();
    else await pause(error.retry_ms ?? retryMs(1));
  }

  // A held request may have been cut by a proxy that has less patience: then shorter ones do.
  /** @param {number} afterS */
  async #failed(afterS) {
    this.#failures += 1;
    if (!this.#welcomed || this.#failures >= TRIES) { this.#end(); return; }
    if (afterS > SHORTEST_HOLD_S) this.#holdS = Math.max(SHORTEST_HOLD_S, this.#holdS / 2);
    await pause(retryMs(this.#failures));
  }

  #end() {
    if (this.#closed) return;
    this.close();
    this.#host.ended(this, 1006, "");
  }
}
