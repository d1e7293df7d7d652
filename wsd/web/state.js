// The line that tells how the connection is.

const SENDING_AFTER_MS = 600;    // faster than this, "Sending…" would only flicker

export class StateLine {
  #sending = false;
  #announced = "";
  #isShutOut = false;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #sendingTimer;
  /** @type {ReturnType<typeof setInterval>|undefined} */
  #timer;

  /**
   * @param {import("./client.js").Client} client
   * @param {import("./frame.js").Frame} frame
   * @param {import("./words.js").Words} words
   * @param {import("./notice.js").Notice} notice
   */
  constructor(client, frame, words, notice) {
    this.client = client;
    this.frame = frame;
    this.words = words;
    this.notice = notice;
    this.button = frame.part("reconnect");
    this.button.addEventListener("click", () => client.reconnectNow());
    client.on("state", () => {
      clearInterval(this.#timer);
      if (client.state.status === "waiting") this.#timer = setInterval(() => this.draw(), 500);
      this.draw();
    });
    for (const type of ["online", "offline"]) addEventListener(type, () => this.draw());
    this.draw();
  }

  /** @param {boolean} now something is on its way */
  setSending(now) {
    clearTimeout(this.#sendingTimer);
    if (now === this.#sending) return;
    if (now) {
      this.#sendingTimer = setTimeout(() => { this.#sending = true; this.draw(); }, SENDING_AFTER_MS);
      return;
    }
    this.#sending = false;
    this.draw();
  }

  draw() {
    const { status, text, spoken, again } = this.#describe();
    const { frame } = this;
    frame.part("state").dataset.status = status;
    if (status !== "connecting") this.#shutOut(this.client.state.reason === "bad_origin");
    frame.part("state-text").textContent = text;
    const hadFocus = frame.focused === this.button;
    this.button.hidden = again === "";
    if (again) this.button.textContent = this.words.say(again);
    else if (hadFocus) frame.part("log").focus();
    // "Connecting" comes and goes with every attempt, "Sending" with every message: not worth a word.
    if (status === "connecting" || status === "sending" || spoken === this.#announced) return;
    if (this.#announced !== "" || status !== "online") this.notice.announce(spoken);
    this.#announced = spoken;
  }

  // Every minute it connects for a moment, to see whether that has changed: until then nothing moves.
  /** @param {boolean} isShutOut by the daemon, with every page of this origin: nothing can be said or seen */
  #shutOut(isShutOut) {
    if (isShutOut === this.#isShutOut) return;
    this.#isShutOut = isShutOut;
    this.frame.element.classList.toggle("shut-out", isShutOut);
    if (isShutOut) this.notice.show(this.words.say("bad_origin_help"));
    else this.notice.hide();
  }

  /** @returns {{status: string, text: string, spoken: string, again: string}} `spoken` is the text without its countdown */
  #describe() {
    const { status, retryAt = 0, reason = "" } = this.client.state;
    if (status === "stopped") return reason ? this.#stopped(reason) : this.#plain("stopped", "try_again");
    if (status === "online") return this.#plain(this.#sending ? "sending" : "online");
    if (reason === "bad_origin") return { ...this.#plain(reason, "try_again"), status: "stopped" };
    if (!navigator.onLine) return this.#plain("offline", status === "waiting" ? "reconnect" : "");
    if (status !== "waiting") return this.#plain("connecting");
    const n = Math.ceil((retryAt - Date.now()) / 1000);
    const text = n > 0 ? this.words.say("state_waiting_in", { n }) : this.words.say("state_connecting");
    return { status, text, spoken: this.words.say("state_waiting"), again: "reconnect" };
  }

  /** @param {string} name @param {string} [again] */
  #plain(name, again = "") {
    const text = this.words.say(`state_${name}`);
    return { status: name, text, spoken: text, again };
  }

  /** @param {string} reason the server's name for it */
  #stopped(reason) {
    const key = `reason_${reason}`;
    const text = this.words.say("state_stopped_why", { reason: this.words.has(key) ? this.words.say(key) : reason });
    return { status: "stopped", text, spoken: text, again: "try_again" };
  }
}
