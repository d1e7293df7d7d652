// The list of messages: which are shown, and in which order.
//
// Three boxes under each other. `past` holds what was loaded, `live` what came while the reader looked
// on, `pending` what is not confirmed yet. Only `live` is a live region: a screen reader announces
// each message that is added there, once, and never the history.
//
// The list is a window on the room: at most MAX_NODES elements of it. Who follows the end loses the
// oldest, who reads further up keeps them and loses the newest (`joinsEnd` is false then); history.js
// brings back either.

import { make, perFrame } from "./dom.js";
import { GROUP_S, itemOf, MessageView } from "./message.js";
import { Follower } from "./scroll.js";
import { isSameDay } from "./words.js";

const MAX_NODES = 500;
const DRAWING_MS = 8;         // of a frame; what comes faster waits for the next one
const REST = 2;               // times as long as drawing took, layout and paint included, others have their turn
const REST_MAX_MS = 500;
const FLOOD = 30;             // messages between two drawings, so many that nobody can read them
const FLOOD_MS = 1500;        // between two drawings at most; else the page was hidden

/**
 * @typedef {import("./client.js").Message} Message
 * @typedef {import("./message.js").Item} Item
 * @typedef {import("./words.js").Words} Words
 *
 * @typedef {object} Hooks
 * @property {(below: number, atEnd: boolean) => void} moved   the reader, or the end
 * @property {(seq: number) => void} goTo     a quote was pressed
 * @property {(uid: string) => boolean} isIgnored
 */

export class MessageList {
  /**
   * @param {import("./frame.js").Frame} frame
   * @param {Words} words
   * @param {import("./text.js").Mentions} mentions
   * @param {Hooks} hooks
   */
  constructor(frame, words, mentions, hooks) {
    this.frame = frame;
    this.words = words;
    this.hooks = hooks;
    this.scroller = frame.part("log");
    this.past = frame.part("past");
    this.live = frame.part("live");
    this.view = new MessageView(words, mentions, (seq) => this.bySeq.get(seq), hooks.goTo);
    this.follower = new Follower(this.scroller, [this.past, this.live, frame.part("pending")], hooks.moved);
    /** @type {Item[]} by seq */
    this.items = [];
    /** @type {Map<number, Item>} */
    this.bySeq = new Map();
    /** @type {{item: Item, box: HTMLElement, isNew: boolean}[]} the last of `items`, without elements as yet */
    this.undrawn = [];
    this.newest = 0;            // seq of the last message known to be there
    this.trimmed = false;       // whether older ones were dropped since the flag was last cleared
    /** @type {HTMLElement|null} */
    this.newDivider = null;
    /** @type {HTMLElement} where additions go */
    this.target = this.past;
  }

  get joinsEnd() { return this.follower.joinsEnd; }

  set joinsEnd(joins) { this.follower.joinsEnd = joins; }

  // ---------------------------------------------------------------- adding

  /** Forgets everything that the server confirmed. */
  clear() {
    this.past.replaceChildren();
    this.live.replaceChildren();
    this.items = [];
    this.undrawn = [];
    this.bySeq.clear();
    this.newDivider = null;
    this.joinsEnd = true;
    this.follower.following = true;
    this.follower.count(0);
  }

  /** From here on additions are the past, until {@link lookOn}. */
  lookBack() {
    this.#settle();
    this.target = this.past;
  }

  // All that is there becomes the past. What is moved loses its focus, as a message that is edited.
  #settle() {
    this.#drawAll();
    const { focused } = this.frame;
    const hadFocus = this.live.contains(focused);
    this.past.append(...this.live.childNodes);
    if (hadFocus) /** @type {HTMLElement} */ (focused).focus({ preventScroll: true });
  }

  lookOn() { this.target = this.live; }

  /**
   * Adds the newest message, unless the window ends before it.
   * @param {Message} message
   * @param {{own: boolean, isNew: boolean}} how `isNew`: begins what the reader has not seen
   */
  add(message, { own, isNew }) {
    if (this.bySeq.has(message.seq)) return;
    this.newest = Math.max(this.newest, message.seq);
    const { follower } = this;
    if (!follower.following && this.#size() >= MAX_NODES) this.joinsEnd = false;
    const ignored = this.hooks.isIgnored(message.uid);
    if (!follower.following && !own && !ignored) follower.count(follower.below + 1);
    if (this.joinsEnd) this.#append(itemOf(message, own), this.target, isNew);
  }

  /**
   * Adds messages that come after the last one, when the window does not reach the end.
   * @param {Message[]} messages oldest first
   * @param {string} ownUid
   */
  append(messages, ownUid) {
    this.#settle();    // else what comes now would stand above it
    const last = this.lastSeq;
    for (const message of messages) {
      if (message.seq > last) this.#append(itemOf(message, message.uid === ownUid), this.past, false);
    }
    this.follower.keepView(() => this.#trim(true));    // for who reads down as well
  }

  /** @param {Item} item @param {HTMLElement} box @param {boolean} isNew */
  #append(item, box, isNew) {
    this.items.push(item);
    this.bySeq.set(item.seq, item);
    this.undrawn.push({ item, box, isNew });
    this.#arrived += 1;
    this.#trim();
    this.drawSoon();
  }

  #isResting = false;
  #arrived = 0;                 // since the last drawing
  #inARow = 0;                  // without a pause
  #drewAt = -Infinity;

  drawSoon = perFrame(() => {
    if (this.#isResting || !this.undrawn.length) return;
    const skipped = this.#skipFlood();
    this.#rest();
    const until = performance.now() + DRAWING_MS;
    while (this.undrawn.length && performance.now() < until) this.#drawNext();
    this.#trim();
    if (skipped) this.follower.settleNow();
    else this.follower.settle();
  });

  // In a flood the drawing would take all the time there is, and whoever writes would wait for each letter.
  // The timer runs when this frame has been laid out and painted.
  #rest() {
    const from = performance.now();
    this.#isResting = true;
    setTimeout(() => {
      setTimeout(() => { this.#isResting = false; this.drawSoon(); }, Math.min(REST_MAX_MS, REST * (performance.now() - from)));
    });
  }

  /** What would be pushed out of sight at once is not drawn: the window becomes short, and begins later. */
  #skipFlood() {
    const now = performance.now();
    // There are many at once as well in the beginning, after a break, and when a page was hidden; but no
    // more than the window holds, or a pause before them, and all of those are to be read.
    this.#inARow = now - this.#drewAt > FLOOD_MS ? 0 : this.#inARow + this.#arrived;
    const isFlood = this.#arrived > FLOOD && this.#inARow > MAX_NODES && this.follower.following;
    this.#arrived = 0;
    this.#drewAt = now;
    if (!isFlood || this.target !== this.live) return false;
    while (this.undrawn.length > FLOOD) this.#drop(/** @type {Item} */ (this.items.shift()));
    this.trimmed = true;
    return true;
  }

  #drawAll() { while (this.undrawn.length) this.#drawNext(); }

  #drawNext() {
    const next = this.undrawn.shift();
    if (!next) return;
    const { item, box, isNew } = next;
    if (isNew) this.#markNew(box);
    const element = this.view.draw(item);
    this.#place(item, this.items[this.items.length - this.undrawn.length - 2], box, null);
    if (isNew) element.classList.remove("joined");    // below "New", name the guest again
    box.append(element);
  }

  /**
   * Adds older messages above; what the reader looks at stays where it is.
   * @param {Message[]} messages oldest first
   * @param {string} ownUid
   */
  prepend(messages, ownUid) {
    const items = messages.filter((message) => !this.bySeq.has(message.seq)).map((message) => itemOf(message, message.uid === ownUid));
    if (!items.length) return;
    this.#drawAll();
    const first = this.items[0];
    for (const item of items) this.bySeq.set(item.seq, item);
    this.follower.keepView(() => {
      const fragment = document.createDocumentFragment();
      items.forEach((item, i) => {
        const element = this.view.draw(item);
        this.#place(item, items[i - 1], fragment, null);
        fragment.append(element);
      });
      first?.day?.remove();
      if (first) first.day = null;
      this.past.prepend(fragment);
      if (first?.element) this.#place(first, items.at(-1), first.element.parentElement ?? this.past, first.element);
      this.#fillQuotes(items);
    });
    this.items.unshift(...items);
    this.#trimEnd();
  }

  // A message that was only a number to its answers is known now.
  /** @param {Item[]} items */
  #fillQuotes(items) {
    for (const { seq } of items) {
      for (const quote of this.scroller.querySelectorAll(`.quote[data-of="${seq}"]`)) quote.replaceWith(this.view.quote(seq));
    }
  }

  // Puts the day separator before an item, if it needs one, and joins it to the one before it.
  /** @param {Item} item @param {Item|undefined} before @param {Node} box @param {Node|null} at */
  #place(item, before, box, at) {
    const { element } = item;
    if (!element) return;
    const day = new Date(item.time * 1000);
    const newDay = !before || !isSameDay(day, new Date(before.time * 1000));
    if (newDay) {
      item.day = make("h2", "day", make("span", "", this.words.day(day)));
      box.insertBefore(item.day, at);
    }
    const joined = !newDay && before.uid === item.uid && before.name === item.name && item.time - before.time < GROUP_S;
    element.classList.toggle("joined", joined);
    element.classList.toggle("ignored", !item.own && this.hooks.isIgnored(item.uid));
  }

  /** @param {HTMLElement} box */
  #markNew(box) {
    this.clearNew();
    this.newDivider = make("h2", "day new", make("span", "", this.words.say("divider_new")));
    box.append(this.newDivider);
  }

  clearNew() {
    this.newDivider?.remove();
    this.newDivider = null;
  }

  // ---------------------------------------------------------------- at most so many

  #size() { return this.past.childElementCount + this.live.childElementCount + this.undrawn.length; }

  /** Drops the oldest, for a reader who is at the end or comes there. */
  #trim(comes = this.follower.following) {
    if (!comes || this.#size() <= MAX_NODES) return;
    while (this.#size() > MAX_NODES) this.#drop(/** @type {Item} */ (this.items.shift()));
    const first = this.items[0];
    if (first?.element && !first.day) this.#place(first, undefined, first.element.parentElement ?? this.past, first.element);
    this.trimmed = true;
  }

  /** Drops the newest, for a reader who went back that far. */
  #trimEnd() {
    while (this.#size() > MAX_NODES && !this.follower.following) {
      this.joinsEnd = false;
      this.#drop(/** @type {Item} */ (this.items.pop()));
    }
  }

  /** @param {Item} item */
  #drop(item) {
    this.bySeq.delete(item.seq);
    this.newest = Math.max(this.newest, item.seq);
    if (this.undrawn[0]?.item === item) this.undrawn.shift();    // the undrawn are the newest
    else if (!item.element) this.undrawn.pop();
    item.day?.remove();
    item.element?.remove();
  }

  // ---------------------------------------------------------------- changing

  /** "Today" becomes "Yesterday" while the page stays open. */
  renameDays() {
    for (const item of this.items) {
      if (item.day?.firstChild) item.day.firstChild.textContent = this.words.day(new Date(item.time * 1000));
    }
  }

  /** Somebody is ignored, or no longer. */
  regroup() {
    for (const item of this.items) item.element?.classList.toggle("ignored", !item.own && this.hooks.isIgnored(item.uid));
    this.follower.settle();
  }

  /** @param {number} seq @param {string} text */
  edit(seq, text) {
    const item = this.bySeq.get(seq);
    if (!item || item.deleted) return;
    item.text = text;
    item.edited = true;
    if (!item.editing) this.redraw(item);
  }

  /** @param {number} seq @returns {Item|undefined} */
  remove(seq) {
    const item = this.bySeq.get(seq);
    if (!item) return undefined;
    item.deleted = true;
    item.text = "";
    this.redraw(item);
    return item;
  }

  /** A change above the reader must not move what is read. @param {Item} item */
  redraw(item) {
    const { element } = item;
    if (!element) return;
    const change = () => this.view.fill(item);
    if (this.follower.isAbove(element)) this.follower.keepView(change);
    else change();
    this.#fillQuotes([item]);
    this.follower.settle();
  }

  get lastSeq() { return this.items.at(-1)?.seq ?? 0; }

  /** The last own message that can still be edited. */
  lastOwn() { return this.items.findLast((item) => item.own && !item.deleted && item.element); }

  /** @param {Element|null} element inside a message @returns {Item|undefined} */
  itemAt(element) {
    const message = /** @type {HTMLElement|null|undefined} */ (element?.closest(".message[data-seq]"));
    return message ? this.bySeq.get(Number(message.dataset.seq)) : undefined;
  }
}
