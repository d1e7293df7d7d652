// Whom this visitor does not want to read. Nobody else learns of it; it is kept in this browser.

import { Store } from "./outbox.js";

const MOST = 500;

export class Ignored extends EventTarget {
  #store;

  /** @param {string} storageKey */
  constructor(storageKey) {
    super();
    this.#store = new Store("localStorage", `${storageKey}.ignored`);
    const kept = this.#store.read();
    /** @type {Map<string, string>} uid to the name that it had */
    this.names = new Map(Array.isArray(kept) ? kept.filter((entry) => Array.isArray(entry) && entry.length === 2) : []);
  }

  /** @param {string} uid */
  has(uid) { return this.names.has(uid); }

  /** @param {string} uid @param {string} name */
  add(uid, name) {
    this.names.set(uid, name);
    if (this.names.size > MOST) this.names.delete(/** @type {string} */ (this.names.keys().next().value));
    this.#changed();
  }

  /** @param {string} uid */
  remove(uid) {
    this.names.delete(uid);
    this.#changed();
  }

  #changed() {
    this.#store.write([...this.names]);
    this.dispatchEvent(new Event("change"));
  }
}
