import assert from "node:assert/strict";
import { test } from "node:test";

import { lineOf } from "../../web/sparkline.js";

test("a curve goes from edge to edge, the highest value on top", () => {
  assert.equal(lineOf([[0, 5], [50, 10], [100, 0]]), "3,14 80,3 157,25");
});

test("points stand where their steps are, not side by side", () => {
  assert.equal(lineOf([[0, 0], [10, 1], [100, 1]]), "3,25 18.4,3 157,3");
});

test("a curve that does not move lies in the middle", () => {
  assert.equal(lineOf([[0, 7], [10, 7]]), "3,14 157,14");
  assert.equal(lineOf([[4, 7]]), "80,14");
});
