import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { POINTS } from "../../web/curves.js";
import { HISTORY, LOCK_MS, SPEEDS, WATCH_MS, WATCH_QUEUE, foreseen, held, initialState, mayAnswer, mayPause, onScreen, paceOf, rangeOf, reduce, stage, stranded, trimming } from "../../web/state.js";
import { label } from "../../web/wire.js";

const example = (name) => JSON.parse(readFileSync(new URL(`../wire/${name}.json`, import.meta.url), "utf8"));
const RULES = { ...example("rules"), allow_ties: true };

/** Events in turn; a frozen state shows that none is changed in place. */
const run = (state, ...events) => events.reduce((now, event) => freeze(reduce(now, event)), state);

function freeze(value) {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) Object.values(Object.freeze(value)).forEach(freeze);
  return value;
}

const welcome = (more = {}, outbox = []) => ({ type: "welcome", message: { ...example("welcome"), rules: RULES, ...more }, outbox });
const clip = (id, frames = 50) => ({ segment_id: id, bytes: 1, frames, frame_rate: 20, width: 64, height: 64 });
/** The toss falls the other way where the second clip is called z. */
const pair = (id, second = "b", answer = null) => ({ type: "pair", header: { type: "pair", query_id: id, clips: [clip(`${id}-a`), clip(`${id}-${second}`)], answer } });
const shown = (queryId, at = 0) => ({ type: "shown", queryId, at });
const answer = (choice, labelId = "l1", at = 1000) => ({ type: "answer", choice, labelId, at });
const ready = (...events) => run(initialState(), welcome(), pair("q1"), pair("q2"), shown("q1"), ...events);
const ids = (pairs) => pairs.map((one) => one.queryId);

test("a label names the segment that was chosen, whatever its side", () => {
  for (const [second, choice, preferred] of [["b", "left", "q1-a"], ["b", "right", "q1-b"], ["z", "left", "q1-z"], ["z", "right", "q1-a"]]) {
    const state = run(initialState(), welcome(), pair("q1", second), shown("q1"), answer(choice));
    assert.deepEqual(state.outbox, [label("l1", "q1", "prefer", preferred)]);
  }
});

test("slightly and much better name the same segment as better, and say so", () => {
  for (const side of ["left", "right"]) {
    const [plain] = ready(answer(side)).outbox;
    for (const strength of ["slightly", "much"]) assert.deepEqual(ready(answer(`${strength}-${side}`)).outbox, [{ ...plain, strength }]);
    assert.equal("strength" in plain, false, "an arrow alone leaves it open");
  }
});

test("an answer brings the next pair and waits in the outbox for its ack", () => {
  const state = ready(answer("equal"));
  assert.deepEqual(ids(state.pairs), ["q2"]);
  assert.deepEqual(state.outbox, [label("l1", "q1", "equal")]);
  const ack = { type: "ack", message: { type: "ack", label_id: "l1", saved: 8 } };
  const acked = run(state, ack);
  assert.deepEqual([acked.outbox, acked.saved], [[], 8]);
  assert.equal(run(acked, ack), acked);
});

test("nobody answers a pair unseen", () => {
  const state = ready();
  assert.equal(mayAnswer(state, "left", LOCK_MS - 1), false);
  assert.equal(mayAnswer(state, "left", LOCK_MS), true);
  const next = run(state, answer("left"));
  assert.equal(run(next, answer("left", "l2", 1100)), next, "the next pair is not on screen yet");
  assert.equal(run(next, shown("q2", 1050), answer("left", "l2", 1100)).outbox.length, 1, "it is, but only just");
  assert.equal(run(next, shown("q2", 1050), answer("left", "l2", 1050 + LOCK_MS)).outbox.length, 2);
});

test("what is said aloud differs from what was said before, so that a screen reader says it again", () => {
  const first = ready(pair("q3"), answer("left"));
  const second = run(first, shown("q2", 1100), answer("left", "l2", 2000));
  assert.deepEqual([first, second].map(({ spoken }) => spoken.trim()), Array(2).fill("Left chosen. Next pair."));
  assert.notEqual(first.spoken, second.spoken);
  const undone = [run(second, { type: "undo", labelId: "u1" })];
  undone.push(run(undone[0], { type: "undo", labelId: "u2" }));
  assert.notEqual(undone[0].spoken, undone[1].spoken);
});

test("a page that lost its line brings back what it holds, but for a pair whose undo is not saved", () => {
  const undo = { type: "undo", labelId: "u" };
  const lost = ready(answer("left"), { type: "ack", message: { type: "ack", label_id: "l1", saved: 1 } }, { type: "lost", retryAt: 9, now: 0 }, undo);
  assert.deepEqual([ids(lost.pairs), held(lost)], [["q1", "q2"], ["q2"]]);
  assert.deepEqual(held(run(lost, { type: "ack", message: { type: "ack", label_id: "u", saved: 0 } })), ["q1", "q2"]);
  assert.deepEqual(held(run(lost, welcome({ mode: "watch" }))), []);
});

test("keys take nothing back behind a page that says what went wrong", () => {
  const state = ready(answer("left"), { type: "trouble", sentence: "x", details: "y" });
  assert.equal(run(state, { type: "undo", labelId: "u" }), state);
});

test("what the rules forbid is no answer", () => {
  const off = { type: "rules", message: { ...RULES, allow_ties: false, allow_skipping: false } };
  assert.deepEqual(ready(off, answer("equal"), answer("both-bad"), answer("skip")).outbox, []);
  assert.deepEqual(ready(answer("both-bad")).outbox, [label("l1", "q1", "both_bad")]);
  assert.equal(ready(answer("skip")).outbox[0].verdict, "skip");
});

test("what the reward predicts stays with its pair, also with one that is answered, and of another length is not taken", () => {
  const told = (id, frames = 50) => ({ type: "predicted", message: { type: "predicted", query_id: id, version: 4, rewards: { [`${id}-a`]: Array(frames).fill(0.5), [`${id}-b`]: Array(50).fill(1) } } });
  const state = ready(told("q1"), answer("left"), told("q2", 49), told("q3"), { type: "undo", labelId: "l2" });
  assert.deepEqual(ids(state.pairs), ["q1", "q2"]);
  assert.deepEqual(state.pairs[0].rewards["q1-b"], Array(50).fill(1));
  assert.equal(state.pairs[1].rewards, null);
});

test("what the reward predicts is shown where there is a reward, nobody watches, and it is no study", () => {
  const version = (reward_version) => ({ type: "status", message: { ...example("status"), reward_version } });
  assert.equal(foreseen(ready(version(1))), true);
  assert.equal(foreseen(ready(version(0))), false);
  assert.equal(foreseen(ready(version(null))), false);
  assert.equal(foreseen(ready(version(1), { type: "rules", message: { ...RULES, config_restricted: true } })), false);
  assert.equal(foreseen(run(initialState(), welcome({ mode: "watch" }), version(1))), false);
});

test("an undo says so to the service and puts the pair back with its trims", () => {
  const trim = { type: "trim", queryId: "q1", segmentId: "q1-a", range: [5, 40] };
  const state = ready(trim, answer("left"), shown("q2", 1100), { type: "undo", labelId: "l2" });
  assert.deepEqual(state.outbox, [label("l1", "q1", "prefer", "q1-a", { "q1-a": [5, 40] }), label("l2", "q1", "undo")]);
  assert.deepEqual(ids(state.pairs), ["q1", "q2"]);
  assert.deepEqual(state.pairs[0].trims, { "q1-a": [5, 40] });
  assert.deepEqual(state.history, []);
  assert.equal(run(state, { type: "undo", labelId: "l3" }), state, "nothing is left to take back");
});

test("the last answers can be taken back one by one, the newest first", () => {
  let state = run(initialState(), welcome());
  for (let i = 0; i < HISTORY + 3; i += 1) state = run(state, pair(`q${i}`), shown(`q${i}`, i * 1000), answer("left", `l${i}`, i * 1000 + 500));
  assert.equal(state.history.length, HISTORY);
  for (let i = 0; i < HISTORY + 1; i += 1) state = run(state, { type: "undo", labelId: `u${i}` });
  assert.deepEqual(ids(state.pairs), Array.from({ length: HISTORY }, (_, i) => `q${i + 3}`));
});

test("any of the last answers can be taken back, and its pair comes at once", () => {
  const three = ["q1", "q2", "q3"].reduce((now, id, i) => run(now, pair(id), shown(id, i * 1000), answer("left", `l${i}`, i * 1000 + 500)), run(initialState(), welcome()));
  const state = run(three, { type: "reviewOpened" }, { type: "undo", labelId: "u", queryId: "q1" });
  assert.deepEqual([ids(state.pairs), ids(state.history), state.reviewing], [["q1"], ["q2", "q3"], false]);
  assert.deepEqual(state.outbox.at(-1), label("u", "q1", "undo"));
  assert.equal(run(state, { type: "undo", labelId: "v", queryId: "q9" }), state);
  assert.equal(run(initialState(), welcome(), { type: "reviewOpened" }).reviewing, false, "there is nothing to see");
});

test("what counts as saved is what the service says, answers of earlier visits included", () => {
  const state = run(initialState(), welcome({ saved: 7 }));
  assert.equal(state.saved, 7);
  assert.equal(run(state, welcome({ saved: 9 })).saved, 9);
});

test("a trim is kept within the clip and never empty, and the whole clip is no trim", () => {
  const trim = (range) => ready({ type: "trim", queryId: "q1", segmentId: "q1-b", range }).pairs[0].trims;
  assert.deepEqual(trim([10, 20]), { "q1-b": [10, 20] });
  assert.deepEqual(trim([30, 20]), { "q1-b": [30, 31] });
  assert.deepEqual(trim([-5, 900]), {});
  assert.deepEqual(trim([60, 70]), { "q1-b": [49, 50] });
  assert.deepEqual(trim(null), {});
});

test("a trim counts only while trimming is allowed", () => {
  const state = ready({ type: "trim", queryId: "q1", segmentId: "q1-a", range: [5, 40] });
  assert.deepEqual(rangeOf(state, state.pairs[0], 0), [5, 40]);
  const off = run(state, { type: "rules", message: { ...RULES, allow_editing: false } });
  assert.deepEqual(rangeOf(off, off.pairs[0], 0), [0, 50]);
  assert.deepEqual(run(off, answer("left")).outbox[0].trims, {});
});

test("labels that were not acked before a reload are in the outbox again and their pairs are not shown", () => {
  const kept = [label("l1", "q1", "prefer", "q1-a"), label("l2", "q2", "equal"), label("l3", "q2", "undo")];
  const state = run(initialState(), welcome({}, kept), pair("q1"), pair("q2"));
  assert.deepEqual(state.outbox, kept);
  assert.deepEqual(ids(state.pairs), ["q2"], "q2's answer was taken back");
});

test("answers from before a reload can be taken back, and a page that has shown nothing yet is not up to date for them", () => {
  const kept = ready(answer("left")).history;
  const remembered = { type: "remembered", history: kept };
  const state = run(initialState(), welcome(), pair("q2"), remembered);
  assert.deepEqual(ids(state.history), ["q1"]);
  assert.equal(stage(state), "loading");
  const undone = run(state, { type: "undo", labelId: "l2" });
  assert.deepEqual(run(undone, remembered).history, [], "what is here to be answered is no past answer");
  assert.deepEqual([ids(undone.pairs), undone.outbox], [["q1", "q2"], [label("l2", "q1", "undo")]]);
  assert.deepEqual(ids(run(state, pair("q1")).history), [], "asked again, it is no past answer");
  const many = Array.from({ length: HISTORY + 1 }, (_, index) => ({ ...kept[0], queryId: `old${index}` }));
  assert.deepEqual(ids(run(ready(answer("left")), { ...remembered, history: many }).history).slice(-2), [`old${HISTORY}`, "q1"], "the newest are kept");
});

test("a reconnect keeps what is on hand, and a pair that comes twice is there once", () => {
  const state = ready(answer("left"), shown("q2", 1100), { type: "lost", retryAt: 3000, now: 2000 }, { type: "connecting" }, welcome(), pair("q1"), pair("q2"), pair("q3"));
  assert.deepEqual(ids(state.pairs), ["q2", "q3"]);
  assert.deepEqual([state.outbox.length, state.shown.queryId, state.history.length], [1, "q2", 1]);
});

test("a clip made anew at another rate takes the place of the old one and of its trims", () => {
  const anew = pair("q1");
  anew.header.clips = [clip("q1-a", 100), clip("q1-b", 100)];
  const state = ready({ type: "trim", queryId: "q1", segmentId: "q1-a", range: [5, 40] }, pair("q1"));
  assert.deepEqual(state.pairs[0].trims, { "q1-a": [5, 40] }, "the same clips change nothing");
  const replaced = run(state, anew);
  assert.deepEqual([replaced.pairs[0].trims, replaced.pairs[0].clips[0], replaced.shown, replaced.pairs.length], [{}, clip("q1-a", 100), null, 2]);
});

test("another run at the same address begins with nothing of the last one", () => {
  const state = ready(answer("left"), welcome({ run: "other" }));
  assert.deepEqual([state.pairs, state.history, state.outbox, state.shown], [[], [], [], null]);
});

test("a refused label leaves the outbox, is spoken of, and its pair may be asked again", () => {
  const state = ready(answer("equal"), { type: "refused", message: { type: "refused", label_id: "l1", reason: "ties are off in this run" } });
  assert.deepEqual([state.outbox, state.history], [[], []]);
  assert.equal(state.remark, "An answer was not taken: Ties are off in this run.");
  assert.deepEqual(ids(run(state, pair("q1")).pairs), ["q2", "q1"]);
});

test("a withdrawn pair goes, on screen or not, but an answered one can still be taken back", () => {
  const gone = (...query_ids) => ({ type: "withdrawn", message: { type: "withdrawn", query_ids } });
  const state = ready(gone("q1"));
  assert.deepEqual([ids(state.pairs), state.remark], [["q2"], "That pair is no longer needed."]);
  assert.equal(ready(gone("q1", "q2")).shown, null);
  assert.deepEqual(ids(ready(answer("left"), gone("q1")).history), ["q1"]);
});

test("the pair on screen is the one shown last, until its follower is decoded", () => {
  assert.equal(onScreen(ready(answer("left"))).queryId, "q1");
  assert.equal(onScreen(ready(answer("left"), shown("q2"))).queryId, "q2");
});

test("each page has its stage", () => {
  const status = (phase) => ({ type: "status", message: { ...example("status"), phase } });
  const open = run(initialState(), welcome());
  assert.equal(stage(initialState()), "connecting");
  assert.equal(stage(open), "waiting");
  assert.equal(stage(run(open, status("warmup"))), "waiting");
  assert.equal(stage(run(open, pair("q1"))), "loading");
  assert.equal(stage(ready()), "clips");
  assert.equal(stage(run(open, status("training"))), "empty");
  assert.equal(stage(run(open, status("finished"))), "finished");
  assert.equal(stage(ready(status("finished"))), "clips", "what is on hand can still be answered");
  assert.equal(stage(run(open, { type: "lost", retryAt: 1, now: 0 })), "offline");
  assert.equal(stage(ready({ type: "lost", retryAt: 1, now: 0 })), "clips", "buffered pairs can be answered");
  const lost = { type: "lost", retryAt: 1, now: 0 };
  assert.equal(stage(run(open, status("finished"), lost)), "finished", "the service ends with the training");
  assert.equal(stage(ready(status("stopped"), lost)), "stopped", "nobody learns from what is on hand");
  assert.equal(stage(ready({ type: "denied", reason: "x" })), "denied");
  assert.equal(stage(ready({ type: "trouble", sentence: "x", details: "y" })), "error");
  assert.equal(stage(run(initialState(), welcome({ protocol: 99 }))), "error");
});

test("a watched pair gives way to the next after a while, and old ones are dropped", () => {
  const chosen = { verdict: "prefer", preferred: "q1-a", labeler: "oracle" };
  const many = Array.from({ length: WATCH_QUEUE + 2 }, (_, i) => pair(`q${i}`, false, chosen));
  const state = run(initialState(), welcome({ mode: "watch" }), ...many, shown("q0", 0));
  assert.deepEqual(ids(state.pairs), ["q0", "q3", "q4", "q5"]);
  assert.equal(run(state, { type: "tick", now: WATCH_MS - 1 }).pairs.length, WATCH_QUEUE);
  assert.equal(run(state, { type: "tick", now: WATCH_MS }).pairs[0].queryId, "q3");
  assert.deepEqual(run(state, answer("left"), { type: "undo", labelId: "u" }).outbox, []);
});

test("where less motion is asked for, clips start still until somebody plays one", () => {
  const state = run(initialState({ playing: false }), welcome(), pair("q1"), pair("q2"), shown("q1"));
  assert.equal(state.playing, false);
  assert.equal(run(state, answer("left")).playing, false);
  assert.equal(run(state, { type: "toggle" }, answer("left")).playing, true);
  assert.equal(ready({ type: "toggle" }, answer("left")).playing, true, "a pause ends with its pair");
});

test("speed goes by steps between a quarter and double, and stays for the next pair", () => {
  const press = (state, by, times) => run(state, ...Array.from({ length: times }, () => ({ type: "speed", by })));
  assert.deepEqual([press(ready(), -1, 9).speed, press(ready(), 1, 9).speed], [0.25, 2]);
  assert.equal(press(ready(), -1, 1).speed, 0.75);
  assert.equal(run(press(ready(), 1, 1), answer("left")).speed, 1.25);
  for (const speed of [NaN, 0, 3]) assert.equal(initialState({ speed }).speed, 1);
  assert.ok(SPEEDS.every((speed) => initialState({ speed }).speed === speed));
});

test("a clip is enlarged, then the other, then none, and none for the next pair", () => {
  const enlarge = (side) => ({ type: "enlarge", side });
  const one = ready(enlarge());
  assert.deepEqual([one.enlarged, run(one, enlarge()).enlarged, run(one, enlarge(), enlarge()).enlarged], [0, 1, null]);
  assert.deepEqual([run(one, enlarge(1)).enlarged, run(one, enlarge(0)).enlarged], [1, null]);
  assert.equal(run(one, { type: "back" }).enlarged, null);
  assert.equal(run(one, answer("left")).enlarged, null);
  assert.equal(run(initialState(), welcome(), enlarge()).enlarged, null, "there is nothing to enlarge");
});

test("a step holds the clips until the next pair", () => {
  const held = ready({ type: "hold" });
  assert.equal(held.playing, false);
  assert.equal(run(held, answer("left")).playing, true);
  assert.equal(run(held, { type: "play" }).playing, true);
});

test("trim handles are there only where trimming is allowed", () => {
  const state = ready({ type: "trimming" });
  assert.deepEqual([trimming(ready()), trimming(state), trimming(run(state, { type: "trimming" }))], [false, true, false]);
  assert.equal(trimming(run(state, { type: "rules", message: { ...RULES, allow_editing: false } })), false);
});

test("each status that tells something new goes on the curves", () => {
  const status = (step, true_return) => ({ type: "status", message: { ...example("status"), step, true_return } });
  const points = [[4096, null, -310.5, 0]];
  const state = run(initialState(), welcome(), { type: "curves", message: { type: "curves", points } }, status(20480, 512.3), status(24576, 512.3));
  assert.deepEqual(state.curves, [points[0], [20480, 0.82, 512.3, 4]]);
  assert.deepEqual(run(state, status(8192, 1)).curves, [points[0], [8192, 0.82, 1, 4]], "back to a checkpoint");
  const many = run(state, ...Array.from({ length: 3 * POINTS }, (_, i) => status(30_000 + i, i)));
  assert.ok(many.curves.length <= POINTS);
  assert.deepEqual([many.curves[0], many.curves.at(-1)[2]], [points[0], 3 * POINTS - 1]);
});

test("the pace is told from the last answers, breaks and what was taken back left out", () => {
  const answered = (...seconds) => seconds.reduce((now, s, i) => run(now, pair(`q${i}`), shown(`q${i}`, s * 1000 - 500), answer("left", `l${i}`, s * 1000)), run(initialState(), welcome()));
  assert.equal(paceOf(answered(10, 14, 18)), null, "two answers tell no pace");
  assert.equal(paceOf(answered(10, 14, 18, 22)), 15);
  assert.equal(paceOf(answered(10, 14, 18, 3600, 3604)), 15);
  assert.equal(paceOf(run(answered(10, 14, 18, 22, 52), { type: "undo", labelId: "u" })), 15);
});

test("settings close when the rules come, and stay open with a sentence when they are refused", () => {
  const sent = ready({ type: "settingsOpened" }, { type: "settingsSent" });
  assert.deepEqual(run(sent, { type: "rules", message: RULES }).settings, { open: false, pending: false, error: "" });
  const refused = run(sent, { type: "refused", message: { type: "refused", label_id: null, reason: "speed is 99: too much" } });
  assert.deepEqual(refused.settings, { open: true, pending: false, error: "Speed is 99: too much." });
  assert.equal(ready({ type: "rules", message: { ...RULES, config_restricted: true } }, { type: "settingsOpened" }).settings.open, false);
});

test("one clip that cannot be played is left out; a browser that plays none is told so, until one plays", () => {
  const bad = (queryId) => ({ type: "unplayable", queryId, details: "x" });
  assert.equal(stage(ready(bad("q1"))), "clips");
  const none = run(initialState(), welcome(), pair("q1"), bad("q1"));
  assert.equal(stage(none), "error");
  assert.equal(stage(run(none, pair("q2"), shown("q2"))), "clips");
});

test("a page is stranded where it holds nothing but pairs that it could not play, until it comes anew", () => {
  const gone = (queryId) => ({ type: "unplayable", queryId, details: "x" });
  assert.ok(!stranded(ready(answer("left"))), "a pair is there");
  assert.ok(!stranded(ready(gone("q2"))), "a pair is there");
  const left = ready(gone("q2"), answer("left"));
  assert.ok(stranded(left));
  assert.ok(stranded(ready(answer("left"), gone("q2"))));
  const back = run(left, { type: "connecting" });
  assert.ok(!stranded(run(back, welcome())));
  assert.ok(stranded(run(back, pair("q3"), gone("q3"), welcome())), "hello may have said that it holds q3");
  assert.ok(!stranded(run(left, { type: "lost", retryAt: 1, now: 0 })));
  assert.ok(!stranded(run(initialState(), welcome(), pair("q1"), gone("q1"))), "it has played nothing yet");
});

test("an event from nowhere changes nothing", () => {
  const state = ready();
  assert.equal(reduce(state, { type: "constructor" }), state);
  assert.equal(reduce(state, { type: "nonsense" }), state);
});

test("the same two clips asked about again with their sides swapped are shown with their sides swapped", () => {
  const left = (one, two) => {
    const clips = [clip(one), clip(two)];
    return run(initialState(), welcome(), { ...pair("q"), header: { ...pair("q").header, clips } }, shown("q"));
  };
  const ids = ["3a90", "07c1", "77f2", "1b0e", "52dd", "9004"];
  const tosses = new Set();
  for (const one of ids) {
    for (const two of ids.filter((id) => id !== one)) {
      const [first, again] = [left(one, two), left(two, one)].map((state) => onScreen(state).clips.map((shown) => shown.segment_id));
      assert.deepEqual(first, again.toReversed());
      tosses.add(first[0] === one);
    }
  }
  assert.equal(tosses.size, 2);
});

const reason = (text, queryId = "q1") => ({ type: "reason", queryId, text });

test("a reason goes with the next answer only, comes back with an undo, and is kept to be given again", () => {
  const state = ready({ type: "explaining" }, reason("  it falls "), answer("both-bad"), shown("q2", 1100), answer("left", "l2", 2000));
  assert.deepEqual(state.outbox.map((sent) => sent.reason), ["it falls", undefined]);
  assert.deepEqual([state.explaining, state.reasons], [false, ["it falls"]]);
  assert.equal(run(state, { type: "undo", labelId: "u", queryId: "q1" }).pairs[0].reason, "  it falls ");
});

test("a reason is short, and none is sent where they are off", () => {
  assert.equal(ready(reason("x".repeat(300))).pairs[0].reason.length, 200);
  const off = { type: "rules", message: { ...RULES, allow_reasons: false } };
  assert.equal("reason" in ready(reason("it falls"), off, answer("left")).outbox[0], false);
  assert.equal(ready(off, { type: "explaining" }).explaining, false);
});

test("training may be paused from an admin’s page while it trains", () => {
  const status = (phase) => ({ type: "status", message: { ...example("status"), phase } });
  assert.deepEqual(["starting", "warmup", "training", "paused", "finished"].map((phase) => mayPause(ready(status(phase)))), [false, false, true, true, false]);
  assert.equal(mayPause(ready(welcome({ admin: false }), status("training"))), false);
  assert.equal(mayPause(ready(status("training"), { type: "rules", message: { ...RULES, config_restricted: true } })), true);
  assert.equal(ready({ type: "refused", message: { label_id: null, reason: "not from here" } }).remark, "Not from here.");
});
