// @ts-check
/** The wiring: sockets, keys, disk and frames bring events; the state that comes of them is shown, stored and sent. */

import { ReportButton } from "./admin.js";
import { Album } from "./album.js";
import { Shelf, decodeClip } from "./clips.js";
import { Connection } from "./connection.js";
import { part } from "./dom.js";
import { HelpPanel } from "./help.js";
import { HistoryPanel, shrink } from "./history.js";
import { commandOf, recalledKeys } from "./keys.js";
import { Delivery, Outbox } from "./outbox.js";
import { Player } from "./player.js";
import { watchPresence } from "./presence.js";
import { recalled } from "./reasons.js";
import { SettingsPanel, changesOf } from "./settings.js";
import { held, initialState, mayAnswer, onScreen, ownerOf, rangeOf, reduce, stage, stranded, watching } from "./state.js";
import { View } from "./view.js";
import { WhyField } from "./why.js";
import { here, pause, report, settings } from "./wire.js";

/** Pairs decoded ahead of the one on screen, and answered pairs kept decoded for an undo. */
const AHEAD = 3;
const BEHIND = 2;
/** Pictures take no more memory than this, but for the pair on screen and the next one. */
const PICTURE_BYTES = 400e6;
/** How long a remark stays. */
const REMARK_MS = 8000;
/** Timings kept for a benchmark. */
const TIMINGS = 1000;

/**
 * For benchmarks, on the clock of performance.now(): key down, mark made, next pair painted.
 * @typedef {{keyAt: number, markedAt: number, shownAt: number}} Timing
 * @type {Timing[]}
 */
const timings = [];
Object.assign(window, { rltrainerTimings: timings });

const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
let state = initialState({ playing: !calm, speed: Number(recall("speed")) });

const view = new View({
  command,
  trim,
  seek: (tick) => still(() => player.seek(tick)),
  enlarge: (side) => dispatch({ type: "enlarge", side }),
  retry: () => (stage(state) === "error" ? location.reload() : stage(state) === "denied" ? connect() : connection.retryNow()),
  rest: () => connection.send(pause(!state.status?.paused)),
  openSettings: () => dispatch({ type: "settingsOpened" }),
});
const panel = new SettingsPanel(part(document, "#settings", HTMLDialogElement), {
  apply: applySettings,
  close: () => dispatch({ type: "settingsClosed" }),
  keys() {
    dispatch({ type: "settingsClosed" });
    dispatch({ type: "helpOpened" });
  },
});
const help = new HelpPanel(part(document, "#help", HTMLDialogElement), { close: () => dispatch({ type: "helpClosed" }), keys: dispatch });
const why = new WhyField({
  write: (text) => dispatch({ type: "reason", queryId: onScreen(state)?.queryId, text }),
  close: () => dispatch({ type: "explained" }),
});
const past = new HistoryPanel(part(document, "#history", HTMLDialogElement), {
  close: () => dispatch({ type: "reviewClosed" }),
  revise: (queryId) => dispatch({ type: "undo", labelId: newId(), queryId }),
  thumbnails,
  still: calm,
});
const reports = new ReportButton(part(document, "#report", HTMLElement), {
  ask: () => connection.send(report()),
  say: (remark) => dispatch({ type: "remarked", remark }),
});
const player = new Player(view.cards);
const shelf = new Shelf(wake, (queryId, error) => dispatch({ type: "unplayable", queryId, details: String(error) }));
const [outbox, album] = await Promise.all([Outbox.open(), Album.open()]);
const delivery = new Delivery(outbox, (label) => connection.send(label), () => dispatch({ type: "forgetful" }));

/** What comes is taken in order, though a welcome waits for the disk. */
let inbox = Promise.resolve();
const connection = new Connection(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`, {
  connecting: () => dispatch({ type: "connecting" }),
  holds: () => held(state),
  message: (message) => later(() => take(message)),
  pair: (header, videos) => later(() => takePair(header, videos)),
  lost: (retryAt) => later(() => dispatch({ type: "lost", retryAt, now: performance.now() })),
  denied: (reason) => later(() => dispatch({ type: "denied", reason })),
  outdated: (reason) => trouble("This page is from another version of rltrainer. Reload it.", reason),
  unreadable: (error) => trouble("The service is not understood. Reload the page.", error.message),
});

// ---- state in, effects out

/** @param {import("./state.js").Event} event */
function dispatch(event) {
  const before = state;
  state = reduce(state, event);
  if (state === before) return;
  delivery.follow(state.outbox);
  if (stranded(state) && !stranded(before)) connection.again();
  if (state.speed !== before.speed) remember("speed", String(state.speed));
  if (event.type !== "welcome" && event.type !== "recalled") keep(before);
  if (state.remark && state.remark !== before.remark) setTimeout(dispatch, REMARK_MS, { type: "read", remark: state.remark });
  if (state.pairs !== before.pairs || state.history !== before.history || state.shown !== before.shown) settleShelf();
  wake();
}

/** What a labeler chose outlives the page. @param {import("./state.js").State} before */
function keep(before) {
  const of = state.welcome?.labeler ?? "";
  if (state.keys !== before.keys) remember(`keys.${of}`, JSON.stringify(state.keys));
  if (state.reasons !== before.reasons) remember(`reasons.${of}`, JSON.stringify(state.reasons));
  if (state.history !== before.history) album.follow(state.history, (queryId) => shelf.bytes(queryId)).catch(() => null); // a full disk: for this page only
}

/** Pairs whose pictures are worth their memory: to answer, on screen, the next; then some ahead and behind. */
function settleShelf() {
  const seen = onScreen(state);
  const [first, ...ahead] = state.pairs;
  const behind = [...state.history].reverse();
  const wanted = [...new Set([first, seen, ...ahead.slice(0, AHEAD), ...behind.slice(0, BEHIND)])].filter((pair) => !!pair);
  let bytes = 0;
  const urgent = wanted.filter((pair, rank) => (bytes += sizeOf(pair)) <= PICTURE_BYTES || rank < 2);
  const ids = (/** @type {import("./state.js").Pair[]} */ pairs) => pairs.map((pair) => pair.queryId);
  shelf.settle(ids([...wanted, ...state.pairs, ...behind]), ids(urgent));
}

/** Small pictures of an answered pair, as it was shown. @type {import("./history.js").Thumbnails} */
async function thumbnails(queryId) {
  const held = shelf.bytes(queryId);
  const pair = state.history.find((one) => one.queryId === queryId);
  if (!held || !pair) return null;
  const sides = pair.clips.map((clip) => held.clips.findIndex((one) => one.segment_id === clip.segment_id));
  const one = async (/** @type {number} */ side) => shrink(await decodeClip(held.clips[side], held.videos[side]), held.clips[side].frame_rate);
  return [await one(sides[0]), await one(sides[1])];
}

/** Bytes that a pair's pictures take. @param {import("./state.js").Pair} pair */
function sizeOf({ clips }) {
  return clips.reduce((sum, { frames, width, height }) => sum + 4 * frames * width * height, 0);
}

/** @param {() => unknown} step */
function later(step) {
  inbox = inbox.then(step).then(() => undefined, fail);
}

/** @param {import("./wire.js").Inbound} message */
async function take(message) {
  if (message.type === "report_ready") return reports.ready(message);
  if (message.type !== "welcome") return dispatch({ type: message.type, message });
  const known = state.welcome !== null && ownerOf(state.welcome) === ownerOf(message);
  const stored = known ? [] : await outbox.load(ownerOf(message));
  if (!known) delivery.adopt(ownerOf(message), stored);
  delivery.connected();
  dispatch({ type: "welcome", message, outbox: stored });
  const of = message.labeler;
  if (!known) {
    dispatch({ type: "recalled", keys: recalledKeys(recall(`keys.${of}`)), reasons: recalled(recall(`reasons.${of}`)) });
    if (!watching(state)) reopen(ownerOf(message));
  }
  if (!outbox.durable) dispatch({ type: "forgetful" });
}

/** Past answers, when the disk has found them: no pair waits for that. @param {string} owner */
async function reopen(owner) {
  const pages = await album.load(owner).catch(() => []);
  if (!state.welcome || ownerOf(state.welcome) !== owner) return;
  for (const { pair, clips } of pages) shelf.add({ query_id: pair.queryId, clips: clips.clips }, clips.videos);
  dispatch({ type: "remembered", history: pages.map(({ pair }) => pair) });
}

/** @type {Shelf["add"]} */
function takePair(header, videos) {
  shelf.add(header, videos);
  dispatch({ type: "pair", header });
  settleShelf(); // a pair that was not taken is forgotten
}

// ---- what a person does

/** What is no answer. @type {Record<Exclude<import("./keys.js").Command, import("./state.js").Choice>, () => void>} */
const DEEDS = {
  undo: () => dispatch({ type: "undo", labelId: newId() }),
  toggle: () => dispatch({ type: "toggle" }),
  replay() {
    player.rewind();
    dispatch({ type: "play" });
  },
  "step-back": () => still(() => player.step(-1)),
  "step-on": () => still(() => player.step(1)),
  slower: () => dispatch({ type: "speed", by: -1 }),
  faster: () => dispatch({ type: "speed", by: 1 }),
  enlarge: () => dispatch({ type: "enlarge" }),
  back: () => dispatch({ type: "back" }),
  trim: () => dispatch({ type: "trimming" }),
  reason: () => dispatch({ type: "explaining" }),
  review: () => dispatch({ type: "reviewOpened" }),
  help: () => dispatch({ type: "helpOpened" }),
};

/** Move the clips while they stand still. @param {() => void} move */
function still(move) {
  if (!onScreen(state)) return;
  move();
  dispatch({ type: "hold" });
  wake();
}

/** @param {import("./keys.js").Command} name @param {number} at */
function command(name, at) {
  if (Object.hasOwn(DEEDS, name)) return DEEDS[/** @type {keyof typeof DEEDS} */ (name)]();
  const choice = /** @type {import("./state.js").Choice} */ (name);
  if (!mayAnswer(state, choice, at)) return;
  view.mark(choice);
  answered = { keyAt: at, markedAt: performance.now() };
  dispatch({ type: "answer", choice, labelId: newId(), at });
}

/** @param {0 | 1} side @param {"first" | "end" | "reset"} which @param {number} frame */
function trim(side, which, frame) {
  const pair = onScreen(state);
  if (!pair) return;
  const [first, end] = rangeOf(state, pair, side);
  const range = { first: [Math.min(frame, end - 1), end], end: [first, Math.max(frame, first + 1)], reset: null }[which];
  dispatch({ type: "trim", queryId: pair.queryId, segmentId: pair.clips[side].segment_id, range });
  if (range) player.peek(side, which === "first" ? range[0] : range[1] - 1, performance.now());
  else player.rewind();
}

/** @param {import("./settings.js").Filled} filled */
function applySettings(filled) {
  if (!state.rules) return;
  const changes = changesOf(state.rules, filled);
  if (!Object.keys(changes).length) dispatch({ type: "settingsClosed" });
  else if (connection.send(settings(changes))) dispatch({ type: "settingsSent" });
  else dispatch({ type: "settingsFailed", error: "The service is not connected; try again when it is." });
}

document.addEventListener("keydown", (event) => {
  const name = state.settings.open || state.help || state.reviewing ? null : commandOf(/** @type {any} */ (event), state.keys);
  if (!name) return;
  event.preventDefault(); // a held arrow neither answers nor scrolls
  if (event.repeat) return;
  command(name, event.timeStamp);
  if (name === "trim") requestAnimationFrame(() => view.focusGrip()); // by keyboard the grips are what is wanted next
});

watchPresence(() => connection.send(here()));

// ---- frames

let scheduled = false;
/** @type {Omit<Timing, "shownAt"> | null} an answer whose next pair is not on screen yet */
let answered = null;

/** Ask for a frame. */
function wake() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(frame);
}

/** @type {unknown} the state on screen */
let rendered = null;
/** The answered pair stays for the one frame that shows its mark. */
let marked = false;

/** @param {number} now */
function frame(now) {
  scheduled = false;
  if (answered && !marked) {
    marked = true;
    return wake();
  }
  swap(now);
  if (rendered !== state) {
    rendered = state;
    view.render(state);
    panel.render(state);
    help.render(state);
    why.render(state);
    past.render(state);
    reports.render(state);
  }
  const pair = onScreen(state);
  if (!pair || pair.queryId !== player.queryId) return;
  const { playing, rules } = state;
  const speed = (rules?.speed ?? 1) * state.speed;
  if (player.tick(now, { playing, speed, ranges: [rangeOf(state, pair, 0), rangeOf(state, pair, 1)] })) wake();
  view.transport.follow(player.position, playing);
  view.foresight.follow(player.position);
}

/** Put the next pair on screen once its pictures are there; until then the last one stays, deaf to keys. @param {number} now */
function swap(now) {
  const pair = state.pairs[0];
  const pictures = pair && shelf.pictures(pair.queryId);
  if (pair && (!pictures || (player.queryId === pair.queryId && state.shown?.queryId === pair.queryId))) return;
  if (pictures) {
    player.show(pair, pictures);
    dispatch({ type: "shown", queryId: pair.queryId, at: now });
    if (answered) time(answered);
  } else player.clear();
  answered = null;
  marked = false;
}

/** A message posted in a frame is delivered when that frame is done. @param {Omit<Timing, "shownAt">} answer */
function time(answer) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    timings.push({ ...answer, shownAt: performance.now() });
    if (timings.length > TIMINGS) timings.shift();
    port1.close();
  };
  port2.postMessage(null);
}

// ---- start

/** `crypto.randomUUID` is missing where the page is not served securely. @returns {string} */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What the browser keeps of a choice; null where storage is off. @param {string} name */
function recall(name) {
  try {
    return localStorage.getItem(`rltrainer.${name}`);
  } catch {
    return null;
  }
}

/** @param {string} name @param {string} value */
function remember(name, value) {
  try {
    localStorage.setItem(`rltrainer.${name}`, value);
  } catch {
    // storage is off: the page does without
  }
}

/** The token of the link, kept for a reload whose address has lost it. @returns {string} */
function tokenOfLink() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  try {
    if (given) sessionStorage.setItem("rltrainer.token", given);
    return given ?? sessionStorage.getItem("rltrainer.token") ?? "";
  } catch {
    return given ?? ""; // storage is off: the address still has it
  }
}

function connect() {
  const token = tokenOfLink();
  if (token) connection.start(token);
  else dispatch({ type: "denied", reason: "A part of the link is missing: open the whole of it, as it was sent to you." });
}

/** @param {unknown} error */
function fail(error) {
  trouble("Your answers are kept. Reload the page to go on.", error instanceof Error ? `${error.message}\n${error.stack}` : String(error));
}

/** @param {string} sentence @param {string} details */
function trouble(sentence, details) {
  dispatch({ type: "trouble", sentence, details });
}

window.addEventListener("error", (event) => fail(event.error ?? event.message));
window.addEventListener("unhandledrejection", (event) => fail(event.reason));
window.addEventListener("hashchange", connect);
window.addEventListener("online", () => connection.retryNow());
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && connection.retryNow());
setInterval(() => {
  if (state.link.phase === "waiting" || watching(state)) dispatch({ type: "tick", now: performance.now() });
}, 500);
wake();
connect();
