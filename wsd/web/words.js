// The words of the interface: its strings in one language, numbers, times and days.

const ISOLATE = "\u2068", POP_ISOLATE = "\u2069";

/** The strings of one language, and its ways with numbers and times. */
export class Words {
  /** @param {string} lang @param {Record<string, string>} strings */
  constructor(lang, strings) {
    this.lang = lang;
    this.direction = strings.direction;
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

  /**
   * @param {string} key of `key_one`, `key_other` and what else the language tells apart (Unicode CLDR, plural rules)
   * @param {number} n
   */
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
