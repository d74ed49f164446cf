// @ts-check
/** Labels on disk until they are acked, and their delivery in order. */

import { committed, done } from "./idb.js";

const NAME = "rltrainer";
const STORE = "labels";

/**
 * Labels kept in IndexedDB, each with its owner (run and labeler): two runs at one address never mix.
 * @typedef {import("./wire.js").Label} Label
 */
export class Outbox {
  /** @param {IDBDatabase | null} database null: nothing outlives the page */
  constructor(database) {
    this.database = database;
  }

  /** @returns {Promise<Outbox>} one without a disk where the browser has none (some private windows) */
  static async open() {
    try {
      const request = indexedDB.open(NAME, 1);
      request.onupgradeneeded = () => {
        const store = request.result.createObjectStore(STORE, { keyPath: "place", autoIncrement: true });
        store.createIndex("owner", "owner");
        store.createIndex("label_id", "label.label_id", { unique: true });
      };
      return new Outbox(await done(request));
    } catch {
      return new Outbox(null);
    }
  }

  /** Whether labels outlive the page. */
  get durable() {
    return this.database !== null;
  }

  /** @param {string} owner @returns {Promise<Label[]>} oldest first */
  async load(owner) {
    if (!this.database) return [];
    const store = this.database.transaction(STORE).objectStore(STORE);
    const rows = await done(store.index("owner").getAll(owner));
    return rows.map((row) => row.label);
  }

  /** Resolves once the label is on disk. @param {string} owner @param {Label} label */
  async put(owner, label) {
    if (!this.database) return;
    const write = this.database.transaction(STORE, "readwrite", { durability: "strict" });
    write.objectStore(STORE).add({ owner, label });
    await committed(write);
  }

  /** @param {string} labelId */
  async remove(labelId) {
    if (!this.database) return;
    const write = this.database.transaction(STORE, "readwrite");
    const store = write.objectStore(STORE);
    const place = await done(store.index("label_id").getKey(labelId));
    if (place !== undefined) store.delete(place);
    await committed(write);
  }
}

/** Brings labels from the state's outbox to disk, then to the service, in order, once for each connection. */
export class Delivery {
  #owner = "";
  /** @type {Set<string>} */ #stored = new Set();
  /** @type {Set<string>} */ #sent = new Set();
  /** @type {readonly Label[]} */ #labels = [];

  /**
   * @param {Outbox} outbox
   * @param {(label: Label) => boolean} send false: not connected
   * @param {(error: unknown) => void} failed a label that could not be stored (it is sent all the same)
   */
  constructor(outbox, send, failed) {
    this.outbox = outbox;
    this.send = send;
    this.failed = failed;
  }

  /** Begin with what the disk holds of an owner. @param {string} owner @param {readonly Label[]} labels */
  adopt(owner, labels) {
    this.#owner = owner;
    this.#labels = labels;
    this.#stored = new Set(labels.map((label) => label.label_id));
    this.#sent.clear();
  }

  /** A fresh connection gets everything again. */
  connected() {
    this.#sent.clear();
    this.#pump();
  }

  /** Follow the state's outbox. @param {readonly Label[]} labels */
  follow(labels) {
    if (labels === this.#labels) return;
    const before = this.#labels;
    this.#labels = labels;
    const had = new Set(before.map((label) => label.label_id));
    const has = new Set(labels.map((label) => label.label_id));
    for (const label of labels) if (!had.has(label.label_id)) this.#store(label);
    for (const label of before) if (!has.has(label.label_id)) this.#forget(label.label_id);
    this.#pump();
  }

  /** @param {Label} label */
  async #store(label) {
    try {
      await this.outbox.put(this.#owner, label);
    } catch (error) {
      this.failed(error);
    }
    this.#stored.add(label.label_id);
    this.#pump();
  }

  /** @param {string} labelId */
  #forget(labelId) {
    this.#stored.delete(labelId);
    this.#sent.delete(labelId);
    this.outbox.remove(labelId).catch(this.failed);
  }

  /** Send what is on disk, up to the first that is not: an undo never overtakes its answer. */
  #pump() {
    for (const label of this.#labels) {
      if (!this.#stored.has(label.label_id)) return;
      if (this.#sent.has(label.label_id)) continue;
      if (!this.send(label)) return;
      this.#sent.add(label.label_id);
    }
  }
}
