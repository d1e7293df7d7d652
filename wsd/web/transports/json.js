// What every transport reads: one JSON object, or an array of them; and the one refusal that is told apart.

/** The daemon lets no page of this origin in. */
export const BAD_ORIGIN = "bad_origin";

/** @param {unknown} text @returns {any} the object or array in it; null if there is none */
export function parse(text) {
  try {
    const value = JSON.parse(/** @type {string} */ (text));
    return typeof value === "object" ? value : null;
  } catch { return null; }
}
