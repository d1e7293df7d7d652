// How many messages came unseen: in front of the page's title, whoever else changes that.

const PREFIX = /^\(\d+\) /;

/** @type {Map<object, number>} each chat of the page, and its share */
const shares = new Map();

/** @param {object} chat @param {number} unread */
export function badge(chat, unread) {
  shares.set(chat, unread);
  const sum = [...shares.values()].reduce((a, b) => a + b, 0);
  const plain = document.title.replace(PREFIX, "");
  const title = sum ? `(${sum}) ${plain}` : plain;
  if (document.title !== title) document.title = title;
}
