// @ts-check
/** The last answers as small looping clips; a click takes one back, to be answered anew. */

import { CHOICES } from "./choices.js";
import { closable, part, press, write } from "./dom.js";

/** @typedef {import("./state.js").Pair} Pair */
/** @typedef {(queryId: string) => Promise<ImageBitmap[][] | null>} Thumbnails pictures left, right; null where they are gone */

/** Pictures of a thumbnail in a second. */
const RATE = 8;

export class HistoryPanel {
  /** @type {Map<string, {root: HTMLElement, pictures: ImageBitmap[][], brushes: CanvasRenderingContext2D[]}>} */ #items = new Map();
  #timer = 0;
  #frame = 0;

  /**
   * @param {HTMLDialogElement} dialog
   * @param {{close: () => void, revise: (queryId: string) => void, thumbnails: Thumbnails, still: boolean}} on still: no motion
   */
  constructor(dialog, on) {
    this.dialog = dialog;
    this.on = on;
    this.grid = part(dialog, ".past", HTMLElement);
    press(part(dialog, "#history-close", HTMLElement), on.close);
    closable(dialog, on.close);
  }

  /** @param {import("./state.js").State} state */
  render({ reviewing, history }) {
    if (reviewing && !this.dialog.open) this.#open(history);
    if (!reviewing && this.dialog.open) this.dialog.close();
    if (!reviewing) this.#empty();
  }

  /** @param {Pair[]} history */
  async #open(history) {
    this.dialog.showModal();
    const newest = [...history].reverse();
    for (const pair of newest) this.#add(pair);
    this.#timer = window.setInterval(() => this.#draw(), 1000 / RATE);
    for (const { queryId } of newest) {
      const item = this.#items.get(queryId);
      const pictures = item && (await this.on.thumbnails(queryId).catch(() => null));
      if (!pictures) continue;
      if (this.#items.get(queryId) === item) item.pictures = pictures;
      else shut(pictures); // closed meanwhile
    }
  }

  /** @param {Pair} pair */
  #add({ queryId, clips, said, reason }) {
    const root = document.createElement("button");
    const canvases = clips.map(({ width, height }) => Object.assign(document.createElement("canvas"), { width: 112, height: Math.round((112 * height) / width) }));
    const words = document.createElement("span");
    write(words, [said && CHOICES[said].said, reason].filter(Boolean).join(" · "));
    for (const [side, canvas] of canvases.entries()) canvas.classList.toggle("better", !!said && CHOICES[said].side === side);
    root.append(...canvases, words);
    press(root, () => this.on.revise(queryId));
    this.grid.append(root);
    const brushes = canvases.map((canvas) => /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false })));
    this.#items.set(queryId, { root, pictures: [], brushes });
  }

  #draw() {
    if (!this.on.still) this.#frame += 1;
    for (const { pictures, brushes } of this.#items.values()) {
      const longest = Math.max(1, ...pictures.map(({ length }) => length));
      for (const [side, frames] of pictures.entries()) {
        const picture = frames[Math.min(frames.length - 1, this.#frame % longest)];
        if (picture) brushes[side].drawImage(picture, 0, 0, brushes[side].canvas.width, brushes[side].canvas.height);
      }
    }
  }

  #empty() {
    clearInterval(this.#timer);
    for (const { root, pictures } of this.#items.values()) {
      shut(pictures);
      root.remove();
    }
    this.#items.clear();
    this.#frame = 0;
  }
}

/**
 * Few and small pictures of a clip, RATE in a second; the big ones are let go.
 * @param {ImageBitmap[]} frames
 * @param {number} frameRate
 * @returns {Promise<ImageBitmap[]>}
 */
export async function shrink(frames, frameRate) {
  const every = Math.max(1, Math.round(frameRate / RATE));
  const wanted = frames.filter((_, index) => index % every === 0);
  const small = await Promise.all(wanted.map((frame) => createImageBitmap(frame, { resizeWidth: 112, resizeQuality: "medium" })));
  for (const frame of frames) frame.close();
  return small;
}

/** @param {ImageBitmap[][]} pictures */
function shut(pictures) {
  for (const frames of pictures) for (const frame of frames) frame.close();
}
