// @ts-check
/** Two clips on one clock, each on its canvas. */

/**
 * Where both clips are on their clock, in frames of the clip that has more of them in a second.
 * @typedef {{tick: number, count: number, rate: number}} Position rate: ticks in a second
 * @typedef {{range: [number, number], frameRate: number}} Playing
 */

/** A rest at the end of the loop, so that the end can be seen (seconds of clip time). */
const REST_SECONDS = 0.35;
/** How long a clip shows the frame at a trim handle that has just moved. */
const PEEK_MS = 450;

/** @param {number} elapsed as in `framesAt` @param {Playing[]} clips @returns {Position} */
export function positionAt(elapsed, clips) {
  const rate = Math.max(...clips.map(({ frameRate }) => frameRate));
  const count = Math.max(...clips.map(({ range, frameRate }) => Math.ceil(((range[1] - range[0]) * rate) / frameRate - 1e-6)));
  return { tick: Math.min(count - 1, Math.floor((elapsed % periodOf(clips)) * rate + 1e-6)), count, rate };
}

/** Seconds of one loop. @param {Playing[]} clips */
function periodOf(clips) {
  return Math.max(...clips.map(({ range, frameRate }) => (range[1] - range[0]) / frameRate)) + REST_SECONDS;
}

/**
 * Which frame each clip shows. Both begin together, so that they can be compared; the shorter waits on its last frame.
 * @param {number} elapsed seconds of clip time since the loop began; any number of loops
 * @param {Playing[]} clips
 * @returns {number[]}
 */
export function framesAt(elapsed, clips) {
  const time = elapsed % periodOf(clips);
  // a hair added: 0.15 s at 20 fps is frame 3, though 0.15 * 20 < 3 in floating point
  return clips.map(({ range, frameRate }) => Math.min(range[1] - 1, range[0] + Math.floor(time * frameRate + 1e-6)));
}

/**
 * @typedef {{canvas: HTMLCanvasElement, head: HTMLElement}} Screen
 * @typedef {{queryId: string, clips: import("./wire.js").PairHeader["clips"]}} Shown
 */

export class Player {
  /** @type {Shown | null} */ #pair = null;
  /** @type {ImageBitmap[][]} */ #pictures = [];
  /** @type {number[]} */ #drawn = [-1, -1];
  /** @type {({frame: number, until: number} | null)[]} */ #peeks = [null, null];
  /** @type {Playing[]} */ #clips = [];
  #elapsed = 0;
  #last = 0;

  /** @param {[Screen, Screen]} screens left, right */
  constructor(screens) {
    this.screens = screens;
    this.brushes = screens.map(({ canvas }) => canvas.getContext("2d", { alpha: false }));
  }

  /** @returns {string | null} the pair on screen */
  get queryId() {
    return this.#pair?.queryId ?? null;
  }

  /**
   * Put a pair on screen, from its start. The caller draws with `tick`.
   * @param {Shown} pair clips left, right
   * @param {Map<string, ImageBitmap[]>} pictures by segment id
   */
  show(pair, pictures) {
    this.#pair = pair;
    this.#pictures = pair.clips.map((clip) => pictures.get(clip.segment_id) ?? []);
    this.#peeks = [null, null];
    this.#drawn = [-1, -1];
    this.#clips = pair.clips.map(({ frames, frame_rate: frameRate }) => ({ range: [0, frames], frameRate }));
    this.rewind();
    for (const [side, { canvas }] of this.screens.entries()) {
      const { width, height } = pair.clips[side];
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    }
  }

  clear() {
    this.#pair = null;
    this.#pictures = [];
  }

  rewind() {
    this.#elapsed = 0;
    this.#last = 0;
  }

  get position() {
    return positionAt(this.#elapsed, this.#clips);
  }

  /** Both clips at a place on their clock. @param {number} tick */
  seek(tick) {
    this.#elapsed = tick / this.position.rate;
    this.#peeks = [null, null];
  }

  /** Both clips so many frames on; the end joins the start. @param {number} ticks */
  step(ticks) {
    const { tick, count } = this.position;
    this.seek((tick + ticks + count) % count);
  }

  /** Show one frame of a clip for a moment: what a trim handle points at. @param {0 | 1} side @param {number} frame @param {number} now */
  peek(side, frame, now) {
    this.#peeks[side] = { frame, until: now + PEEK_MS };
    this.rewind();
  }

  /**
   * Draw what is due.
   * @param {number} now milliseconds
   * @param {{playing: boolean, speed: number, ranges: [number, number][]}} how
   * @returns {boolean} whether there is more to draw later
   */
  tick(now, { playing, speed, ranges }) {
    const pair = this.#pair;
    if (!pair) return false;
    const peeking = this.#peeks.some((peek) => peek !== null);
    // a tab that slept, or a pause, goes on where it was
    if (playing && !peeking && this.#last) this.#elapsed += (Math.min(now - this.#last, 250) / 1000) * speed;
    this.#last = playing ? now : 0;
    this.#clips = pair.clips.map((clip, side) => ({ range: ranges[side], frameRate: clip.frame_rate }));
    const frames = framesAt(this.#elapsed, this.#clips);
    for (const side of /** @type {const} */ ([0, 1])) this.#draw(side, this.#peeked(side, now) ?? frames[side]);
    return playing || peeking;
  }

  /** @param {0 | 1} side @param {number} now @returns {number | null} */
  #peeked(side, now) {
    const peek = this.#peeks[side];
    if (!peek) return null;
    if (now >= peek.until) this.#peeks[side] = null;
    return peek.frame;
  }

  /** @param {0 | 1} side @param {number} frame */
  #draw(side, frame) {
    if (this.#drawn[side] === frame) return;
    this.#drawn[side] = frame;
    const { canvas, head } = this.screens[side];
    const picture = this.#pictures[side][frame];
    if (picture) this.brushes[side]?.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const frames = this.#pair?.clips[side].frames ?? 1;
    head.style.left = `${(100 * (frame + 0.5)) / frames}%`;
  }
}
