// What whoever sets the box up is told in the console when it does not connect. Fetched only then.

/** @param {string} base address of the daemon @param {string} reason why it may not connect, if that is known */
export function explain(base, reason) {
  const { origin } = location;
  const isOwn = new URL(base).origin === origin;
  if (reason !== "bad_origin") {
    if (!isOwn) console.warn(`wsd: no connection to ${base} yet. Is the daemon running, and does the Content-Security-Policy of this page list it under connect-src?`);
  } else if (isOwn) {
    console.error(`wsd: the daemon refuses its own page at ${origin}. The proxy in front of it has to hand on the header Host as it came, with the port.`);
  } else {
    console.error(`wsd: the daemon at ${base} refuses pages of ${origin}. To let them in, add "${origin}" to "origins" in its configuration (or to that of the room, if it has its own), then run: wsd reload`);
  }
}
