// Who is writing at the moment.

import { perFrame } from "./dom.js";

const SHOWN_MS = 6_000;
const UP_TO = 50;    // people online

export class Typing {
  /** @type {Map<string, {name: string, timer: ReturnType<typeof setTimeout>}>} */
  #writers = new Map();

  /** @param {HTMLElement} line @param {import("./words.js").Words} words */
  constructor(line, words) {
    this.line = line;
    this.words = words;
  }

  /** @param {string} uid @param {string|undefined} name @param {number} online */
  begin(uid, name, online) {
    if (!name || online > UP_TO) return;
    clearTimeout(this.#writers.get(uid)?.timer);
    this.#writers.set(uid, { name, timer: setTimeout(() => this.end(uid), SHOWN_MS) });
    this.#draw();
  }

  /** @param {string} uid */
  end(uid) {
    clearTimeout(this.#writers.get(uid)?.timer);
    if (this.#writers.delete(uid)) this.#draw();
  }

  #draw = perFrame(() => {
    const [a, b] = [...this.#writers.values()].map(({ name }) => name);
    const key = ["", "typing_one", "typing_two"][this.#writers.size] ?? "typing_many";
    this.line.textContent = key && this.words.say(key, { a, b });
  });
}
