// When the library connects, gives up, waits and looks: on a settable clock.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock, Network, connect, makePage, message, settle, welcome } from "./fakes.mjs";

test("it comes back after a random part of 0.5, 1, 2 … 20 s", async (t) => {
  const clock = new Clock(t, 0.999999);
  const network = new Network();
  const client = connect(t, network, { transports: ["websocket"] });
  const waits = [];
  for (let attempt = 0; attempt < 8; attempt += 1) {
    network.socket.fail();
    assert.equal(client.state.status, "waiting");
    waits.push(Math.round(client.state.retryAt - Date.now()));
    await clock.pass(waits.at(-1) + 1);
    assert.equal(client.state.status, "connecting");
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000]);
});

test("only a connection that has been good for 30 s starts the waits anew", async (t) => {
  const clock = new Clock(t, 0.999999);
  const network = new Network();
  const client = connect(t, network, { transports: ["websocket"] });
  const wait = async (livedMs) => {
    network.socket.welcome();
    for (let ms = 0; ms < livedMs; ms += 20_000) {
      await clock.pass(Math.min(20_000, livedMs - ms), 1000);
      network.socket.say({ type: "ping", heads: {} });
    }
    network.socket.fail();
    const left = Math.round(client.state.retryAt - Date.now());
    await clock.pass(left + 1);
    return left;
  };
  assert.deepEqual([await wait(0), await wait(1000), await wait(29_000), await wait(30_000), await wait(0)], [500, 1000, 2000, 500, 1000]);
});

test("a bye's window is honoured, also when the page is shown meanwhile; a press of the button is stronger", async (t) => {
  const clock = new Clock(t, 0.5);
  const page = makePage(t);
  const network = new Network();
  const client = connect(t, network, { transports: ["websocket"] });
  network.socket.welcome();
  network.socket.say({ type: "bye", code: 3001, reason: "restart", retry_ms: [2000, 12_000] });
  network.socket.fail(1012, "restart");
  assert.equal(client.state.retryAt - Date.now(), 7000);
  page.hide();
  page.show();
  await clock.pass(6900);
  assert.equal(network.sockets.length, 1);
  await clock.pass(200);
  assert.equal(network.sockets.length, 2);
  network.socket.welcome();
  network.socket.say({ type: "bye", code: 3001, reason: "restart", retry_ms: [2000, 12_000] });
  network.socket.fail(1012, "restart");
  client.reconnectNow();
  assert.equal(network.sockets.length, 3);
});

test("close codes that say stay away are obeyed", async (t) => {
  const clock = new Clock(t);
  for (const code of [3500, 3999, 4500, 4999]) {
    const network = new Network();
    const client = connect(t, network);
    network.socket.welcome();
    network.socket.fail(code, "banned");
    assert.deepEqual(client.state, { status: "stopped", code, reason: "banned" });
    await clock.pass(60_000, 1000);
    assert.equal(network.sockets.length, 1);
  }
});

test("a client that was too late with its hello comes back: the machine slept meanwhile", async (t) => {
  const clock = new Clock(t);
  const network = new Network();
  const client = connect(t, network, { transports: ["websocket"] });
  network.socket.fail(4501, "hello_timeout");
  assert.equal(client.state.status, "waiting");
  for (let second = 0; network.sockets.length < 2; second += 1) {
    assert.ok(second < 60);
    await clock.pass(1000);
  }
  network.socket.welcome();
  assert.equal(client.state.status, "online");
});

test("silence for a ping and 10 s is the end, for a hidden page 70 s", async (t) => {
  const clock = new Clock(t, 0);
  const page = makePage(t);
  const network = new Network();
  const client = connect(t, network, { transports: ["websocket"] });
  network.socket.welcome();
  await clock.pass(34_900, 100);
  assert.equal(client.state.status, "online");
  await clock.pass(200, 100);
  assert.notEqual(client.state.status, "online");
  await clock.pass(100);
  page.hide();
  network.socket.welcome();
  await clock.pass(69_900, 100);
  assert.equal(client.state.status, "online");
  await clock.pass(200, 100);
  assert.notEqual(client.state.status, "online");
});

test("pings keep it up, whatever the computer's clock does", async (t) => {
  const clock = new Clock(t);
  const network = new Network();
  const client = connect(t, network);
  network.socket.welcome();
  for (const jump of [0, 3_600_000, -7_200_000, 1e12, -1e12]) {
    clock.wall += jump;
    await clock.pass(25_000, 500);
    network.socket.say({ type: "ping", heads: { lobby: 0 } });
  }
  assert.equal(client.state.status, "online");
  assert.equal(network.sockets.length, 1);
});

test("a page that is shown again looks at once whether anybody is there", async (t) => {
  const clock = new Clock(t, 0);
  const page = makePage(t);
  const network = new Network();
  const client = connect(t, network, { transports: ["websocket"] });
  network.socket.welcome();
  await clock.pass(5000);
  for (const type of ["online", "pageshow", "visibilitychange"]) {
    const socket = network.socket;
    page.happen(type);
    assert.equal(socket.sent.at(-1).type, "probe", type);
    const { id } = socket.sent.at(-1);
    await clock.pass(1900);
    socket.say({ type: "error", id, code: "bad", message: "there is no command 'probe'" });
    await clock.pass(5000);
    assert.equal(network.socket, socket);
  }
  assert.ok(client.events.every(([type]) => type !== "error"), "nobody is told of the probe");
  page.happen("online");
  await clock.pass(2100);
  assert.equal(network.sockets.length, 2, "no answer in 2 s: a new connection");
});

test("what was heard from just now is not asked", async (t) => {
  const clock = new Clock(t);
  const page = makePage(t);
  const network = new Network();
  connect(t, network);
  network.socket.welcome();
  await clock.pass(1000);
  const { length } = network.socket.sent;
  page.happen("online");
  assert.equal(network.socket.sent.length, length);
});

test("after a sleep in which only the wall clock ran, it looks", async (t) => {
  const clock = new Clock(t);
  const page = makePage(t);
  const network = new Network();
  connect(t, network);
  network.socket.welcome();
  clock.wall += 3_600_000;
  page.happen("pageshow");
  assert.equal(network.socket.sent.at(-1).type, "probe");
});

test("a poll runs beside a silent WebSocket after 3 s, and the first welcome wins", async (t) => {
  const clock = new Clock(t);
  const network = new Network();
  const client = connect(t, network);
  await clock.pass(2900);
  assert.equal(network.requests.length, 0);
  await clock.pass(200);
  assert.deepEqual(network.requests.map(({ path, body }) => [path, body.type, body.wait]), [["/poll", "hello", 0]]);
  network.requests[0].answer([welcome()]);
  await settle();
  assert.deepEqual([client.state.status, client.state.transport], ["online", "poll"]);
  // The WebSocket was only slow: it takes over, and the poll ends.
  network.socket.welcome({ recovered: true });
  assert.equal(client.state.transport, "websocket");
  assert.ok(network.requests.at(-1).isAborted);
});

test("a WebSocket is tried again after 30 s, 2 min, 5 min, and then every 5 min", async (t) => {
  const clock = new Clock(t);
  const network = new Network();
  const client = connect(t, network);
  network.socket.fail();
  network.requests[0].answer([welcome()]);
  await settle();
  const tries = [];
  const start = clock.now;
  for (let second = 0; second < 1100; second += 1) {
    const before = network.sockets.length;
    await clock.pass(1000, 1000);
    if (network.sockets.length > before) { tries.push(Math.round((clock.now - start) / 1000)); network.socket.fail(); }
    const held = network.requests.at(-1);
    if (second % 20 === 0) { held.answer([welcome({ recovered: true })]); await settle(); }
  }
  assert.deepEqual(tries, [30, 150, 450, 750, 1050]);
  assert.equal(client.state.transport, "poll");
});

test("the winner is remembered for an hour", async (t) => {
  const clock = new Clock(t);
  makePage(t);
  const first = new Network();
  const client = connect(t, first);
  first.socket.fail();
  first.requests[0].answer([welcome()]);
  await settle();
  client.close();
  const second = new Network();
  connect(t, second).close();
  assert.deepEqual([second.sockets.length, second.requests.length], [0, 1], "the poll starts at once");
  clock.wall += 3_600_001;
  const third = new Network();
  connect(t, third);
  assert.deepEqual([third.sockets.length, third.requests.length], [1, 0]);
});

test("a daemon that is away does not make polls of WebSockets", async (t) => {
  const clock = new Clock(t, 0.5);
  makePage(t);
  const network = new Network();
  const client = connect(t, network);
  network.socket.welcome();
  network.socket.fail();
  await clock.pass(250);
  network.socket.fail();    // it restarts: the first attempt comes too early
  assert.equal(network.requests.length, 0);
  await clock.pass(500);
  network.socket.welcome({ recovered: true });
  assert.equal(client.state.transport, "websocket");
});

test("what has no answer is asked for again by the transport that takes over", async (t) => {
  const clock = new Clock(t);
  const network = new Network();
  const client = connect(t, network);
  await clock.pass(3100);
  network.requests[0].answer([welcome()]);
  await settle();
  client.say("lobby", "hello");
  await settle();
  const [{ body }] = network.asked("/send");
  network.socket.welcome({ recovered: true });
  const again = network.socket.sent.filter(({ type }) => type === "say");
  assert.deepEqual(again.map(({ cid }) => cid), [body.commands[0].cid]);
  network.socket.say({ type: "ok", id: again[0].id, room: "lobby", seq: 1, time: 1 }, message(1, "hello", "gann"));
  await settle();
  assert.deepEqual(client.outbox("lobby"), []);
  assert.equal(client.events.filter(([type]) => type === "message").length, 1);
});

test("a page that may not connect is told so, and tries again once in a minute", async (t) => {
  const clock = new Clock(t, 0);
  const page = makePage(t);
  const network = new Network();
  const client = connect(t, network);
  const refuse = async () => {
    network.socket.fail();    // a browser does not say that it was a 403
    network.requests.at(-1).answer({ error: { code: "bad_origin", message: "Pages of this origin may not connect here." } }, 403);
    await settle();
  };
  await refuse();
  assert.deepEqual([client.state.status, client.state.reason], ["waiting", "bad_origin"]);
  await clock.pass(59_900, 100);
  assert.equal(network.sockets.length, 1);
  await clock.pass(200, 100);
  assert.equal(network.sockets.length, 2);
  await refuse();
  assert.equal(client.state.retryAt - Date.now(), 60_000);
  for (const wake of [() => page.happen("online"), () => { page.hide(); page.show(); }, () => client.reconnectNow()]) {
    const before = network.sockets.length;
    wake();
    assert.equal(network.sockets.length, before + 1);
    await refuse();
  }
  // The list of origins has been mended meanwhile.
  await clock.pass(60_100, 100);
  network.socket.welcome();
  assert.deepEqual(client.state, { status: "online", transport: "websocket" });
});

test("a 403 that is not the daemon's is a failure like any other", async (t) => {
  new Clock(t, 0.5);
  const network = new Network();
  const client = connect(t, network);
  network.socket.fail();
  network.requests[0].answer({ error: { code: "forbidden" } }, 403);
  await settle();
  assert.deepEqual([client.state.status, client.state.reason], ["waiting", undefined]);
});

test("a stream that is refused when it is opened anew is not taken for one", async (t) => {
  const clock = new Clock(t, 0.5);
  const network = new Network();
  /** @type {((response: Response) => void)[]} */
  const streams = [];
  /** @param {string} url @param {RequestInit} init */
  const fetch = (url, init) => (new URL(url).pathname === "/stream"
    ? new Promise((resolve) => { streams.push(resolve); })
    : network.fetch(url, init));
  const client = connect(t, network, { transports: ["stream", "poll"], fetch });
  await settle();
  const rotated = [welcome(), { type: "bye", code: 3002, reason: "rotated", retry_ms: [0, 1000] }];
  streams[0](new Response(rotated.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join("")));
  await clock.pass(2000);
  assert.equal(streams.length, 2);
  assert.equal(client.state.status, "online");
  streams[1](new Response('[{"type":"error","code":"busy","message":"later","retry_ms":1000}]', { status: 503 }));
  await settle();
  assert.notEqual(client.state.status, "online");
  await clock.pass(3000);
  assert.ok(streams.length + network.requests.length > 2);
});
