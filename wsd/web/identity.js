// Who this guest is: the name, and the token that the server knows it by. All windows of a browser
// share them, so two windows of one guest are one guest.

/** @typedef {import("./outbox.js").Store} Store */

const MENDS = 2;    // refusals in a row that another hello may answer

export class Identity {
  /** @param {Store} store @param {() => void} changed */
  constructor(store, changed) {
    this.#store = store;
    this.#changed = changed;
    this.uid = "";
    this.role = "guest";
    this.name = this.#kept().name ?? "";
  }

  #store;
  #changed;
  /** @type {string|null} chosen while there was no connection */
  #wanted = null;
  #mends = 0;
  #hasTurned = false;

  /** @returns {{uid?: string, token?: string, name?: string}} read every time: another window may have renamed us */
  #kept() { return this.#store.read() ?? {}; }

  token() { return this.#kept().token ?? ""; }

  /** What a hello says of us. */
  introduce() {
    const { token, name } = this.#kept();
    const wish = this.#wanted ?? name;
    return { ...(token && { token }), ...(wish && { name: wish }) };
  }

  /**
   * @param {any} welcome
   * @returns {boolean} false: say hello once more, since meanwhile we are somebody else. Another window
   *   of a new visitor, or a faster transport, has been given a token while this one asked for it.
   */
  welcomed({ uid, token, name, role = "guest" }) {
    const kept = this.#kept();
    if (kept.uid && kept.uid !== uid && !this.#hasTurned) {
      this.#hasTurned = true;    // once: it may be that the token is not taken any more
      return false;
    }
    this.#hasTurned = false;
    this.#mends = 0;
    this.#wanted = null;
    if (uid === this.uid && name === this.name && kept.token) return true;    // one of many polls
    this.uid = uid;
    this.role = role;
    this.set({ token, name });
    return true;
  }

  /** @param {{token?: string, name?: string}} change */
  set({ token, name }) {
    const kept = this.#kept();
    this.name = name || this.name;
    this.#store.write({ uid: this.uid || kept.uid, token: token || kept.token, name: this.name });
    this.#changed();
  }

  /** Asks for `name` with the next hello. @param {string} name */
  want(name) {
    this.#wanted = name;
    this.set({ name });
  }

  /** Takes the name that another window has given us. */
  look() {
    const { name } = this.#kept();
    if (!name || name === this.name) return;
    this.name = name;
    this.#changed();
  }

  /** A refused name or token is given up. @param {string} code @returns {boolean} whether that may help */
  giveUp(code) {
    this.#mends += 1;
    if (this.#mends > MENDS) return false;
    const kept = this.#kept();
    if (code === "name_taken" || code === "name_bad") this.#store.write({ ...kept, name: undefined });
    else if (code === "auth") this.#store.write({ name: kept.name });
    else return false;
    this.#wanted = null;
    return true;
  }
}
