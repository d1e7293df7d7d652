// The box in a page, in one of its forms: the place comes from wsd.js, what is in it from chat.js.

import { Chat } from "./chat.js";
import { Client } from "./client.js";
import { make } from "./dom.js";
import { Frame } from "./frame.js";
import { Ignored } from "./ignored.js";
import { fitAboveKeyboard } from "./viewport.js";
import { Words } from "./words.js";

const STORAGE = "wsd";
const NAME_MAX = 24;
const FULL_BELOW = "(max-width: 40rem)";    // a bubble's panel fills the screen

/**
 * What wsd.js hands over.
 * @typedef {object} Entry
 * @property {{version: string, limit: number}} about
 * @property {string} base     address of the daemon
 * @property {string} files    address of this version's files
 * @property {"inline"|"bubble"|"view"|"page"} mode
 * @property {string} lang
 * @property {DOMStringMap} data   the options of the tag
 * @property {HTMLElement} host    with an open shadow root; of a page, what is to be filled
 * @property {HTMLButtonElement|null} button   that opens the bubble
 */

/** @type {Map<string, {client: Client, ignored: Ignored}>} one for each daemon, whatever the number of boxes */
const clients = new Map();

/** @type {Set<Chat>} of boxes that are in the page */
const shown = new Set();

/** @param {string} address @returns {Promise<Response>} however often it takes: without it there is no box */
async function fetched(address) {
  for (let waitMs = 500; ; waitMs = Math.min(2 * waitMs, 10_000)) {
    try {
      const response = await fetch(address, { credentials: "same-origin" });
      if (response.ok) return response;
    } catch { /* the network */ }
    await new Promise((resolve) => { setTimeout(resolve, waitMs); });
  }
}

/** @param {Entry} entry */
async function loadWords({ files, lang }) {
  return new Words(lang, await (await fetched(`${files}lang/${lang}.json`)).json());
}

// A rem is the root's, and the root is the host page's: many make it 10 px. Here it is the reader's own size.
/** Puts one of our style sheets into the box; the page has all of them. @param {Entry} entry @param {string} file */
async function dress({ files, mode, host }, file) {
  const root = host?.shadowRoot;
  if (mode === "page" || !root) return;
  const css = await (await fetched(files + file)).text();
  const probe = root.appendChild(make("span"));
  probe.style.fontSize = "medium";
  const unit = parseFloat(getComputedStyle(probe).fontSize) || 16;
  probe.remove();
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(css.replace(/([\d.]+)rem\b/g, (_, rem) => `${unit * rem}px`));
  root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
}

/** @param {Frame} frame @param {string|undefined} theme light, dark, or what the reader's system has */
function paint({ element }, theme) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const draw = () => { element.dataset.scheme = theme === "light" || theme === "dark" ? theme : dark.matches ? "dark" : "light"; };
  dark.addEventListener("change", draw);
  draw();
}

/** @param {string} base @param {string} room @param {string} name suggested to somebody who has none */
function join(base, room, name) {
  const known = clients.get(base);
  if (known) {
    const joined = known.client.rooms.has(room);
    if (!joined) known.client.join(room);
    return { ...known, joined };
  }
  const client = new Client({ url: base, rooms: [room], storageKey: STORAGE });
  const found = { client, ignored: new Ignored(STORAGE) };
  clients.set(base, found);
  if (!client.name && name.length > 1) client.rename(name);
  explainTrouble(client, base);
  return { ...found, joined: false };
}

/** Tells each kind of trouble once, to whoever looks into the console. @param {Client} client @param {string} base */
function explainTrouble(client, base) {
  const told = new Set();
  client.on("state", ({ status, reason = "" }) => {
    if (status === "online") told.add("");    // it can be reached
    if (status !== "waiting" || told.has(reason)) return;
    told.add(reason);
    import("./trouble.js").then(({ explain }) => explain(base, reason), () => console.warn(`wsd: no connection to ${base}`));
  });
}

// The visitor is one, with all the boxes: any of their tags may name them. A name that is too long is no reason to complain to them.
/** @param {DOMStringMap} data */
function suggestedName(data) {
  const tag = /** @type {HTMLElement|null} */ (document.querySelector("script[data-name][src*='wsd.js']"));
  return [...(data.name ?? tag?.dataset.name ?? "").trim()].slice(0, NAME_MAX).join("").trim();
}

/** Nobody stays in a room whose boxes a site has taken out of its page. @param {HTMLElement} host @param {Chat} chat */
function follow({ isConnected }, chat) {
  if (isConnected === shown.has(chat)) return;
  if (isConnected) shown.add(chat);
  else shown.delete(chat);
  chat.moved(!isConnected);
  const { client, room } = chat;
  if (![...shown].some((other) => other.client === client && other.room === room)) client.leave(room);
}

/**
 * @param {Entry} entry @param {Words} words
 * @param {Partial<import("./frame.js").Looks>} looks
 * @param {() => boolean} [isSeen]
 */
function fill(entry, words, looks, isSeen) {
  const { base, data, mode, about, host } = entry;
  const room = (data.room || "lobby").normalize("NFC");
  const frame = new Frame(words, {
    room, title: data.title ?? "", kind: mode === "view" || mode === "page" ? mode : "box",
    popOut: mode === "page" ? undefined : `${base}r/${encodeURIComponent(room)}`, ...looks,
  });
  paint(frame, data.theme);
  frame.dress = (file) => dress(entry, file);
  return { frame, start: () => {
    const limit = Number(data.textLimit) || about.limit;
    const { client, ignored, joined } = join(base, room, suggestedName(data));
    const chat = new Chat({ client, room, frame, words, ignored, limit, joined }, isSeen);
    client.connect();
    shown.add(chat);
    host?.addEventListener("moved", () => follow(host, chat));
    if (host) follow(host, chat);    // taken out while all this was fetched
    return chat;
  } };
}

// ------------------------------------------------------------------ forms

/** @param {Entry} entry */
async function openInline(entry) {
  const [words] = await Promise.all([loadWords(entry), dress(entry, "chat.css")]);
  const { frame, start } = fill(entry, words, {});
  entry.host.shadowRoot?.append(frame.element);
  start();
}

/** @param {Entry} entry */
async function openPage(entry) {
  const words = await loadWords(entry);
  const { frame, start } = fill(entry, words, { logo: `${entry.files}icon.svg` });
  frame.element.classList.add("full");
  fitAboveKeyboard(frame.element);
  (entry.host ?? document.body).replaceChildren(frame.element);
  const { composer } = start();
  // Whoever starts to type means the input.
  document.addEventListener("keydown", (event) => {
    const isLetter = event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (isLetter && document.activeElement === document.body && !frame.part("chat").inert) composer?.input.focus();
  });
}

/** @param {Entry} entry */
async function openBubble(entry) {
  const [words] = await Promise.all([loadWords(entry), dress(entry, "chat.css")]);
  const button = /** @type {HTMLButtonElement} */ (entry.button);
  const { frame, start } = fill(entry, words, { closes: true }, () => !document.hidden && !panel.hidden);
  const panel = make("div", "panel", frame.element);
  panel.id = "panel";
  panel.setAttribute("role", "dialog");
  panel.setAttribute("aria-label", entry.data.room || "lobby");
  button.before(panel);
  button.setAttribute("aria-controls", panel.id);
  const chat = start();
  const small = matchMedia(FULL_BELOW);
  const fit = () => {
    frame.element.classList.toggle("full", small.matches);
    panel.setAttribute("aria-modal", String(small.matches));
  };
  small.addEventListener("change", fit);
  fitAboveKeyboard(frame.element);
  fit();

  /** @param {boolean} open */
  const show = (open) => {
    panel.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    button.removeAttribute("aria-busy");
    if (!open) { button.focus(); return; }
    chat.seen();
    chat.list.follower.settle();
    const place = matchMedia("(pointer: coarse)").matches ? frame.part("log") : frame.part("text");
    place.focus({ preventScroll: true });
  };
  const label = (/** @type {number} */ unread) => {
    const count = /** @type {HTMLElement} */ (button.querySelector("span"));
    count.textContent = unread ? words.number.format(unread) : "";
    button.setAttribute("aria-label", unread ? words.count("open_chat_unread", unread) : words.say("open_chat"));
  };
  chat.onUnread = label;
  button.addEventListener("click", () => show(panel.hidden));
  frame.part("close").addEventListener("click", () => show(false));
  panel.addEventListener("keydown", (event) => { if (event.key === "Escape") show(false); });
  show(true);
}

const FORMS = { inline: openInline, view: openInline, bubble: openBubble, page: openPage };

/** @param {Entry} entry */
function openBox(entry) { (FORMS[entry.mode] ?? openInline)(entry); }

const waiting = /** @type {Entry[]} */ (Reflect.get(globalThis, "wsdBoxes") ?? []);
Reflect.set(globalThis, "wsdBoxes", { push: openBox });
waiting.forEach(openBox);
