// Names offered while somebody types "@": the list belongs to the input, which keeps the focus.

import { el, isComposing } from "./dom.js";

const BEGUN = /(?:^|\s)@([^@\n]{0,24})$/;
const MOST = 6;

export class Suggestions {
  #from = 0;        // where the "@" stands
  #chosen = 0;

  /**
   * @param {import("./frame.js").Frame} frame
   * @param {import("./composer.js").Composer} composer
   * @param {() => string[]} names who can be addressed
   */
  constructor(frame, composer, names) {
    this.box = frame.part("names");
    this.composer = composer;
    this.names = names;
    const { input } = composer;
    input.addEventListener("input", () => this.#offer());
    input.addEventListener("blur", () => this.#show([]));
    // Before the composer's own keys: Enter takes a name, and does not send.
    input.addEventListener("keydown", (event) => this.#onKey(event), { capture: true });
    this.box.addEventListener("pointerdown", (event) => {
      event.preventDefault();    // the input keeps the focus
      const option = event.target instanceof Element ? event.target.closest("li") : null;
      if (option) this.#take([...this.box.children].indexOf(option));
    });
    this.#offer();
  }

  #offer() {
    const { input } = this.composer;
    const begun = BEGUN.exec(input.value.slice(0, input.selectionStart));
    if (!begun) { this.#show([]); return; }
    this.#from = input.selectionStart - begun[1].length - 1;
    const wanted = begun[1].toLocaleLowerCase();
    this.#show(this.names().filter((name) => name.toLocaleLowerCase().startsWith(wanted) && name !== begun[1]).slice(0, MOST));
  }

  /** @param {string[]} names */
  #show(names) {
    this.box.replaceChildren(...names.map((name, i) => el("li", { id: `names-${i}`, role: "option", dir: "auto" }, name)));
    this.box.hidden = names.length === 0;
    this.#choose(0);
  }

  /** @param {number} which */
  #choose(which) {
    const { input } = this.composer;
    this.#chosen = which;
    [...this.box.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === which)));
    if (this.box.hidden) for (const name of ["aria-activedescendant", "aria-controls"]) input.removeAttribute(name);
    else {
      input.setAttribute("aria-controls", "names");
      input.setAttribute("aria-activedescendant", `names-${which}`);
    }
  }

  /** @param {number} which */
  #take(which) {
    const name = this.box.children[which]?.textContent;
    if (name) this.composer.insert(`@${name} `, this.#from);
    this.#show([]);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const count = this.box.children.length;
    if (!count || isComposing(event)) return;
    if (event.key === "ArrowDown") this.#choose((this.#chosen + 1) % count);
    else if (event.key === "ArrowUp") this.#choose((this.#chosen + count - 1) % count);
    else if ((event.key === "Enter" && !event.shiftKey) || event.key === "Tab") this.#take(this.#chosen);
    else if (event.key === "Escape") this.#show([]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
