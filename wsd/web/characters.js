// Characters as readers and the server count them, not as JavaScript stores them.

const EXCERPT_MAX = 140;

/** @param {string} text */
export const lengthOf = (text) => [...text].length;

/** The beginning of a text, in one line. @param {string} text */
export function excerpt(text) {
  const line = text.replace(/\s+/g, " ").trim();
  return lengthOf(line) > EXCERPT_MAX ? `${[...line].slice(0, EXCERPT_MAX).join("")}…` : line;
}
