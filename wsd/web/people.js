// Who is here, and whom one does not want to read. A column, or a drawer where there is no room for one.

import { button, make, perFrame } from "./dom.js";
import { paintSeal } from "./seal.js";

const NAMES_UP_TO = 100;

export class People {
  /**
   * @param {import("./client.js").Client} client
   * @param {string} room
   * @param {import("./frame.js").Frame} frame
   * @param {import("./words.js").Words} words
   * @param {import("./ignored.js").Ignored} ignored
   */
  constructor(client, room, frame, words, ignored) {
    this.client = client;
    this.room = room;
    this.frame = frame;
    this.words = words;
    this.ignored = ignored;
    this.opener = frame.part("people-open");
    this.opener.addEventListener("click", () => { this.open(true); frame.part("people-close").focus(); });
    for (const id of ["people-close", "shade"]) frame.part(id).addEventListener("click", () => this.#close());
    frame.part("people").addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !frame.isNarrow) return;
      event.stopPropagation();
      this.#close();
    });
    frame.onNarrow = () => this.open(false);
    ignored.addEventListener("change", () => this.draw());
    for (const type of ["presence", "identity"]) client.on(type, () => this.draw());
    this.open(false);
  }

  /** Names of the others that are known. @returns {string[]} */
  get names() {
    const people = this.client.rooms.get(this.room)?.people ?? new Map();
    return [...people].filter(([uid]) => uid !== this.client.uid && !this.ignored.has(uid)).map(([, name]) => name);
  }

  /** @param {boolean} open the panel is a drawer only where there is no room for it */
  open(open) {
    const { frame } = this;
    const isOpen = frame.isNarrow && open;
    frame.part("people").inert = frame.isNarrow && !open;
    frame.part("chat").inert = isOpen;
    frame.part("shade").hidden = !isOpen;
    this.opener.setAttribute("aria-expanded", String(isOpen));
    frame.element.classList.toggle("people-shown", isOpen);
    if (isOpen) frame.element.classList.add("moves");
  }

  #close() {
    this.open(false);
    this.opener.focus();
  }

  draw = perFrame(() => {
    const { client, words, frame } = this;
    const { online = 0, people = new Map() } = client.rooms.get(this.room) ?? {};
    const shown = words.number.format(online);
    frame.part("people-count").textContent = shown;
    frame.part("people-open-count").textContent = shown;
    this.opener.setAttribute("aria-label", words.say("people_open", { n: online }));
    const tooMany = online > NAMES_UP_TO;
    frame.part("people-note").hidden = !tooMany;
    const others = tooMany ? [] : [...people].filter(([uid]) => uid !== client.uid && !this.ignored.has(uid));
    others.sort(([, a], [, b]) => a.localeCompare(b, words.lang));
    /** @type {[string, string][]} */
    const everybody = client.uid ? [[client.uid, client.name], ...others] : others;
    frame.part("people-list").replaceChildren(...everybody.map(([uid, name]) => this.#row(uid, name)));
    this.#drawIgnored();
  });

  /** @param {string} uid @param {string} name */
  #row(uid, name) {
    const seal = make("span", "seal small");
    seal.setAttribute("aria-hidden", "true");
    paintSeal(seal, uid, name);
    const row = make("li", "", seal, make("bdi", "name", name));
    if (uid === this.client.uid) row.append(make("span", "you", this.words.say("you")));
    return row;
  }

  #drawIgnored() {
    const { frame, ignored, words } = this;
    frame.part("ignored").hidden = ignored.names.size === 0;
    frame.part("ignored-list").replaceChildren(...[...ignored.names].map(([uid, name]) => {
      const again = button(words.say("ignore_end"), "link", () => {
        ignored.remove(uid);
        frame.part(frame.isNarrow ? "people-close" : "log").focus();    // the button goes
      });
      again.setAttribute("aria-label", `${again.textContent}: ${name}`);    // begins with what is seen (WCAG 2.5.3)
      return make("li", "", make("bdi", "name", name), again);
    }));
  }
}
