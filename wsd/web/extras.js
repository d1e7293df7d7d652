// What only those need who do something: a file of its own, which is fetched at the first touch.

import { lengthOf } from "./characters.js";
import { Editor } from "./editor.js";
import { offerEmoji } from "./emoji.js";
import { NameForm } from "./name.js";
import { Suggestions } from "./suggest.js";
import { Toolbar } from "./toolbar.js";

export class Extras {
  /** @param {import("./chat.js").Chat} chat @param {import("./composer.js").Composer} composer */
  constructor(chat, composer) {
    const { client, room, frame, words, notice, list } = chat;
    this.editor = new Editor(list, words, {
      save: (seq, text) => (lengthOf(text) > notice.limit ? Promise.reject({ code: "too_long" }) : client.edit(room, seq, text)),
      failed: (error) => notice.showError(error),
      done: (element) => chat.leave(element),
    });
    this.toolbar = new Toolbar(list, words, {
      reply: (item) => composer.reply(item),
      edit: (item) => this.editor.start(item),
      remove: (item) => client.delete(room, item.seq),
      ignore: (item) => chat.ignore(item),
      failed: (error) => notice.showError(error),
      leave: () => chat.leave(list.scroller),
    });
    new Suggestions(frame, composer, () => chat.people.names);
    offerEmoji(frame, (emoji) => composer.insert(emoji));
    new NameForm(client, frame, words, notice);
  }
}
