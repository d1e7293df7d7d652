// The sign of a guest: the first character of the name on a colour that stays the same for a uid.

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
