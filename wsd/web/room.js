// Where this client stands in one room, and what is known about the room.
//
// How nothing is lost or shown twice (docs/protocol.md, positions). A room's stored events are numbered
// without holes. The position moves only to the next number: a lower one is a duplicate and is
// dropped, a higher one proves a hole, and then we join again from the position instead of showing
// what came after it.

import { Speaker } from "./speaker.js";

const REJOIN_EVERY_MS = 1_000;

/**
 * @typedef {import("./transports/transport.js").Frame} Frame
 *
 * @typedef {object} House            what a room is in
 * @property {() => string} uid       our own
 * @property {(room: Room) => Promise<Frame|null>} rejoin
 *   from the room's position; null when the answer comes as part of a `welcome`
 * @property {(room: Room, error: import("./connection.js").ClientError) => number|undefined} excluded
 *   a join failed; after how many ms to try again
 */

/** @param {string} position @returns {[string, number]} */
function splitPosition(position) {
  const dot = position.lastIndexOf(".");
  return [position.slice(0, dot), Number(position.slice(dot + 1))];
}

export class Room {
  /** @param {string} name @param {House & import("./speaker.js").Mouth} house */
  constructor(name, house) {
    this.name = name;
    this.online = 0;
    /** @type {Map<string, string>} uid to name; may be incomplete in a large room, and is empty with polls */
    this.people = new Map();
    /** @type {Record<string, unknown>} */
    this.modes = {};
    this.speaker = new Speaker(name, house, (seq) => seq <= this.#seq);
    this.#house = house;
  }

  #house;
  /** @type {string|null} the life of the log that `#seq` counts in; null: never joined */
  #epoch = null;
  #seq = 0;
  #target = 0;               // replaying until #seq reaches it
  #isReplaying = false;
  #isRecovered = false;      // whether the replay in progress is only what we missed
  #isJoining = false;
  #joinedAt = -REJOIN_EVERY_MS;
  #seqAtPing = -1;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #rejoinTimer = undefined;

  /** @returns {string|null} */
  get position() { return this.#epoch === null ? null : `${this.#epoch}.${this.#seq}`; }

  /** @param {string} epoch @returns {boolean} whether numbers in it mean something else than ours */
  isOtherEpoch(epoch) { return this.#epoch !== null && epoch !== this.#epoch; }

  /**
   * We are in the room: what the server says of it in `welcome`, or in the answer to `join`.
   * @param {Frame} entry
   * @param {boolean} goesOn  it follows what we have as one poll follows the other; nobody need be told
   */
  joined(entry, goesOn) {
    const [epoch, head] = splitPosition(entry.position);
    const follows = entry.follows ?? 0;
    const isRecovered = Boolean(entry.recovered) && this.#epoch === epoch;
    this.#isJoining = false;
    this.#joinedAt = performance.now();
    if (goesOn && isRecovered) { this.#update(entry); return; }
    if (!isRecovered) this.#startAt(epoch, head - follows);
    this.#isRecovered = isRecovered;
    this.#target = head;
    this.#isReplaying = true;
    this.online = entry.online ?? this.online;
    this.#emit("join", { recovered: isRecovered, follows });
    this.#tellPresence();
    this.#setModes(entry.modes ?? {});
    this.#maybeReplayed();
  }

  /** @param {string} epoch @param {number} seq */
  #startAt(epoch, seq) {
    const isOther = this.isOtherEpoch(epoch);
    this.#epoch = epoch;
    this.#seq = seq;
    this.speaker.reset(isOther);
    this.#emit("reset", { before: seq + 1, isOther });
  }

  /** @param {Frame} entry */
  #update({ online = this.online, modes = {} }) {
    if (online !== this.online) { this.online = online; this.#tellPresence(); }
    if (JSON.stringify(modes) !== JSON.stringify(this.modes)) this.#setModes(modes);
  }

  /** A stored event has come: message, edit, delete or mode. @param {Frame} event */
  stored(event) {
    if (this.#epoch === null || event.seq <= this.#seq) return;
    if (event.seq > this.#seq + 1) { this.rejoin(); return; }
    this.#seq = event.seq;
    this.#deliver(event);
    this.#maybeReplayed();
  }

  /** @param {Frame} event */
  #deliver(event) {
    const replay = this.#isReplaying;
    switch (event.type) {
      case "message": {
        const mayBeOld = replay && !this.#isRecovered;
        const cid = event.uid === this.#house.uid() ? this.speaker.echoOf(event, mayBeOld) : undefined;
        this.#emit("message", { message: event, replay, cid });
        break;
      }
      case "edit": this.#emit("edit", { seq: event.ref, text: event.text, replay }); break;
      case "delete": this.#emit("delete", { seq: event.ref, replay }); break;
      case "mode": this.#setModes(event.modes ?? {}); break;
    }
  }

  #maybeReplayed() {
    if (!this.#isReplaying || this.#seq < this.#target) return;
    this.#isReplaying = false;
    this.#emit("replayed", { recovered: this.#isRecovered });
  }

  /**
   * A ping has told the newest number. Above our position it is an event that never came. While a
   * replay is on its way that is normal, unless nothing of it arrived since the last ping.
   * @param {number|undefined} head
   */
  compareHead(head) {
    const isStuck = !this.#isReplaying || this.#seq === this.#seqAtPing;
    this.#seqAtPing = this.#seq;
    if (head !== undefined && this.#epoch !== null && head > this.#seq && isStuck) this.rejoin();
  }

  // A hole that the server does not fill would make us ask as fast as the line allows, hence the pause.
  /** Enters the room, or again from our position. */
  rejoin() {
    if (this.#isJoining || this.#rejoinTimer !== undefined || !this.#house.isOnline()) return;
    const waitMs = this.#joinedAt + REJOIN_EVERY_MS - performance.now();
    if (waitMs > 0) { this.#rejoinIn(waitMs); return; }
    this.#isJoining = true;
    this.#house.rejoin(this).then(
      (entry) => { if (entry) this.joined(entry, false); },
      (error) => {
        this.#isJoining = false;
        const afterMs = this.#house.excluded(this, error);
        if (afterMs !== undefined) this.#rejoinIn(afterMs);
      },
    );
  }

  /** @param {number} waitMs */
  #rejoinIn(waitMs) {
    this.#rejoinTimer = setTimeout(() => { this.#rejoinTimer = undefined; this.rejoin(); }, waitMs);
  }

  /** The connection is lost: whatever was asked gets no answer. */
  disconnected() {
    clearTimeout(this.#rejoinTimer);
    this.#rejoinTimer = undefined;
    this.#isJoining = false;
  }

  /** Nothing may be heard of the room any more. */
  left() {
    this.disconnected();
    this.speaker.stop();
  }

  /** @param {Frame} change */
  presence(change) {
    this.online = change.online ?? this.online;
    if (change.full) this.people.clear();
    for (const uid of change.left ?? []) this.people.delete(uid);
    for (const [uid, name] of change.joined ?? []) this.people.set(uid, name);
    this.#tellPresence();
  }

  #tellPresence() { this.#emit("presence", { online: this.online, people: this.people }); }

  /** @param {Record<string, unknown>} modes */
  #setModes(modes) {
    this.modes = modes;
    this.#emit("mode", { modes });
  }

  /** @param {string} type @param {object} detail */
  #emit(type, detail) { this.#house.emit(type, { room: this.name, ...detail }); }
}
