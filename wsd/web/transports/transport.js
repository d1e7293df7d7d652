// The types that transports share with what uses them (race.js, connection.js). Nothing in here runs.

/**
 * @typedef {"websocket"|"stream"|"poll"} Kind
 *
 * @typedef {any} Frame    one object of wsd.v1
 *
 * @typedef {object} Hello
 * @property {"hello"} type
 * @property {Record<string, string|null>} rooms  each with the position that we have
 * @property {string} [token]
 * @property {string} [name]
 *
 * @typedef {object} Transport  one way to the daemon; opens when it is made, and says hello by itself
 * @property {Kind} kind
 * @property {(command: object) => void} send
 * @property {() => void} [again]  say hello anew; a transport without it takes `join` and `leave` instead
 * @property {() => void} close    nothing is heard of it afterwards
 *
 * @typedef {object} Host       what a transport is given
 * @property {URL} base         the daemon's address, with a slash at its end
 * @property {typeof globalThis.WebSocket} WebSocket
 * @property {typeof globalThis.fetch} fetch
 * @property {() => Hello} hello  to be made anew each time, since positions move
 * @property {() => string} token
 * @property {(transport: Transport, frame: Frame) => void} received
 * @property {(transport: Transport, code: number, reason: string) => void} ended
 *   with a close code of RFC 6455; 1006 when nobody said why
 */

export {};
