// @ts-check
/** The state on screen. */

import { ClipCard } from "./card.js";
import { CHOICES } from "./choices.js";
import { byId, list, mark, part, press, say, sayOrHide, show } from "./dom.js";
import { Foresight } from "./foresight.js";
import { renderHints } from "./hints.js";
import { partsOf, writeMarkdown } from "./markdown.js";
import { SPEEDS, mayPause, mayReview, onScreen, stage, trimming, watching } from "./state.js";
import { Transport } from "./transport.js";
import * as words from "./words.js";

/** @typedef {import("./state.js").State} State */

/** Buttons by the name of what they do. */
const ANSWERS = /** @type {const} */ (["left", "right", "slightly-left", "slightly-right", "much-left", "much-right", "equal", "both-bad", "skip", "undo", "reason", "trim", "review"]);
const SIDES = /** @type {const} */ (["left", "right"]);
/** Stages in which something is on its way. */
const BUSY = ["connecting", "loading", "waiting", "empty"];
/** A longer task is set smaller. */
const LONG_TASK = 60;

/**
 * @typedef {object} Actions what a person may ask for; `at`: the moment of the key or click
 * @property {(command: import("./keys.js").Command, at: number) => void} command
 * @property {(side: 0 | 1, which: "first" | "end" | "reset", frame: number) => void} trim
 * @property {(tick: number) => void} seek
 * @property {(side: 0 | 1) => void} enlarge
 * @property {() => void} retry
 * @property {() => void} rest
 * @property {() => void} openSettings
 */

export class View {
  /** @type {import("./keys.js").Keys | null} */ #keys = null;

  /** @param {Actions} actions */
  constructor(actions) {
    this.cards = /** @type {[ClipCard, ClipCard]} */ ([new ClipCard("left"), new ClipCard("right")]);
    byId("clips").append(...this.cards.map((card) => card.root));
    this.transport = new Transport(actions.command, actions.seek);
    this.foresight = new Foresight();
    this.#listen(actions);
    this.#rememberInsight();
  }

  /** Mark what was chosen, at once: the one thing that does not wait for a frame. @param {import("./state.js").Choice} choice */
  mark(choice) {
    const { side, mark: badge } = CHOICES[choice];
    for (const [index, card] of this.cards.entries()) if (side === undefined || side === index) card.flash(badge);
  }

  /** @param {State} state */
  render(state) {
    const now = stage(state);
    document.body.dataset.stage = now;
    document.body.dataset.shown = state.shown?.queryId ?? "";
    document.body.dataset.mood = BUSY.includes(now) && !state.status?.paused ? "busy" : now === "finished" ? "done" : "off";
    document.body.classList.toggle("enlarged", now === "clips" && state.enlarged !== null);
    document.body.dataset.mode = state.welcome?.mode ?? "label";
    show("stage-clips", now === "clips");
    show("stage-words", now !== "clips");
    if (this.#keys !== state.keys) renderHints((this.#keys = state.keys));
    this.#around(state);
    if (now === "clips") this.#clips(state);
    else this.#words(state, now);
  }

  /** What stands around the clips in every stage. @param {State} state */
  #around(state) {
    const { welcome, status, link, rules } = state;
    document.title = welcome ? `${welcome.env} · rltrainer` : "rltrainer";
    say("env", welcome?.env ?? "");
    sayOrHide("notice", welcome?.notice ?? "");
    sayOrHide("banner", words.bannerWords(state));
    sayOrHide("remark", state.remark);
    say("budget-words", words.budgetWords(state));
    show("budget", welcome && status);
    show("budget-bar", status?.wanted);
    part(document, "#budget-bar", HTMLProgressElement).value = status?.wanted ? Math.min(1, status.labels / status.wanted) : 0;
    show("review", mayReview(state));
    show("settings-open", welcome?.admin && rules?.config_restricted === false && link.phase !== "denied");
    byId("link").dataset.state = link.phase;
    say("link-words", words.linkWords(state));
    sayOrHide("saved", words.savedWords(state));
    byId("saved").classList.toggle("unsent", state.outbox.length > 0 && link.phase !== "open");
    sayOrHide("ready", words.readyWords(state));
    sayOrHide("who", words.whoWords(state));
    sayOrHide("resting", words.pauseWords(state));
    say("rest", words.restWords(state));
    show("rest", mayPause(state));
    say("live", state.spoken);
    show("insight", welcome && status);
    say("insight-words", words.insightWords(state));
    list(byId("insight-list"), words.insights(state));
  }

  /** @param {State} state */
  #clips(state) {
    const pair = onScreen(state);
    const watched = watching(state);
    const task = partsOf(state.welcome?.task ?? "").question;
    say("task", watched ? words.watchWords(state) : task);
    byId("task").classList.toggle("long", !watched && task.length > LONG_TASK);
    sayOrHide("subtask", watched ? task : "");
    show("undo", !watched);
    part(document, "#undo", HTMLButtonElement).disabled = !state.history.length;
    show("equal", !watched && state.rules?.allow_ties);
    show("both-bad", !watched && state.rules?.allow_ties);
    show("skip", !watched && state.rules?.allow_skipping);
    show("trim", !watched && state.rules?.allow_editing);
    mark(byId("trim"), "aria-pressed", String(trimming(state)));
    this.transport.render(state, SPEEDS);
    if (!pair) return;
    const { width, height } = pair.clips[0];
    byId("clips").style.setProperty("--aspect", String(width / height));
    this.foresight.render(state, pair);
    const badges = watched ? words.verdictWords(pair) : ["", ""];
    for (const [index, card] of this.cards.entries()) {
      card.render(state, pair);
      card.pick(badges[index]);
    }
  }

  /** @param {State} state @param {ReturnType<typeof stage>} now */
  #words(state, now) {
    for (const card of this.cards) card.unmark();
    const { title, text, retry } = words.stageWords(state);
    say("words-title", title);
    say("words-text", text);
    sayOrHide("retry", retry ?? "");
    show("preview", now === "waiting" && !watching(state));
    const { question, instructions } = partsOf(state.welcome?.task ?? "");
    say("preview-task", question);
    writeMarkdown(byId("preview-more"), instructions);
    show("preview-more", instructions);
    show("legend-equal", state.rules?.allow_ties);
    show("legend-bad", state.rules?.allow_ties);
    show("legend-skip", state.rules?.allow_skipping);
    show("review-here", now === "empty" && mayReview(state));
    show("resume", now === "empty" && state.status?.paused && mayPause(state));
    show("undo-last", state.history.length && !["denied", "error", "connecting"].includes(now));
    show("totals", now === "finished" || now === "stopped");
    list(byId("totals"), words.totals(state));
    show("trouble", state.trouble?.details);
    say("trouble-details", state.trouble?.details ?? "");
  }

  /** @param {Actions} actions */
  #listen({ command, trim, enlarge, retry, rest, openSettings }) {
    for (const name of ANSWERS) press(byId(name), (at) => command(name, at));
    press(byId("undo-last"), (at) => command("undo", at));
    press(byId("review-here"), (at) => command("review", at));
    for (const name of ["rest", "resume"]) press(byId(name), rest);
    press(byId("help-open"), (at) => command("help", at));
    press(byId("retry"), retry);
    press(byId("settings-open"), openSettings);
    press(byId("trouble-copy"), () => {
      getSelection()?.selectAllChildren(byId("trouble-details"));
      document.execCommand("copy"); // navigator.clipboard is missing where the page is not served securely
      say("trouble-copy", "Copied");
    });
    for (const side of /** @type {const} */ ([0, 1])) {
      const touched = (/** @type {string} */ gesture, /** @type {number} */ at) => command(gesture === "tap" ? "toggle" : SIDES[side], at);
      this.cards[side].listen((which, frame) => trim(side, which, frame), () => enlarge(side), touched);
    }
  }

  /** Give the keys to the first trim handle, if there is one. */
  focusGrip() {
    this.cards.find(({ root, first }) => !root.hidden && !first.hidden)?.first.focus();
  }

  /** Whether the strip is open is the person's choice, from then on. */
  #rememberInsight() {
    const insight = part(document, "#insight", HTMLDetailsElement);
    try {
      insight.open = localStorage.getItem("rltrainer.insight") === "open";
      insight.addEventListener("toggle", () => localStorage.setItem("rltrainer.insight", insight.open ? "open" : "closed"));
    } catch {
      // storage is off: the page does without
    }
  }
}
