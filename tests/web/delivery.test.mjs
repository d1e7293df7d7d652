// The library against the real daemon: over each transport every message is shown once and in order.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Daemon } from "./daemon.mjs";
import { Person, WebSocket, numbered, sleep, until } from "./people.mjs";

const WAYS = { websocket: ["websocket"], stream: ["stream"], poll: ["poll"] };

for (const [way, transports] of Object.entries(WAYS)) {
  test(`two talk by ${way}`, async (t) => {
    const daemon = await Daemon.start(t);
    const ann = await new Person(t, daemon, { transports }).online(way);
    const bo = await new Person(t, daemon, { transports }).online(way);
    const texts = numbered(40);
    for (const text of texts) ann.say(text);
    await bo.sees(...texts);
    await ann.sees(...texts);
    assert.deepEqual(bo.shown, texts);
    assert.deepEqual(ann.shown, texts);
    await until(() => ann.client.outbox("lobby").length === 0);
    const sent = ann.all("outbox").filter(({ change }) => change === "sent");
    const echoes = new Set(ann.all("message").map(({ cid }) => cid));
    assert.ok(sent.every(({ item, shown }) => shown || echoes.has(item.cid)), "each item finds its event");
    bo.say("and back");
    await until(() => ann.shown.at(-1) === "and back");
  });

  test(`what is missed comes by ${way}, while everything is killed and started`, async (t) => {
    const daemon = await Daemon.start(t);
    const ann = await new Person(t, daemon, { transports }).online();
    const bo = await new Person(t, daemon, { transports }).online();
    const texts = numbered(60);
    for (const [number, text] of texts.entries()) {
      ann.say(text);
      if (number === 15) for (const pid of daemon.workers()) process.kill(pid, "SIGKILL");
      if (number === 30) { await daemon.kill(); await daemon.start(); }
      await sleep(20);
    }
    await bo.sees(...texts);
    await ann.sees(...texts);
    assert.deepEqual(bo.shown, texts);
    assert.deepEqual(ann.shown, texts);
    assert.equal(bo.all("reset").length, 1, "only at the start");
  });

  test(`edits, deletes, history, names and rooms by ${way}`, async (t) => {
    const daemon = await Daemon.start(t);
    const ann = await new Person(t, daemon, { transports }).online();
    const bo = await new Person(t, daemon, { transports }).online();
    ann.say("frist");
    ann.say("second");
    await until(() => ann.shown.length === 2);
    const [first, second] = ann.all("message").map(({ message }) => message.seq);
    await ann.client.edit("lobby", first, "first");
    await ann.client.delete("lobby", second);
    await until(() => bo.all("edit").length && bo.all("delete").length);
    assert.equal(bo.all("edit")[0].text, "first");
    assert.equal(bo.all("delete")[0].seq, second);
    const { messages, more } = await bo.client.history("lobby", second + 1);
    assert.deepEqual(messages.map(({ text }) => text), ["first", ""]);
    assert.equal(more, false);
    await ann.client.rename("Anna");
    ann.say("I am Anna now");
    await until(() => bo.shown.length === 3);
    assert.equal(bo.all("message")[2].message.name, "Anna");
    await assert.rejects(ann.client.edit("lobby", 9999, "nothing"), { name: "ClientError" });
    for (const each of [ann, bo]) each.client.join("tech");
    await until(() => [ann, bo].every((each) => each.all("join").some(({ room }) => room === "tech")));
    ann.client.say("tech", "in another room");
    await until(() => bo.shown.length === 4);
    assert.equal(bo.all("message")[3].room, "tech");
    bo.client.leave("tech");
    assert.equal(bo.client.rooms.has("tech"), false);
  });
}

test("a lost answer is asked for again, and nothing is said twice", async (t) => {
  const daemon = await Daemon.start(t);
  let sends = 0;
  const losing = async (...given) => {
    const response = await fetch(...given);
    if (!String(given[0]).endsWith("/send")) return response;
    sends += 1;
    if (sends % 2 === 0 || sends > 12) return response;
    await response.text();
    throw new TypeError("the network is gone");
  };
  const ann = await new Person(t, daemon, { transports: ["poll"], fetch: losing }).online();
  const bo = await new Person(t, daemon).online();
  const texts = numbered(30);
  for (const text of texts) ann.say(text);
  await bo.sees(...texts);
  await until(() => ann.client.outbox("lobby").length === 0);
  assert.deepEqual(bo.shown, texts);
  assert.ok(ann.all("state").every(({ status }) => status !== "waiting"), "the connection was kept");
});

test("a lost poll is asked for again", async (t) => {
  const daemon = await Daemon.start(t);
  let polls = 0;
  const losing = async (...given) => {
    const response = await fetch(...given);
    polls += 1;
    if (polls === 1 || polls % 2) return response;
    await response.text();
    throw new TypeError("the network is gone");
  };
  const ann = await new Person(t, daemon).online();
  const bo = await new Person(t, daemon, { transports: ["poll"], fetch: losing }).online();
  const texts = numbered(20);
  for (const text of texts) { ann.say(text); await sleep(20); }
  await bo.sees(...texts);
  assert.deepEqual(bo.shown, texts);
  assert.equal(bo.all("state").filter(({ status }) => status === "waiting").length, 0);
});

class Deaf {
  readyState = 0;
  send() {}
  close() {}
}

test("with a WebSocket that never opens the first message is there within 8 s, then by the stream", async (t) => {
  const daemon = await Daemon.start(t);
  const ann = await new Person(t, daemon).online("websocket");
  ann.say("hello");
  await ann.sees("hello");
  const start = performance.now();
  const bo = new Person(t, daemon, { WebSocket: Deaf });
  await bo.sees("hello");
  assert.ok(performance.now() - start < 8_000);
  await bo.online("stream");
  ann.say("still there?");
  await bo.sees("hello", "still there?");
  assert.deepEqual(bo.shown, ["hello", "still there?"]);
});

test("a stream that is held back is left for polls", async (t) => {
  const daemon = await Daemon.start(t, "ping: {every: 1s, timeout: 900ms}\n");
  const mute = async (...given) => {
    const response = await fetch(...given);
    if (!String(given[0]).endsWith("/stream")) return response;
    const reader = response.body.getReader();
    let isFirst = true;
    const pull = async (controller) => {
      const { value, done } = await reader.read();
      if (done) controller.close();
      else if (isFirst) controller.enqueue(value);
      isFirst = false;
    };
    return new Response(new ReadableStream({ pull }), response);
  };
  const ann = await new Person(t, daemon).online();
  const bo = await new Person(t, daemon, { transports: ["stream", "poll"], fetch: mute }).online("stream");
  ann.say("can you hear me?");
  await bo.online("poll");
  await bo.sees("can you hear me?");
  ann.say("now?");
  await bo.sees("can you hear me?", "now?");
  assert.deepEqual(bo.shown, ["can you hear me?", "now?"]);
  const ways = bo.all("state").map(({ transport }) => transport).filter(Boolean);
  assert.deepEqual(ways, ["stream", "poll"], "the stream is not tried again");
});

test("a WebSocket that is refused is no loss", async (t) => {
  const daemon = await Daemon.start(t);
  class Refused extends WebSocket { constructor(url, ...rest) { super(url.replace("/chat", "/nothing"), ...rest); } }
  const ann = await new Person(t, daemon, { WebSocket: Refused }).online("stream");
  ann.say("hello");
  await ann.sees("hello");
});

test("a stream that is cut again and again loses nothing", async (t) => {
  const daemon = await Daemon.start(t);
  const cut = async (...given) => {
    const response = await fetch(...given);
    if (!String(given[0]).endsWith("/stream")) return response;
    const reader = response.body.getReader();
    setTimeout(() => reader.cancel().catch(() => {}), 150);
    return new Response(new ReadableStream({
      async pull(controller) {
        const { value, done } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
    }), response);
  };
  const ann = await new Person(t, daemon).online();
  const bo = await new Person(t, daemon, { transports: ["stream"], fetch: cut }).online();
  const texts = numbered(60);
  for (const text of texts) { ann.say(text); await sleep(15); }
  await bo.sees(...texts);
  assert.deepEqual(bo.shown, texts);
  assert.ok(bo.all("join").length > 2, "it was cut");
  assert.equal(bo.all("reset").length, 1);
});
