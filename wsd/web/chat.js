// One room in one frame: joins the client (connection) with the list (messages) and all around it.

import { Composer } from "./composer.js";
import { Past } from "./history.js";
import { MessageList } from "./list.js";
import { Notice } from "./notice.js";
import { PendingList } from "./pending.js";
import { People } from "./people.js";
import { paintSeal } from "./seal.js";
import { StateLine } from "./state.js";
import { Mentions } from "./text.js";
import { Typing } from "./typing.js";
import { badge } from "./unread.js";

/**
 * @typedef {object} Parts
 * @property {import("./client.js").Client} client
 * @property {string} room
 * @property {import("./frame.js").Frame} frame
 * @property {import("./words.js").Words} words
 * @property {import("./ignored.js").Ignored} ignored
 * @property {number} limit      characters in one message
 * @property {boolean} joined    another frame of this page shows the room already
 */

export class Chat {
  unread = 0;                     // came while nobody looked
  #isOut = false;
  #isSeen = () => !document.hidden;
  #catchingUp = false;            // the replay under way is what came while we were away
  #wasAway = false;               // the connection was lost
  #markNext = false;              // its first message is still to come
  #missed = 0;
  #mentions = new Mentions();
  /** @type {Promise<void>|undefined} */
  #equipping;

  /** @type {import("./extras.js").Extras|undefined} */
  extras;

  /** @type {(unread: number) => void} somebody else may want to show it */
  onUnread = () => {};

  /** @param {Parts} parts @param {() => boolean} [isSeen] whether the reader sees the frame */
  constructor({ client, room, frame, words, ignored, limit, joined }, isSeen) {
    this.client = client;
    this.room = room;
    this.frame = frame;
    this.words = words;
    this.ignored = ignored;
    if (isSeen) this.#isSeen = isSeen;
    this.notice = new Notice(frame, words, limit);
    this.state = new StateLine(client, frame, words, this.notice);
    this.list = new MessageList(frame, words, this.#mentions, {
      moved: (below, atEnd) => this.#drawToEnd(below, atEnd),
      goTo: (seq) => this.#goTo(seq),
      isIgnored: (uid) => ignored.has(uid),
    });
    this.history = new Past(client, room, this.list, frame, words, {
      failed: (error) => this.notice.showError(error),
      pending: () => this.pending.size,
    });
    this.people = new People(client, room, frame, words, ignored);
    this.pending = this.#makePending();
    if (frame.kind !== "view") this.#makeWriting();
    this.#listen();
    if (joined) this.#comeLater();
    this.history.draw();
    for (const item of client.outbox(room)) this.pending.show(item, client);
  }

  // The client has had its replay, and been told of the room: what was said comes as a page of history.
  #comeLater() {
    this.history.ready = true;
    this.list.joinsEnd = false;
    this.list.lookOn();
    this.history.jumpToNewest();
    this.people.draw();
    this.#knowNames();
    this.#drawModes(this.client.rooms.get(this.room)?.modes ?? {});
  }

  /** The frame was taken out of the page, or is back. @param {boolean} isOut */
  moved(isOut) {
    const { client, room } = this;
    this.#isOut = isOut;
    if (isOut) {
      this.#setUnread(0);
      this.list.clear();
      this.history.ready = false;    // as at first: nobody is to be told of a break
    } else if (client.rooms.has(room)) this.#comeLater();
    else client.join(room);
  }

  #knowNames() { this.#mentions.know(this.people.names, this.client.name); }

  // ---------------------------------------------------------------- the parts

  #makePending() {
    const { client, room, notice } = this;
    return new PendingList(this.frame.part("pending"), this.list, this.words, {
      retry: (cid) => { client.retry(cid); this.leave(this.list.scroller); },
      discard: (cid) => { client.discard(cid); this.leave(this.list.scroller); },
      takeBack: (cid) => {
        const item = client.outbox(room).find((each) => each.cid === cid);
        if (!item) return;
        client.discard(cid);
        this.composer?.takeBack(item.text);
      },
      reason: (item) => (item.error ? notice.errorText(item.error) : ""),
    });
  }

  #makeWriting() {
    const { client, room, frame, words, notice, list } = this;
    const composer = new Composer(frame, words, notice, {
      say: (text, options) => this.#say(text, options),
      typing: () => client.typing(room),
      editLast: async () => {
        await this.#equip();
        const last = list.lastOwn();
        if (last) this.extras?.editor.start(last);
      },
    });
    this.composer = composer;
    this.typing = new Typing(frame.part("typing"), words);
    for (const type of ["pointerover", "pointerdown", "keydown"]) {
      frame.element.addEventListener(type, () => this.#equip(), { once: true, capture: true });
    }
    frame.element.addEventListener("click", (event) => this.#clickAgain(event));
    client.on("identity", () => this.#drawName());
    this.#drawName();
  }

  /** Fetches what only those need who do something; once, however often it is called. */
  #equip() {
    this.#equipping ??= this.#fetchExtras().catch(() => {
      this.#equipping = undefined;
      this.notice.showError({ code: "disconnected" });
    });
    return this.#equipping;
  }

  async #fetchExtras() {
    if (!this.composer) return;
    const [{ Extras }] = await Promise.all([import("./extras.js"), this.frame.dress("extras.css")]);
    this.extras = new Extras(this, this.composer);
  }

  // Whoever presses what is not there yet need not press twice.
  /** @param {MouseEvent} event */
  #clickAgain(event) {
    const { target } = event;
    if (this.extras || !(target instanceof Element)) return;
    const wanted = target.closest("#emoji-open, #name-open, .bubble");
    if (!wanted || target.closest("a, .quote")) return;
    this.#equip().then(() => { if (this.extras) wanted.dispatchEvent(new MouseEvent("click", { bubbles: true })); });
  }

  #drawName() {
    const name = this.client.name || this.words.say("guest");
    this.frame.part("name-shown").textContent = name;
    paintSeal(this.frame.part("name-seal"), this.client.uid, name);
  }

  /** On a phone, focus in the input would bring up the keyboard. @param {HTMLElement} element a better place there */
  leave(element) {
    const place = matchMedia("(pointer: coarse)").matches ? element : this.composer?.input;
    place?.focus({ preventScroll: true });
  }

  /** @param {string} text @param {{reply_to?: number}} options */
  #say(text, options) {
    this.list.clearNew();
    this.#toEnd();
    const said = this.client.say(this.room, text, options);
    this.history.draw();
    return said !== null;
  }

  /** @param {import("./message.js").Item} item */
  ignore({ uid, name }) {
    this.ignored.add(uid, name);
    this.notice.show(this.words.say("ignoring", { name }));
    this.leave(this.list.scroller);
  }

  // ---------------------------------------------------------------- what the client tells

  #listen() {
    const { client, room, list, history } = this;
    /** @param {string} type @param {(detail: any) => void} handler */
    const on = (type, handler) => client.on(type, (detail) => {
      if (!this.#isOut && (detail.room === undefined || detail.room === room)) handler(detail);
    });
    on("state", () => {
      if (client.state.status === "waiting") this.#wasAway = true;
      else if (client.state.status === "online" && this.notice.code === "disconnected") this.notice.hide();
    });
    on("reset", (detail) => this.#reset(detail));
    on("join", (detail) => this.#joined(detail));
    on("replayed", () => this.#replayed());
    on("message", (detail) => this.#message(detail));
    on("edit", ({ seq, text }) => list.edit(seq, text));
    on("delete", ({ seq }) => this.#removed(seq));
    on("mode", ({ modes }) => this.#drawModes(modes));
    on("error", (error) => this.notice.showError(error));
    client.on("outbox", (detail) => { if (detail.item.room === room) this.#outbox(detail); });
    on("typing", ({ uid, name }) => {
      if (!this.ignored.has(uid)) this.typing?.begin(uid, name, client.rooms.get(room)?.online ?? 0);
    });
    for (const type of ["presence", "identity"]) on(type, () => this.#knowNames());
    this.ignored.addEventListener("change", () => list.regroup());
    this.frame.part("to-end").addEventListener("click", () => this.#toEnd());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) { this.seen(); list.renameDays(); } });
  }

  /** @param {{before: number, isOther: boolean}} detail `isOther`: a seq means another message now */
  #reset({ before, isOther }) {
    if (isOther) this.composer?.reply(undefined);
    const isFirst = !this.history.ready && this.list.items.length === 0;
    this.list.clear();
    this.extras?.toolbar.hide();
    this.history.reset(before);
    if (!isFirst && before > 1) this.notice.show(this.words.say("reloaded"));
  }

  /** @param {{recovered: boolean, follows: number}} detail */
  #joined({ recovered, follows }) {
    this.history.ready = false;
    this.#missed = 0;
    this.#catchingUp = recovered;
    this.#markNext = recovered && follows > 0 && this.#wasAway;
    this.#wasAway = false;
    this.list.lookBack();
    for (const item of this.client.outbox(this.room)) this.pending.show(item, this.client);
    this.history.draw();
  }

  #replayed() {
    this.list.lookOn();
    this.#markNext = false;
    this.history.ready = true;
    if (this.#missed) this.notice.announce(this.words.count("missed", this.#missed));
    this.history.draw();
    requestAnimationFrame(() => requestAnimationFrame(() => this.history.loadNear()));    // once the view has settled
  }

  /** @param {{message: import("./client.js").Message, replay: boolean, cid?: string}} detail */
  #message({ message, replay, cid }) {
    const own = message.uid === this.client.uid;
    const isNews = !own && !this.ignored.has(message.uid) && (!replay || this.#catchingUp);    // a newcomer's replay is not news
    const isUnseen = isNews && !this.#isSeen();
    const isFirstNews = isNews && (this.#markNext || (isUnseen && this.unread === 0));
    if (isNews && replay) this.#missed += 1;
    if (isFirstNews) this.#markNext = false;
    if (cid !== undefined) this.pending.drop(cid);
    this.list.add(message, { own, isNew: isFirstNews });
    if (isUnseen) this.#setUnread(this.unread + 1);
    if (this.list.trimmed) { this.list.trimmed = false; this.history.more = true; this.history.draw(); }
    if (this.list.items.length === 1) this.history.draw();
    this.typing?.end(message.uid);
  }

  /** @param {number} seq */
  #removed(seq) {
    const item = this.list.bySeq.get(seq);
    if (!item) return;
    const hadFocus = Boolean(item.element?.contains(this.frame.focused));
    this.extras?.editor.close(item);
    this.extras?.toolbar.forget(item);
    this.list.remove(seq);
    if (hadFocus && item.element) this.leave(item.element);
  }

  /** @param {any} detail */
  #outbox({ change, item, error, retryAt, shown }) {
    const { client, notice, pending } = this;
    this.state.setSending(change === "sending");
    if (change === "removed") pending.drop(item.cid);
    else if (change === "sent") {
      if (shown) pending.drop(item.cid);    // else when its event comes
      if (client.outbox(this.room).length === 0) notice.hide();
    } else if (change === "failed" && error.code === "held") {
      client.discard(item.cid);
      notice.showError(error);
    } else {
      pending.show(item, client);
      if (change === "failed") notice.show(notice.errorText(error));
      if (change === "waiting" && error.code === "rate" && retryAt) notice.countDown("error_rate_in", retryAt);
      else if (change === "waiting" && (error.code === "busy" || error.code === "storage")) notice.show(notice.errorText(error));
    }
  }

  /** @param {Record<string, unknown>} modes */
  #drawModes(modes) {
    const lines = [];
    if (modes.read_only || modes.readonly) lines.push(this.words.say("read_only_mode"));
    if (Number(modes.slow_s) > 0) lines.push(this.words.say("slow_mode", { n: Number(modes.slow_s) }));
    const text = lines.join(" ");
    const element = this.frame.part("mode");
    if (!element || element.textContent === text) return;
    element.textContent = text;
    this.frame.element.classList.toggle("has-mode", text !== "");
    if (text) this.notice.announce(text);
  }

  // ---------------------------------------------------------------- where the reader is

  /** @param {number} below @param {boolean} atEnd */
  #drawToEnd(below, atEnd) {
    const button = this.frame.part("to-end");
    const hadFocus = this.frame.focused === button;
    const isAtEnd = atEnd && (this.list?.joinsEnd ?? true);
    button.hidden = isAtEnd;
    button.classList.toggle("counting", below > 0);
    button.textContent = below ? this.words.say("new_below", { n: below }) : "↓";
    button.setAttribute("aria-label", below ? this.words.count("new_below_label", below) : this.words.say("to_end"));
    if (isAtEnd && hadFocus) this.frame.part("log").focus();
  }

  #toEnd() {
    if (this.list.joinsEnd) this.list.follower.toEnd();
    else this.history.jumpToNewest();
  }

  /** Shows the message that another one answers. @param {number} seq */
  #goTo(seq) {
    const element = this.list.bySeq.get(seq)?.element;
    if (!element) { this.notice.show(this.words.say("reply_far")); return; }
    element.scrollIntoView({ block: "center" });
    element.classList.remove("found");
    requestAnimationFrame(() => element.classList.add("found"));
    element.focus({ preventScroll: true });
  }

  /** The reader looks at the frame. */
  seen() { this.#setUnread(this.#isSeen() ? 0 : this.unread); }

  /** @param {number} unread */
  #setUnread(unread) {
    this.unread = unread;
    badge(this, document.hidden ? unread : 0);
    this.onUnread(unread);
  }
}
