// What was said and is not confirmed yet: waiting, on its way, or refused.

import { button, make } from "./dom.js";
import { GROUP_S, showText } from "./message.js";

/**
 * @typedef {import("./client.js").OutboxItem} OutboxItem
 *
 * @typedef {object} Doings
 * @property {(cid: string) => void} retry
 * @property {(cid: string) => void} discard
 * @property {(cid: string) => void} takeBack
 * @property {(item: OutboxItem) => string} reason   why it failed
 */

export class PendingList {
  /**
   * @param {HTMLElement} box
   * @param {import("./list.js").MessageList} list
   * @param {import("./words.js").Words} words
   * @param {Doings} doings
   */
  constructor(box, list, words, doings) {
    this.box = box;
    this.list = list;
    this.words = words;
    this.doings = doings;
    /** @type {Map<string, HTMLElement>} cid to element */
    this.elements = new Map();
  }

  get size() { return this.elements.size; }

  /**
   * Shows an outbox item, or its new state.
   * @param {OutboxItem} item
   * @param {{uid: string, name: string}} self
   */
  show(item, self) {
    const { words } = this;
    const element = this.elements.get(item.cid) ?? this.#draw(item, self);
    const failed = item.status === "failed";
    element.classList.toggle("failed", failed);
    element.classList.toggle("sending", item.status === "sent");
    const foot = /** @type {HTMLElement} */ (element.querySelector(".foot"));
    foot.textContent = failed ? "" : words.say(item.status === "sent" ? "pending" : "waiting");
    element.querySelector(".failure")?.remove();
    if (failed) element.append(this.#failure(item));
    this.list.follower.settle();
  }

  /** @param {OutboxItem} item @param {{uid: string, name: string}} self */
  #draw(item, self) {
    const { view } = this.list;
    const bubble = view.bubble();
    const text = /** @type {HTMLElement} */ (bubble.querySelector(".text"));
    showText(text, item.text, view.mentions);
    if (item.reply_to !== undefined) text.before(view.quote(item.reply_to));
    const element = make("article", "message own pending", ...view.frame(self, true), bubble);
    const last = this.list.items.at(-1);
    element.classList.toggle("joined", this.size > 0 || Boolean(last?.own && item.time - last.time < GROUP_S));
    this.elements.set(item.cid, element);
    this.box.append(element);
    return element;
  }

  /** @param {OutboxItem} item */
  #failure(item) {
    const { words, doings } = this;
    const { cid } = item;
    return make("div", "failure",
      make("span", "", words.say("failed_why", { reason: doings.reason(item) })),
      button(words.say("retry"), "link", () => doings.retry(cid)),
      button(words.say("take_back"), "link", () => doings.takeBack(cid)),
      button(words.say("discard"), "link", () => doings.discard(cid)));
  }

  /** @param {string} cid */
  drop(cid) {
    this.elements.get(cid)?.remove();
    this.elements.delete(cid);
  }
}
