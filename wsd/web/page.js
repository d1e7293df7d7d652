// The chat page: joins the client (connection), the list (messages) and the rest of the page.

import { Client } from "./client.js";
import { MessageList, growArea, isComposing } from "./list.js";
import { Words, make, paintSeal } from "./words.js";

const TYPING_SHOWN_MS = 6_000;
const TYPING_UP_TO = 50;
const NAMES_UP_TO = 100;
const NAME_MIN = 2, NAME_MAX = 24;
const COUNTER_FROM = 0.8;        // of the text limit
const SENDING_AFTER_MS = 600;    // faster than this, "Sending…" would only flicker
const HISTORY_PAGE = 50;
const NEAR_START_PX = 300;       // from here older messages are fetched

const { room = "lobby", lang = "en", title = "", version = "", textLimit = "1000" } = document.body.dataset;
const limit = Number(textLimit) || 1000;

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
const byId = (id) => /** @type {T} */ (document.getElementById(id));

const words = await Words.load(lang, version);
const client = new Client({ rooms: [room] });
const touch = matchMedia("(pointer: coarse)");

// ------------------------------------------------------------------ small things

/** Tells a screen reader, politely. The same words twice in a row are told twice. @param {string} text */
function announce(text) {
  const region = byId("announce");
  region.textContent = "";
  setTimeout(() => { region.textContent = text; }, 50);
}

/** Calls `draw` at most once per frame. @param {() => void} draw */
function perFrame(draw) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; draw(); });
  };
}

/** Characters as the server counts them. @param {string} text */
const lengthOf = (text) => [...text].length;

/** @param {{code: string, message?: string}} error */
function errorText({ code, message }) {
  const key = `error_${code}`;
  if (words.has(key)) return words.say(key, { n: limit });
  return message || words.say("error_other");
}

/** The line above the input: what went wrong, perhaps with a countdown. */
const notice = {
  element: byId("notice"),
  timer: /** @type {ReturnType<typeof setInterval>|undefined} */ (undefined),

  /** @param {string} text */
  show(text) {
    this.hide();
    this.element.textContent = text;
    this.element.hidden = false;
    announce(text);
  },

  /** Counts down in place; only the first words are announced. @param {string} key with {n} @param {number} until */
  countDown(key, until) {
    const secondsLeft = () => Math.max(1, Math.ceil((until - Date.now()) / 1000));
    this.show(words.say(key, { n: secondsLeft() }));
    this.timer = setInterval(() => {
      if (Date.now() >= until) this.hide();
      else this.element.textContent = words.say(key, { n: secondsLeft() });
    }, 250);
  },

  hide() {
    clearInterval(this.timer);
    this.timer = undefined;
    this.element.hidden = true;
    this.element.textContent = "";
  },

  /** What the visitor does next answers it, unless it is still counting. */
  settle() { if (this.timer === undefined) this.hide(); },
};

/** @param {any} error from an edit, a delete or a rename */
function showError(error) {
  if (error.code === "rate" && error.retryMs) notice.countDown("error_wait_in", Date.now() + error.retryMs);
  else notice.show(errorText(error));
}

// ------------------------------------------------------------------ connection state

let sending = false;
let sendingTimer = /** @type {ReturnType<typeof setTimeout>|undefined} */ (undefined);
let stateTimer = /** @type {ReturnType<typeof setInterval>|undefined} */ (undefined);
let announcedState = "";

/** @returns {{status: string, text: string, spoken: string, again: string}} `spoken` is the text without its countdown */
function describeState() {
  const { status, retryAt = 0, reason = "" } = client.state;
  const plain = (/** @type {string} */ name, again = "") => {
    const text = words.say(`state_${name}`);
    return { status: name, text, spoken: text, again };
  };
  if (status === "stopped") {
    if (!reason) return plain("stopped", "try_again");
    const key = `reason_${reason}`;
    const text = words.say("state_stopped_why", { reason: words.has(key) ? words.say(key) : reason });
    return { status, text, spoken: text, again: "try_again" };
  }
  if (status === "online") return plain(sending ? "sending" : "online");
  if (!navigator.onLine) return plain("offline", status === "waiting" ? "reconnect" : "");
  if (status !== "waiting") return plain("connecting");
  const n = Math.ceil((retryAt - Date.now()) / 1000);
  const text = n > 0 ? words.say("state_waiting_in", { n }) : words.say("state_connecting");
  return { status, text, spoken: words.say("state_waiting"), again: "reconnect" };
}

function drawState() {
  const { status, text, spoken, again } = describeState();
  byId("state").dataset.status = status;
  byId("state-text").textContent = text;
  const button = byId("reconnect");
  const hadFocus = document.activeElement === button;
  button.hidden = again === "";
  if (again) button.textContent = words.say(again);
  else if (hadFocus) byId("log").focus();
  // "Connecting" comes and goes with every attempt, "Sending" with every message: not worth a word.
  if (status === "connecting" || status === "sending" || spoken === announcedState) return;
  if (announcedState !== "" || status !== "online") announce(spoken);
  announcedState = spoken;
}

client.on("state", () => {
  clearInterval(stateTimer);
  if (client.state.status === "waiting") {
    wasAway = true;
    stateTimer = setInterval(drawState, 500);
  }
  drawState();
});
for (const type of ["online", "offline"]) addEventListener(type, drawState);
byId("reconnect").addEventListener("click", () => client.reconnectNow());

/** @param {boolean} now */
function setSending(now) {
  clearTimeout(sendingTimer);
  if (now === sending) return;
  if (now) { sendingTimer = setTimeout(() => { sending = true; drawState(); }, SENDING_AFTER_MS); return; }
  sending = false;
  drawState();
}

// ------------------------------------------------------------------ messages

const list = new MessageList(words, {
  edit: (seq, text) => (lengthOf(text) > limit
    ? Promise.reject({ code: "too_long" })
    : client.edit(room, seq, text)),
  remove: (seq) => client.delete(room, seq),
  failed: showError,
  retry: (cid) => client.retry(cid),
  discard: (cid) => client.discard(cid),
  takeBack(cid) {
    const item = client.outbox(room).find((each) => each.cid === cid);
    if (!item) return;
    input.value = input.value ? `${item.text}\n${input.value}` : item.text;
    client.discard(cid);
    input.dispatchEvent(new Event("input"));
    input.focus();
  },
  reason: (item) => (item.error ? errorText(item.error) : ""),
  // On a phone, focus in the input would bring up the keyboard.
  doneEditing: (element) => (touch.matches ? element : input).focus({ preventScroll: true }),
  moved: drawToEnd,
});

const history = { before: 1, more: false, ready: false, loading: false };
let unread = 0;
let catchingUp = false;     // the replay under way is what came while we were away
let wasAway = false;        // the connection was lost
let markNext = false;       // its first message is still to come
let missed = 0;

const isMine = (/** @type {string} */ uid) => uid === client.uid;

client.on("reset", ({ before }) => {
  const isFirst = history.before === 1 && list.items.length === 0;
  list.clear();
  history.before = before;
  history.more = before > 1;
  if (!isFirst) notice.show(words.say("reloaded"));
});

client.on("join", ({ recovered, follows }) => {
  history.ready = false;
  missed = 0;
  catchingUp = recovered;
  markNext = recovered && follows > 0 && wasAway;
  wasAway = false;
  list.lookBack();
  for (const item of client.outbox(room)) list.showPending(item, client);
  drawStart();
});

client.on("replayed", () => {
  list.lookOn();
  markNext = false;
  history.ready = true;
  if (missed) announce(words.count("missed", missed));
  drawStart();
  requestAnimationFrame(() => requestAnimationFrame(maybeLoadOlder));    // once the view has settled
});

client.on("message", ({ message, replay, cid }) => {
  const own = isMine(message.uid);
  const isNews = !own && (!replay || catchingUp);    // a newcomer's replay is not news
  const isFirstNews = isNews && (markNext || (document.hidden && unread === 0));
  if (isNews && replay) missed += 1;
  if (isFirstNews) markNext = false;
  list.add(message, { own, cid, isNew: isFirstNews });
  if (isNews && document.hidden) setUnread(unread + 1);
  if (list.trimmed) { list.trimmed = false; history.more = true; drawStart(); }
  if (list.items.length === 1) drawStart();
  stopTyping(message.uid);
});

client.on("edit", ({ seq, text }) => list.edit(seq, text));
client.on("delete", ({ seq }) => list.remove(seq));

client.on("outbox", ({ change, item, error, retryAt, shown }) => {
  if (item.room !== room) return;
  setSending(change === "sending");
  if (change === "removed") list.dropPending(item.cid);
  else if (change === "sent") {
    if (shown) list.dropPending(item.cid);    // else when its event comes
    if (client.outbox(room).length === 0) notice.hide();
  } else if (change === "failed" && error.code === "held") {
    client.discard(item.cid);
    notice.show(errorText(error));
  } else {
    list.showPending(item, client);
    if (change === "failed") notice.show(errorText(error));
    if (change === "waiting" && error.code === "rate" && retryAt) notice.countDown("error_rate_in", retryAt);
    else if (change === "waiting" && (error.code === "busy" || error.code === "storage")) notice.show(errorText(error));
  }
});

client.on("error", (error) => notice.show(errorText(error)));

/** @param {number} below @param {boolean} atEnd */
function drawToEnd(below, atEnd) {
  const button = byId("to-end");
  const hadFocus = document.activeElement === button;
  button.hidden = atEnd;
  button.classList.toggle("counting", below > 0);
  button.textContent = below ? words.say("new_below", { n: below }) : "↓";
  button.setAttribute("aria-label", below ? words.count("new_below_label", below) : words.say("to_end"));
  if (atEnd && hadFocus) byId("log").focus();
}
byId("to-end").addEventListener("click", () => list.toEnd());

// ------------------------------------------------------------------ history

const olderButton = byId("older");

function drawStart() {
  olderButton.hidden = !history.more;
  olderButton.textContent = words.say(history.loading ? "loading" : "load_older");
  const startText = history.more || !history.ready ? "" : words.say(list.items.length || list.pending.size ? "beginning" : "empty");
  if (byId("start-text").textContent !== startText) byId("start-text").textContent = startText;
}

async function loadOlder() {
  if (!history.ready || !history.more || history.loading) return;
  history.loading = true;
  drawStart();
  const before = list.items[0]?.seq ?? history.before;
  try {
    const { messages, more } = await client.history(room, before, HISTORY_PAGE);
    // A reset or a trimmed list in between: this page no longer joins what is shown.
    if ((list.items[0]?.seq ?? history.before) !== before) return;
    list.prepend(messages, client.uid);
    history.more = more && messages.length > 0;
    if (!list.items.length) history.before = 1;
    requestAnimationFrame(maybeLoadOlder);    // one page may not fill the view
  } catch (error) {
    showError(error);                         // the button and the next scrolling try again
  } finally {
    history.loading = false;
    drawStart();
  }
}

function maybeLoadOlder() { if (list.scroller.scrollTop < NEAR_START_PX) loadOlder(); }

olderButton.addEventListener("click", loadOlder);
list.scroller.addEventListener("scroll", maybeLoadOlder, { passive: true });

// ------------------------------------------------------------------ unread

/** @param {number} n */
function setUnread(n) {
  unread = n;
  document.title = `${n ? `(${words.number.format(n)}) ` : ""}${room} · ${title}`;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  setUnread(0);
  list.renameDays();
});

// ------------------------------------------------------------------ writing

const input = /** @type {HTMLTextAreaElement} */ (byId("text"));
const sendButton = /** @type {HTMLButtonElement} */ (byId("send"));

function drawInput() {
  growArea(input);
  const length = lengthOf(input.value);
  const counter = byId("counter");
  counter.hidden = length < limit * COUNTER_FROM;
  counter.textContent = length > limit ? words.say("chars_over", { n: length - limit }) : words.say("chars_left", { n: limit - length });
  counter.classList.toggle("over", length > limit);
  sendButton.disabled = input.value.trim() === "";
}

function send() {
  const text = input.value.trim();
  if (!text) return;
  if (lengthOf(text) > limit) { notice.show(errorText({ code: "too_long" })); return; }
  list.clearNew();
  list.toEnd();
  if (!client.say(room, text)) { notice.show(errorText({ code: "outbox_full" })); return; }
  input.value = "";
  drawInput();
  drawStart();
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
  input.focus();
});
input.addEventListener("input", () => {
  drawInput();
  notice.settle();
  if (input.value) client.typing(room);
});
input.addEventListener("keydown", (event) => {
  if (isComposing(event)) return;
  if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    send();
  } else if (event.key === "ArrowUp" && input.value === "") {
    const last = list.lastOwn();
    if (!last) return;
    event.preventDefault();
    list.startEditing(last);
  }
});
// Whoever starts to type means the input.
document.addEventListener("keydown", (event) => {
  const isLetter = event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey;
  if (isLetter && document.activeElement === document.body && !byId("chat").inert) input.focus();
});

client.on("mode", ({ modes }) => {
  const lines = [];
  if (modes.read_only || modes.readonly) lines.push(words.say("read_only_mode"));
  if (Number(modes.slow_s) > 0) lines.push(words.say("slow_mode", { n: Number(modes.slow_s) }));
  const text = lines.join(" ");
  const element = byId("mode");
  if (element.textContent === text) return;
  element.textContent = text;
  document.body.classList.toggle("has-mode", text !== "");
  if (text) announce(text);
});

// ------------------------------------------------------------------ one's own name

const nameForm = byId("name-form");
const nameInput = /** @type {HTMLInputElement} */ (byId("name"));
const nameButton = byId("name-open");

client.on("identity", () => {
  byId("name-shown").textContent = client.name || words.say("guest");
  paintSeal(byId("name-seal"), client.uid, client.name || words.say("guest"));
  drawPeople();
});

/** @param {boolean} open */
function openNameForm(open) {
  nameForm.hidden = !open;
  nameButton.hidden = open;
  nameInput.removeAttribute("aria-invalid");
  notice.settle();
  if (!open) { nameButton.focus(); return; }
  nameInput.value = client.name;
  nameInput.focus();
  nameInput.select();
}

async function saveName() {
  const name = nameInput.value.trim();
  if (name === client.name) { openNameForm(false); return; }
  try {
    const length = lengthOf(name);
    if (length < NAME_MIN || length > NAME_MAX) throw { code: "name_bad" };
    await client.rename(name);
    openNameForm(false);
    announce(words.say("name_saved", { name: client.name }));
  } catch (error) {
    nameInput.setAttribute("aria-invalid", "true");
    nameInput.focus();
    showError(error);
  }
}

nameButton.addEventListener("click", () => openNameForm(true));
byId("name-cancel").addEventListener("click", () => openNameForm(false));
nameForm.addEventListener("submit", (event) => { event.preventDefault(); saveName(); });
nameForm.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !isComposing(event)) openNameForm(false);
});

// ------------------------------------------------------------------ who is here

const drawPeople = perFrame(() => {
  const { online = 0, people = new Map() } = client.rooms.get(room) ?? {};
  const shown = words.number.format(online);
  byId("people-count").textContent = shown;
  byId("people-open-count").textContent = shown;
  byId("people-open").setAttribute("aria-label", words.say("people_open", { n: online }));
  const tooMany = online > NAMES_UP_TO;
  byId("people-note").hidden = !tooMany;
  const others = tooMany ? [] : [...people].filter(([uid]) => !isMine(uid));
  others.sort(([, a], [, b]) => a.localeCompare(b, lang));
  /** @type {[string, string][]} */
  const everybody = client.uid ? [[client.uid, client.name], ...others] : others;
  byId("people-list").replaceChildren(...everybody.map(([uid, name]) => {
    const seal = make("span", "seal small");
    seal.setAttribute("aria-hidden", "true");
    paintSeal(seal, uid, name);
    const row = make("li", "", seal, make("bdi", "name", name));
    if (isMine(uid)) row.append(make("span", "you", words.say("you")));
    return row;
  }));
});

client.on("presence", drawPeople);

const narrow = matchMedia("(max-width: 55.999rem)");

/** @param {boolean} open the panel is a drawer only where there is no room for it */
function openPeople(open) {
  const drawer = narrow.matches;
  const isOpen = drawer && open;
  byId("people").inert = drawer && !open;
  byId("chat").inert = isOpen;
  byId("shade").hidden = !isOpen;
  byId("people-open").setAttribute("aria-expanded", String(isOpen));
  document.body.classList.toggle("people-shown", isOpen);
}

byId("people-open").addEventListener("click", () => { openPeople(true); byId("people-close").focus(); });
for (const id of ["people-close", "shade"]) {
  byId(id).addEventListener("click", () => { openPeople(false); byId("people-open").focus(); });
}
byId("people").addEventListener("keydown", (event) => {
  if (event.key === "Escape" && narrow.matches) { openPeople(false); byId("people-open").focus(); }
});
narrow.addEventListener("change", () => openPeople(false));
openPeople(false);

// ------------------------------------------------------------------ who is typing

/** @type {Map<string, {name: string, timer: ReturnType<typeof setTimeout>}>} */
const typing = new Map();

/** @param {string} uid */
function stopTyping(uid) {
  clearTimeout(typing.get(uid)?.timer);
  if (typing.delete(uid)) drawTyping();
}

const drawTyping = perFrame(() => {
  const [a, b] = [...typing.values()].map(({ name }) => name);
  let text = "";
  if (typing.size === 1) text = words.say("typing_one", { a });
  else if (typing.size === 2) text = words.say("typing_two", { a, b });
  else if (typing.size > 2) text = words.say("typing_many");
  byId("typing").textContent = text;
});

client.on("typing", ({ uid, name }) => {
  const online = client.rooms.get(room)?.online ?? 0;
  if (!name || online > TYPING_UP_TO) return;
  clearTimeout(typing.get(uid)?.timer);
  typing.set(uid, { name, timer: setTimeout(() => stopTyping(uid), TYPING_SHOWN_MS) });
  drawTyping();
});

// ------------------------------------------------------------------ the keyboard on a phone

// Where the keyboard lies over the page instead of shrinking it, the page is shrunk here. Zooming in
// with two fingers also makes the visual viewport small, and must not.
const viewport = window.visualViewport;
function fitViewport() {
  if (!viewport) return;
  const root = document.documentElement;
  const covered = root.clientHeight - viewport.height;
  const isKeyboard = covered > 80 && viewport.scale < 1.02;
  root.style.setProperty("--view-height", isKeyboard ? `${viewport.height}px` : "");
  root.style.setProperty("--view-top", isKeyboard ? `${viewport.offsetTop}px` : "");
}
viewport?.addEventListener("resize", fitViewport);
viewport?.addEventListener("scroll", fitViewport);

// ------------------------------------------------------------------ go

drawInput();
drawStart();
for (const item of client.outbox(room)) list.showPending(item, client);
client.connect();
