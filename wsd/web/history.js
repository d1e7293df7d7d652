// What was said before, and what was said after the part that is shown: pages of it, as they are needed.

const PAGE = 50;
const AFTER_ALL = 2 ** 53 - 2;    // a number that no message has
const NEAR_EDGE_PX = 300;     // from here the next page is fetched

/**
 * @typedef {import("./client.js").Client} Client
 * @typedef {import("./client.js").Message} Message
 */

export class Past {
  /**
   * @param {Client} client
   * @param {string} room
   * @param {import("./list.js").MessageList} list
   * @param {import("./frame.js").Frame} frame
   * @param {import("./words.js").Words} words
   * @param {{failed: (error: any) => void, pending: () => number}} doings
   */
  constructor(client, room, list, frame, words, doings) {
    this.client = client;
    this.room = room;
    this.list = list;
    this.words = words;
    this.doings = doings;
    this.button = frame.part("older");
    this.text = frame.part("start-text");
    this.before = 1;           // nothing older than this is needed while the list is empty
    this.more = false;
    this.ready = false;        // the replay is over
    this.loading = false;
    this.button.addEventListener("click", () => this.loadOlder());
    list.scroller.addEventListener("scroll", () => this.loadNear(), { passive: true });
  }

  /** What is shown begins anew before `before`. @param {number} before */
  reset(before) {
    this.before = before;
    this.more = before > 1;
  }

  draw() {
    if (!this.more && this.list.frame.focused === this.button) this.list.scroller.focus({ preventScroll: true });
    this.button.hidden = !this.more;
    this.button.textContent = this.words.say(this.loading ? "loading" : "load_older");
    const isAtStart = this.ready && !this.more;
    const text = isAtStart ? this.words.say(this.list.items.length || this.doings.pending() ? "beginning" : "empty") : "";
    if (this.text.textContent !== text) this.text.textContent = text;
  }

  /** Fetches what the reader comes near to. */
  loadNear() {
    const { scrollTop, scrollHeight, clientHeight } = this.list.scroller;
    if (scrollTop < NEAR_EDGE_PX) this.loadOlder();
    else if (!this.list.joinsEnd && scrollHeight - scrollTop - clientHeight < NEAR_EDGE_PX) this.loadNewer();
  }

  async loadOlder() {
    if (!this.ready || !this.more) return;
    await this.#load(async () => {
      const before = this.#first();
      const { messages, more } = await this.client.history(this.room, before, PAGE);
      if (this.#first() !== before) return;    // reset or trimmed in between: this page no longer joins on
      this.list.prepend(messages, this.client.uid);
      this.more = more && messages.length > 0;
      if (!this.list.items.length) this.before = 1;
      requestAnimationFrame(() => this.loadNear());    // one page may not fill the view
    });
  }

  #first() { return this.list.items[0]?.seq ?? this.before; }

  // Numbers have no holes, so the messages of the next PAGE numbers fit into one page. A page may be
  // older than what came live meanwhile: the end is reached when the newest known is in it.
  async loadNewer() {
    const { list } = this;
    await this.#load(async () => {
      for (let after = list.lastSeq; !list.joinsEnd; after += PAGE) {
        const { messages } = await this.client.history(this.room, after + PAGE + 1, PAGE);
        const newer = messages.filter(({ seq }) => seq > after);
        list.append(newer, this.client.uid);
        this.more ||= list.trimmed;
        if (list.lastSeq >= list.newest || after > list.newest) list.joinsEnd = true;
        if (newer.length) break;
      }
      requestAnimationFrame(() => this.loadNear());    // at the end of a full list nothing scrolls
    });
  }

  /** Shows the newest page instead of the part that the reader is in. */
  async jumpToNewest() {
    const { list } = this;
    await this.#load(async () => {
      const { messages, more } = await this.client.history(this.room, list.newest ? list.newest + 1 : AFTER_ALL, PAGE);
      list.clear();
      list.append(messages, this.client.uid);
      list.joinsEnd = list.lastSeq >= list.newest;    // else more has come meanwhile
      this.more = more;
    });
    if (!list.joinsEnd) await this.loadNewer();
  }

  /** One page at a time; what fails is tried again by the button or the next scrolling. @param {() => Promise<void>} work */
  async #load(work) {
    if (this.loading) return;
    this.loading = true;
    this.draw();
    try {
      await work();
    } catch (error) {
      this.doings.failed(error);
    } finally {
      this.loading = false;
      this.draw();
    }
  }
}
