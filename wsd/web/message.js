// How one message looks: sign, name, the message that it answers, text, time, and what became of it.

import { excerpt } from "./characters.js";
import { make } from "./dom.js";
import { paintSeal } from "./seal.js";
import { richText } from "./text.js";

/**
 * @typedef {import("./client.js").Message} Message
 * @typedef {import("./words.js").Words} Words
 * @typedef {import("./text.js").Mentions} Mentions
 *
 * @typedef {object} Item
 * @property {number} seq
 * @property {string} uid
 * @property {string} name
 * @property {string} role
 * @property {number} time
 * @property {string} text
 * @property {number} [replyTo]
 * @property {boolean} own
 * @property {boolean} edited
 * @property {boolean} deleted
 * @property {boolean} editing
 * @property {HTMLElement|null} element   null until it is drawn
 * @property {HTMLElement|null} day       the day separator before it
 */

/** @param {Message} message @param {boolean} own @returns {Item} */
export function itemOf(message, own) {
  return {
    seq: message.seq, uid: message.uid, name: message.name, role: message.role ?? "guest", time: message.time,
    text: message.text ?? "", replyTo: message.reply_to, own, edited: Boolean(message.edited),
    deleted: Boolean(message.deleted), editing: false, element: null, day: null,
  };
}

export const GROUP_S = 300;    // messages of one guest closer than this stand together
const LONG = 100, LONG_LINES = 16;    // from so many characters or lines on a text may need a scroll bar
const SURELY_LONG = 400;

/** Shows a text, and bounds how high it can be. @param {HTMLElement} element @param {string} text @param {Mentions} mentions */
export function showText(element, text, mentions) {
  element.replaceChildren(richText(text, mentions));
  const lines = text.split("\n", LONG_LINES + 1).length;
  element.classList.toggle("long", text.length > LONG || lines > LONG_LINES);
  // Browsers that let the keyboard into what scrolls do so by themselves; for the others, at least these.
  if (text.length > SURELY_LONG || lines > LONG_LINES) element.tabIndex = 0;
  else element.removeAttribute("tabindex");
}

export class MessageView {
  /**
   * @param {Words} words
   * @param {Mentions} mentions
   * @param {(seq: number) => Item|undefined} find
   * @param {(seq: number) => void} goTo shows the message that another one answers
   */
  constructor(words, mentions, find, goTo) {
    this.words = words;
    this.mentions = mentions;
    this.find = find;
    this.goTo = goTo;
  }

  /** Makes the element of an item. @param {Item} item @returns {HTMLElement} */
  draw(item) {
    const element = make("article", "message", ...this.frame(item, item.own), this.bubble());
    element.dataset.seq = String(item.seq);
    element.id = `m${item.seq}`;
    element.tabIndex = -1;
    if (item.own) {
      element.classList.add("own");
      element.setAttribute("aria-live", "off");    // who wrote it need not hear it
    }
    item.element = element;
    this.fill(item);
    return element;
  }

  /** Sign and name. @param {{uid: string, name: string, role?: string}} author @param {boolean} own @returns {HTMLElement[]} */
  frame({ uid, name, role }, own) {
    const seal = make("span", "seal");
    seal.setAttribute("aria-hidden", "true");
    paintSeal(seal, uid, name);
    const who = make("p", "who", make("bdi", "name", own ? this.words.say("you") : name));
    who.style.setProperty("--hue", seal.style.getPropertyValue("--hue"));
    const roleKey = `role_${role}`;
    if (role && role !== "guest" && this.words.has(roleKey)) who.append(" ", make("span", "role", this.words.say(roleKey)));
    return [seal, who];
  }

  bubble() {
    const text = make("div", "text");
    text.dir = "auto";
    return make("div", "bubble", text, make("span", "foot"));
  }

  /** Shows the item as it is now. @param {Item} item */
  fill(item) {
    const { element } = item;
    if (!element) return;
    element.classList.toggle("deleted", item.deleted);
    element.classList.toggle("mentioned", !item.own && !item.deleted && this.mentions.isForMe(item.text));
    const text = /** @type {HTMLElement} */ (element.querySelector(".text"));
    showText(text, item.deleted ? "" : item.text, this.mentions);
    if (item.deleted) text.append(this.words.say("deleted"));
    element.querySelector(".quote")?.remove();
    if (item.replyTo !== undefined && !item.deleted) text.before(this.quote(item.replyTo));
    const foot = /** @type {HTMLElement} */ (element.querySelector(".foot"));
    foot.replaceChildren();
    if (item.edited && !item.deleted) foot.append(make("span", "edited", this.words.say("edited")), " ");
    foot.append(this.#time(item.time));
  }

  /** The message that another one answers, as far as it is known here. @param {number} seq */
  quote(seq) {
    const { words } = this;
    const original = this.find(seq);
    const box = make("button", "quote");
    box.type = "button";
    box.dataset.of = String(seq);
    if (!original) box.append(make("span", "", words.say("reply_unknown")));
    else {
      box.append(make("bdi", "name", original.own ? words.say("you") : original.name), " ");
      const text = make("span", "", original.deleted ? words.say("deleted") : excerpt(original.text));
      text.dir = "auto";
      box.append(text);
    }
    box.addEventListener("click", () => this.goTo(seq));
    return box;
  }

  /** @param {number} seconds */
  #time(seconds) {
    const at = new Date(seconds * 1000);
    const time = make("time", "", this.words.clock.format(at));
    time.dateTime = at.toISOString();
    time.title = this.words.fullTime.format(at);
    return time;
  }
}
