// What is shown of what comes: each event once, in order, and what a hole, another log or a reload does.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Store } from "../../wsd/web/outbox.js";
import { Clock, Network, connect, makePage, message, settle, welcome } from "./fakes.mjs";

const shown = (client) => client.events.filter(([type]) => type === "message").map(([, { message: { seq } }]) => seq);
const types = (client, ...wanted) => client.events.filter(([type]) => wanted.includes(type)).map(([type]) => type);

function online(t, fields) {
  const clock = new Clock(t);
  const network = new Network();
  const client = connect(t, network);
  network.socket.welcome(fields);
  return { clock, network, client, socket: network.socket };
}

test("a lower number is a duplicate", (t) => {
  const { client, socket } = online(t);
  socket.say(message(1), message(2), message(1), message(2), message(3));
  assert.deepEqual(shown(client), [1, 2, 3]);
});

test("a higher number is a hole: it is joined again from the position, once", async (t) => {
  const { clock, client, socket } = online(t);
  await clock.pass(2000);
  socket.say(message(1), message(3), message(4));
  const joins = () => socket.sent.filter(({ type }) => type === "join");
  assert.deepEqual(joins().map(({ room, after }) => [room, after]), [["lobby", "epoch.1"]]);
  const { id } = joins()[0];
  socket.say({ type: "ok", id, room: "lobby", position: "epoch.4", follows: 3, recovered: true, online: 1, modes: {} });
  await settle();
  socket.say(message(2), message(3), message(4), message(5));
  assert.deepEqual(shown(client), [1, 2, 3, 4, 5]);
  assert.equal(types(client, "reset").length, 1);
});

test("a room is the same however its accents are written", (t) => {
  const network = new Network();
  const client = connect(t, network, { rooms: ["cafe\u0301"] });
  network.socket.open();
  assert.deepEqual(network.socket.sent[0].rooms, { "caf\u00e9": null });
  network.socket.say({ ...welcome(), rooms: { "caf\u00e9": { position: "epoch.0", follows: 0, recovered: false, online: 1, modes: {} } } });
  network.socket.say({ ...message(1), room: "caf\u00e9" });
  assert.deepEqual(shown(client), [1]);
  client.join("cafe\u0301");
  assert.deepEqual([...client.rooms.keys()], ["caf\u00e9"]);
  assert.equal(client.say("cafe\u0301", "hi").room, "caf\u00e9");
  assert.equal(client.outbox("cafe\u0301").length, 1);
  client.leave("cafe\u0301");
  assert.equal(client.rooms.size, 0);
});

test("a hole that nobody fills is not asked for in a hurry", async (t) => {
  const { clock, socket } = online(t);
  await clock.pass(2000);
  for (let step = 0; step < 100; step += 1) {
    socket.say(message(5 + step));
    const join = socket.sent.findLast(({ type }) => type === "join");
    socket.say({ type: "ok", id: join.id, room: "lobby", position: "epoch.0", follows: 0, recovered: true });
    await clock.pass(100);
  }
  const count = socket.sent.filter(({ type }) => type === "join").length;
  assert.ok(count >= 5 && count <= 12, `${count} joins in 10 s`);
});

test("the heads of a ping show what never came", async (t) => {
  const { clock, socket } = online(t);
  await clock.pass(2000);
  socket.say({ type: "ping", heads: { lobby: 0, elsewhere: 9 } });
  assert.equal(socket.sent.filter(({ type }) => type === "join").length, 0);
  socket.say({ type: "ping", heads: { lobby: 2 } });
  assert.equal(socket.sent.at(-1).after, "epoch.0");
});

test("a replay is not taken for a hole while it comes, but is when it stops", async (t) => {
  const { clock, socket } = online(t, { position: "epoch.3", follows: 3 });
  await clock.pass(2000);
  const joins = () => socket.sent.filter(({ type }) => type === "join").length;
  socket.say(message(1), { type: "ping", heads: { lobby: 3 } });
  assert.equal(joins(), 0);
  socket.say({ type: "ping", heads: { lobby: 3 } });
  assert.equal(joins(), 1);
});

test("another epoch, or too long away: what was shown is forgotten", async (t) => {
  const { clock, network, client, socket } = online(t);
  socket.say(message(1));
  socket.fail();
  await clock.pass(500);
  assert.deepEqual(network.socket.sent, []);
  network.socket.open();
  assert.deepEqual(network.socket.sent[0].rooms, { lobby: "epoch.1" });
  network.socket.say(welcome({ position: "other.7", follows: 2, recovered: false }));
  network.socket.say(message(6), message(7), message(8));
  assert.deepEqual(types(client, "reset", "message"), ["reset", "message", "reset", "message", "message", "message"]);
  assert.deepEqual(client.events.findLast(([type]) => type === "reset")[1], { room: "lobby", before: 6, isOther: true });
});

test("an answer that waits for the connection answers nothing in another log", async (t) => {
  const { clock, network, client, socket } = online(t);
  socket.say(message(1));
  socket.fail();
  client.say("lobby", "an answer", { reply_to: 1 });
  await clock.pass(500);
  network.socket.open();
  network.socket.say(welcome({ position: "other.0" }));
  await settle();
  const said = network.socket.sent.find((frame) => frame.type === "say");
  assert.equal(said.text, "an answer");
  assert.equal(said.reply_to, undefined);
});

test("a storage that is full keeps nobody from being who they are", () => {
  /** @type {Map<string, string>} */
  const kept = new Map();
  let full = false;
  const area = {
    getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => {
      if (full) throw new Error("QuotaExceededError");
      kept.set(key, value);
    },
  };
  const store = new Store("localStorage", "wsd");
  store.area = /** @type {any} */ (area);
  store.write("old");
  full = true;
  store.write("new");
  assert.equal(store.read(), "new");
  full = false;
  kept.set("wsd", '"another window\'s"');
  assert.equal(store.read(), "new");
  store.write("newest");
  assert.equal(new Map(kept).get("wsd"), '"newest"');
  kept.set("wsd", '"another window\'s"');
  assert.equal(store.read(), "another window's");
});

test("edits, deletes and modes have numbers as well", (t) => {
  const { client, socket } = online(t);
  socket.say(message(1), { type: "edit", room: "lobby", seq: 2, ref: 1, text: "better" },
    { type: "mode", room: "lobby", seq: 3, modes: { slow_s: 5 } }, { type: "delete", room: "lobby", seq: 4, ref: 1 },
    { type: "edit", room: "lobby", seq: 2, ref: 1, text: "better" }, message(5));
  assert.deepEqual(types(client, "message", "edit", "delete"), ["message", "edit", "delete", "message"]);
  assert.deepEqual(client.rooms.get("lobby").modes, { slow_s: 5 });
});

test("the outbox survives a reload, and what was under way is said once more with its cid", async (t) => {
  new Clock(t);
  makePage(t);
  const before = new Network();
  const first = connect(t, before);
  before.socket.welcome();
  for (const text of ["one", "two"]) first.say("lobby", text);
  const [said] = before.socket.sent.filter(({ type }) => type === "say");
  first.close();
  const after = new Network();
  const second = connect(t, after);
  assert.deepEqual(second.outbox("lobby").map(({ text }) => text), ["one", "two"]);
  assert.deepEqual(second.outbox("lobby").map(({ status }) => status), ["queued", "queued"]);
  after.socket.welcome();
  const again = () => after.socket.sent.filter(({ type }) => type === "say");
  assert.deepEqual(again().map(({ text, cid }) => [text, cid]), [["one", said.cid]], "one at a time");
  after.socket.say({ type: "ok", id: again()[0].id, room: "lobby", seq: 1, time: 1, duplicate: true });
  await settle();
  assert.deepEqual(again().map(({ text }) => text), ["one", "two"]);
});

test("after rate the same message goes first, when its time has come", async (t) => {
  const { clock, client, socket } = online(t);
  client.say("lobby", "one");
  client.say("lobby", "two");
  const said = () => socket.sent.filter(({ type }) => type === "say");
  socket.say({ type: "error", id: said()[0].id, code: "rate", message: "too fast", retry_ms: 1800 });
  await clock.pass(1700);
  client.say("lobby", "three");
  assert.equal(said().length, 1);
  await clock.pass(200);
  assert.deepEqual(said().map(({ text }) => text), ["one", "one"]);
  assert.equal(said()[0].cid, said()[1].cid);
});

test("a final error stops one message, and the next one goes", async (t) => {
  const { client, socket } = online(t);
  client.say("lobby", "one");
  client.say("lobby", "two");
  const said = () => socket.sent.filter(({ type }) => type === "say");
  socket.say({ type: "error", id: said()[0].id, code: "filtered", message: "no" });
  await settle();
  assert.deepEqual(client.outbox("lobby").map(({ text, status }) => [text, status]), [["one", "failed"], ["two", "sent"]]);
  client.discard(client.outbox("lobby")[0].cid);
  assert.equal(client.outbox("lobby").length, 1);
});

test("storage that throws is done without", (t) => {
  new Clock(t);
  makePage(t, []);
  for (const name of ["localStorage", "sessionStorage"]) {
    Object.defineProperty(globalThis, name, { configurable: true, get() { throw new DOMException("no", "SecurityError"); } });
    t.after(() => { delete globalThis[name]; });
  }
  const network = new Network();
  const client = connect(t, network);
  network.socket.welcome();
  client.say("lobby", "hello");
  assert.equal(client.name, "Ann");
  assert.equal(network.socket.sent.at(-1).text, "hello");
  network.socket.fail();
  client.reconnectNow();
  network.socket.open();
  assert.equal(network.socket.sent[0].token, "a token");
});

test("two new windows of one visitor agree on who they are", async (t) => {
  new Clock(t);
  makePage(t);
  const networks = [new Network(), new Network()];
  const clients = networks.map((network) => connect(t, network));
  networks[0].socket.welcome();
  networks[1].socket.welcome({ uid: "gother", token: "another token", name: "Other" });
  assert.equal(networks[1].sockets.length, 2, "it says hello once more");
  networks[1].socket.open();
  assert.equal(networks[1].socket.sent[0].token, "a token");
  networks[1].socket.say(welcome());
  assert.deepEqual(clients.map(({ uid, name }) => [uid, name]), [["gann", "Ann"], ["gann", "Ann"]]);
});

test("a token that is not taken any more makes a new guest, without end of turning", async (t) => {
  new Clock(t);
  makePage(t);
  const first = new Network();
  connect(t, first);
  first.socket.welcome();
  const second = new Network();
  const client = connect(t, second);
  for (let turn = 0; turn < 2; turn += 1) second.socket.welcome({ uid: "gnew", token: "a new token", name: "New" });
  assert.equal(second.sockets.length, 2);
  assert.equal(client.uid, "gnew");
});

test("a refused name is given up, and the hello said again", async (t) => {
  const clock = new Clock(t);
  makePage(t);
  const network = new Network();
  const client = connect(t, network);
  client.rename("Bad Name");
  network.socket.open();
  assert.equal(network.socket.sent[0].name, "Bad Name");
  network.socket.say({ type: "error", code: "name_taken", message: "taken" });
  network.socket.open();
  assert.equal(network.socket.sent[0].name, undefined);
  network.socket.say(welcome());
  await clock.pass(10);
  assert.equal(client.name, "Ann");
  assert.deepEqual(types(client, "error"), ["error"]);
});

test("a room that is entered between hello and welcome is joined, not missing", async (t) => {
  const network = new Network();
  const client = connect(t, network, { transports: ["websocket"] });
  network.socket.open();
  client.join("tech");    // as the second box of a page does
  network.socket.say(welcome());
  const joins = network.socket.sent.filter(({ type }) => type === "join");
  assert.deepEqual(joins.map(({ room }) => room), ["tech"]);
  network.socket.say({ ...welcome().rooms.lobby, type: "ok", id: joins[0].id, room: "tech" });
  await settle();
  assert.deepEqual(client.events.filter(([type]) => type === "error"), []);
  assert.ok(client.events.some(([type, { room }]) => type === "replayed" && room === "tech"));
});

test("a room that the server does not have is told to be missing", async (t) => {
  const network = new Network();
  const client = connect(t, network, { transports: ["websocket"], rooms: ["lobby", "none"] });
  network.socket.welcome();
  const join = network.socket.sent.find(({ type }) => type === "join");
  network.socket.say({ type: "error", id: join.id, code: "unknown_room", message: "" });
  await settle();
  assert.deepEqual(client.events.filter(([type]) => type === "error").map(([, { code, room }]) => [code, room]), [["unknown_room", "none"]]);
});

test("by polls, a room that is missing twice is missing", async (t) => {
  const network = new Network();
  const client = connect(t, network, { transports: ["poll"], rooms: ["lobby", "none"] });
  for (const _ of [1, 2]) {
    await settle();
    network.requests.at(-1).answer([welcome()]);
  }
  await settle();
  assert.deepEqual(client.events.filter(([type]) => type === "error").map(([, { code, room }]) => [code, room]), [["unknown_room", "none"]]);
});

test("a room called like a property of every object is a room like any other", (t) => {
  new Clock(t);
  const network = new Network();
  const client = connect(t, network);
  for (const name of ["constructor", "__proto__"]) client.join(name);
  const { socket } = network;
  socket.welcome();    // of the hello before they were entered
  const asked = () => socket.sent.filter(({ type }) => type === "join").map(({ room }) => room);
  assert.deepEqual(asked(), ["constructor", "__proto__"]);
  socket.say({ type: "ping", heads: { lobby: 0 } });
  const entry = { position: "epoch.0", follows: 0, recovered: false, online: 1, modes: {} };
  for (const { id, type, room } of socket.sent) if (type === "join") socket.say({ type: "ok", id, room, ...entry });
  assert.deepEqual(asked(), ["constructor", "__proto__"]);
});
