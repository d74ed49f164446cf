// @ts-check
/**
 * The messages between page and label service, as `rltrainer/labeling/messages.py` writes them.
 * `tests/wire/*.json` holds an example of each, read by both sides' tests.
 */

export const PROTOCOL = 4;
const MOST_HELD = 16;

/**
 * @typedef {"prefer" | "equal" | "both_bad" | "skip" | "undo"} Verdict
 * @typedef {"slightly" | "much"} Strength how much better the preferred clip is; a label without one leaves it open
 * @typedef {[number, number]} Range frames [first, end)
 * @typedef {{type: "hello", protocol: number, token: string, holds: string[]}} Hello holds: pairs that the page was sent before
 * @typedef {{type: "label", label_id: string, query_id: string, verdict: Verdict, preferred: string | null,
 *   trims: Record<string, Range>, strength?: Strength, reason?: string}} Label
 * @typedef {Record<string, boolean | number | null>} Changes
 * @typedef {{type: "settings", changes: Changes}} SettingsMessage
 * @typedef {{type: "pause", paused: boolean}} PauseMessage
 * @typedef {{type: "here"}} Here
 * @typedef {{type: "report"}} ReportMessage
 * @typedef {{type: "report_ready", path: string | null, reason: string}} ReportReady
 * @typedef {{type: "rules", allow_editing: boolean, allow_reasons: boolean, allow_skipping: boolean, allow_ties: boolean,
 *   config_restricted: boolean, speed: number, frame_rate: number | null, queue_size: number}} Rules
 * @typedef {{type: "welcome", protocol: number, run: string, env: string, labeler: string, admin: boolean, mode: "label" | "watch",
 *   task: string, notice: string | null, saved: number, rules: Rules}} Welcome saved: answers of this labeler that stand
 * @typedef {{segment_id: string, bytes: number, frames: number, frame_rate: number, width: number, height: number}} ClipHeader
 * @typedef {{verdict: Verdict, preferred: string | null, labeler: string}} AnswerHeader
 * @typedef {{type: "pair", query_id: string, clips: [ClipHeader, ClipHeader], answer: AnswerHeader | null}} PairHeader
 * @typedef {{type: "ack", label_id: string, saved: number}} Ack saved: as in the welcome
 * @typedef {{type: "refused", label_id: string | null, reason: string}} Refused
 * @typedef {{type: "withdrawn", query_ids: string[]}} Withdrawn
 * @typedef {{type: "status", phase: "starting" | "warmup" | "training" | "paused" | "finished" | "stopped", paused: boolean, message: string,
 *   labels: number, skipped: number, wanted: number, waiting: number, step: number, steps: number,
 *   steps_per_second: number | null, held_out_accuracy: number | null, verdict: string, true_return: number | null,
 *   reward_version: number | null, next_pair_seconds: number | null}} Status paused: asked for; the phase says whether it is
 * @typedef {[number, number | null, number | null, number]} CurvePoint step, held-out accuracy, true return, reward version
 * @typedef {{type: "curves", points: CurvePoint[]}} Curves
 * @typedef {{type: "predicted", query_id: string, version: number, rewards: Record<string, number[]>}} Predicted rewards: by
 *   segment, one for each frame of its clip
 * @typedef {Welcome | Rules | Curves | Ack | Refused | Withdrawn | Status | Predicted | ReportReady} Inbound
 */

/** A message that this page cannot read. */
export class WireError extends Error {}

/** Types of text messages that a service sends. */
const INBOUND = new Set(["welcome", "rules", "ack", "refused", "withdrawn", "status", "curves", "predicted", "report_ready"]);

/**
 * A text message from the service; null for a type that this page does not know (a newer service may say more).
 * @param {string} text
 * @returns {Inbound | null}
 */
export function parse(text) {
  const message = json(text);
  return INBOUND.has(message.type) ? message : null;
}

/**
 * A pair: 4 bytes with the length of the header (big-endian), the header, then the videos of its two clips.
 * @param {ArrayBuffer} buffer
 * @returns {{header: PairHeader, videos: [Uint8Array, Uint8Array]}}
 */
export function unpackPair(buffer) {
  if (buffer.byteLength < 4) throw new WireError(`a pair of ${buffer.byteLength} bytes: too short`);
  const start = 4 + new DataView(buffer).getUint32(0);
  if (start > buffer.byteLength) throw new WireError(`a pair's header ends at byte ${start} of ${buffer.byteLength}`);
  /** @type {PairHeader} */ const header = json(new TextDecoder().decode(new Uint8Array(buffer, 4, start - 4)));
  const middle = start + header.clips[0].bytes;
  const end = middle + header.clips[1].bytes;
  if (end !== buffer.byteLength) throw new WireError(`a pair of ${buffer.byteLength} bytes says that it has ${end}`);
  return { header, videos: [new Uint8Array(buffer.slice(start, middle)), new Uint8Array(buffer.slice(middle, end))] };
}

/** @param {string} token @param {string[]} holds @returns {Hello} */
export function hello(token, holds) {
  return { type: "hello", protocol: PROTOCOL, token, holds: holds.slice(0, MOST_HELD) };
}

/**
 * @param {string} labelId @param {string} queryId @param {Verdict} verdict @param {string | null} preferred
 * @param {Record<string, Range>} trims @param {Strength} [strength] @param {string} [reason] @returns {Label}
 */
export function label(labelId, queryId, verdict, preferred = null, trims = {}, strength, reason) {
  return { type: "label", label_id: labelId, query_id: queryId, verdict, preferred, trims, ...(strength && { strength }), ...(reason && { reason }) };
}

/** @param {boolean} paused @returns {PauseMessage} */
export function pause(paused) {
  return { type: "pause", paused };
}

/** @param {Changes} changes @returns {SettingsMessage} */
export function settings(changes) {
  return { type: "settings", changes };
}

/** Somebody is at the page. @returns {Here} */
export function here() {
  return { type: "here" };
}

/** The run's report is asked for. @returns {ReportMessage} */
export function report() {
  return { type: "report" };
}

/** @param {string} text @returns {any} */
function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new WireError(`a message that is not JSON: ${text.slice(0, 80)}`);
  }
}
