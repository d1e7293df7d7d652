// Where the reader is in the list: at the end and following what comes, or further up and left in peace.

const AT_END_PX = 48;

export class Follower {
  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement[]} boxes what grows in it
   * @param {(below: number, atEnd: boolean) => void} moved
   */
  constructor(scroller, boxes, moved) {
    this.scroller = scroller;
    this.moved = moved;
    this.following = true;
    this.joinsEnd = true;       // the list's end is the room's, else the reader is further up even there
    this.below = 0;             // came while the reader was further up
    this.lastTop = 0;
    this.lastHeight = 0;
    this.settling = false;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // Other lengths of the lines above move what is read as much as a change of the messages there.
    const resized = new ResizeObserver(() => { if (this.following) this.settleNow(); else this.#put(); });
    for (const box of [scroller, ...boxes]) resized.observe(box);
  }

  // Only the reader's own way up ends the following: the list also "scrolls" when it grows, when it
  // is trimmed and when the keyboard comes up, but then it ends up at the end or does not move up.
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const gap = scrollHeight - scrollTop - clientHeight;
    const shrank = scrollHeight < this.lastHeight;
    if (scrollTop < this.lastTop - 1 && gap > 4 && !shrank) this.following = false;
    else if (gap <= AT_END_PX && this.joinsEnd) this.following = true;
    this.lastTop = scrollTop;
    this.lastHeight = scrollHeight;
    if (this.following) this.below = 0;
    else this.#mark();
    this.moved(this.below, this.following);
  }

  /** @param {number} below */
  count(below) {
    this.below = below;
    this.moved(below, this.following);
  }

  /** Goes to the end if the reader follows: once per frame, however many messages came. */
  settle() {
    if (this.settling || !this.following) return;
    this.settling = true;
    requestAnimationFrame(() => this.settleNow());
  }

  /** Goes there at once, so that a list which has become shorter does not look like the reader's way up. */
  settleNow() {
    this.settling = false;
    if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.lastTop = this.scroller.scrollTop;
    this.lastHeight = this.scroller.scrollHeight;
  }

  toEnd() {
    this.following = true;
    this.count(0);
    this.settle();
  }

  /** A change above what the reader looks at: that stays where it is. @param {() => void} change */
  keepView(change) {
    this.#mark();
    change();
    this.#put();
  }

  /** @type {HTMLElement|undefined} the message at the top of what is seen, and how far from there */
  #read = undefined;
  #readAt = 0;

  #mark() {
    const { scroller } = this;
    this.#read = [.../** @type {NodeListOf<HTMLElement>} */ (scroller.querySelectorAll(".message"))].find((element) => !this.isAbove(element));
    if (this.#read) this.#readAt = this.#read.offsetTop - scroller.scrollTop;
  }

  #put() {
    if (this.#read?.offsetHeight) this.lastTop = this.scroller.scrollTop = this.#read.offsetTop - this.#readAt;
  }

  /** Whether a message has gone by at the top. @param {HTMLElement} element */
  isAbove(element) { return element.offsetTop + element.offsetHeight < this.scroller.scrollTop; }
}
