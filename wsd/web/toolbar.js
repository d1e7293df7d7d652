// What can be done with a message: one bar of buttons, at the message under the pointer, the finger or
// the focus. Arrow keys walk through the messages, so that the Tab key need not.

import { button, focusBeside, isComposing, make } from "./dom.js";

/**
 * @typedef {import("./message.js").Item} Item
 *
 * @typedef {object} Doings
 * @property {(item: Item) => void} reply
 * @property {(item: Item) => void} edit
 * @property {(item: Item) => Promise<unknown>} remove
 * @property {(item: Item) => void} ignore
 * @property {(error: any) => void} failed
 * @property {() => void} leave     the reader has done with the messages
 */

export class Toolbar {
  /** @type {Item|null} */
  #item = null;

  /**
   * @param {import("./list.js").MessageList} list
   * @param {import("./words.js").Words} words
   * @param {Doings} doings
   */
  constructor(list, words, doings) {
    this.list = list;
    this.words = words;
    this.doings = doings;
    this.box = make("div", "actions");
    this.box.setAttribute("role", "group");
    this.box.addEventListener("keydown", (event) => this.#onBarKey(event));
    const { scroller } = list;
    scroller.addEventListener("pointerover", (event) => {
      if (event.pointerType === "mouse") this.#show(this.#itemOf(event));
    });
    scroller.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse" && !this.#isBusy()) this.hide();
    });
    scroller.addEventListener("focusin", (event) => this.#show(this.#itemOf(event)));
    scroller.addEventListener("click", (event) => this.#onClick(event));
    scroller.addEventListener("keydown", (event) => this.#onKey(event));
    this.#show(list.itemAt(scroller.querySelector(".message:hover")));    // which was there before this
  }

  /** @param {Event} event */
  #itemOf(event) { return event.target instanceof Element ? this.list.itemAt(event.target) : undefined; }

  #isBusy() {
    const focused = focusBeside(this.box);
    return this.box.classList.contains("asking") || (focused !== null && this.box.contains(focused));
  }

  /** @param {Item|undefined} item */
  #show(item) {
    if (!item?.element || item.deleted || item.editing || (item === this.#item && this.box.isConnected)) return;
    if (this.#isBusy() && this.box.isConnected) return;
    this.#item = item;
    this.#offer(item);
    item.element.append(this.box);
  }

  hide() {
    this.#item = null;
    this.box.classList.remove("asking", "open");
    this.box.remove();
  }

  /** The item is not what it was. @param {Item} item */
  forget(item) { if (item === this.#item) this.hide(); }

  // Where nothing hovers, touching the bubble shows the buttons below it.
  /** @param {MouseEvent} event */
  #onClick(event) {
    const { target } = event;
    if (!(target instanceof Element) || !target.closest(".bubble") || target.closest("a, button, textarea")) return;
    if (getSelection()?.isCollapsed === false) return;
    const item = this.list.itemAt(target);
    const wasOpen = item === this.#item && this.box.classList.contains("open");
    if (!item || item.deleted) return;
    if (!this.#isBusy()) this.hide();
    this.#show(item);
    this.box.classList.toggle("open", !wasOpen);
    this.list.follower.settle();
  }

  // ---------------------------------------------------------------- the buttons

  /** @param {Item} item */
  #offer(item) {
    const { words, doings } = this;
    this.box.classList.remove("asking", "open");
    this.box.setAttribute("aria-label", words.say(item.own ? "actions_label" : "actions_of", { name: item.name }));
    const buttons = [button(words.say("reply"), "", () => { this.hide(); doings.reply(item); })];
    if (item.own) {
      buttons.push(button(words.say("edit_button"), "", () => { this.hide(); doings.edit(item); }));
      buttons.push(button(words.say("delete_button"), "", () => this.#ask(item)));
    } else buttons.push(button(words.say("ignore"), "", () => { this.hide(); doings.ignore(item); }));
    this.box.replaceChildren(...buttons);
  }

  /** @param {Item} item */
  #ask(item) {
    const { words, doings, box } = this;
    const keep = button(words.say("delete_keep"), "", () => this.#ended(item));
    const confirm = button(words.say("delete_button"), "danger", () => {
      if (confirm.ariaDisabled) return;
      confirm.ariaDisabled = "true";    // `disabled` would take the focus away
      doings.remove(item).catch((error) => { this.#ended(item); doings.failed(error); });
    });
    const question = make("span", "", words.say("delete_question"));
    question.id = `ask${item.seq}`;
    for (const each of [confirm, keep]) each.setAttribute("aria-describedby", question.id);
    box.classList.add("asking");
    box.replaceChildren(question, confirm, keep);
    keep.focus({ preventScroll: true });
    box.scrollIntoView({ block: "nearest" });
  }

  /** @param {Item} item */
  #ended(item) {
    this.#offer(item);
    /** @type {HTMLElement|null} */ (this.box.lastElementChild)?.focus();
  }

  // ---------------------------------------------------------------- keys

  /** @param {KeyboardEvent} event in the bar */
  #onBarKey(event) {
    const item = this.#item;
    if (!item) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      if (this.box.classList.contains("asking")) this.#ended(item);
      else item.element?.focus();
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const rtl = getComputedStyle(this.box).direction === "rtl";
      const forward = (event.key === "ArrowRight") !== rtl;
      const from = focusBeside(this.box);
      const to = forward ? from?.nextElementSibling : from?.previousElementSibling;
      if (to instanceof HTMLButtonElement) to.focus();
    }
  }

  /** @param {KeyboardEvent} event in the list */
  #onKey(event) {
    const { target } = event;
    if (isComposing(event) || !(target instanceof Element) || target.closest("textarea, .actions")) return;
    const current = this.list.itemAt(target);
    const to = this.#neighbour(event.key, current?.element ?? null);
    if (to) {
      event.preventDefault();
      to.focus();
      to.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" && current?.element === target && this.box.isConnected) {
      event.preventDefault();
      /** @type {HTMLElement|null} */ (this.box.firstElementChild)?.focus();
    } else if (event.key === "Escape" && current) {
      event.stopPropagation();
      this.doings.leave();
    }
  }

  /** @param {string} key @param {HTMLElement|null} current @returns {HTMLElement|undefined} */
  #neighbour(key, current) {
    if (!["ArrowUp", "ArrowDown", "Home", "End"].includes(key)) return undefined;
    const shown = this.list.items.map(({ element }) => element).filter((element) => element !== null && element.offsetParent !== null);
    const at = shown.indexOf(current);
    const wanted = { ArrowUp: at < 0 ? shown.length - 1 : at - 1, ArrowDown: at + 1, Home: 0, End: shown.length - 1 }[key];
    if (at < 0 && key === "ArrowDown") return undefined;    // the list itself scrolls
    return shown[wanted ?? -1] ?? undefined;
  }
}
