import assert from "node:assert/strict";
import { test } from "node:test";

import { initialState } from "../../web/state.js";
import { label } from "../../web/wire.js";
import { bannerWords, insightWords, insights, linkWords, pauseWords, savedWords, soonWords, stageWords, verdictWords } from "../../web/words.js";

const one = label("l1", "q1", "prefer", "s1");
const two = label("l2", "q1", "undo");

test("the state is said in words", () => {
  const welcome = { run: "r", env: "e", labeler: "you", mode: "label", task: "t", notice: null };
  const state = { ...initialState(), welcome, link: { phase: "waiting", retryAt: 5200, reason: "" }, now: 2000 };
  assert.equal(linkWords(state), "Reconnecting in 4 s");
  assert.equal(linkWords({ ...state, status: { phase: "finished" } }), "Not connected", "nothing will answer");
  assert.equal(savedWords({ ...state, saved: 14, outbox: [one, two] }), "14 saved, 2 unsent");
  assert.equal(savedWords(state), "0 saved");
  assert.equal(stageWords({ ...state, outbox: [one] }).text, "Your last answer is kept and sent later. Reconnecting in 4 s.");
  const pair = { queryId: "q", clips: [{ segment_id: "a" }, { segment_id: "b" }], answer: null, trims: {} };
  assert.equal(bannerWords({ ...state, pairs: [pair], shown: { queryId: "q", at: 0 } }), "Connection lost. Go on with the 1 pair here; your answers are kept.");
});

test("the end says to an admin what can be done next, and thanks the others", () => {
  const state = { ...initialState(), status: { phase: "finished", message: "rltrainer enjoy RUN" }, welcome: { admin: true } };
  assert.equal(stageWords(state).text, "rltrainer enjoy RUN");
  assert.equal(stageWords({ ...state, welcome: { admin: false } }).text, "Thank you.");
});

test("before the first clips an admin reads what the trainer says, and others that a pair comes by itself", () => {
  const state = { ...initialState(), welcome: { admin: true }, link: { phase: "open" }, status: { phase: "warmup", message: "Set fewer segments.steps." } };
  assert.equal(stageWords(state).text, "Set fewer segments.steps.");
  assert.equal(stageWords({ ...state, welcome: { admin: false } }).text, "The agent is being recorded. A pair comes by itself.");
});

test("the strip says how often the reward is right and whether more labels help, once that is known", () => {
  const said = (status) => insightWords({ ...initialState(), status });
  assert.equal(said(null), "What the labels do");
  assert.equal(said({ held_out_accuracy: null, verdict: "Too few new labels to tell yet." }), "What the labels do");
  assert.equal(
    said({ held_out_accuracy: 0.82, verdict: "New labels still change the ranking." }),
    "What the labels do · 82% right · New labels still change the ranking.",
  );
});

test("the strip has budget, pace, and a curve where there are two points of it", () => {
  const status = { labels: 12, wanted: 100, step: 500, steps: 1000, steps_per_second: null, held_out_accuracy: 0.82, true_return: null, reward_version: 2, verdict: "" };
  const state = { ...initialState(), status, times: [0, 4000, 8000, 12000], curves: [[100, null, null, 0], [200, 0.7, null, 1], [500, 0.82, null, 2]] };
  const rows = new Map(insights(state).map((row) => [row.name, row]));
  assert.equal(rows.get("Of 1,000 to train").value, "500 steps");
  assert.equal(rows.get("Budget used").value, "12 of 100 labels");
  assert.equal(rows.get("Your pace · about 6 min to go").value, "15 a minute", "88 to go");
  assert.deepEqual(rows.get("Right on unseen answers").spark, { curve: [[200, 0.7], [500, 0.82]], words: "from 70% at step 200 to 82% at step 500" });
  assert.equal(rows.get("Reward learned").spark.curve.length, 3);
  assert.equal([...rows.keys()].some((name) => name.includes("return")), false);
  assert.equal(insights({ ...state, times: [], curves: [] }).every((row) => !row.spark), true);
});

test("a watched answer is marked on the clip it names, whatever its side", () => {
  const pair = (answer) => ({ queryId: "q", clips: [{ segment_id: "a" }, { segment_id: "b" }], answer, trims: {} });
  assert.deepEqual(verdictWords(pair({ verdict: "prefer", preferred: "b", labeler: "oracle" })), ["", "✓ Chosen"]);
  assert.deepEqual(verdictWords(pair({ verdict: "both_bad", preferred: null, labeler: "ada" })), ["✕ Bad", "✕ Bad"]);
  assert.deepEqual(verdictWords(pair({ verdict: "equal", preferred: null, labeler: "oracle" })), ["= Equal", "= Equal"]);
});

test("when the next pair comes is said roughly", () => {
  assert.deepEqual([null, 0, 7, 12, 61, 89, 100, 800].map(soonWords), ["by itself", "in a few seconds", "in a few seconds", "in about 15 s", "in about 65 s", "in about 90 s", "in about 2 min", "in about 13 min"]);
});

test("a pause is said when it is asked for and when it is there", () => {
  const said = (paused, phase) => pauseWords({ ...initialState(), status: { paused, phase } });
  assert.deepEqual([said(false, "training"), said(true, "training"), said(true, "paused"), said(false, "paused")], ["", "Training pauses in a moment", "Training is paused", ""]);
});

test("a run without a reward does not promise one", () => {
  const status = { labels: 12, wanted: 100, step: 500, steps: 1000, steps_per_second: null, held_out_accuracy: null, true_return: null, reward_version: null };
  const rows = insights({ ...initialState(), status }).map(({ name, value }) => `${name}: ${value}`);
  assert.equal(rows.at(-1), "Learned from: each answer, with no reward between");
  assert.equal(rows.some((row) => /Reward|unseen/.test(row)), false);
});
