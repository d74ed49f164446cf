// @ts-check
/** From the bytes of a clip to its pictures, and which pairs' pictures are kept in memory. */

import { demux } from "./mp4.js";
import { sameClips } from "./state.js";

/** @typedef {import("./wire.js").ClipHeader} ClipHeader */

/** How long a <video> may take for one frame. */
const SEEK_PATIENCE_MS = 5_000;
const PICTURE_PATIENCE_MS = 200;

/**
 * All pictures of a clip, frame i at index i. Throws where the browser cannot play it or it has another count of frames.
 * @param {ClipHeader} header
 * @param {Uint8Array} bytes
 * @returns {Promise<ImageBitmap[]>}
 */
export async function decodeClip(header, bytes) {
  const frames = (await withDecoder(bytes).catch(() => null)) ?? (await withVideo(header, bytes));
  if (frames.length === header.frames) return frames;
  for (const frame of frames) frame.close();
  throw new Error(`clip ${header.segment_id} has ${frames.length} frames, not ${header.frames}`);
}

/** By WebCodecs; null where there is none (an old browser, no secure page) or it can't. @param {Uint8Array} bytes */
async function withDecoder(bytes) {
  if (!("VideoDecoder" in globalThis)) return null;
  const { codec, description, width, height, samples } = demux(bytes);
  const config = { codec, description, codedWidth: width, codedHeight: height, optimizeForLatency: true };
  if (!(await VideoDecoder.isConfigSupported(config)).supported) return null;
  /** @type {Promise<ImageBitmap>[]} */ const frames = [];
  /** @type {DOMException | null} */ let failure = null;
  const decoder = new VideoDecoder({
    output(frame) {
      const picture = createImageBitmap(frame).finally(() => frame.close());
      picture.catch(() => null); // heard of where all are awaited
      frames.push(picture);
    },
    error: (error) => (failure = error),
  });
  decoder.configure(config);
  for (const [index, { offset, size, key }] of samples.entries()) {
    const data = bytes.subarray(offset, offset + size);
    decoder.decode(new EncodedVideoChunk({ type: key ? "key" : "delta", timestamp: index * 1000, data }));
  }
  await decoder.flush();
  decoder.close();
  if (failure) throw failure;
  return Promise.all(frames);
}

/** By a hidden <video> that seeks to the middle of each frame. @param {ClipHeader} header @param {Uint8Array} bytes */
async function withVideo({ frames: count, frame_rate: rate, width, height }, bytes) {
  const video = document.createElement("video");
  const address = URL.createObjectURL(new Blob([/** @type {BlobPart} */ (bytes)], { type: "video/mp4" }));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const brush = canvas.getContext("2d");
  if (!brush) throw new Error("no canvas");
  try {
    Object.assign(video, { muted: true, playsInline: true, preload: "auto", src: address });
    await happens(video, "loadedmetadata"); // iOS loads no more before the first seek
    /** @type {ImageBitmap[]} */ const frames = [];
    for (let index = 0; index < count; index += 1) {
      await seek(video, (index + 0.5) / rate, 0.75 / rate);
      brush.drawImage(video, 0, 0, width, height);
      frames.push(await createImageBitmap(canvas));
    }
    return frames;
  } finally {
    video.removeAttribute("src");
    video.load();
    URL.revokeObjectURL(address);
  }
}

/** A seek may end before its picture is there. @param {HTMLVideoElement} video @param {number} time @param {number} slack */
async function seek(video, time, slack) {
  const sought = happens(video, "seeked");
  let late = false;
  const shown = new Promise((resolve) => {
    const look = (/** @type {number} */ _, /** @type {{mediaTime: number}} */ { mediaTime }) =>
      late || Math.abs(mediaTime - time) < slack ? resolve(null) : video.requestVideoFrameCallback(look);
    video.requestVideoFrameCallback?.(look);
  });
  video.currentTime = time;
  await sought;
  await Promise.race([shown, new Promise((resolve) => setTimeout(resolve, PICTURE_PATIENCE_MS))]);
  late = true;
}

/** @param {HTMLVideoElement} video @param {string} event @returns {Promise<void>} */
function happens(video, event) {
  return new Promise((resolve, reject) => {
    const fail = () => reject(new Error(video.error?.message || `the video gave no '${event}'`));
    const timer = setTimeout(fail, SEEK_PATIENCE_MS);
    const done = () => (clearTimeout(timer), resolve());
    video.addEventListener(event, done, { once: true });
    video.addEventListener("error", fail, { once: true });
  });
}

/**
 * @typedef {Map<string, ImageBitmap[]>} Pictures by segment id
 * @typedef {{clips: [ClipHeader, ClipHeader], videos: [Uint8Array, Uint8Array], pictures: Pictures | null}} Entry
 */

/**
 * Pairs as bytes (about 100 KB each), and the few that may be on screen soon as pictures too (about 25 MB each at 256²).
 * One pair is decoded at a time, the most urgent first.
 */
export class Shelf {
  /** @type {Map<string, Entry>} */ #entries = new Map();
  /** @type {string[]} */ #urgent = [];
  #busy = false;

  /**
   * @param {(queryId: string) => void} decoded
   * @param {(queryId: string, error: Error) => void} failed
   * @param {typeof decodeClip} decode
   */
  constructor(decoded, failed, decode = decodeClip) {
    this.decoded = decoded;
    this.failed = failed;
    this.decode = decode;
  }

  /** @param {Pick<import("./wire.js").PairHeader, "query_id" | "clips">} header @param {[Uint8Array, Uint8Array]} videos */
  add({ query_id: queryId, clips }, videos) {
    const held = this.#entries.get(queryId);
    if (held && sameClips(held.clips, clips)) return;
    if (held) shut(held);
    this.#entries.set(queryId, { clips, videos, pictures: null });
  }

  /** @param {string} queryId @returns {Pictures | null} */
  pictures(queryId) {
    return this.#entries.get(queryId)?.pictures ?? null;
  }

  /** A pair's clips and their bytes. @param {string} queryId @returns {Pick<Entry, "clips" | "videos"> | null} */
  bytes(queryId) {
    return this.#entries.get(queryId) ?? null;
  }

  /**
   * @param {string[]} kept pairs that may still be needed; the others are forgotten
   * @param {string[]} urgent pairs whose pictures are wanted, most urgent first; the others keep their bytes only
   */
  settle(kept, urgent) {
    this.#urgent = urgent;
    for (const [queryId, entry] of this.#entries) {
      if (!urgent.includes(queryId)) shut(entry);
      if (!kept.includes(queryId)) this.#entries.delete(queryId);
    }
    this.#work();
  }

  async #work() {
    if (this.#busy) return;
    this.#busy = true;
    for (let queryId = this.#next(); queryId !== undefined; queryId = this.#next()) {
      const entry = /** @type {Entry} */ (this.#entries.get(queryId));
      try {
        entry.pictures = await this.#both(entry).catch(() => this.#both(entry)); // a decoder may be taken away for a moment
      } catch (error) {
        this.#entries.delete(queryId);
        this.failed(queryId, /** @type {Error} */ (error));
        continue;
      }
      if (this.#entries.get(queryId) === entry && this.#urgent.includes(queryId)) this.decoded(queryId);
      else shut(entry);
    }
    this.#busy = false;
  }

  /** @returns {string | undefined} */
  #next() {
    return this.#urgent.find((queryId) => this.#entries.get(queryId)?.pictures === null);
  }

  /** @param {Entry} entry @returns {Promise<Pictures>} */
  async #both({ clips, videos }) {
    const [one, two] = await Promise.all([this.decode(clips[0], videos[0]), this.decode(clips[1], videos[1])]);
    return new Map([[clips[0].segment_id, one], [clips[1].segment_id, two]]);
  }
}

/** @param {Entry} entry */
function shut(entry) {
  for (const frames of entry.pictures?.values() ?? []) for (const frame of frames) frame.close();
  entry.pictures = null;
}
