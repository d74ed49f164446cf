// @ts-check
/** The strip under the scrub bar: what the reward predicts along both clips. */

import { sideWord } from "./card.js";
import { mark, part, write } from "./dom.js";
import { foreseen, rangeOf } from "./state.js";
import { boundsOf, pointsOf, scaleOf, tracesOf } from "./traces.js";

const SIDES = /** @type {const} */ (["left", "right"]);
const amount = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** A line for each clip, a mark on each where the clips are, and how much it is there. */
export class Foresight {
  /** @type {import("./traces.js").Traces | null} */ #traces = null;
  #tick = -1;

  constructor() {
    this.root = part(document, "#foresight", HTMLElement);
    this.image = part(this.root, "svg", SVGElement);
    this.lines = SIDES.map((side) => part(this.root, `polyline.${side}`, SVGElement));
    this.now = part(this.root, ".now", HTMLElement);
    this.dots = SIDES.map((side) => part(this.now, `.${side}`, HTMLElement));
    this.values = SIDES.map((side) => part(this.root, `b.${side} span`, HTMLElement));
  }

  /** @param {import("./state.js").State} state @param {import("./state.js").Pair} pair */
  render(state, pair) {
    this.root.hidden = !foreseen(state);
    const { clips, rewards } = pair;
    const playing = (/** @type {0 | 1} */ side) => ({ range: rangeOf(state, pair, side), frameRate: clips[side].frame_rate });
    this.#traces = rewards && tracesOf([playing(0), playing(1)], [rewards[clips[0].segment_id], rewards[clips[1].segment_id]]);
    this.#tick = -1;
    this.root.classList.toggle("unknown", !this.#traces);
    if (!this.#traces) return;
    for (const [side, points] of pointsOf(this.#traces).entries()) mark(this.lines[side], "points", points);
    const spans = this.#traces.map((trace, side) => {
      const { least, most } = boundsOf(trace);
      return `${sideWord(SIDES[side])} clip from ${amount.format(least)} to ${amount.format(most)}`;
    });
    mark(this.image, "aria-label", `Predicted reward: ${spans.join(", ").toLowerCase()}`);
  }

  /** Where the clips are. @param {import("./player.js").Position} position */
  follow({ tick, count }) {
    const traces = this.#traces;
    if (!traces || this.root.hidden || tick === this.#tick) return;
    this.#tick = tick;
    const up = scaleOf(traces);
    this.now.style.left = `${(100 * tick) / Math.max(1, count - 1)}%`;
    for (const [side, trace] of traces.entries()) {
      const value = trace[Math.min(tick, trace.length - 1)];
      this.dots[side].style.bottom = `${100 * up(value)}%`;
      write(this.values[side], `${sideWord(SIDES[side])} ${amount.format(value)}`);
    }
  }
}
