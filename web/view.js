// @ts-check
/** The state on screen. Text goes in as text; what has not changed is not touched. */

import { onScreen, rangeOf, stage, watching } from "./state.js";
import * as words from "./words.js";

/**
 * @typedef {import("./state.js").State} State
 * @typedef {import("./state.js").Pair} Pair
 * @typedef {"left" | "right"} Side
 */

const SIDES = /** @type {const} */ (["left", "right"]);
const NAMES = { left: { wide: "Left", narrow: "Top", arrow: "←" }, right: { wide: "Right", narrow: "Bottom", arrow: "→" } };

/** Where the clips are stacked (style.css). */
const NARROW = window.matchMedia("(max-width: 600px)");

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element;
}

/** @param {ParentNode} parent @param {string} selector @returns {any} */
function within(parent, selector) {
  const element = parent.querySelector(selector);
  if (!element) throw new Error(`index.html has no ${selector}`);
  return element;
}

/** One clip with its trim bar and its button. */
class ClipCard {
  /** @param {Side} side */
  constructor(side) {
    const template = /** @type {HTMLTemplateElement} */ (byId("clip"));
    /** @type {HTMLElement} */ this.root = within(/** @type {ParentNode} */ (template.content.cloneNode(true)), ".clip");
    /** @type {HTMLCanvasElement} */ this.canvas = within(this.root, "canvas");
    /** @type {HTMLElement} */ this.badge = within(this.root, ".badge");
    /** @type {HTMLElement} */ this.range = within(this.root, ".range");
    /** @type {HTMLElement} */ this.track = within(this.root, ".track");
    /** @type {HTMLElement} */ this.kept = within(this.root, ".kept");
    /** @type {HTMLElement} */ this.head = within(this.root, ".head");
    /** @type {HTMLInputElement} */ this.first = within(this.root, ".first");
    /** @type {HTMLInputElement} */ this.end = within(this.root, ".end");
    /** @type {HTMLButtonElement} */ this.reset = within(this.root, ".reset");
    /** @type {HTMLButtonElement} */ this.choose = within(this.root, ".choose");
    this.side = side;
    this.name = NAMES[side];
    this.#dress();
  }

  #dress() {
    const { wide, narrow, arrow } = this.name;
    this.root.classList.add(this.side);
    this.choose.id = this.side;
    within(this.choose, "kbd").textContent = arrow;
    within(this.choose, "kbd").setAttribute("aria-label", `${this.side} arrow`);
    within(this.choose, ".wide").textContent = `${wide} is better`;
    within(this.choose, ".narrow").textContent = `${narrow} is better`;
  }

  /** @param {State} state @param {Pair} pair */
  render(state, pair) {
    const index = this.side === "left" ? 0 : 1;
    const clip = pair.clips[index];
    const [first, end] = rangeOf(state, pair, index);
    const editing = !!state.rules?.allow_editing && !watching(state);
    const seconds = (/** @type {number} */ frame) => `${(frame / clip.frame_rate).toFixed(2)} s`;
    const whole = first === 0 && end === clip.frames;
    const name = `${NARROW.matches ? this.name.narrow : this.name.wide} clip`;
    this.canvas.setAttribute("aria-label", `${name}, ${seconds(clip.frames)}`);
    this.first.setAttribute("aria-label", `${name} starts at`);
    this.end.setAttribute("aria-label", `${name} ends before`);
    this.reset.setAttribute("aria-label", `${name}: reset the trim`);
    this.range.classList.toggle("still", !editing);
    this.range.classList.toggle("cut", !whole);
    this.first.hidden = this.end.hidden = !editing;
    for (const [input, value] of /** @type {[HTMLInputElement, number][]} */ ([[this.first, first], [this.end, end]])) {
      input.max = String(clip.frames);
      if (input.value !== String(value)) input.value = String(value);
      input.setAttribute("aria-valuetext", `frame ${value} of ${clip.frames}, ${seconds(value)}`);
    }
    this.kept.style.left = `${(100 * first) / clip.frames}%`;
    this.kept.style.right = `${100 - (100 * end) / clip.frames}%`;
    this.reset.hidden = whole || !editing;
    text(within(this.reset, "span"), `${seconds(first)} – ${seconds(end)}`);
    this.choose.hidden = watching(state);
  }

  /** @param {string} badge */
  flash(badge) {
    this.badge.textContent = badge;
    this.root.classList.remove("chosen");
    void this.root.offsetWidth; // a class taken off and put on in one go would not start its animation again
    this.root.classList.add("chosen");
  }

  /** Mark what somebody else chose. @param {string} badge "" for nothing */
  pick(badge) {
    if (this.root.classList.toggle("picked", !!badge)) text(this.badge, badge);
  }
}

/**
 * @typedef {object} Actions what a person may ask for; `at`: the moment of the key or click
 * @property {(command: import("./keys.js").Command, at: number) => void} command
 * @property {(side: 0 | 1, which: "first" | "end" | "reset", frame: number) => void} trim
 * @property {() => void} retry
 * @property {() => void} openSettings
 */

export class View {
  /** @param {Actions} actions */
  constructor(actions) {
    this.cards = SIDES.map((side) => new ClipCard(side));
    byId("clips").append(...this.cards.map((card) => card.root));
    this.#listen(actions);
    this.#rememberInsight();
  }

  /** @returns {[import("./player.js").Screen, import("./player.js").Screen]} */
  get screens() {
    return [this.cards[0], this.cards[1]];
  }

  /** Mark what was chosen, at once: the one thing that does not wait for a frame. @param {import("./state.js").Choice} choice */
  mark(choice) {
    if (choice !== "right") this.cards[0].flash(MARKS[choice]);
    if (choice !== "left") this.cards[1].flash(MARKS[choice]);
  }

  /** @param {State} state */
  render(state) {
    const now = stage(state);
    document.body.dataset.stage = now;
    document.body.dataset.mode = watching(state) ? "watch" : "label";
    show("stage-clips", now === "clips");
    show("stage-words", now !== "clips");
    this.#frame(state);
    if (now === "clips") this.#clips(state);
    else this.#words(state);
  }

  /** What stands around the clips in every stage. @param {State} state */
  #frame(state) {
    const { welcome, status, link } = state;
    document.title = welcome ? `${welcome.env} · rltrainer` : "rltrainer";
    say("env", welcome?.env ?? "");
    say("notice", welcome?.notice ?? "", true);
    say("banner", words.bannerWords(state), true);
    say("remark", state.remark, true);
    say("budget-words", words.budgetWords(state));
    show("budget", !!status && !!welcome);
    const bar = /** @type {HTMLProgressElement} */ (byId("budget-bar"));
    bar.value = status?.wanted ? Math.min(1, status.labels / status.wanted) : 0;
    bar.hidden = !status?.wanted;
    show("settings-open", state.rules?.config_restricted === false && link.phase !== "denied");
    byId("link").dataset.state = link.phase;
    say("link-words", words.linkWords(state));
    say("saved", words.savedWords(state), true);
    byId("saved").classList.toggle("unsent", state.outbox.length > 0 && link.phase !== "open");
    say("ready", words.readyWords(state), true);
    say("who", welcome && welcome.labeler !== "you" && !watching(state) ? `Labeling as ${welcome.labeler}` : "", true);
    say("live", state.spoken);
    show("insight", !!status && !!welcome);
    say("insight-words", words.insightWords(state));
    list(byId("insight-list"), words.insights(state));
  }

  /** @param {State} state */
  #clips(state) {
    const pair = onScreen(state);
    const watched = watching(state);
    const task = state.welcome?.task ?? "";
    say("task", watched ? words.watchWords(state) : task);
    byId("task").classList.toggle("long", !watched && task.length > 60);
    say("subtask", watched ? task : "", true);
    show("undo", !watched);
    /** @type {HTMLButtonElement} */ (byId("undo")).disabled = !state.history.length;
    show("equal", !watched && !!state.rules?.allow_ties);
    show("skip", !watched && !!state.rules?.allow_skipping);
    say("pause-word", state.playing ? "Pause" : "Play");
    if (!pair) return;
    for (const card of this.cards) card.render(state, pair);
    const { width, height } = pair.clips[0];
    byId("clips").style.setProperty("--aspect", String(width / height));
    const badges = watched ? words.verdictWords(pair) : ["", ""];
    for (const [index, card] of this.cards.entries()) card.pick(badges[index]);
  }

  /** @param {State} state */
  #words(state) {
    const { title, text: sentence, retry } = words.stageWords(state);
    const now = stage(state);
    say("words-title", title);
    say("words-text", sentence);
    say("retry", retry ?? "", true);
    show("preview", now === "waiting" && !watching(state) && !!state.welcome?.task);
    say("preview-task", state.welcome?.task ?? "");
    show("legend-equal", !!state.rules?.allow_ties);
    show("legend-skip", !!state.rules?.allow_skipping);
    show("undo-last", state.history.length > 0 && !["denied", "error", "connecting"].includes(now));
    show("totals", now === "finished" || now === "stopped");
    list(byId("totals"), words.totals(state));
    show("trouble", now === "error" && !!state.trouble?.details);
    say("trouble-details", state.trouble?.details ?? "");
  }

  /** @param {Actions} actions */
  #listen(actions) {
    for (const command of /** @type {const} */ (["left", "right", "equal", "skip", "undo"])) press(byId(command), (at) => actions.command(command, at));
    press(byId("undo-last"), (at) => actions.command("undo", at));
    press(byId("pause"), (at) => actions.command("toggle", at));
    press(byId("retry"), actions.retry);
    press(byId("settings-open"), actions.openSettings);
    press(byId("trouble-copy"), () => navigator.clipboard?.writeText(byId("trouble-details").textContent ?? ""));
    show("trouble-copy", !!navigator.clipboard);
    for (const [index, card] of this.cards.entries()) {
      const side = /** @type {0 | 1} */ (index);
      for (const which of /** @type {const} */ (["first", "end"])) {
        const input = card[which];
        input.addEventListener("input", () => actions.trim(side, which, Number(input.value)));
        // after a drag the arrow keys choose again; a keyboard user keeps the focus
        input.addEventListener("pointerup", () => input.blur());
        input.addEventListener("keydown", (event) => (event.key === "Escape" || event.key === "Enter") && input.blur());
      }
      press(card.reset, () => actions.trim(side, "reset", 0));
      card.root.addEventListener("animationend", (event) => event.animationName === "chosen" && card.root.classList.remove("chosen"));
    }
  }

  /** Whether the strip is open is the person's choice, from then on. */
  #rememberInsight() {
    const insight = /** @type {HTMLDetailsElement} */ (byId("insight"));
    const choice = remembered("rltrainer.insight");
    insight.open = choice ? choice === "open" : window.matchMedia("(min-width: 60rem) and (min-height: 64rem)").matches;
    insight.addEventListener("toggle", () => remember("rltrainer.insight", insight.open ? "open" : "closed"));
  }
}

const MARKS = { left: "✓ Chosen", right: "✓ Chosen", equal: "= Equal", skip: "Can’t tell" };

// -------------------------------------------------------------------- the smallest steps

/** @param {HTMLElement} element @param {string} value */
function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** @param {string} id @param {string} value @param {boolean} hideEmpty */
function say(id, value, hideEmpty = false) {
  const element = byId(id);
  text(element, value);
  if (hideEmpty) element.hidden = !value;
}

/** @param {string} id @param {boolean} visible */
function show(id, visible) {
  byId(id).hidden = !visible;
}

/**
 * A click, after which the focus does not stay on the button where a mouse left it: space would press it again.
 * @param {HTMLElement} button
 * @param {(at: number) => unknown} action
 */
function press(button, action) {
  button.addEventListener("click", (event) => {
    if (event.detail > 0) button.blur();
    action(event.timeStamp);
  });
  button.addEventListener("keydown", (event) => event.repeat && (event.key === "Enter" || event.key === " ") && event.preventDefault());
}

/** Rows of a definition list: built when their names change, filled otherwise. @param {HTMLElement} parent @param {{name: string, value: string, share?: number}[]} rows */
function list(parent, rows) {
  if (parent.children.length !== rows.length) {
    parent.replaceChildren(...rows.map((row) => {
      const group = document.createElement("div");
      group.append(document.createElement("dt"), document.createElement("dd"));
      if (row.share !== undefined) group.append(Object.assign(document.createElement("progress"), { max: 1 }));
      return group;
    }));
  }
  for (const [index, { name, value, share }] of rows.entries()) {
    const group = parent.children[index];
    text(within(group, "dt"), name);
    text(within(group, "dd"), value);
    const bar = group.querySelector("progress");
    if (bar && share !== undefined) {
      bar.value = Math.min(1, share);
      bar.setAttribute("aria-label", name);
    }
  }
}

/** @param {string} name @returns {string | null} */
function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // storage is off: the page does without
  }
}

/** @param {string} name @param {string} value */
function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // storage is off: the page does without
  }
}
