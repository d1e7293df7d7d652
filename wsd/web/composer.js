// Writing: the input, what it answers, and sending. What cannot be sent stays in the input.

import { excerpt, lengthOf } from "./characters.js";
import { growArea, isComposing, perFrame } from "./dom.js";

const COUNTER_FROM = 0.8;        // of the text limit

export class Composer {
  /** @type {number|undefined} seq of the message that is answered */
  #replyTo;

  /**
   * @param {import("./frame.js").Frame} frame
   * @param {import("./words.js").Words} words
   * @param {import("./notice.js").Notice} notice
   * @param {object} doings
   * @param {(text: string, options: {reply_to?: number}) => boolean} doings.say   false: too much is waiting
   * @param {() => void} doings.typing
   * @param {() => void} doings.editLast
   */
  constructor(frame, words, notice, doings) {
    this.frame = frame;
    this.words = words;
    this.notice = notice;
    this.doings = doings;
    this.input = /** @type {HTMLTextAreaElement} */ (frame.part("text"));
    frame.part("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
      this.input.focus();
    });
    this.input.addEventListener("input", () => {
      this.draw();
      notice.settle();
      if (this.input.value) doings.typing();
    });
    this.input.addEventListener("keydown", (event) => this.#onKey(event));
    // Narrower, its lines break elsewhere. Later than in the observer, which sees the new height as well.
    const grow = perFrame(() => growArea(this.input));
    let width = 0;
    new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width !== width) grow();
      ({ width } = contentRect);
    }).observe(this.input);
    frame.part("answering-end").addEventListener("click", () => { this.reply(undefined); this.input.focus(); });
    this.draw();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (isComposing(event) || event.defaultPrevented) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      this.send();
    } else if (event.key === "ArrowUp" && this.input.value === "") {
      event.preventDefault();
      this.doings.editLast();
    } else if (event.key === "Escape" && this.#replyTo !== undefined) {
      event.stopPropagation();
      this.reply(undefined);
    }
  }

  draw() {
    const { input, words } = this;
    const { limit } = this.notice;
    growArea(input);
    const length = lengthOf(input.value);
    const counter = this.frame.part("counter");
    counter.hidden = length < limit * COUNTER_FROM;
    counter.textContent = length > limit ? words.say("chars_over", { n: length - limit }) : words.say("chars_left", { n: limit - length });
    counter.classList.toggle("over", length > limit);
    /** @type {HTMLButtonElement} */ (this.frame.part("send")).disabled = input.value.trim() === "";
  }

  send() {
    const text = this.input.value.trim();
    if (!text) return;
    if (lengthOf(text) > this.notice.limit) { this.notice.showError({ code: "too_long" }); return; }
    const options = this.#replyTo === undefined ? {} : { reply_to: this.#replyTo };
    if (!this.doings.say(text, options)) { this.notice.showError({ code: "outbox_full" }); return; }
    this.input.value = "";
    this.reply(undefined);
    this.draw();
  }

  /** The next message answers this one. @param {import("./message.js").Item|undefined} item */
  reply(item) {
    this.#replyTo = item?.seq;
    this.frame.part("answering").hidden = item === undefined;
    if (!item) return;
    const name = item.own ? this.words.say("you") : item.name;
    this.frame.part("answering-text").textContent = `${this.words.say("replying_to", { name })} ${excerpt(item.text)}`;
    this.input.focus();
  }

  /** Puts text in, for another try. @param {string} text */
  takeBack(text) {
    this.input.value = this.input.value ? `${text}\n${this.input.value}` : text;
    this.#changed();
  }

  /** Replaces what stands between `from` and the cursor. @param {string} text @param {number} [from] */
  insert(text, from = this.input.selectionStart) {
    this.input.setRangeText(text, from, this.input.selectionEnd, "end");
    this.#changed();
  }

  #changed() {
    this.input.dispatchEvent(new Event("input"));
    this.input.focus();
  }
}
