// What the reader is told beside the messages: a line above the input, and words for a screen reader.

export class Notice {
  /** @type {ReturnType<typeof setInterval>|undefined} */
  #timer;
  /** @type {string|undefined} of the error that is shown */
  code;

  /**
   * @param {import("./frame.js").Frame} frame one without the line (a wall) is told nothing but by voice
   * @param {import("./words.js").Words} words
   * @param {number} limit characters in one message
   */
  constructor(frame, words, limit) {
    this.words = words;
    this.limit = limit;
    this.line = frame.part("notice") ?? document.createElement("p");
    this.voice = frame.part("announce");
  }

  /** Tells a screen reader, politely. The same words twice in a row are told twice. @param {string} text */
  announce(text) {
    this.voice.textContent = "";
    setTimeout(() => { this.voice.textContent = text; }, 50);
  }

  /** @param {string} text */
  show(text) {
    this.hide();
    this.line.textContent = text;
    this.line.hidden = false;
    this.announce(text);
  }

  /** Counts down in place; only the first words are announced. @param {string} key with {n} @param {number} until as Date.now */
  countDown(key, until) {
    const secondsLeft = () => Math.max(1, Math.ceil((until - Date.now()) / 1000));
    this.show(this.words.say(key, { n: secondsLeft() }));
    this.#timer = setInterval(() => {
      if (Date.now() >= until) this.hide();
      else this.line.textContent = this.words.say(key, { n: secondsLeft() });
    }, 250);
  }

  hide() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.line.hidden = true;
    this.line.textContent = "";
    this.code = undefined;
  }

  /** What the visitor does next answers it, unless it is still counting. */
  settle() { if (this.#timer === undefined) this.hide(); }

  /** @param {any} error from a command */
  showError(error) {
    if (error.code === "rate" && error.retryMs) this.countDown("error_wait_in", Date.now() + error.retryMs);
    else this.show(this.errorText(error));
    this.code = error.code;
  }

  /** @param {{code: string, message?: string}} error */
  errorText({ code, message }) {
    const key = `error_${code}`;
    if (this.words.has(key)) return this.words.say(key, { n: this.limit });
    return message || this.words.say("error_other");
  }
}
