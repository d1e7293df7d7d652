// Changing one's own name.

import { lengthOf } from "./characters.js";
import { isComposing } from "./dom.js";

const NAME_MIN = 2, NAME_MAX = 24;

export class NameForm {
  /**
   * @param {import("./client.js").Client} client
   * @param {import("./frame.js").Frame} frame
   * @param {import("./words.js").Words} words
   * @param {import("./notice.js").Notice} notice
   */
  constructor(client, frame, words, notice) {
    this.client = client;
    this.frame = frame;
    this.words = words;
    this.notice = notice;
    this.form = frame.part("name-form");
    this.input = /** @type {HTMLInputElement} */ (frame.part("name"));
    this.opener = frame.part("name-open");
    this.opener.addEventListener("click", () => this.#open(true));
    frame.part("name-cancel").addEventListener("click", () => this.#open(false));
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.#save(); });
    this.form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || isComposing(event)) return;
      event.stopPropagation();
      this.#open(false);
    });
  }

  /** @param {boolean} open */
  #open(open) {
    this.form.hidden = !open;
    this.opener.hidden = open;
    this.input.removeAttribute("aria-invalid");
    this.notice.settle();
    if (!open) { this.opener.focus(); return; }
    this.input.value = this.client.name;
    this.input.focus();
    this.input.select();
  }

  async #save() {
    const name = this.input.value.trim();
    if (name === this.client.name) { this.#open(false); return; }
    try {
      const length = lengthOf(name);
      if (length < NAME_MIN || length > NAME_MAX) throw { code: "name_bad" };
      await this.client.rename(name);
      this.#open(false);
      this.notice.announce(this.words.say("name_saved", { name: this.client.name }));
    } catch (error) {
      this.input.setAttribute("aria-invalid", "true");
      this.input.focus();
      this.notice.showError(error);
    }
  }
}
