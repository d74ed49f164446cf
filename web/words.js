// @ts-check
/** The page's state in words. */

import { CHOICES } from "./choices.js";
import { paceOf, stage, watching } from "./state.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {(state: State) => string} Words */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat("en", { style: "percent" });

/** @param {number} count @param {string} noun */
function counted(count, noun) {
  return `${whole.format(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** @type {Words} */
export function linkWords(state) {
  const { link, now } = state;
  if (link.phase === "open") return "Connected";
  if (link.phase === "denied") return "Not allowed: ask for a new link";
  if (link.phase === "connecting") return "Connecting";
  if (["finished", "stopped"].includes(stage(state))) return "Not connected";
  return `Reconnecting in ${Math.max(1, Math.ceil((link.retryAt - now) / 1000))} s`;
}

/** @type {Words} */
export function savedWords(state) {
  if (watching(state) || !state.welcome) return "";
  const unsent = state.outbox.length;
  const saved = state.saved || !unsent ? `${whole.format(state.saved)} saved` : "";
  return [saved, unsent ? `${whole.format(unsent)} unsent` : ""].filter(Boolean).join(", ");
}

/** @type {Words} */
export function readyWords(state) {
  return state.welcome && !watching(state) ? `${counted(state.pairs.length, "pair")} ready` : "";
}

/** @type {Words} */
export function whoWords(state) {
  const named = state.welcome && state.welcome.labeler !== "you" && !watching(state);
  return named ? `Labeling as ${state.welcome?.labeler}` : "";
}

/** @type {Words} */
export function budgetWords({ status }) {
  if (!status) return "";
  return status.wanted ? `${whole.format(status.labels)} of ${counted(status.wanted, "label")}` : counted(status.labels, "label");
}

/** Whether training rests. @type {Words} */
export function pauseWords({ status }) {
  if (!status?.paused) return "";
  return status.phase === "paused" ? "Training is paused" : "Training pauses in a moment";
}

/** What the button in the panel does. @type {Words} */
export function restWords({ status }) {
  return status?.paused ? "Resume training" : "Pause training";
}

/** When the next pair may come. @param {number | null} seconds */
export function soonWords(seconds) {
  if (seconds === null) return "by itself";
  if (seconds < 8) return "in a few seconds";
  return seconds < 90 ? `in about ${5 * Math.ceil(seconds / 5)} s` : `in about ${whole.format(Math.round(seconds / 60))} min`;
}

/** The line over the page while the service is away. @type {Words} */
export function bannerWords(state) {
  if (stage(state) !== "clips" || state.link.phase === "open") return "";
  if (watching(state)) return `Connection lost. ${linkWords(state)}.`;
  return `Connection lost. Go on with the ${counted(state.pairs.length, "pair")} here; your answers are kept.`;
}

/** The strip's line: the one figure that says most. @type {Words} */
export function insightWords({ status }) {
  if (status?.held_out_accuracy == null) return "What the labels do";
  return `What the labels do · ${percent.format(status.held_out_accuracy)} right · ${status.verdict}`;
}

/** @typedef {{curve: [number, number][], words: string}} Curve @typedef {{name: string, value: string, share?: number, spark?: Curve}} Insight */

/**
 * What the labels do, as (name, value) pairs; `share` is drawn as a bar, `spark` as a curve.
 * @param {State} state
 * @returns {Insight[]}
 */
export function insights(state) {
  const { status } = state;
  if (!status) return [];
  const number = (/** @type {number} */ value) => (Math.abs(value) < 100 ? tenth : whole).format(value);
  const { step, steps } = status;
  const rate = status.steps_per_second === null ? "" : ` · ${whole.format(status.steps_per_second)} a second`;
  const list = [
    { name: `Of ${whole.format(steps)} to train${rate}`, value: counted(step, "step"), share: step / steps },
    ...budget(state),
    ...(status.true_return === null ? [] : [{ name: "Environment’s own return", value: number(status.true_return), spark: spark(state, 2, number) }]),
    ...reward(state),
  ];
  return list;
}

/** How the reward does; without one the policy has the answers themselves to learn from. @param {State} state @returns {Insight[]} */
function reward(state) {
  const { held_out_accuracy: accuracy = null, reward_version: version = null } = state.status ?? {};
  if (version === null) return [{ name: "Learned from", value: "each answer, with no reward between" }];
  return [
    { name: "Right on unseen answers", value: accuracy === null ? "not known yet" : percent.format(accuracy), spark: spark(state, 1, percent.format) },
    { name: "Reward learned", value: version ? `version ${whole.format(version)}` : "not yet", spark: spark(state, 3, whole.format) },
  ];
}

/** Budget used, and the pace of this page. @param {State} state @returns {Insight[]} */
function budget(state) {
  const { status } = state;
  const pace = paceOf(state);
  if (!status || watching(state)) return [];
  const { labels, wanted } = status;
  const list = wanted ? [{ name: "Budget used", value: `${whole.format(labels)} of ${counted(wanted, "label")}`, share: labels / wanted }] : [];
  const minutes = pace && wanted > labels ? ` · about ${whole.format(Math.ceil((wanted - labels) / pace))} min to go` : "";
  return pace ? [...list, { name: `Your pace${minutes}`, value: `${whole.format(pace)} a minute` }] : list;
}

/**
 * A curve from the second point on that is known.
 * @param {State} state @param {1 | 2 | 3} place in a point @param {(value: number) => string} say @returns {Curve | undefined}
 */
function spark({ curves }, place, say) {
  const curve = /** @type {[number, number][]} */ (curves.map((point) => [point[0], point[place]]).filter(([, value]) => value !== null));
  if (curve.length < 2) return undefined;
  const [first, last] = [curve[0], curve[curve.length - 1]];
  return { curve, words: `from ${say(first[1])} at step ${whole.format(first[0])} to ${say(last[1])} at step ${whole.format(last[0])}` };
}

/** @param {State} state @returns {{name: string, value: string}[]} */
export function totals({ status }) {
  if (!status) return [];
  const list = [
    { name: status.labels === 1 ? "label" : "labels", value: whole.format(status.labels) },
    { name: "training steps", value: whole.format(status.step) },
  ];
  if (status.held_out_accuracy !== null) list.push({ name: "right on unseen answers", value: percent.format(status.held_out_accuracy) });
  return list;
}

/** What stands over watched clips. @type {Words} */
export function watchWords({ pairs }) {
  const labeler = pairs[0]?.answer?.labeler ?? "oracle";
  return `${labeler === "oracle" ? "The oracle" : labeler} is answering`;
}

/**
 * What a watched pair's answer was.
 * @param {import("./state.js").Pair} pair
 * @returns {[string, string]} the badge of the left clip and of the right one, "" for none
 */
export function verdictWords({ answer, clips }) {
  if (answer?.verdict !== "prefer") {
    const { mark } = CHOICES[answer?.verdict === "equal" ? "equal" : answer?.verdict === "both_bad" ? "both-bad" : "skip"];
    return [mark, mark];
  }
  return answer.preferred === clips[0].segment_id ? ["✓ Chosen", ""] : ["", "✓ Chosen"];
}

/**
 * Title, text and button of a page without clips.
 * @param {State} state
 * @returns {{title: string, text: string, retry?: string}}
 */
export function stageWords(state) {
  return (WORDS[stage(state)] ?? WORDS.connecting)(state);
}

/** @type {Record<string, (state: State) => {title: string, text: string, retry?: string}>} */
const WORDS = {
  connecting: (state) =>
    state.link.phase === "waiting"
      ? { title: "The label service does not answer", text: `${unsent(state)}${linkWords(state)}.`, retry: "Try now" }
      : { title: "Connecting", text: "One moment." },
  loading: () => ({ title: "Getting the first pair", text: "One moment." }),
  waiting: (state) => ({
    title: "The first clips are on their way",
    text: told(state) || "The agent is being recorded. A pair comes by itself.",
  }),
  empty: (state) => {
    const { status } = state;
    const soon = `the next pair comes ${soonWords(status?.next_pair_seconds ?? null)}.`;
    if (!watching(state) && status?.wanted && status.labels >= status.wanted) {
      return { title: `All ${counted(status.wanted, "label")} are in`, text: "Thank you. Training goes on with what you taught it." };
    }
    if (status?.paused) return { title: "Training is paused", text: "New pairs come when it goes on." };
    if (watching(state)) return { title: "Watching the oracle", text: `Training goes on; ${soon}` };
    return { title: "You are up to date", text: `Training goes on; ${soon}` };
  },
  offline: (state) => ({ title: "Connection lost", text: `${unsent(state)}${linkWords(state)}.`, retry: "Try now" }),
  finished: (state) => ({ title: "Training has finished", text: `${unsent(state)}${ending(state)}` }),
  stopped: (state) => ({ title: "Training was stopped", text: `${unsent(state)}${ending(state)}` }),
  denied: ({ link }) => ({
    title: "This link is not allowed",
    text: `${link.reason || "Open the whole link that you were sent."} If that does not help, ask for a new link.`,
    retry: "Try again",
  }),
  error: ({ trouble }) => ({ title: "Something went wrong", text: trouble?.sentence ?? "", retry: "Reload" }),
};

/** @param {State} state */
function ending(state) {
  return told(state) || "Thank you.";
}

/** What the trainer says, for who can type commands and change settings; "" for others. @param {State} state */
function told({ welcome, status }) {
  return (welcome?.admin && status?.message) || "";
}

/** @param {State} state */
function unsent({ outbox }) {
  if (!outbox.length) return "";
  return outbox.length === 1 ? "Your last answer is kept and sent later. " : `Your last ${outbox.length} answers are kept and sent later. `;
}
