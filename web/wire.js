// @ts-check
/**
 * The messages between page and label service, as `rltrainer/labeling/messages.py` writes them.
 * `tests/wire/*.json` holds an example of each, read by both sides' tests.
 */

export const PROTOCOL = 1;

/**
 * @typedef {"prefer" | "equal" | "skip" | "undo"} Verdict
 * @typedef {[number, number]} Range frames [first, end)
 * @typedef {{type: "hello", protocol: number, token: string}} Hello
 * @typedef {{type: "label", label_id: string, query_id: string, verdict: Verdict, preferred: string | null,
 *   trims: Record<string, Range>}} Label
 * @typedef {Record<string, boolean | number | null>} Changes
 * @typedef {{type: "settings", changes: Changes}} SettingsMessage
 * @typedef {{type: "rules", allow_editing: boolean, allow_skipping: boolean, allow_ties: boolean,
 *   config_restricted: boolean, speed: number, frame_rate: number | null, queue_size: number}} Rules
 * @typedef {{type: "welcome", protocol: number, run: string, env: string, labeler: string, mode: "label" | "watch",
 *   task: string, notice: string | null, rules: Rules}} Welcome
 * @typedef {{segment_id: string, bytes: number, frames: number, frame_rate: number, width: number, height: number}} ClipHeader
 * @typedef {{verdict: Verdict, preferred: string | null, labeler: string}} AnswerHeader
 * @typedef {{type: "pair", query_id: string, clips: [ClipHeader, ClipHeader], answer: AnswerHeader | null}} PairHeader
 * @typedef {{type: "ack", label_id: string}} Ack
 * @typedef {{type: "refused", label_id: string | null, reason: string}} Refused
 * @typedef {{type: "withdrawn", query_ids: string[]}} Withdrawn
 * @typedef {{type: "status", phase: "starting" | "warmup" | "training" | "finished" | "stopped", message: string,
 *   labels: number, skipped: number, wanted: number, waiting: number, step: number, steps: number,
 *   steps_per_second: number | null, held_out_accuracy: number | null, true_return: number | null,
 *   reward_version: number}} Status
 * @typedef {Welcome | Rules | Ack | Refused | Withdrawn | Status} Inbound
 */

/** A message that this page cannot read. */
export class WireError extends Error {}

/** What each message has: `field:kind`; "?" also allows null. @type {Record<string, string>} */
const SHAPES = {
  welcome: "protocol:number run:string env:string labeler:string mode:string task:string notice:string? rules:rules",
  rules:
    "allow_editing:boolean allow_skipping:boolean allow_ties:boolean config_restricted:boolean " +
    "speed:number frame_rate:number? queue_size:number",
  ack: "label_id:string",
  refused: "label_id:string? reason:string",
  withdrawn: "query_ids:array",
  status:
    "phase:string message:string labels:number skipped:number wanted:number waiting:number step:number steps:number " +
    "steps_per_second:number? held_out_accuracy:number? true_return:number? reward_version:number",
  pair: "query_id:string clips:array answer:answer?",
  clip: "segment_id:string bytes:number frames:number frame_rate:number width:number height:number",
  answer: "verdict:string preferred:string? labeler:string",
};

/** Types of text messages that a service sends. */
const INBOUND = new Set(["welcome", "rules", "ack", "refused", "withdrawn", "status"]);

/**
 * A text message from the service; null for a type that this page does not know (a newer service may say more).
 * @param {string} text
 * @returns {Inbound | null}
 */
export function parse(text) {
  const message = json(text);
  if (!INBOUND.has(message.type)) return null;
  check(message, message.type);
  return /** @type {Inbound} */ (/** @type {unknown} */ (message));
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
  const fields = json(new TextDecoder().decode(new Uint8Array(buffer, 4, start - 4)));
  if (fields.answer === undefined) fields.answer = null;
  check(fields, "pair");
  const header = /** @type {PairHeader} */ (/** @type {unknown} */ (fields));
  if (header.clips.length !== 2) throw new WireError(`a pair of ${header.clips.length} clips`);
  for (const clip of header.clips) check(clip, "clip");
  const middle = start + header.clips[0].bytes;
  const end = middle + header.clips[1].bytes;
  if (end !== buffer.byteLength) throw new WireError(`a pair of ${buffer.byteLength} bytes says that it has ${end}`);
  return { header, videos: [new Uint8Array(buffer.slice(start, middle)), new Uint8Array(buffer.slice(middle, end))] };
}

/** @param {string} token @returns {Hello} */
export function hello(token) {
  return { type: "hello", protocol: PROTOCOL, token };
}

/** @type {(labelId: string, queryId: string, verdict: Verdict, preferred?: string | null, trims?: Record<string, Range>) => Label} */
export function label(labelId, queryId, verdict, preferred = null, trims = {}) {
  return { type: "label", label_id: labelId, query_id: queryId, verdict, preferred, trims };
}

/** @param {Changes} changes @returns {SettingsMessage} */
export function settings(changes) {
  return { type: "settings", changes };
}

/** @param {string} text @returns {Record<string, any>} */
function json(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new WireError(`a message that is not JSON: ${text.slice(0, 80)}`);
  }
  if (kind(value) !== "object") throw new WireError(`a message that is not an object: ${text.slice(0, 80)}`);
  return value;
}

/** @param {any} message @param {string} name */
function check(message, name) {
  if (kind(message) !== "object") throw new WireError(`${name} is ${kind(message)}`);
  for (const shape of SHAPES[name].split(" ")) {
    const [, field, wanted, optional] = shape.match(/(\w+):(\w+)(\??)/) ?? [];
    const value = message[field];
    if (value === null && optional) continue;
    if (wanted in SHAPES) check(value, wanted);
    else if (kind(value) !== wanted) throw new WireError(`${name}.${field} is ${kind(value)}, not ${wanted}`);
  }
}

/** @param {unknown} value @returns {string} */
function kind(value) {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}
