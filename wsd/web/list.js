// The list of messages: what is shown, in order, and where the reader is in it.
//
// Three boxes under each other. `past` holds what was loaded, `live` what came while the page looked
// on, `pending` what is not confirmed yet. Only `live` is a live region: a screen reader announces
// each message that is added there, once, and never the history.

import { isSameDay, button, linked, make, paintSeal } from "./words.js";

const MAX_NODES = 500;
const GROUP_S = 300;          // messages of one guest closer than this stand together
const AT_END_PX = 48;

/**
 * @typedef {import("./client.js").Message} Message
 * @typedef {import("./client.js").OutboxItem} OutboxItem
 * @typedef {import("./words.js").Words} Words
 *
 * @typedef {object} Item
 * @property {number} seq
 * @property {string} uid
 * @property {string} name
 * @property {number} time
 * @property {string} text
 * @property {boolean} own
 * @property {boolean} edited
 * @property {boolean} deleted
 * @property {boolean} editing
 * @property {HTMLElement} element
 * @property {HTMLElement|null} day   the day separator before it
 *
 * @typedef {object} Hooks
 * @property {(seq: number, text: string) => Promise<unknown>} edit
 * @property {(seq: number) => Promise<unknown>} remove
 * @property {(error: any) => void} failed    an edit or delete was refused
 * @property {(cid: string) => void} retry
 * @property {(cid: string) => void} discard
 * @property {(cid: string) => void} takeBack
 * @property {(item: OutboxItem) => string} reason   why an outbox item failed
 * @property {(element: HTMLElement) => void} doneEditing   where the focus was may be gone
 * @property {(below: number, atEnd: boolean) => void} moved
 */

export class MessageList {
  /** @param {Words} words @param {Hooks} hooks */
  constructor(words, hooks) {
    this.words = words;
    this.hooks = hooks;
    this.scroller = /** @type {HTMLElement} */ (document.getElementById("log"));
    this.past = /** @type {HTMLElement} */ (document.getElementById("past"));
    this.live = /** @type {HTMLElement} */ (document.getElementById("live"));
    this.pendingBox = /** @type {HTMLElement} */ (document.getElementById("pending"));
    /** @type {Item[]} by seq */
    this.items = [];
    /** @type {Map<number, Item>} */
    this.bySeq = new Map();
    /** @type {Map<string, HTMLElement>} cid to element */
    this.pending = new Map();
    /** @type {HTMLElement|null} */
    this.newDivider = null;
    this.trimmed = false;       // whether older ones were dropped since the flag was last cleared

    this.following = true;
    this.below = 0;             // came while the reader was further up
    this.lastTop = 0;
    this.settling = false;
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    const resized = new ResizeObserver(() => { if (this.following) this.#settleNow(); });
    resized.observe(this.scroller);
    for (const box of [this.past, this.live, this.pendingBox]) resized.observe(box);
  }

  // ---------------------------------------------------------------- adding

  /** Forgets everything that the server confirmed. */
  clear() {
    this.past.replaceChildren();
    this.live.replaceChildren();
    this.items = [];
    this.bySeq.clear();
    this.newDivider = null;
    this.following = true;
    this.#count(0);
  }

  /** From here on additions are the past, until {@link lookOn}. */
  lookBack() {
    this.past.append(...this.live.childNodes);
    this.target = this.past;
  }

  lookOn() { this.target = this.live; }

  target = /** @type {HTMLElement|null} */ (null);

  /**
   * Adds the newest message.
   * @param {Message} message
   * @param {{own: boolean, cid?: string, isNew: boolean}} how `isNew`: begins what the reader has not seen
   */
  add(message, { own, cid, isNew }) {
    if (this.bySeq.has(message.seq)) return;
    if (cid !== undefined) this.dropPending(cid);
    const item = this.#item(message, own);
    const target = this.target ?? this.past;
    if (isNew) this.#markNew(target);
    this.items.push(item);
    this.bySeq.set(item.seq, item);
    this.#place(item, this.items.at(-2), target);
    if (isNew) item.element.classList.remove("joined");    // below "New", name the guest again
    target.append(item.element);
    if (!this.following && !own) this.#count(this.below + 1);
    if (this.following) this.#trim();
    this.#settle();
  }

  /**
   * Adds older messages above; what the reader looks at stays where it is.
   * @param {Message[]} messages oldest first
   * @param {string} ownUid
   */
  prepend(messages, ownUid) {
    const items = messages.filter((message) => !this.bySeq.has(message.seq)).map((message) => this.#item(message, message.uid === ownUid));
    if (!items.length) return;
    const first = this.items[0];
    const heightBefore = this.scroller.scrollHeight;
    const fragment = document.createDocumentFragment();
    items.forEach((item, i) => {
      this.bySeq.set(item.seq, item);
      this.#place(item, items[i - 1], fragment);
      fragment.append(item.element);
    });
    if (first) {
      first.day?.remove();
      first.day = null;
    }
    this.past.prepend(fragment);
    if (first) this.#place(first, items.at(-1), first.element.parentElement ?? this.past, first.element);
    this.items.unshift(...items);
    this.lastTop = this.scroller.scrollTop += this.scroller.scrollHeight - heightBefore;
  }

  // Puts the day separator before an item, if it needs one, and joins it to the one before it.
  /** @param {Item} item @param {Item|undefined} before @param {Node} box @param {Node|null} [at] */
  #place(item, before, box, at = null) {
    const day = new Date(item.time * 1000);
    const newDay = !before || !isSameDay(day, new Date(before.time * 1000));
    if (newDay) {
      item.day = make("h2", "day", make("span", "", this.words.day(day)));
      box.insertBefore(item.day, at);
    }
    const joined = !newDay && before.uid === item.uid && before.name === item.name && item.time - before.time < GROUP_S;
    item.element.classList.toggle("joined", joined);
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

  #trim() {
    const surplus = this.items.length - MAX_NODES;
    if (surplus <= 0) return;
    for (const item of this.items.splice(0, surplus)) {
      this.bySeq.delete(item.seq);
      item.day?.remove();
      item.element.remove();
    }
    const first = this.items[0];
    if (!first.day) this.#place(first, undefined, first.element.parentElement ?? this.past, first.element);
    this.trimmed = true;
  }

  /** "Today" becomes "Yesterday" while the page stays open. */
  renameDays() {
    for (const item of this.items) {
      if (item.day?.firstChild) item.day.firstChild.textContent = this.words.day(new Date(item.time * 1000));
    }
  }

  // ---------------------------------------------------------------- one message

  /** @param {Message} message @param {boolean} own @returns {Item} */
  #item(message, own) {
    const element = make("article", "message");
    element.dataset.seq = String(message.seq);
    element.id = `m${message.seq}`;
    element.tabIndex = -1;
    if (own) {
      element.classList.add("own");
      element.setAttribute("aria-live", "off");    // who wrote it need not hear it
    }
    /** @type {Item} */
    const item = {
      seq: message.seq, uid: message.uid, name: message.name, time: message.time, text: message.text ?? "", own,
      edited: Boolean(message.edited), deleted: Boolean(message.deleted), editing: false, element, day: null,
    };
    element.append(...this.#frame(message, own), this.#bubble());
    this.#fill(item);
    return item;
  }

  /** Sign and name. @param {{uid: string, name: string, role?: string}} author @param {boolean} own */
  #frame({ uid, name, role }, own) {
    const seal = make("span", "seal");
    seal.setAttribute("aria-hidden", "true");
    paintSeal(seal, uid, name);
    const who = make("p", "who", make("bdi", "name", own ? this.words.say("you") : name));
    who.style.setProperty("--hue", seal.style.getPropertyValue("--hue"));
    const roleKey = `role_${role}`;
    if (role && role !== "guest" && this.words.has(roleKey)) who.append(" ", make("span", "role", this.words.say(roleKey)));
    return [seal, who];
  }

  #bubble() {
    const text = make("div", "text");
    text.dir = "auto";
    return make("div", "bubble", text, make("span", "foot"));
  }

  /** Shows the item as it is now. @param {Item} item */
  #fill(item) {
    const { words } = this;
    const { element } = item;
    element.classList.toggle("deleted", item.deleted);
    const text = /** @type {HTMLElement} */ (element.querySelector(".text"));
    if (item.deleted) text.replaceChildren(words.say("deleted"));
    else text.replaceChildren(linked(item.text));
    const foot = /** @type {HTMLElement} */ (element.querySelector(".foot"));
    foot.replaceChildren();
    if (item.edited && !item.deleted) foot.append(make("span", "edited", words.say("edited")), " ");
    foot.append(this.#time(item.time));
    element.querySelector(".actions")?.remove();
    if (item.own && !item.deleted) element.append(this.#actions(item));
  }

  /** @param {number} seconds */
  #time(seconds) {
    const at = new Date(seconds * 1000);
    const time = make("time", "", this.words.clock.format(at));
    time.dateTime = at.toISOString();
    time.title = this.words.fullTime.format(at);
    return time;
  }

  /** @param {number} seq @param {string} text */
  edit(seq, text) {
    const item = this.bySeq.get(seq);
    if (!item || item.deleted) return;
    item.text = text;
    item.edited = true;
    if (!item.editing) this.#keepingView(item, () => this.#fill(item));
  }

  /** @param {number} seq */
  remove(seq) {
    const item = this.bySeq.get(seq);
    if (!item) return;
    const hadFocus = item.element.contains(document.activeElement);
    item.deleted = true;
    item.text = "";
    this.#keepingView(item, () => { this.#closeEditor(item); this.#fill(item); });
    if (hadFocus) this.hooks.doneEditing(item.element);
  }

  // A change above the reader must not move what is read.
  /** @param {Item} item @param {() => void} change */
  #keepingView(item, change) {
    const above = item.element.getBoundingClientRect().bottom < this.scroller.getBoundingClientRect().top;
    const before = this.scroller.scrollHeight;
    change();
    if (above) this.lastTop = this.scroller.scrollTop += this.scroller.scrollHeight - before;
    this.#settle();
  }

  // ---------------------------------------------------------------- own messages: edit, delete

  /** @param {Item} item */
  #actions(item) {
    const { words } = this;
    const box = make("div", "actions");
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", words.say("actions_label"));
    const offer = () => {
      box.classList.remove("asking");
      box.replaceChildren(
        button(words.say("edit_button"), "", () => this.startEditing(item)),
        button(words.say("delete_button"), "", ask),
      );
    };
    const ask = () => {
      const keep = button(words.say("delete_keep"), "", () => {
        offer();
        /** @type {HTMLElement} */ (box.lastElementChild).focus();
      });
      const confirm = button(words.say("delete_button"), "danger", () => {
        confirm.disabled = true;
        this.hooks.remove(item.seq).catch((error) => { offer(); this.hooks.failed(error); });
      });
      const question = make("span", "", words.say("delete_question"));
      question.id = `ask${item.seq}`;
      confirm.setAttribute("aria-describedby", question.id);
      keep.setAttribute("aria-describedby", question.id);
      box.classList.add("asking");
      box.replaceChildren(question, confirm, keep);
      keep.focus({ preventScroll: true });
      box.scrollIntoView({ block: "nearest" });
    };
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !box.classList.contains("asking")) return;
      event.stopPropagation();
      offer();
      /** @type {HTMLElement} */ (box.lastElementChild).focus();
    });
    offer();
    // Where nothing hovers, touching the bubble shows the buttons.
    const bubble = /** @type {HTMLElement} */ (item.element.querySelector(".bubble"));
    bubble.onclick = (event) => {
      if (event.target instanceof Element && event.target.closest("a, button, textarea")) return;
      if (getSelection()?.isCollapsed === false) return;
      for (const other of this.scroller.querySelectorAll(".message.open")) if (other !== item.element) other.classList.remove("open");
      item.element.classList.toggle("open");
      this.#settle();
    };
    return box;
  }

  /** The last own message that can still be edited. */
  lastOwn() { return this.items.findLast((item) => item.own && !item.deleted); }

  /** @param {Item} item */
  startEditing(item) {
    if (item.editing || item.deleted) return;
    item.editing = true;
    const { words } = this;
    const area = make("textarea");
    area.rows = 1;
    area.value = item.text;
    area.dir = "auto";
    area.setAttribute("aria-label", words.say("edit_label"));
    const save = make("button", "small-button primary", words.say("save"));
    save.type = "submit";
    const cancel = button(words.say("cancel"), "small-button", () => this.#stopEditing(item));
    const form = make("form", "editor", area, make("div", "editor-buttons", save, cancel));
    const submit = async () => {
      const text = area.value.trim();
      if (!text || text === item.text) { this.#stopEditing(item); return; }
      save.disabled = true;
      try {
        await this.hooks.edit(item.seq, text);
        item.text = text;          // the event follows, or has come already
        item.edited = true;
        this.#stopEditing(item);
      } catch (error) {            // the text stays, for another try
        save.disabled = false;
        area.focus();
        this.hooks.failed(error);
      }
    };
    form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
    area.addEventListener("input", () => growArea(area));
    area.addEventListener("keydown", (event) => {
      if (isComposing(event)) return;
      if (event.key === "Escape") { event.stopPropagation(); this.#stopEditing(item); }
      if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); submit(); }
    });
    item.element.classList.remove("open");
    item.element.classList.add("editing");
    /** @type {HTMLElement} */ (item.element.querySelector(".bubble")).append(form);
    growArea(area);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
    item.element.scrollIntoView({ block: "nearest" });
  }

  /** @param {Item} item */
  #stopEditing(item) {
    if (!item.editing) return;
    this.#closeEditor(item);
    this.#fill(item);
    this.#settle();
    this.hooks.doneEditing(item.element);
  }

  /** @param {Item} item */
  #closeEditor(item) {
    item.editing = false;
    item.element.classList.remove("editing");
    item.element.querySelector(".editor")?.remove();
  }

  // ---------------------------------------------------------------- not confirmed yet

  /**
   * Shows an outbox item, or its new state.
   * @param {OutboxItem} outboxItem
   * @param {{uid: string, name: string}} self
   */
  showPending(outboxItem, self) {
    const { words, hooks } = this;
    const { cid, status } = outboxItem;
    let element = this.pending.get(cid);
    if (!element) {
      element = make("article", "message own pending", ...this.#frame(self, true), this.#bubble());
      /** @type {HTMLElement} */ (element.querySelector(".text")).append(linked(outboxItem.text));
      const last = this.items.at(-1);
      element.classList.toggle("joined", this.pending.size > 0 || Boolean(last?.own && outboxItem.time - last.time < GROUP_S));
      this.pending.set(cid, element);
      this.pendingBox.append(element);
    }
    const foot = /** @type {HTMLElement} */ (element.querySelector(".foot"));
    const failed = status === "failed";
    element.classList.toggle("failed", failed);
    element.classList.toggle("sending", status === "sent");
    foot.textContent = failed ? "" : words.say(status === "sent" ? "pending" : "waiting");
    element.querySelector(".failure")?.remove();
    if (failed) {
      element.append(make("div", "failure",
        make("span", "", words.say("failed_why", { reason: hooks.reason(outboxItem) })),
        button(words.say("retry"), "link", () => hooks.retry(cid)),
        button(words.say("take_back"), "link", () => hooks.takeBack(cid)),
        button(words.say("discard"), "link", () => hooks.discard(cid))));
    }
    this.#settle();
  }

  /** @param {string} cid */
  dropPending(cid) {
    this.pending.get(cid)?.remove();
    this.pending.delete(cid);
  }

  // ---------------------------------------------------------------- where the reader is

  // Only the reader's own way up ends the following: the list also "scrolls" when it grows, when it
  // is trimmed and when the keyboard comes up, but then it ends up at the end or does not move up.
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const gap = scrollHeight - scrollTop - clientHeight;
    if (scrollTop < this.lastTop - 1 && gap > 4) this.following = false;
    else if (gap <= AT_END_PX) this.following = true;
    this.lastTop = scrollTop;
    if (this.following) this.below = 0;
    this.hooks.moved(this.below, this.following);
  }

  /** @param {number} below */
  #count(below) {
    this.below = below;
    this.hooks.moved(below, this.following);
  }

  /** Once per frame, however many messages came: one layout. */
  #settle() {
    if (this.settling || !this.following) return;
    this.settling = true;
    requestAnimationFrame(() => this.#settleNow());
  }

  #settleNow() {
    this.settling = false;
    if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.lastTop = this.scroller.scrollTop;
  }

  toEnd() {
    this.following = true;
    this.#count(0);
    this.#settle();
  }
}

/** Whether a key belongs to an input method. Safari ends the composition before its Enter, with key code 229. @param {KeyboardEvent} event */
export function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

/** A text area as high as its text; the style sheet limits it. @param {HTMLTextAreaElement} area */
export function growArea(area) {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
}
