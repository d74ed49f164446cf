import assert from "node:assert/strict";
import { test } from "node:test";

import { pointsOf, tracesOf } from "../../web/traces.js";

const rewards = [[0, 1, 2, 3], [10, 20]];

test("each line goes over the clock of both clips, and ends where its clip does", () => {
  const clips = [{ range: [0, 4], frameRate: 20 }, { range: [0, 2], frameRate: 20 }];
  assert.deepEqual(tracesOf(clips, rewards), [[0, 1, 2, 3], [10, 20]]);
});

test("a clip of half the frames in a second has each of them for two ticks", () => {
  const clips = [{ range: [0, 4], frameRate: 20 }, { range: [0, 2], frameRate: 10 }];
  assert.deepEqual(tracesOf(clips, rewards), [[0, 1, 2, 3], [10, 10, 20, 20]]);
});

test("a trimmed clip's line begins with what is left of it", () => {
  const clips = [{ range: [1, 3], frameRate: 20 }, { range: [1, 2], frameRate: 20 }];
  assert.deepEqual(tracesOf(clips, rewards), [[1, 2], [20]]);
});

test("both lines are drawn on one scale, the most at the top", () => {
  assert.deepEqual(pointsOf([[0, 1, 2], [4, 3]]), ["0,100 500,75 1000,50", "0,0 500,25"]);
});

test("what never changes is drawn half-way up", () => {
  assert.deepEqual(pointsOf([[2, 2], [2]]), ["0,50 1000,50", "0,50"]);
});
