// The words of each language with the browser's own rules for plurals: every number has its form.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const WEB = new URL("../../wsd/web/", import.meta.url);
const COUNTED = ["new_below_label", "missed", "open_chat_unread"];

globalThis.navigator ??= /** @type {Navigator} */ ({ languages: [] });
const { Words } = await import(new URL("words.js", WEB).href);

for (const file of readdirSync(new URL("lang/", WEB))) {
  const lang = file.replace(".json", "");
  const strings = JSON.parse(readFileSync(new URL(`lang/${file}`, WEB), "utf8"));

  test(`${lang} has a form for every number, and no other`, () => {
    const words = new Words(lang, strings);
    assert.deepEqual(Intl.PluralRules.supportedLocalesOf(lang), [lang]);
    for (const key of COUNTED) {
      const needed = new Set();
      for (let n = 0; n <= 1200; n += 1) {
        const category = words.plural.select(n);
        needed.add(`${key}_${category}`);
        const text = words.count(key, n);
        assert.doesNotMatch(text, /[{}]|undefined/);
        assert.notEqual(text, key);
        if (n > 2) assert.ok(text.includes(words.number.format(n)), `${n}: ${text}`);
      }
      const has = Object.keys(strings).filter((each) => new RegExp(`^${key}_[a-z]+$`).test(each) && each !== "new_below_label");
      assert.deepEqual(has.sort(), [...needed].sort());
    }
  });
}

test("what a number does to Russian and Arabic words", () => {
  const say = (/** @type {string} */ lang, /** @type {number} */ n) =>
    new Words(lang, JSON.parse(readFileSync(new URL(`lang/${lang}.json`, WEB), "utf8"))).count("open_chat_unread", n).replace(/^.*: /, "");
  assert.deepEqual([1, 2, 5, 11, 21, 22].map((n) => say("ru", n)), [
    "1 новое сообщение", "2 новых сообщения", "5 новых сообщений", "11 новых сообщений", "21 новое сообщение", "22 новых сообщения",
  ]);
  assert.deepEqual([1, 2].map((n) => say("ar", n)), ["رسالة جديدة", "رسالتان جديدتان"]);
  assert.match(say("ar", 5), /رسائل جديدة$/);
  assert.match(say("ar", 15), /رسالة جديدة$/);
});
