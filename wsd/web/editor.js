// Changing one's own message in its place in the list.

import { button, growArea, isComposing, make } from "./dom.js";

/** @typedef {import("./message.js").Item} Item */

export class Editor {
  /**
   * @param {import("./list.js").MessageList} list
   * @param {import("./words.js").Words} words
   * @param {object} doings
   * @param {(seq: number, text: string) => Promise<unknown>} doings.save
   * @param {(error: any) => void} doings.failed
   * @param {(element: HTMLElement) => void} doings.done    where the focus was is gone
   */
  constructor(list, words, doings) {
    this.list = list;
    this.words = words;
    this.doings = doings;
  }

  /** @param {Item} item */
  start(item) {
    if (item.editing || item.deleted || !item.element) return;
    item.editing = true;
    const { element } = item;
    const area = this.#area(item);
    const save = make("button", "small-button primary", this.words.say("save"));
    save.type = "submit";
    const cancel = button(this.words.say("cancel"), "small-button", () => this.#stop(item));
    const form = make("form", "editor", area, make("div", "editor-buttons", save, cancel));
    const submit = () => this.#submit(item, area, save);
    form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
    area.addEventListener("keydown", (event) => {
      if (isComposing(event)) return;
      if (event.key === "Escape") { event.stopPropagation(); this.#stop(item); }
      if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); submit(); }
    });
    element.classList.add("editing");
    element.querySelector(".bubble")?.append(form);
    growArea(area);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
    element.scrollIntoView({ block: "nearest" });
  }

  /** @param {Item} item */
  #area(item) {
    const area = make("textarea");
    area.rows = 1;
    area.value = item.text;
    area.dir = "auto";
    area.setAttribute("aria-label", this.words.say("edit_label"));
    area.addEventListener("input", () => growArea(area));
    return area;
  }

  /** @param {Item} item @param {HTMLTextAreaElement} area @param {HTMLButtonElement} save */
  async #submit(item, area, save) {
    const text = area.value.trim();
    if (!text || text === item.text) { this.#stop(item); return; }
    save.disabled = true;
    try {
      await this.doings.save(item.seq, text);
      item.text = text;          // the event follows, or has come already
      item.edited = true;
      this.#stop(item);
    } catch (error) {            // the text stays, for another try
      save.disabled = false;
      area.focus();
      this.doings.failed(error);
    }
  }

  /** @param {Item} item */
  #stop(item) {
    if (!item.editing) return;
    this.close(item);
    this.list.redraw(item);
    if (item.element) this.doings.done(item.element);
  }

  /** @param {Item} item */
  close(item) {
    item.editing = false;
    item.element?.classList.remove("editing");
    item.element?.querySelector(".editor")?.remove();
  }
}
