// The furniture of a chat: header, log, writing, who is here. Built here and nowhere else, for the page
// as for the box. Elements are found by their id inside the frame; several frames may be in one page.

import { el, icon, make } from "./dom.js";

const PEOPLE = "M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 19.5c.6-4 3.2-6 6.5-6s5.9 2 6.5 6M15.5 4.8a3.5 3.5 0 0 1 0 6.4M18 14.3c2 .8 3.2 2.6 3.5 5.2";
const CROSS = "M6 6l12 12M18 6 6 18";
const SEND = "M12 19.5V5M5.5 11 12 4.5 18.5 11";
const SMILE = "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM8.3 14.2c.8 1.5 2 2.3 3.7 2.3s2.9-.8 3.7-2.3M9 9.7v.1M15 9.7v.1";
const LEAVE = "M13 4.5h6.5V11M19.5 4.5 11 13M17 14v4.5a1 1 0 0 1-1 1H5.5a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1H10";

const NARROW_PX = 896, SMALL_PX = 640, LOW_PX = 416;    // at a text size of 16 px

/**
 * @typedef {object} Looks
 * @property {string} room
 * @property {string} title       of the site; may be empty
 * @property {"page"|"box"|"view"} kind
 * @property {string} [popOut]    address of the room's page, for a link to it
 * @property {string} [logo]      address of a picture
 * @property {boolean} [closes]   whether there is a button that closes the box
 */

export class Frame {
  /** @param {import("./words.js").Words} words @param {Looks} looks */
  constructor(words, looks) {
    this.kind = looks.kind;
    const talks = looks.kind !== "view";
    this.element = el("div", { class: `wsd ${looks.kind}`, lang: words.lang, dir: words.direction },
      el("div", { class: "chat", id: "chat" },
        ...(looks.kind === "page" ? [el("a", { class: "skip", href: "#text" }, words.say("skip"))] : []),
        header(words, looks), log(words), ...(talks ? [writing(words)] : [])),
      people(words),
      el("div", { class: "shade", id: "shade", hidden: true }),
      el("p", { class: "sr", id: "announce", role: "status" }));
    this.#followSize();
  }

  /** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
  part(id) { return /** @type {T} */ (this.element.querySelector(`#${id}`)); }

  /** The element with the focus, if it is in here. */
  get focused() { return /** @type {Document|ShadowRoot} */ (this.element.getRootNode()).activeElement; }

  /** Brings one more style sheet. @type {(file: string) => Promise<void>} */
  dress = () => Promise.resolve();

  /** Too narrow for two columns: who is here is a drawer. */
  isNarrow = false;

  /** @type {() => void} the frame has become narrow, or wide */
  onNarrow = () => {};

  // The box may be anywhere, so its own size counts and not the window's.
  #followSize() {
    const sized = new ResizeObserver(([{ contentRect }]) => {
      const unit = parseFloat(getComputedStyle(this.element).fontSize) / 16;
      const { classList } = this.element;
      classList.toggle("small", contentRect.width < SMALL_PX * unit);
      classList.toggle("low", contentRect.height < LOW_PX * unit);
      const log = this.part("log");
      this.element.style.setProperty("--bar", `${log.offsetWidth - log.clientWidth}px`);
      const isNarrow = contentRect.width < NARROW_PX * unit;
      if (isNarrow === this.isNarrow) return;
      this.isNarrow = isNarrow;
      classList.toggle("narrow", isNarrow);
      this.onNarrow();
    });
    sized.observe(this.element);
  }
}

/** @param {import("./words.js").Words} words @param {Looks} looks */
function header(words, { room, title, kind, popOut, logo, closes }) {
  const name = el("h2", { class: "room" }, el("bdi", {}, room));
  if (title) name.append(" ", make("bdi", "site", title));
  if (kind === "page") name.setAttribute("aria-level", "1");
  if (kind === "page") name.setAttribute("role", "heading");
  const state = el("p", { class: "state", id: "state", "data-status": "connecting" },
    make("span", "dot"),
    el("span", { id: "state-text" }, words.say("state_connecting")),
    el("button", { type: "button", class: "link", id: "reconnect", hidden: true }, words.say("reconnect")));
  const bar = el("header", { class: "bar" });
  if (logo) bar.append(el("img", { class: "logo", src: logo, alt: "", width: 40, height: 40 }));
  bar.append(el("div", { class: "where" }, name, state));
  bar.append(el("button", { type: "button", class: "people-open", id: "people-open", "aria-expanded": "false", "aria-label": words.say("people") },
    icon(PEOPLE, 22), el("span", { id: "people-open-count" }, "–")));
  if (popOut) {
    bar.append(el("a", { class: "round", id: "pop-out", href: popOut, target: "_blank", rel: "noopener", "aria-label": words.say("pop_out"), title: words.say("pop_out") }, icon(LEAVE)));
  }
  if (closes) bar.append(el("button", { type: "button", class: "round", id: "close", "aria-label": words.say("close"), title: words.say("close") }, icon(CROSS)));
  return bar;
}

// The log itself is not live: what is loaded from the past must not be read out. Only #live is.
/** @param {import("./words.js").Words} words */
function log(words) {
  return el("div", { class: "talk" },
    el("div", { class: "log", id: "log", role: "log", "aria-live": "off", "aria-label": words.say("messages"), tabindex: 0 },
      el("div", { class: "column" },
        el("p", { class: "start", id: "start" },
          el("button", { type: "button", class: "quiet", id: "older", hidden: true }), el("span", { id: "start-text" })),
        el("div", { id: "past" }),
        el("div", { id: "live", "aria-live": "polite", "aria-relevant": "additions" }),
        el("div", { id: "pending" }))),
    el("button", { type: "button", class: "to-end", id: "to-end", hidden: true }));
}

/** @param {import("./words.js").Words} words */
function writing(words) {
  const field = el("form", { class: "field", id: "composer" },
    el("label", { class: "sr", for: "text" }, words.say("text_label")),
    el("button", { type: "button", class: "round", id: "emoji-open", "aria-label": words.say("emoji"), "aria-expanded": "false", title: words.say("emoji") }, icon(SMILE, 22)),
    el("textarea", {
      id: "text", rows: 1, dir: "auto", enterkeyhint: "send", autocomplete: "off", placeholder: words.say("text_placeholder"),
      "aria-describedby": "text-help", "aria-autocomplete": "list",
    }),
    el("button", { type: "submit", class: "send", id: "send", disabled: true }, icon(SEND), make("span", "sr", words.say("send"))));
  return el("footer", { class: "composer" },
    el("p", { class: "typing", id: "typing" }),
    el("p", { class: "notice", id: "notice", hidden: true }),
    el("ul", { class: "names", id: "names", role: "listbox", "aria-label": words.say("mention_whom"), hidden: true }),
    el("div", { class: "emoji", id: "emoji", role: "group", "aria-label": words.say("emoji"), hidden: true }),
    el("p", { class: "answering", id: "answering", hidden: true },
      el("span", { id: "answering-text" }),
      el("button", { type: "button", class: "round", id: "answering-end", "aria-label": words.say("reply_end") }, icon(CROSS, 16))),
    field, under(words));
}

/** @param {import("./words.js").Words} words */
function under(words) {
  const form = el("form", { class: "name-form", id: "name-form", hidden: true },
    el("label", { for: "name" }, words.say("name_label")),
    el("input", { id: "name", type: "text", dir: "auto", autocomplete: "nickname", maxlength: 48, spellcheck: "false", "aria-describedby": "name-help" }),
    el("span", { class: "sr", id: "name-help" }, words.say("name_help")),
    el("button", { type: "submit", class: "small-button primary" }, words.say("save")),
    el("button", { type: "button", class: "small-button", id: "name-cancel" }, words.say("cancel")));
  return el("div", { class: "under" },
    el("button", { type: "button", class: "name-open", id: "name-open" },
      el("span", { class: "seal small", id: "name-seal", "aria-hidden": "true" }),
      el("bdi", { id: "name-shown" }, words.say("guest")),
      make("span", "name-change", words.say("name_change"))),
    form,
    el("span", { class: "hint", id: "mode" }),
    el("span", { class: "hint help", id: "text-help" }, words.say("text_help")),
    el("span", { class: "counter", id: "counter", hidden: true }));
}

/** @param {import("./words.js").Words} words */
function people(words) {
  return el("aside", { class: "people", id: "people", "aria-labelledby": "people-title" },
    el("div", { class: "people-head" },
      el("h2", { id: "people-title" }, words.say("people")),
      el("span", { class: "people-count", id: "people-count" }),
      el("button", { type: "button", class: "round people-close", id: "people-close", "aria-label": words.say("people_close") }, icon(CROSS))),
    el("ul", { id: "people-list", tabindex: 0, "aria-labelledby": "people-title" }),
    el("p", { class: "people-note", id: "people-note", hidden: true }, words.say("people_many")),
    el("div", { class: "ignored", id: "ignored", hidden: true },
      el("h2", { id: "ignored-title" }, words.say("ignored")), el("ul", { id: "ignored-list", "aria-labelledby": "ignored-title" })));
}
