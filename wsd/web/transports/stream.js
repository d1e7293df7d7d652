// An event stream read with fetch, since EventSource cannot send a body; commands go by /send.

import { Sender, framesOf, post } from "./http.js";
import { parse } from "./json.js";

const ROTATED = 3002;

/** @typedef {import("./transport.js").Host} Host */

export class StreamTransport {
  /** @param {Host} host */
  constructor(host) {
    this.kind = /** @type {const} */ ("stream");
    this.#host = host;
    this.#sender = new Sender(host, (frame) => host.received(this, frame), () => host.ended(this, 1006, ""));
    this.#open();
  }

  #host;
  #sender;
  #abort = new AbortController();
  #opened = false;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer;

  /** @param {object} command */
  send(command) { this.#sender.send(command); }

  /** Opens the stream anew, from the positions of now. */
  again() {
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#open();
  }

  close() {
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#sender.close();
  }

  async #open() {
    const abort = this.#abort = new AbortController();
    let rotateMs = -1;
    try {
      const response = await post(this.#host, "stream", this.#host.hello(), abort.signal);
      if (!response.ok) {
        for (const frame of await framesOf(response)) this.#host.received(this, frame);
        if (this.#opened) this.#host.ended(this, 1006, "");    // else it is out of the race
        return;
      }
      this.#opened = true;
      const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
      for await (const frame of events(reader)) {
        if (abort.signal.aborted) return;
        if (frame.type === "bye" && frame.code === ROTATED) rotateMs = Math.random() * (frame.retry_ms?.[1] ?? 0);
        else this.#host.received(this, frame);
      }
    } catch { /* lost; what it was does not matter */ }
    if (abort.signal.aborted) return;
    if (rotateMs < 0) this.#host.ended(this, 1006, "");
    else this.#timer = setTimeout(() => this.#open(), rotateMs);
  }
}

// The daemon writes each object into one line of `data`.
/** @param {ReadableStreamDefaultReader<Uint8Array>} reader */
async function* events(reader) {
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const frame = line.startsWith("data: ") && parse(line.slice(6));
      if (frame) yield frame;
    }
  }
}
