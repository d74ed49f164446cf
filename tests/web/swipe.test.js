import assert from "node:assert/strict";
import { test } from "node:test";

import { gestureOf } from "../../web/swipe.js";

const from = { x: 200, y: 100, at: 0 };
const to = (x, y, at = 100) => gestureOf(from, { x: 200 + x, y: 100 + y, at });

test("a swipe goes far to a side, whichever; what goes up or down is a scroll", () => {
  assert.deepEqual([to(64, 0), to(-64, 0), to(150, 70), to(63, 0), to(70, 40), to(0, 150)], ["swipe", "swipe", "swipe", null, null, null]);
});

test("a tap is short and stays where it is", () => {
  assert.deepEqual([to(0, 0), to(9, -9), to(10, 0), to(0, 0, 400)], ["tap", "tap", null, null]);
});
