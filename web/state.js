// @ts-check
/**
 * What the page knows, and how each event changes it: a pure `(state, event) → state`. Nothing here touches the DOM,
 * the network, the clock or chance; events bring times, ids and the toss for the sides with them.
 */

import { CHOICES, allowed } from "./choices.js";
import { withPoint } from "./curves.js";
import { AS_USUAL, KEY_EVENTS } from "./keys.js";
import { REASON_EVENTS, reasonFor, withReason } from "./reasons.js";
import { PROTOCOL, label } from "./wire.js";

/** Nobody answers a pair unseen: keys are deaf for this long after a pair came on screen. */
export const LOCK_MS = 250;
/** Answers that can be taken back. */
export const HISTORY = 30;
/** A watched pair stays on screen at least this long. */
export const WATCH_MS = 2500;
/** Watched pairs that wait: the page shows what happens now. */
export const WATCH_QUEUE = 4;
/** How fast clips play, as a multiple of the run's own speed. */
export const SPEEDS = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 2];
/** Answers by which the pace is told, and the longest time between two that is no break. */
const PACED = 20;
const BREAK_MS = 60_000;
/** The settings panel at rest. */
const CLOSED = { open: false, pending: false, error: "" };
/** Ids of answered pairs kept: one sent twice is not shown twice. */
const ANSWERED = 500;

/**
 * @typedef {import("./wire.js").Label} Label
 * @typedef {import("./wire.js").Range} Range
 * @typedef {import("./choices.js").Choice} Choice
 * @typedef {{queryId: string, clips: import("./wire.js").PairHeader["clips"],
 *   answer: import("./wire.js").AnswerHeader | null, trims: Record<string, Range>, reason: string, said?: Choice,
 *   rewards: Record<string, number[]> | null}} Pair clips as shown: left, right; reason: why, as far as it is written; said: what
 *   the labeler answered; rewards: what the reward predicts, by segment and frame
 * @typedef {{phase: "connecting" | "open" | "waiting" | "denied", retryAt: number, reason: string}} Link
 * @typedef {{open: boolean, pending: boolean, error: string}} Settings
 * @typedef {{link: Link, welcome: import("./wire.js").Welcome | null, rules: import("./wire.js").Rules | null,
 *   status: import("./wire.js").Status | null, curves: import("./wire.js").CurvePoint[], pairs: Pair[], history: Pair[], shown: {queryId: string, at: number} | null,
 *   leftOut: boolean, answered: string[], times: number[], outbox: Label[], saved: number, playing: boolean, autoplay: boolean, speed: number,
 *   enlarged: 0 | 1 | null, trimming: boolean, help: boolean, reviewing: boolean, settings: Settings,
 *   explaining: boolean, reasons: string[], keys: import("./keys.js").Keys, rebinding: import("./keys.js").Remappable | null,
 *   keysError: string, remark: string, spoken: string, trouble: {sentence: string, details: string, passing: boolean} | null, now: number}} State
 * @typedef {{type: string, [field: string]: any}} Event
 */

/**
 * @param {{playing?: boolean, speed?: number}} options playing: false where the person asked for less motion
 * @returns {State}
 */
export function initialState({ playing = true, speed = 1 } = {}) {
  return {
    link: { phase: "connecting", retryAt: 0, reason: "" },
    welcome: null,
    rules: null,
    status: null,
    curves: [],
    pairs: [],
    history: [],
    shown: null,
    leftOut: false,
    answered: [],
    times: [],
    outbox: [],
    saved: 0,
    playing,
    autoplay: playing,
    speed: SPEEDS.includes(speed) ? speed : 1,
    enlarged: null,
    trimming: false,
    help: false,
    reviewing: false,
    settings: CLOSED,
    explaining: false,
    reasons: [],
    keys: AS_USUAL,
    rebinding: null,
    keysError: "",
    remark: "",
    spoken: "",
    trouble: null,
    now: 0,
  };
}

/** @param {State} state @param {Event} event @returns {State} */
export function reduce(state, event) {
  return Object.hasOwn(ON, event.type) ? ON[event.type](state, event) : state;
}

/** @type {Record<string, (state: State, event: any) => State>} */
const ON = {
  // ---- the connection
  connecting: (state) => ({ ...state, leftOut: false, link: { phase: "connecting", retryAt: 0, reason: "" } }),

  lost: (state, { retryAt, now }) => ({
    ...state,
    now,
    link: { phase: "waiting", retryAt, reason: "" },
    settings: state.settings.pending
      ? { ...state.settings, pending: false, error: "The connection was lost; try again when it is back." }
      : state.settings,
    spoken: state.link.phase === "open" ? "Connection lost. Answers are kept and sent later." : state.spoken,
  }),

  denied(state, { reason }) {
    return { ...state, link: { phase: "denied", retryAt: 0, reason: sentence(reason) }, pairs: [], shown: null };
  },

  welcome(state, { message, outbox }) {
    if (message.protocol !== PROTOCOL) {
      const details = `page: protocol ${PROTOCOL}, service: protocol ${message.protocol}`;
      return ON.trouble(state, { sentence: "This page is from another version of rltrainer. Reload it.", details });
    }
    const same = state.welcome !== null && ownerOf(state.welcome) === ownerOf(message);
    const kept = same ? state : { ...initialState({ playing: state.autoplay, speed: state.speed }), now: state.now };
    return {
      ...kept,
      welcome: message,
      rules: message.rules,
      saved: message.saved,
      link: { phase: "open", retryAt: 0, reason: "" },
      outbox: [...outbox, ...kept.outbox],
      answered: outbox.reduce(withAnswer, kept.answered),
      spoken: same ? "Connected again." : kept.spoken,
    };
  },

  /** What the browser kept of this labeler. */
  recalled: (state, { keys, reasons }) => ({ ...state, keys, reasons }),

  /** What was answered before the page was opened. @param {{history: Pair[]}} found */
  remembered(state, { history }) {
    const here = new Set([...state.pairs, ...state.history].map((pair) => pair.queryId));
    return { ...state, history: [...history.filter((pair) => !here.has(pair.queryId)), ...state.history].slice(-HISTORY) };
  },

  tick(state, { now }) {
    const due = watching(state) && state.pairs.length > 1 && state.shown?.queryId === state.pairs[0].queryId;
    const next = due && state.shown && now - state.shown.at >= WATCH_MS ? state.pairs.slice(1) : state.pairs;
    return { ...state, now, pairs: next };
  },

  // ---- what the service says
  rules: (state, { message }) => ({
    ...state,
    rules: message,
    settings: state.settings.pending
      ? CLOSED
      : { ...state.settings, open: state.settings.open && !message.config_restricted },
    remark: state.settings.pending ? "Settings changed." : state.remark,
  }),

  status: (state, { message }) => ({ ...state, status: message, curves: withPoint(state.curves, message) }),

  curves: (state, { message }) => ({ ...state, curves: message.points }),

  pair(state, { header }) {
    const queryId = header.query_id;
    const held = state.pairs.find((pair) => pair.queryId === queryId);
    if (state.answered.includes(queryId) || (held && sameClips(held.clips, header.clips))) return state;
    const [one, two] = header.clips;
    // a toss, alike for the same two clips: asked again swapped, they are seen swapped
    const flip = (one.segment_id + two.segment_id).split(/[8-f]/).length % 2 === 0;
    const pair = { queryId, clips: flip ? [two, one] : header.clips, answer: header.answer, trims: {}, reason: "", rewards: null };
    // trims count frames: a clip made anew, at another rate, takes the place of the old one
    if (held) {
      const shown = state.shown?.queryId === queryId ? null : state.shown;
      return { ...state, shown, pairs: state.pairs.map((one) => (one === held ? pair : one)) };
    }
    const [pairs, history] = [[...state.pairs, pair], state.history.filter((one) => one.queryId !== queryId)];
    return { ...state, history, pairs: watching(state) && pairs.length > WATCH_QUEUE ? [pairs[0], ...pairs.slice(2)] : pairs };
  },

  predicted(state, { message: { query_id: queryId, rewards } }) {
    const fits = (/** @type {import("./wire.js").ClipHeader} */ { segment_id: id, frames }) => Object.hasOwn(rewards, id) && rewards[id].length === frames;
    const told = (/** @type {Pair} */ pair) => (pair.queryId === queryId && pair.clips.every(fits) ? { ...pair, rewards } : pair);
    return { ...state, pairs: state.pairs.map(told), history: state.history.map(told) };
  },

  withdrawn(state, { message }) {
    const gone = new Set(message.query_ids);
    const hit = state.shown !== null && gone.has(state.shown.queryId) && !watching(state);
    const pairs = state.pairs.filter((pair) => !gone.has(pair.queryId));
    return {
      ...state,
      pairs,
      shown: pairs.length ? state.shown : null,
      explaining: state.explaining && !hit,
      remark: hit ? "That pair is no longer needed." : state.remark,
    };
  },

  ack(state, { message }) {
    const found = state.outbox.find((entry) => entry.label_id === message.label_id);
    if (!found) return state;
    return {
      ...state,
      outbox: state.outbox.filter((entry) => entry !== found),
      saved: message.saved,
    };
  },

  refused(state, { message }) {
    const found = state.outbox.find((entry) => entry.label_id === message.label_id);
    if (!found && state.settings.pending) return ON.settingsFailed(state, { error: sentence(message.reason) });
    if (!found) return message.label_id ? state : { ...state, remark: sentence(message.reason) };
    const remark = `An answer was not taken: ${sentence(message.reason)}`;
    const superseded = state.outbox.some((entry) => entry !== found && entry.query_id === found.query_id);
    return {
      ...state,
      outbox: state.outbox.filter((entry) => entry !== found),
      // the service may ask again what it did not take
      answered: superseded ? state.answered : state.answered.filter((id) => id !== found.query_id),
      history: superseded ? state.history : state.history.filter((pair) => pair.queryId !== found.query_id),
      remark,
      spoken: aloud(state, remark),
    };
  },

  // ---- what the person does
  answer(state, /** @type {{choice: Choice, labelId: string, at: number}} */ { choice, labelId, at }) {
    if (!mayAnswer(state, choice, at)) return state;
    const [pair, ...pairs] = state.pairs;
    const { verdict, side, strength, spoken } = CHOICES[choice];
    const preferred = side === undefined ? null : pair.clips[side].segment_id;
    const [trims, reason] = [state.rules?.allow_editing ? pair.trims : {}, reasonFor(state, pair)];
    const sent = label(labelId, pair.queryId, verdict, preferred, trims, strength, reason);
    return {
      ...state,
      pairs,
      shown: pairs.length ? state.shown : null,
      history: [...state.history, { ...pair, said: choice }].slice(-HISTORY),
      answered: withAnswer(state.answered, sent),
      times: [...state.times, at].slice(-PACED),
      explaining: false,
      reasons: withReason(state.reasons, reason),
      outbox: [...state.outbox, sent],
      playing: state.autoplay,
      enlarged: null,
      remark: "",
      spoken: aloud(state, `${spoken}. ${pairs.length ? "Next pair." : "No pair is waiting."}`),
    };
  },

  /** Take an answer back: that of a pair, or the last one. */
  undo(state, { labelId, queryId }) {
    const pair = state.history.findLast((one) => queryId === undefined || one.queryId === queryId);
    if (!pair || !mayReview(state)) return state;
    const sent = label(labelId, pair.queryId, "undo");
    return {
      ...state,
      pairs: [pair, ...state.pairs],
      history: state.history.filter((one) => one !== pair),
      reviewing: false,
      explaining: false,
      answered: withAnswer(state.answered, sent),
      times: state.times.slice(0, -1),
      outbox: [...state.outbox, sent],
      playing: state.autoplay,
      enlarged: null,
      remark: "",
      spoken: aloud(state, "Answer taken back. The pair is here again."),
    };
  },

  trim(state, { queryId, segmentId, range }) {
    const pairs = state.pairs.map((pair) => (pair.queryId === queryId ? trimmed(pair, segmentId, range) : pair));
    return { ...state, pairs };
  },

  remarked: (state, { remark }) => ({ ...state, remark, spoken: aloud(state, remark) }),

  read: (state, { remark }) => (state.remark === remark ? { ...state, remark: "" } : state),

  toggle: (state) => ({ ...state, playing: !state.playing, autoplay: state.autoplay || !state.playing }),

  play: (state) => ({ ...state, playing: true, autoplay: true }),

  hold: (state) => (state.playing ? { ...state, playing: false } : state),

  speed(state, { by }) {
    const speed = SPEEDS[SPEEDS.indexOf(state.speed) + by] ?? state.speed;
    return speed === state.speed ? state : { ...state, speed, spoken: `Speed ${speed}.` };
  },

  /** One clip fills the page; without a side: the left one, the right one, both again. */
  enlarge(state, { side }) {
    const next = { null: 0, 0: 1, 1: null }[String(state.enlarged)];
    const enlarged = side === undefined ? next : side === state.enlarged ? null : side;
    return stage(state) === "clips" ? { ...state, enlarged } : state;
  },

  back: (state) => (state.enlarged === null ? state : { ...state, enlarged: null }),

  trimming: (state) => (state.rules?.allow_editing && !watching(state) ? { ...state, trimming: !state.trimming } : state),

  reviewOpened: (state) => (mayReview(state) ? { ...state, reviewing: true } : state),
  reviewClosed: (state) => (state.reviewing ? { ...state, reviewing: false } : state),

  helpOpened: (state) => ({ ...state, help: true }),
  helpClosed: (state) => (state.help ? { ...state, help: false, rebinding: null, keysError: "" } : state),
  ...KEY_EVENTS,
  ...REASON_EVENTS,

  settingsOpened: (state) =>
    state.welcome?.admin && state.rules?.config_restricted === false ? { ...state, settings: { open: true, pending: false, error: "" } } : state,
  settingsClosed: (state) => ({ ...state, settings: CLOSED }),
  settingsSent: (state) => ({ ...state, settings: { open: true, pending: true, error: "" } }),
  settingsFailed: (state, { error }) => ({ ...state, settings: { open: true, pending: false, error } }),

  // ---- what the page's edge found
  shown(state, { queryId, at }) {
    return { ...state, shown: { queryId, at }, trouble: state.trouble?.passing ? null : state.trouble };
  },

  unplayable(state, { queryId, details }) {
    const pairs = state.pairs.filter((pair) => pair.queryId !== queryId);
    const next = { ...state, pairs, leftOut: true, shown: pairs.length ? state.shown : null };
    if (pairs.length || state.times.length) return { ...next, remark: "A pair could not be played and was left out." };
    const text = "This browser cannot play the clips. Try a current Chromium, Firefox or Safari.";
    return { ...next, trouble: { sentence: text, details, passing: true } };
  },

  forgetful: (state) => ({ ...state, remark: "This browser keeps nothing on disk: leave this page open until all is saved." }),

  trouble: (state, { sentence: text, details }) => ({ ...state, trouble: { sentence: text, details, passing: false } }),
};

// ---- what can be read off a state

/** @param {State} state */
export function watching(state) {
  return state.welcome?.mode === "watch";
}

/** Pairs that wait here for an answer, as far as the service can know: not one whose undo it has not saved. @param {State} state */
export function held(state) {
  const undone = new Set(state.outbox.filter(({ verdict }) => verdict === "undo").map((entry) => entry.query_id));
  return watching(state) ? [] : state.pairs.map(({ queryId }) => queryId).filter((queryId) => !undone.has(queryId));
}

/**
 * Whether what is still dealt to this page cannot be played, and nothing else: it comes anew, and is dealt them or others again.
 * A browser that has played nothing yet is left alone. @param {State} state
 */
export function stranded(state) {
  return state.leftOut && !state.pairs.length && state.times.length > 0 && state.link.phase === "open";
}

/** Whether the trim handles are there. @param {State} state */
export function trimming(state) {
  return state.trimming && !!state.rules?.allow_editing && !watching(state);
}

/** Whether what the reward predicts may be seen, and there is a reward. @param {State} state */
export function foreseen(state) {
  return !watching(state) && state.rules?.config_restricted === false && !!state.status?.reward_version;
}

/** Whether there are answers to look at again. @param {State} state */
export function mayReview(state) {
  return state.history.length > 0 && !watching(state) && !state.trouble && state.link.phase !== "denied";
}

/** Whose labels these are; the outbox keeps them apart. @param {{run: string, labeler: string}} welcome */
export function ownerOf(welcome) {
  return `${welcome.run}/${welcome.labeler}`;
}

/** @param {State} state @param {Choice} choice @param {number} at */
export function mayAnswer(state, choice, at) {
  const seen = state.shown !== null && state.shown.queryId === state.pairs[0]?.queryId && at - state.shown.at >= LOCK_MS;
  if (!seen || watching(state) || state.trouble) return false;
  return allowed(state.rules, choice);
}

/** Whether this page may pause the training, or have it go on. @param {State} state */
export function mayPause({ welcome, status, link }) {
  return !!welcome?.admin && link.phase === "open" && ["training", "paused"].includes(status?.phase ?? "");
}

/** The pair whose pictures are on screen. @param {State} state @returns {Pair | null} */
export function onScreen(state) {
  const id = state.shown?.queryId;
  return [...state.pairs, ...state.history].find((pair) => pair.queryId === id) ?? null;
}

/** Frames [first, end) of a clip that play and count. @param {State} state @param {Pair} pair @param {0 | 1} side @returns {Range} */
export function rangeOf(state, pair, side) {
  const clip = pair.clips[side];
  return (state.rules?.allow_editing && pair.trims[clip.segment_id]) || [0, clip.frames];
}

/** Answers in a minute, of late and breaks left out; null until there are a few. @param {State} state */
export function paceOf({ times }) {
  const gaps = times.slice(1).map((time, index) => time - times[index]).filter((gap) => gap < BREAK_MS);
  const sum = gaps.reduce((total, gap) => total + gap, 0);
  return gaps.length < 3 || !sum ? null : (60_000 * gaps.length) / sum;
}

/**
 * What fills the page.
 * @param {State} state
 * @returns {"error" | "denied" | "connecting" | "clips" | "loading" | "offline" | "waiting" | "empty" | "finished" | "stopped"}
 */
export function stage(state) {
  if (state.trouble) return "error";
  if (state.link.phase === "denied") return "denied";
  if (!state.welcome) return "connecting";
  const phase = state.status?.phase ?? "starting";
  const over = phase === "finished" || phase === "stopped" ? phase : null;
  const open = state.link.phase === "open";
  if (over && !open) return over; // the service went, too
  if (state.pairs.length) return state.shown ? "clips" : state.times.length ? "empty" : "loading";
  if (!open) return "offline";
  return over ?? (phase === "training" || phase === "paused" ? "empty" : "waiting");
}

// ---- small steps

/** What a screen reader says next; it takes the same words again only where something differs. @param {State} state @param {string} words */
function aloud(state, words) {
  return state.spoken === words ? `${words}\u00a0` : words;
}

/**
 * Whether the same clips came again, whatever their sides.
 * @typedef {import("./wire.js").ClipHeader[]} Headers
 * @type {(some: Headers, others: Headers) => boolean}
 */
export function sameClips(some, others) {
  const name = (/** @type {Headers[0]} */ clip) => [clip.segment_id, clip.frames, clip.frame_rate].join();
  return String(some.map(name).sort()) === String(others.map(name).sort());
}

/** @param {string[]} answered @param {Label} entry */
function withAnswer(answered, entry) {
  const others = answered.filter((id) => id !== entry.query_id);
  return entry.verdict === "undo" ? others : [...others, entry.query_id].slice(-ANSWERED);
}

/** @param {Pair} pair @param {string} segmentId @param {Range | null} range @returns {Pair} */
function trimmed(pair, segmentId, range) {
  const clip = pair.clips.find((one) => one.segment_id === segmentId);
  if (!clip) return pair;
  const { [segmentId]: _, ...trims } = pair.trims;
  if (range === null) return { ...pair, trims };
  const first = Math.min(Math.max(0, Math.round(range[0])), clip.frames - 1);
  const end = Math.min(Math.max(first + 1, Math.round(range[1])), clip.frames);
  return { ...pair, trims: first === 0 && end === clip.frames ? trims : { ...trims, [segmentId]: [first, end] } };
}

/** @param {string} text a service's reason, made a sentence; the name of a setting stays as it is */
function sentence(text) {
  const full = /^[a-z]+ /.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return !full || /[.!?]$/.test(full) ? full : `${full}.`;
}
