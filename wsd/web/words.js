// Words and signs: the page's strings, times, links in texts, the colour and sign of a guest.

const ISOLATE = "\u2068", POP_ISOLATE = "\u2069";

/** The strings of one language, and its ways with numbers and times. */
export class Words {
  /** @param {string} lang @param {Record<string, string>} strings */
  constructor(lang, strings) {
    this.strings = strings;
    // The visitor's own variety of the language, where it is one: en-GB writes times unlike en-US.
    const base = lang.split("-")[0];
    const locale = navigator.languages?.find((tag) => tag.split("-")[0] === base) ?? lang;
    this.plural = new Intl.PluralRules(lang);
    this.number = new Intl.NumberFormat(locale);
    this.clock = new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit" });
    this.fullTime = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "medium" });
    this.date = new Intl.DateTimeFormat(locale, { weekday: "long", day: "numeric", month: "long" });
    this.dateOfYear = new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", year: "numeric" });
  }

  /** @param {string} lang @param {string} version @returns {Promise<Words>} */
  static async load(lang, version) {
    const address = `/static/lang/${lang}.json?v=${encodeURIComponent(version)}`;
    for (let waitMs = 500; ; waitMs = Math.min(2 * waitMs, 10_000)) {
      try {
        const response = await fetch(address);
        if (response.ok) return new Words(lang, await response.json());
      } catch { /* the network; the page is of no use without its words, so keep asking */ }
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  /** @param {string} key */
  has(key) { return Object.hasOwn(this.strings, key); }

  /**
   * A string with its {placeholders} filled. Strings among the values are isolated, so that a name
   * written from right to left does not turn the sentence round.
   * @param {string} key
   * @param {Record<string, string|number>} [values]
   */
  say(key, values = {}) {
    const template = this.strings[key] ?? key;
    return template.replace(/\{(\w+)\}/g, (_, name) => {
      const value = values[name];
      return typeof value === "number" ? this.number.format(value) : `${ISOLATE}${value}${POP_ISOLATE}`;
    });
  }

  /** @param {string} key of `key_one` and `key_other` @param {number} n */
  count(key, n) {
    const exact = `${key}_${this.plural.select(n)}`;
    return this.say(this.has(exact) ? exact : `${key}_other`, { n });
  }

  /** @param {Date} day */
  day(day) {
    const today = new Date();
    if (isSameDay(day, today)) return this.say("today");
    const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
    if (isSameDay(day, yesterday)) return this.say("yesterday");
    return (day.getFullYear() === today.getFullYear() ? this.date : this.dateOfYear).format(day);
  }
}

/** @param {Date} a @param {Date} b */
export function isSameDay(a, b) {
  return a.getFullYear() === b.getFullYear() && a.getMonth() === b.getMonth() && a.getDate() === b.getDate();
}

/**
 * A new element; `content` is text or nodes, never markup.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} [className]
 * @param {...(string|Node)} content
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, className = "", ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

/** @param {string} text @param {string} className @param {() => void} onClick */
export function button(text, className, onClick) {
  const element = make("button", className, text);
  element.type = "button";
  element.addEventListener("click", onClick);
  return element;
}

// A link ends where one would end it by eye: at a space, a quotation mark, an ideograph or kana (in
// Chinese and Japanese no space follows a link), and never holds a character that turns the writing
// direction, which could make the link look like another one.
const LINK = /\bhttps?:\/\/[^\s<>"'`\u2018-\u201f\u00ab\u00bb\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]+/gi;
const TRAILING = /[.,;:!?*_~]+$/;

/** Leaves out a closing bracket that the link did not open, and the full stop of the sentence. @param {string} found */
function trimLink(found) {
  let link = found.replace(TRAILING, "");
  for (;;) {
    const last = link.at(-1);
    const opening = last === ")" ? "(" : last === "]" ? "[" : last === "}" ? "{" : "";
    if (!opening || link.split(opening).length >= link.split(/** @type {string} */ (last)).length) return link;
    link = link.slice(0, -1).replace(TRAILING, "");
  }
}

/** @param {string} link @returns {string|null} null for what had better stay text */
function safeAddress(link) {
  try {
    const url = new URL(link);
    // https://bank.example@evil.example/ reads like the bank
    const plain = !url.username && !url.password;
    return plain && (url.protocol === "http:" || url.protocol === "https:") ? url.href : null;
  } catch { return null; }
}

/** A text as nodes, with its links made clickable. @param {string} text @returns {DocumentFragment} */
export function linked(text) {
  const fragment = document.createDocumentFragment();
  let done = 0;
  for (const match of text.matchAll(LINK)) {
    const link = trimLink(match[0]);
    const address = safeAddress(link);
    if (!address) continue;
    fragment.append(text.slice(done, match.index));
    const anchor = make("a", "", link);
    anchor.href = address;
    anchor.target = "_blank";
    anchor.rel = "noopener noreferrer nofollow ugc";
    fragment.append(anchor);
    done = match.index + link.length;
  }
  fragment.append(text.slice(done));
  return fragment;
}

// FNV-1a, 32 bits: neighbouring uids get unlike hues. Twenty-four hues, since the eye tells no more apart.
/** @param {string} uid @returns {number} degrees */
export function hueOf(uid) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < uid.length; i++) hash = Math.imul(hash ^ uid.charCodeAt(i), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % 24 * 15;
}

const segmenter = Intl.Segmenter && new Intl.Segmenter();

/** The first character of a name as a reader sees it. @param {string} name */
export function signOf(name) {
  const first = segmenter ? segmenter.segment(name)[Symbol.iterator]().next().value?.segment : [...name][0];
  return (first ?? "?").toLocaleUpperCase();
}

/** @param {HTMLElement} element @param {string} uid @param {string} name */
export function paintSeal(element, uid, name) {
  element.textContent = signOf(name);
  element.style.setProperty("--hue", String(hueOf(uid)));
}
