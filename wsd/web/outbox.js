// What was said and has no answer yet, and where a page keeps such things.

/**
 * @typedef {object} OutboxItem
 * @property {string} cid
 * @property {string} room
 * @property {string} text
 * @property {number} [reply_to]
 * @property {number} time       seconds since 1970, by this machine's clock
 * @property {"queued"|"sent"|"failed"} status
 * @property {{code: string, message: string}} [error]
 */

/** Web storage that may be missing, forbidden or full: then things are kept in memory alone. */
export class Store {
  /** @param {"localStorage"|"sessionStorage"} kind @param {string} key */
  constructor(kind, key) {
    this.key = key;
    /** @type {Storage|null} */
    this.area = null;
    try { this.area = globalThis[kind] ?? null; } catch { /* forbidden by the browser's settings */ }
    /** @type {string|null} */
    this.memory = null;
    this.isFull = false;    // and has what is older than `memory`
  }

  read() {
    try {
      const text = this.area && !this.isFull ? this.area.getItem(this.key) : this.memory;
      return text ? JSON.parse(text) : null;
    } catch { return this.memory ? JSON.parse(this.memory) : null; }
  }

  /** @param {unknown} value */
  write(value) {
    this.memory = JSON.stringify(value);
    this.isFull = false;
    try { this.area?.setItem(this.key, this.memory); } catch { this.isFull = true; }    // or private browsing
  }
}

/** What was said and has no answer yet, oldest first. Every change is stored at once. */
export class Outbox {
  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    /** @type {OutboxItem[]} */
    this.items = [];
    const stored = store.read();
    if (Array.isArray(stored)) {
      this.items = stored.filter((item) => item && typeof item.cid === "string" && typeof item.text === "string");
    }
    for (const item of this.items) if (item.status === "sent") item.status = "queued";
    this.prefix = randomPrefix();
    this.counter = 0;
  }

  save() { this.store.write(this.items); }

  nextCid() { return `${this.prefix}.${++this.counter}`; }

  /** @param {string} cid */
  find(cid) { return this.items.find((item) => item.cid === cid); }

  /** @param {string} room the next one to send there */
  head(room) { return this.items.find((item) => item.room === room && item.status !== "failed"); }

  /** @param {OutboxItem} item */
  add(item) { this.items.push(item); this.save(); }

  /** @param {string} cid */
  remove(cid) {
    const at = this.items.findIndex((item) => item.cid === cid);
    if (at >= 0) { this.items.splice(at, 1); this.save(); }
  }
}

// 16 random bytes make each page load's cids its own, also when a tab is duplicated together with its
// sessionStorage. getRandomValues, unlike randomUUID, also exists on plain http.
function randomPrefix() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
