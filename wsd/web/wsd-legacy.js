// The chat for browsers without modules: a list, a name and an input, in ES5 and over long polls only.
//
// It stands where its tag does, and takes from it data-room and data-lang:
//   <script nomodule src="https://chat.example/static/wsd-legacy.js" data-room="lobby"></script>
// Nothing is lost or shown twice for the same reasons as in client.js: the position moves only to the
// next number, and what is said carries a `cid` until it has its answer.

(function () {
  "use strict";

  var HOLD_S = 25, ANSWER_MS = 12000;
  var BACKOFF_MS = 500, BACKOFF_MAX_MS = 20000;
  var NODES = 200;               // messages kept in the list
  var KEY = "wsd.identity";      // shared with client.js: the same guest in both

  var script = /** @type {HTMLScriptElement} */ (document.currentScript || lastScript());
  var room = script.getAttribute("data-room") || "lobby";
  if (room.normalize) room = room.normalize("NFC");    // as the server writes it
  var base = script.src.replace(/\/static\/.*$/, "/");
  var words = {
    direction: "ltr", state_connecting: "Connecting…", state_online: "Online", state_waiting: "Connection lost",
    state_stopped: "Disconnected", messages: "Messages", text_label: "Message", name_label: "Your name",
    send: "Send", save: "Save", edited: "(edited)", deleted: "This message was deleted.",
    error_other: "That did not work."
  };

  var kept = read();
  var uid = "", epoch = null, seq = 0;
  var failures = 0, isStopped = false;
  var commands = [];             // the first one is under way
  var isSending = false, sendTimer;
  var prefix = Math.random().toString(36).slice(2) + Date.now().toString(36), counter = 0;
  var shown = {};                // seq to the element of a message
  var view;                      // the parts of what is seen

  function lastScript() {
    var scripts = document.querySelectorAll('script[src*="wsd-legacy.js"]');
    return scripts[scripts.length - 1];
  }

  // ---------------------------------------------------------------- who we are

  function read() {
    try { return JSON.parse(localStorage.getItem(KEY) || "null") || {}; } catch (forbidden) { return kept || {}; }
  }

  function write() {
    try { localStorage.setItem(KEY, JSON.stringify(kept)); } catch (forbidden) { /* for this page only */ }
  }

  function keep(token, name) {
    kept = { uid: uid, token: token || kept.token, name: name || kept.name };
    write();
    if (document.activeElement !== view.name) view.name.value = kept.name || "";
  }

  // ---------------------------------------------------------------- requests

  /** Calls `done` with the array that the daemon answered, or null. No header of ours: no preflight. */
  function post(path, body, timeoutMs, done) {
    var request = new XMLHttpRequest(), isOver = false;
    function finish() {
      if (isOver) return;
      isOver = true;
      var answer = null;
      try { answer = JSON.parse(request.responseText); } catch (notOurs) { /* a proxy's, or none */ }
      if (answer && answer.error && answer.error.code === "bad_origin") {    // pages of this site may not connect
        answer = [{ type: "error", code: answer.error.code, message: answer.error.message }];
      }
      done(answer instanceof Array ? answer : null);
    }
    request.open("POST", base + path, true);
    request.setRequestHeader("Content-Type", "text/plain");
    request.timeout = timeoutMs;
    request.onload = request.onerror = request.ontimeout = request.onabort = finish;
    request.send(JSON.stringify(body));
  }

  function later(leastMs) {
    var ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * Math.pow(2, failures));
    failures += 1;
    return Math.max(leastMs || 0, Math.random() * ceiling);
  }

  // ---------------------------------------------------------------- listening

  function poll() {
    var rooms = {}, hello = { type: "hello", rooms: rooms, wait: uid ? HOLD_S : 0 };
    kept = read();
    // A room may be called __proto__.
    Object.defineProperty(rooms, room, { value: epoch === null ? null : epoch + "." + seq, enumerable: true });
    if (kept.token) hello.token = kept.token;
    if (kept.name) hello.name = kept.name;
    post("poll", hello, (hello.wait + 10) * 1000, heard);
  }

  function heard(frames) {
    var first = frames && frames[0], waitMs = 0, i;
    if (!first || first.type !== "welcome") { missed(first); return; }
    failures = 0;
    welcome(first);
    for (i = 1; i < frames.length; i += 1) {
      if (frames[i].type === "bye") waitMs = (frames[i].retry_ms || [0, 0])[1] * Math.random();
      else stored(frames[i]);
    }
    setTimeout(poll, waitMs);
  }

  /** No answer, or an error: a refused token or name is given up, and some errors are final. */
  function missed(error) {
    var code = error ? error.code : "busy";
    if (code === "auth") kept.token = undefined;
    else if (/^name_/.test(code)) kept.name = undefined;
    else if (!/^(busy|storage|rate)$/.test(code)) {
      isStopped = true;
      tell("state_stopped", error.message);
      return;
    }
    write();
    tell("state_waiting");
    setTimeout(poll, later(error && error.retry_ms));
  }

  function welcome(frame) {
    var entry = frame.rooms[room], dot = entry.position.lastIndexOf(".");
    uid = frame.uid;
    keep(frame.token, frame.name);
    tell("state_online");
    if (entry.recovered && entry.position.slice(0, dot) === epoch) { send(); return; }
    epoch = entry.position.slice(0, dot);
    seq = Number(entry.position.slice(dot + 1)) - entry.follows;
    view.list.textContent = "";
    shown = {};
    send();
  }

  function stored(event) {
    if (event.seq !== seq + 1) return;    // had already; a hole is closed by the next poll, from our position
    seq = event.seq;
    if (event.type === "message") add(event);
    else if (event.type === "edit" && shown[event.ref]) change(shown[event.ref], event.text, words.edited);
    else if (event.type === "delete" && shown[event.ref]) change(shown[event.ref], "", words.deleted);
  }

  // ---------------------------------------------------------------- saying

  /** Queues a command; `undone` is called with an error that is final. */
  function ask(command, done, undone) {
    command.id = counter += 1;
    commands.push({ command: command, done: done, undone: undone });
    send();
  }

  function send() {
    if (isSending || isStopped || !kept.token || !commands.length) return;
    isSending = true;
    clearTimeout(sendTimer);
    post("send", { token: kept.token, commands: [commands[0].command] }, ANSWER_MS, answered);
  }

  function answered(replies) {
    var reply = replies && replies[0], entry;
    isSending = false;
    if (!reply || reply.retry_ms || reply.code === "auth") {    // lost, or too early: the same once more
      sendTimer = setTimeout(send, reply && reply.retry_ms || 1000 + Math.random() * 1000);
      return;
    }
    entry = commands.shift();
    if (reply.type === "error") { view.problem.textContent = reply.message || words.error_other; entry.undone(); }
    else { view.problem.textContent = ""; entry.done(reply); }
    send();
  }

  function say() {
    var text = view.text.value.replace(/^\s+|\s+$/g, "");
    if (!text) return;
    view.text.value = "";
    ask({ type: "say", room: room, text: text, cid: prefix + "." + counter }, function () {}, function () {
      if (!view.text.value) view.text.value = text;
    });
  }

  function rename() {
    var name = view.name.value.replace(/^\s+|\s+$/g, "");
    if (!name || name === kept.name) return;
    ask({ type: "rename", name: name }, function (ok) { keep(ok.token, ok.name); }, function () {
      view.name.value = kept.name || "";
    });
  }

  // ---------------------------------------------------------------- what is seen

  function make(tag, name, text) {
    var element = document.createElement(tag);
    if (name) element.className = "wsd-" + name;
    if (text) element.textContent = text;
    return element;
  }

  function form(label, button, act) {
    var element = make("form"), wrap = make("label", "", words[label] + " "), input = make("input");
    input.type = "text";
    input.autocomplete = "off";
    wrap.appendChild(input);
    element.appendChild(wrap);
    element.appendChild(make("button", "", words[button]));
    element.addEventListener("submit", function (event) { event.preventDefault(); act(); });
    return { element: element, input: input };
  }

  function build() {
    var box = make("div", "legacy"), state = make("p", "state"), list = make("div", "list"), problem = make("p", "problem");
    var text = form("text_label", "send", say), name = form("name_label", "save", rename);
    box.dir = words.direction;
    list.setAttribute("role", "log");
    list.setAttribute("aria-label", words.messages);
    list.setAttribute("tabindex", "0");
    list.style.height = "20em";
    list.style.overflow = "auto";
    list.style.wordWrap = "break-word";
    problem.setAttribute("role", "alert");
    [state, list, problem, text.element, name.element].forEach(function (part) { box.appendChild(part); });
    if (script.parentNode && document.body.contains(script)) script.parentNode.insertBefore(box, script.nextSibling);
    else document.body.appendChild(box);
    return { state: state, list: list, problem: problem, text: text.input, name: name.input };
  }

  function tell(state, why) {
    view.state.textContent = words[state] + (why ? ": " + why : "");
  }

  function add(message) {
    var list = view.list, atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 30;
    var row = make("p", "message"), first;
    row.setAttribute("data-seq", message.seq);
    row.style.whiteSpace = "pre-wrap";
    row.appendChild(make("bdi", "name", message.name));
    row.appendChild(document.createTextNode(" "));
    row.appendChild(make("bdi", "text", message.text));
    row.title = new Date(message.time * 1000).toLocaleString();
    list.appendChild(row);
    shown[message.seq] = row;
    if (message.deleted) change(row, "", words.deleted);
    else if (message.edited) change(row, message.text, words.edited);
    while (list.childNodes.length > NODES) {
      first = list.firstChild;
      delete shown[first.getAttribute("data-seq")];
      list.removeChild(first);
    }
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  function change(row, text, note) {
    row.lastChild.textContent = (text ? text + " " : "") + note;
  }

  // ---------------------------------------------------------------- go

  function start() {
    view = build();
    view.name.value = kept.name || "";
    tell("state_connecting");
    poll();
  }

  /** The page's words beside this file; ours where there are none. */
  function loadWords(then) {
    var language = script.getAttribute("data-lang") || navigator.language || "en", request = new XMLHttpRequest();
    request.open("GET", script.src.replace(/wsd-legacy\.js.*$/, "lang/" + encodeURIComponent(language) + ".json"), true);
    request.timeout = 5000;
    request.onload = request.onerror = request.ontimeout = function () {
      try {
        var found = JSON.parse(request.responseText), key;
        for (key in words) if (typeof found[key] === "string") words[key] = found[key];
      } catch (none) { /* then in English */ }
      then();
    };
    request.send();
  }

  if (/^en/.test(script.getAttribute("data-lang") || navigator.language || "en")) start();
  else loadWords(start);
}());
