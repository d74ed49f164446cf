// @ts-check
/** One clip with its trim bar and its button. */

import { letGo, mark, part, press, write } from "./dom.js";
import { titleOf } from "./hints.js";
import { listenToFingers } from "./swipe.js";
import { rangeOf, trimming, watching } from "./state.js";

/** @typedef {"left" | "right"} Side */

const NAMES = {
  left: { wide: "Left", narrow: "Top" },
  right: { wide: "Right", narrow: "Bottom" },
};
/** Where the clips are stacked (style.css). */
const NARROW = window.matchMedia("(max-width: 600px)");

/** What a clip is called where it is. @param {Side} side */
export function sideWord(side) {
  return NAMES[side][NARROW.matches ? "narrow" : "wide"];
}

export class ClipCard {
  /** @param {Side} side */
  constructor(side) {
    const copy = part(document, "#clip", HTMLTemplateElement).content.cloneNode(true);
    const root = part(/** @type {DocumentFragment} */ (copy), ".clip", HTMLElement);
    this.side = side;
    this.root = root;
    this.screen = part(root, ".screen", HTMLElement);
    this.canvas = part(root, "canvas", HTMLCanvasElement);
    this.badge = part(root, ".badge", HTMLElement);
    this.range = part(root, ".range", HTMLElement);
    this.kept = part(root, ".kept", HTMLElement);
    this.head = part(root, ".head", HTMLElement);
    this.first = part(root, ".first", HTMLInputElement);
    this.end = part(root, ".end", HTMLInputElement);
    this.enlarge = part(root, ".enlarge", HTMLButtonElement);
    this.reset = part(root, ".reset", HTMLButtonElement);
    this.answers = part(root, ".answers", HTMLElement);
    this.choose = part(root, ".choose", HTMLButtonElement);
    this.slightly = part(root, ".slightly", HTMLButtonElement);
    this.much = part(root, ".much", HTMLButtonElement);
    this.#dress(NAMES[side]);
  }

  /** @param {{wide: string, narrow: string}} names */
  #dress({ wide, narrow }) {
    this.root.classList.add(this.side);
    if (this.side === "right") this.answers.append(...[...this.answers.children].reverse()); // "much" outside, "slightly" inside
    this.choose.id = this.side;
    part(this.choose, "kbd", HTMLElement).dataset.key = this.side;
    write(part(this.choose, ".wide", HTMLElement), `${wide} is better`);
    write(part(this.choose, ".narrow", HTMLElement), `${narrow} is better`);
    for (const strength of /** @type {const} */ (["slightly", "much"])) {
      this[strength].id = `${strength}-${this.side}`;
      part(this[strength], "kbd", HTMLElement).dataset.key = this[strength].id;
    }
    this.root.addEventListener("animationend", () => this.unmark());
  }

  /**
   * @param {(which: "first" | "end" | "reset", frame: number) => void} trim
   * @param {() => void} enlarge
   * @param {(gesture: "swipe" | "tap", at: number) => void} touched
   */
  listen(trim, enlarge, touched) {
    listenToFingers(this.screen, touched);
    press(this.enlarge, enlarge);
    press(this.reset, () => trim("reset", 0));
    for (const which of /** @type {const} */ (["first", "end"])) {
      const grip = this[which];
      grip.addEventListener("input", () => trim(which, Number(grip.value)));
      letGo(grip);
    }
  }

  /** @param {import("./state.js").State} state @param {import("./state.js").Pair} pair */
  render(state, pair) {
    const index = this.side === "left" ? 0 : 1;
    const { frames, frame_rate: rate } = pair.clips[index];
    const [first, end] = rangeOf(state, pair, index);
    const editing = trimming(state);
    const whole = first === 0 && end === frames;
    const side = sideWord(this.side);
    const name = `${side} clip`;
    const seconds = (/** @type {number} */ frame) => `${(frame / rate).toFixed(2)} s`;
    mark(this.canvas, "aria-label", `${name}, ${seconds(frames)}`);
    mark(this.first, "aria-label", `${name} starts at`);
    mark(this.end, "aria-label", `${name} ends before`);
    mark(this.reset, "aria-label", `${seconds(first)} – ${seconds(end)} Reset, ${name}`);
    this.#grip(this.first, first, frames, seconds(first));
    this.#grip(this.end, end, frames, seconds(end));
    this.first.hidden = this.end.hidden = !editing;
    this.range.hidden = whole && !editing;
    this.range.classList.toggle("still", !editing);
    this.range.classList.toggle("cut", !whole);
    this.kept.style.left = `${(100 * first) / frames}%`;
    this.kept.style.right = `${100 - (100 * end) / frames}%`;
    this.reset.hidden = whole;
    write(part(this.reset, "span", HTMLElement), `${seconds(first)} – ${seconds(end)}`);
    this.answers.hidden = watching(state);
    this.root.hidden = state.enlarged !== null && state.enlarged !== index;
    mark(this.enlarge, "aria-label", state.enlarged === index ? "Show both clips" : `Enlarge: ${name}`);
    this.enlarge.title = state.enlarged === index ? "Both clips (Esc)" : titleOf("Enlarge", state.keys, "enlarge");
    for (const strength of /** @type {const} */ (["slightly", "much"])) mark(this[strength], "aria-label", `${side} is ${strength} better`);
  }

  /** @param {HTMLInputElement} grip @param {number} frame @param {number} frames @param {string} time */
  #grip(grip, frame, frames, time) {
    grip.max = String(frames);
    if (grip.value !== String(frame)) grip.value = String(frame);
    mark(grip, "aria-valuetext", `frame ${frame} of ${frames}, ${time}`);
  }

  /** A mark that fades. @param {string} badge */
  flash(badge) {
    this.badge.textContent = badge;
    this.root.classList.remove("chosen");
    void this.root.offsetWidth; // taken off and put on in one go, a class would not animate again
    this.root.classList.add("chosen");
  }

  /** Take the fading mark away: while a card is hidden it does not fade, and would be there again with the next pair. */
  unmark() {
    this.root.classList.remove("chosen");
  }

  /** A mark that stays: what somebody else chose. @param {string} badge "" for none */
  pick(badge) {
    if (this.root.classList.toggle("picked", !!badge)) write(this.badge, badge);
  }
}
