// A small box of emoji: one Tab stop, arrow keys inside, Escape closes.

import { button } from "./dom.js";

const EMOJI = "😀 😄 😂 🙂 😉 😊 😍 😘 😎 🤔 😐 😴 😢 😭 😡 😱 🤗 🤩 🙄 😅 👍 👎 👏 🙏 👋 👌 💪 🤝 ✌️ 🤞 👀 🙌 ❤️ 💔 🔥 ✨ 🎉 🎂 🎁 🏆 ⭐ 🌞 🌈 🌙 ☕ 🍕 🍎 🍺 🐱 🐶 🦊 🌸 ⚽ 🎵 🎮 📷 ✅ ❌ ❓ ❗ 💡 ⏰ 🚀 💯".split(" ");
const COLUMNS = 8;    // as in chat.css

/**
 * @param {import("./frame.js").Frame} frame
 * @param {(emoji: string) => void} insert
 */
export function offerEmoji(frame, insert) {
  const opener = frame.part("emoji-open");
  const box = frame.part("emoji");

  /** @param {boolean} open */
  function show(open) {
    if (open && !box.firstChild) box.append(...EMOJI.map((emoji) => button(emoji, "", () => { show(false); insert(emoji); })));
    box.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    if (open) focusOn(/** @type {HTMLElement} */ (box.firstElementChild));
  }

  /** @param {HTMLElement} element */
  function focusOn(element) {
    for (const each of /** @type {NodeListOf<HTMLElement>} */ (box.querySelectorAll("button"))) each.tabIndex = each === element ? 0 : -1;
    element.focus();
  }

  opener.addEventListener("click", () => show(box.hidden));
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      show(false);
      opener.focus();
      return;
    }
    const sideways = getComputedStyle(box).direction === "rtl" ? -1 : 1;
    const step = { ArrowRight: sideways, ArrowLeft: -sideways, ArrowDown: COLUMNS, ArrowUp: -COLUMNS }[event.key];
    const at = [...box.children].indexOf(/** @type {Element} */ (event.target));
    const to = step === undefined ? undefined : box.children[at + step];
    if (to instanceof HTMLElement) { event.preventDefault(); focusOn(to); }
  });
  box.addEventListener("focusout", (event) => {
    if (!(event.relatedTarget instanceof Node) || (event.relatedTarget !== opener && !box.contains(event.relatedTarget))) show(false);
  });
}
