// The script that a site puts into its pages: finds its tag, keeps the place, and fetches nothing more
// before the box is seen (or its bubble is pressed). Old browsers read this file too, so it is ES5.
//
// "@about" stands for what the daemon says of itself when it serves this file (transports/pages.py):
// {version, languages, rtl, open, limit}.

// @ts-nocheck: types for ES5 that looks for what may not be there would be longer than itself.
(function (about) {
  "use strict";

  // Later than anything else that the modules need; what cannot do this gets the simple chat.
  var modern = "noModule" in document.createElement("script") && Array.prototype.findLast && window.IntersectionObserver;
  var tag = document.currentScript || lastTag();
  var base = tag.src.replace(/wsd\.js([?#].*)?$/, "");
  var files = base + "static/" + about.version + "/";
  var mode = option("mode", "inline");

  var CSS =
    ":host{display:block;box-sizing:border-box;height:var(--wsd-height,32em);max-height:100vh}" +
    ":host([data-mode=bubble]){display:contents}" +
    ".bubble-open{all:initial;position:fixed;z-index:2147483000;inset-block-end:max(20px,env(safe-area-inset-bottom));" +
    "inset-inline-end:max(20px,env(safe-area-inset-left),env(safe-area-inset-right));display:grid;place-items:center;width:56px;height:56px;" +
    "border-radius:28px;border-end-end-radius:8px;background:var(--wsd-accent,#1c6b63);color:var(--wsd-on-accent,#fff);cursor:pointer;" +
    "box-shadow:0 2px 12px rgb(0 0 0/.3)}" +
    ".bubble-open:focus-visible{outline:3px solid var(--wsd-accent,#1c6b63);outline-offset:3px}" +
    ".bubble-open[aria-busy=true]{opacity:.7}" +
    ".bubble-open svg{fill:none;stroke:currentColor;stroke-width:1.9;stroke-linecap:round;stroke-linejoin:round}" +
    ".bubble-open span:empty{display:none}" +
    ".bubble-open span{position:absolute;inset-block-start:-4px;inset-inline-end:-4px;min-width:22px;box-sizing:border-box;" +
    "padding-inline:6px;border-radius:11px;background:#b3261e;color:#fff;font:600 13px/22px system-ui,sans-serif;text-align:center}";

  function lastTag() {
    var tags = document.querySelectorAll('script[src*="wsd.js"]');
    return tags[tags.length - 1];
  }

  function option(name, otherwise) {
    var value = tag.getAttribute("data-" + name);
    return value === null || value === "" ? otherwise : value;
  }

  /** The language of ours for a tag like pt-BR, or a locale like pt_BR; undefined if there is none. */
  function languageFor(wanted) {
    var lower = wanted.toLowerCase().replace(/_/g, "-");
    if (/^zh/.test(lower)) lower = /^zh-(tw|hk|mo|hant)/.test(lower) ? "zh-tw" : "zh-cn";
    var exact = about.languages.filter(function (known) { return known.toLowerCase() === lower; });
    var alike = about.languages.filter(function (known) { return known.split("-")[0].toLowerCase() === lower.split("-")[0]; });
    return exact[0] || alike[0];
  }

  function language() {
    var wanted = [option("lang", "")].concat([].slice.call(navigator.languages || [navigator.language || "en"]));
    for (var i = 0; i < wanted.length; i++) {
      var found = languageFor(wanted[i]);
      if (found) return found;
    }
    return about.languages[0];
  }

  function find(selector) {
    try {
      return document.querySelector(selector);
    } catch (error) {    // it is none
      return null;
    }
  }

  /** Calls `then` with the element where the box goes, once that is there. */
  function whenPlaced(then) {
    var target = option("target") ? find(option("target")) : null;
    var early = document.readyState === "loading" && (option("target") ? !target : !document.body);
    if (early) { document.addEventListener("DOMContentLoaded", function () { whenPlaced(then); }); return; }
    if (option("target") && !target && window.console) console.warn("wsd: there is no element " + option("target") + " (data-target)");
    then(target);
  }

  /** Puts an element where the box belongs. */
  function place(element, target) {
    var isInBody = document.body.contains(tag);
    if (target) target.appendChild(element);
    else if (mode === "bubble" || mode === "page" || !isInBody) document.body.appendChild(element);
    else tag.parentNode.insertBefore(element, tag.nextSibling);
  }

  /** Asks for what box.js is going to fetch, while that is on its way itself. */
  function preload(address) {
    if (document.querySelector('link[rel=preload][href="' + address + '"]')) return;
    var element = document.createElement("link");
    element.rel = "preload";
    element.href = address;
    element.setAttribute("as", "fetch");
    element.crossOrigin = "anonymous";
    document.head.appendChild(element);
  }

  function script(address, module, again) {
    var element = document.createElement("script");
    if (module) element.type = "module";
    element.src = address + (again ? "?" + again : "");
    element.onerror = function () {
      setTimeout(function () { script(address, module, (again || 0) + 1); }, Math.min(30000, 1000 * Math.pow(2, again || 0)));
    };
    return document.head.appendChild(element);
  }

  /** Fetches the box, all its parts at once, and hands the place over to it. */
  function load(entry) {
    (window.wsdBoxes = window.wsdBoxes || []).push(entry);
    preload(files + "lang/" + entry.lang + ".json");
    if (mode !== "page") preload(files + "chat.css");
    script(files + "box.js", true);
  }

  /** The simple chat, for browsers without modules: it looks for its room at its own tag. */
  function loadLegacy(target) {
    var element = document.createElement("script");
    for (var i = 0; i < tag.attributes.length; i++) {
      if (/^data-/.test(tag.attributes[i].name)) element.setAttribute(tag.attributes[i].name, tag.attributes[i].value);
    }
    element.setAttribute("data-lang", language());
    element.src = files + "wsd-legacy.js";
    place(element, target);
  }

  // The event "moved" tells the box that the element was taken out of the page, or put into it, and is so still.
  function defineHost() {
    if (customElements.get("wsd-chat")) return;
    function Host() { return Reflect.construct(HTMLElement, [], Host); }
    Host.prototype = Object.create(HTMLElement.prototype);
    Host.prototype.constructor = Host;
    Host.prototype.connectedCallback = Host.prototype.disconnectedCallback = function () {
      var host = this;
      setTimeout(function () { host.dispatchEvent(new Event("moved")); }, 500);
    };
    customElements.define("wsd-chat", Host);
  }

  // To the page it is this element that has the focus, and no input: what is typed there would be its shortcuts.
  function keepTyping(event) {
    if (/^(INPUT|TEXTAREA)$/.test(event.composedPath()[0].tagName)) event.stopPropagation();
  }

  // A bubble and its panel stand at the end of a line of their language, from the start.
  function makeHost(lang) {
    defineHost();
    var host = document.createElement("wsd-chat");
    host.setAttribute("data-mode", mode);
    host.setAttribute("data-room", option("room", "lobby"));
    ["keydown", "keypress", "keyup"].forEach(function (type) { host.addEventListener(type, keepTyping); });
    host.dir = about.rtl.indexOf(lang) < 0 ? "ltr" : "rtl";
    var root = host.attachShadow({ mode: "open" });
    var sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
    root.adoptedStyleSheets = [sheet];
    return host;
  }

  function makeBubble(lang) {
    var svg = "http://www.w3.org/2000/svg";
    var button = document.createElement("button");
    button.type = "button";
    button.className = "bubble-open";
    button.setAttribute("aria-label", about.open[lang]);
    button.setAttribute("aria-expanded", "false");
    var drawing = document.createElementNS(svg, "svg");
    drawing.setAttribute("viewBox", "0 0 24 24");
    drawing.setAttribute("width", "28");
    drawing.setAttribute("aria-hidden", "true");
    var path = document.createElementNS(svg, "path");
    path.setAttribute("d", "M8 4.5h8a4.5 4.5 0 0 1 4.5 4.5v6a4.5 4.5 0 0 1-4.5 4.5H4.5a1 1 0 0 1-1-1V9A4.5 4.5 0 0 1 8 4.5ZM8.5 10h7M8.5 14h4.5");
    drawing.appendChild(path);
    button.appendChild(drawing);
    button.appendChild(document.createElement("span"));
    return button;
  }

  function start(target) {
    if (!modern || (mode !== "page" && !("adoptedStyleSheets" in document))) { loadLegacy(target); return; }
    var entry = { about: about, base: base, files: files, mode: mode, lang: language(), data: tag.dataset, host: target, button: null };
    if (mode === "page") { load(entry); return; }
    // Where a site changes its content without loading a page, the tag may run again beside its bubble.
    var old = mode === "bubble" ? document.querySelector("wsd-chat[data-mode=bubble]") : null;
    if (old && old.getAttribute("data-room") === option("room", "lobby")) return;
    if (old) old.parentNode.removeChild(old);
    var host = entry.host = makeHost(entry.lang);
    if (mode === "bubble") {
      entry.button = makeBubble(entry.lang);
      host.shadowRoot.appendChild(entry.button);
      entry.button.addEventListener("click", function () {
        entry.button.setAttribute("aria-busy", "true");
        load(entry);
      }, { once: true });
    }
    place(host, target);
    if (mode === "bubble") return;
    var seen = new IntersectionObserver(function (changes) {
      if (!changes.some(function (change) { return change.isIntersecting; })) return;
      seen.disconnect();
      load(entry);
    });
    seen.observe(host);
  }

  whenPlaced(start);
})("@about");
