// What is said in one room: one message after the other, each until it has its answer.
//
// One `say` is under way at a time: if two were and the first met `rate`, the second could overtake
// it. Asking twice is harmless, since the server drops by its `cid` what it has already.

import { RETRYABLE } from "./connection.js";

/**
 * @typedef {import("./outbox.js").OutboxItem} OutboxItem
 * @typedef {import("./connection.js").ClientError} ClientError
 *
 * @typedef {object} Mouth
 * @property {import("./outbox.js").Outbox} outbox
 * @property {() => boolean} isOnline
 * @property {(command: Record<string, unknown>) => Promise<any>} request
 * @property {(type: string, detail: object) => void} emit
 */

export class Speaker {
  /**
   * @param {string} room
   * @param {Mouth} mouth
   * @param {(seq: number) => boolean} hasCome  whether the room has had this event
   */
  constructor(room, mouth, hasCome) {
    this.#room = room;
    this.#mouth = mouth;
    this.#hasCome = hasCome;
  }

  #room;
  #mouth;
  #hasCome;
  /** @type {OutboxItem|null} the one that waits for its answer */
  #inFlight = null;
  /** @type {number|undefined} seq of an event taken for the echo of `#inFlight` */
  #echoSeq = undefined;
  /** @type {Map<number, string>} seq to cid: answered, but the event has not come yet */
  #answered = new Map();
  /** @type {ReturnType<typeof setTimeout>|undefined} set while the server told us to wait */
  #holdTimer = undefined;

  /** Says the next item, if there is one and nothing is in its way. */
  next() {
    const { outbox, isOnline, request, emit } = this.#mouth;
    if (!isOnline() || this.#inFlight || this.#holdTimer !== undefined) return;
    const item = outbox.head(this.#room);
    if (!item) return;
    item.status = "sent";
    this.#inFlight = item;
    this.#echoSeq = undefined;
    outbox.save();
    emit("outbox", { change: "sending", item });
    const { cid, text, reply_to } = item;
    request({ type: "say", room: this.#room, text, cid, ...(reply_to !== undefined && { reply_to }) }).then(
      (ok) => this.#said(item, ok.seq),
      (error) => this.#notSaid(item, error),
    );
  }

  /** The room's numbers start again. @param {boolean} isOther and mean other messages */
  reset(isOther) {
    this.#answered.clear();
    if (!isOther) return;
    for (const item of this.#mouth.outbox.items) if (item.room === this.#room) delete item.reply_to;
  }

  /** Says nothing more. */
  stop() {
    clearTimeout(this.#holdTimer);
    this.#holdTimer = undefined;
  }

  // Which of our own `say` a message is. Its answer says so for sure, but the event may come first;
  // then the text tells. A wrong guess (the same words from our other window) mends itself: the answer
  // names another seq, and that event is shown as well. An old message from a newcomer's replay is
  // never taken for an answer.
  /**
   * @param {{seq: number, text: string}} message of ours
   * @param {boolean} mayBeOld
   * @returns {string|undefined} its cid
   */
  echoOf(message, mayBeOld) {
    const cid = this.#answered.get(message.seq);
    if (cid !== undefined) {
      this.#answered.delete(message.seq);
      return cid;
    }
    const waiting = this.#inFlight;
    if (!waiting || mayBeOld || this.#echoSeq !== undefined) return undefined;
    if (waiting.text.trim() !== message.text.trim()) return undefined;
    this.#echoSeq = message.seq;
    return waiting.cid;
  }

  /** @param {OutboxItem} item @param {number} seq */
  #said(item, seq) {
    this.#inFlight = null;
    this.#mouth.outbox.remove(item.cid);
    const shown = this.#hasCome(seq);    // the event overtook its answer, or this was a repetition
    if (!shown) this.#answered.set(seq, item.cid);
    this.#mouth.emit("outbox", { change: "sent", item, seq, shown });
    this.next();
  }

  /** @param {OutboxItem} item @param {ClientError} error */
  #notSaid(item, error) {
    this.#inFlight = null;
    const isWanted = this.#mouth.outbox.find(item.cid) !== undefined;
    if (isWanted && RETRYABLE.has(error.code)) { this.#wait(item, error); return; }
    if (isWanted) {
      item.status = "failed";
      item.error = { code: error.code, message: error.message };
      this.#mouth.outbox.save();
      this.#mouth.emit("outbox", { change: "failed", item, error });
    }
    this.next();
  }

  /** @param {OutboxItem} item @param {ClientError} error */
  #wait(item, error) {
    item.status = "queued";
    this.#mouth.outbox.save();
    if (error.code === "disconnected") {    // `welcome` goes on
      this.#mouth.emit("outbox", { change: "waiting", item, error });
      return;
    }
    const waitMs = error.retryMs ?? (error.code === "timeout" ? 0 : 1000 + Math.random() * 1000);
    this.#holdTimer = setTimeout(() => { this.#holdTimer = undefined; this.next(); }, waitMs);
    this.#mouth.emit("outbox", { change: "waiting", item, error, retryAt: Date.now() + waitMs });
  }
}
