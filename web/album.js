// @ts-check
/** The last answered pairs on disk, with their clips: they can be looked at and taken back after a reload, too. */

import { committed, done } from "./idb.js";

const NAME = "rltrainer-answered";
const STORE = "pairs";
/** Nobody comes back to a run after so long. */
const KEPT_MS = 30 * 24 * 3600 * 1000;

/**
 * @typedef {import("./state.js").Pair} Pair
 * @typedef {import("./wire.js").ClipHeader} ClipHeader
 * @typedef {{clips: [ClipHeader, ClipHeader], videos: [Uint8Array, Uint8Array]}} Clips as they came
 * @typedef {{owner: string, at: number, pair: Pair, clips: Clips}} Page owner: run and labeler
 */

export class Album {
  /** @type {Set<string>} ids of the pairs on disk */ #kept = new Set();
  #owner = "";

  /** @param {IDBDatabase | null} database null: nothing outlives the page */
  constructor(database) {
    this.database = database;
  }

  /** @returns {Promise<Album>} one without a disk where the browser has none */
  static async open() {
    try {
      const request = indexedDB.open(NAME, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: ["owner", "pair.queryId"] }).createIndex("at", "at");
      return new Album(await done(request));
    } catch {
      return new Album(null);
    }
  }

  /** What was answered last under a name, oldest first; from then on `follow` is about it. @param {string} owner */
  async load(owner, now = Date.now()) {
    this.#owner = "";
    if (!this.database) return [];
    const change = this.database.transaction(STORE, "readwrite");
    const store = change.objectStore(STORE);
    for (const key of await done(store.index("at").getAllKeys(IDBKeyRange.upperBound(now - KEPT_MS)))) store.delete(key);
    const own = /** @type {Page[]} */ (await done(store.getAll(IDBKeyRange.bound([owner], [owner, []])))); // other runs' clips stay on disk
    await committed(change);
    own.sort((one, two) => one.at - two.at);
    [this.#owner, this.#kept] = [owner, new Set(own.map(({ pair }) => pair.queryId))];
    return own;
  }

  /**
   * Follow the state's history. What has no clips any more is not kept.
   * @param {readonly Pair[]} history @param {(queryId: string) => Clips | null} clipsOf
   */
  async follow(history, clipsOf, now = Date.now()) {
    if (!this.database || !this.#owner) return;
    const wanted = new Set(history.map((pair) => pair.queryId));
    const gone = [...this.#kept].filter((queryId) => !wanted.has(queryId));
    const fresh = history.filter((pair) => !this.#kept.has(pair.queryId));
    if (!gone.length && !fresh.length) return;
    this.#kept = wanted;
    const change = this.database.transaction(STORE, "readwrite");
    const store = change.objectStore(STORE);
    for (const queryId of gone) store.delete([this.#owner, queryId]);
    for (const [place, pair] of fresh.entries()) {
      const found = clipsOf(pair.queryId);
      const clips = found && { clips: found.clips, videos: found.videos };
      if (clips) store.put({ owner: this.#owner, at: now + place / 1000, pair: { ...pair, rewards: null }, clips });
    }
    await committed(change);
  }
}
