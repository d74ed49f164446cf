import assert from "node:assert/strict";
import { test } from "node:test";

import { recalled, withReason } from "../../web/reasons.js";

test("the last five reasons are kept, each once, the newest first", () => {
  const given = ["a", "b", "c", "b", "", "d", "e", "f"];
  assert.deepEqual(given.reduce(withReason, []), ["f", "e", "d", "b", "c"]);
});

test("what the browser kept is a list of short texts, or nothing", () => {
  assert.deepEqual(recalled('["it falls", 7, null, "steadier"]'), ["it falls", "steadier"]);
  assert.deepEqual(recalled(JSON.stringify(["x".repeat(201)])), []);
  for (const text of [null, "", "null", "{}", "[1"]) assert.deepEqual(recalled(text), []);
});
