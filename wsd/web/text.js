// A message's text as nodes: links become links, the names of those who are here are marked.

import { make } from "./dom.js";

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

/** The names that a text may address (@Ann), and which of them is the reader's. */
export class Mentions {
  /** @type {RegExp|null} */
  #pattern = null;
  #own = "";

  /** @param {Iterable<string>} names @param {string} own */
  know(names, own) {
    // Longer names first: "@Ann Lee" is not "@Ann".
    const all = [...new Set([own, ...names])].filter(Boolean).sort((a, b) => b.length - a.length);
    const escaped = all.map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
    this.#pattern = escaped.length ? new RegExp(`@(?:${escaped.join("|")})(?![\\p{L}\\p{N}_])`, "giu") : null;
    this.#own = own.toLowerCase();
  }

  /** @param {string} text @returns {{at: number, name: string}[]} */
  find(text) {
    if (!this.#pattern || !text.includes("@")) return [];
    return [...text.matchAll(this.#pattern)].map((match) => ({ at: match.index ?? 0, name: match[0] }));
  }

  /** Whether a text addresses the reader. @param {string} text */
  isForMe(text) { return this.#own !== "" && this.find(text).some(({ name }) => name.slice(1).toLowerCase() === this.#own); }
}

/** @param {string} text @param {Mentions} [mentions] @returns {DocumentFragment} */
export function richText(text, mentions) {
  const fragment = document.createDocumentFragment();
  let done = 0;
  for (const match of text.matchAll(LINK)) {
    const link = trimLink(match[0]);
    const address = safeAddress(link);
    if (!address) continue;
    appendMarked(fragment, text.slice(done, match.index), mentions);
    fragment.append(anchorTo(address, link));
    done = (match.index ?? 0) + link.length;
  }
  appendMarked(fragment, text.slice(done), mentions);
  return fragment;
}

/** @param {string} address @param {string} shown */
function anchorTo(address, shown) {
  const anchor = make("a", "", shown);
  anchor.href = address;
  anchor.target = "_blank";
  anchor.rel = "noopener noreferrer nofollow ugc";
  return anchor;
}

/** @param {DocumentFragment} fragment @param {string} text @param {Mentions} [mentions] */
function appendMarked(fragment, text, mentions) {
  let done = 0;
  for (const { at, name } of mentions?.find(text) ?? []) {
    fragment.append(text.slice(done, at), make("b", "mention", name));
    done = at + name.length;
  }
  fragment.append(text.slice(done));
}
