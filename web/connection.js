// @ts-check
/** A WebSocket that says hello, hands on what comes, and comes back by itself. */

import { WireError, hello, parse, unpackPair } from "./wire.js";

/** A label not acked for this long: the line is dead without saying so (a closed lid). */
const ACK_PATIENCE_MS = 12_000;
/** A connection that has lasted this long starts the backoff anew. */
const STEADY_MS = 5_000;

/**
 * Milliseconds until the next try: 500, doubled each time, 10 s at most; give or take a quarter, so that many pages
 * don't come back in the same moment.
 * @param {number} attempt 0 for the first
 * @param {number} chance in [0, 1)
 */
export function backoff(attempt, chance) {
  return Math.min(10_000, 500 * 2 ** Math.min(attempt, 10)) * (0.75 + 0.5 * chance);
}

/** What the page makes of a line that it lets go itself. */
const DEAD = 4000;
/** Close codes of the service (rltrainer/labeling/session.py). */
const OTHER_PROTOCOL = 4400;
const NOT_ADMITTED = [1008, 4401];
const LINK_ENDED = 4403;

/**
 * What a closed connection means: try again, you may not, or this page is from another version.
 * @param {{welcomed: boolean, code: number}} ending
 * @returns {"lost" | "denied" | "outdated"}
 */
export function meaningOf({ welcomed, code }) {
  if (code === LINK_ENDED) return "denied";
  if (welcomed) return "lost";
  return code === OTHER_PROTOCOL ? "outdated" : NOT_ADMITTED.includes(code) ? "denied" : "lost";
}

/**
 * `retryAt` is on the clock of performance.now(); `holds` gives the pairs that wait for an answer.
 * @typedef {{connecting: () => void, holds: () => string[], message: (message: import("./wire.js").Inbound) => void,
 *   pair: (header: import("./wire.js").PairHeader, videos: [Uint8Array, Uint8Array]) => void, lost: (retryAt: number) => void,
 *   denied: (reason: string) => void, outdated: (reason: string) => void, unreadable: (error: Error) => void}} Listener
 */

export class Connection {
  /** @type {WebSocket | null} */ #socket = null;
  #token = "";
  /** The token that was let in last: what the page has came through that link. */
  #known = "";
  #attempt = 0;
  #welcomed = false;
  #welcomedAt = 0;
  #timer = 0;
  /** @type {Map<string, number>} label id → its patience timer */ #unacked = new Map();

  /** @param {string} url @param {Listener} listener */
  constructor(url, listener) {
    this.url = url;
    this.listener = listener;
  }

  /** @param {string} token */
  start(token) {
    this.#token = token;
    this.#attempt = 0;
    this.#open();
  }

  /** Try at once instead of at the end of the countdown. */
  retryNow() {
    if (this.#socket === null && this.#token) this.#open();
  }

  /** Leave and come back: pairs that this page does not hold on to are dealt anew. */
  again() {
    if (this.ready) this.#closed({ code: DEAD, reason: "" });
  }

  /** Whether the service has let us in. */
  get ready() {
    return this.#welcomed && this.#socket?.readyState === WebSocket.OPEN;
  }

  /** @param {import("./wire.js").Label | import("./wire.js").SettingsMessage | import("./wire.js").Here | import("./wire.js").ReportMessage} message @returns {boolean} whether it went out */
  send(message) {
    if (!this.ready) return false;
    this.#socket?.send(JSON.stringify(message));
    if (message.type === "label") {
      this.#unacked.set(message.label_id, window.setTimeout(() => this.#closed({ code: DEAD, reason: "" }), ACK_PATIENCE_MS));
    }
    return true;
  }

  #open() {
    clearTimeout(this.#timer);
    this.#drop();
    this.#welcomed = false;
    this.listener.connecting();
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify(hello(this.#token, this.#token === this.#known ? this.listener.holds() : [])));
    socket.onmessage = (event) => this.#take(event.data);
    socket.onclose = (event) => this.#closed(event);
    this.#socket = socket;
  }

  /** Let go of the old socket without hearing from it again. */
  #drop() {
    const old = this.#socket;
    this.#socket = null;
    for (const timer of this.#unacked.values()) clearTimeout(timer);
    this.#unacked.clear();
    if (!old) return;
    old.onopen = old.onmessage = old.onclose = null;
    old.close();
  }

  /** @param {string | ArrayBuffer} data */
  #take(data) {
    try {
      if (typeof data !== "string") {
        const { header, videos } = unpackPair(data);
        return this.listener.pair(header, videos);
      }
      const message = parse(data);
      if (message === null) return;
      this.#note(message);
      this.listener.message(message);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.listener.unreadable(error);
    }
  }

  /** @param {import("./wire.js").Inbound} message */
  #note(message) {
    if (message.type === "welcome") {
      this.#welcomed = true;
      this.#known = this.#token;
      this.#welcomedAt = performance.now();
    }
    if (message.type === "ack" || message.type === "refused") {
      clearTimeout(this.#unacked.get(message.label_id ?? ""));
      this.#unacked.delete(message.label_id ?? "");
    }
  }

  /** The line is gone; of a dead one no browser hears for up to a minute. @param {{code: number, reason: string}} event */
  #closed({ code, reason }) {
    const meaning = meaningOf({ welcomed: this.#welcomed, code });
    if (this.#welcomed && performance.now() - this.#welcomedAt > STEADY_MS) this.#attempt = 0;
    this.#drop();
    if (meaning !== "lost") return this.listener[meaning](reason);
    const wait = backoff(this.#attempt, Math.random());
    this.#attempt += 1;
    this.#timer = window.setTimeout(() => this.#open(), wait);
    this.listener.lost(performance.now() + wait);
  }
}
