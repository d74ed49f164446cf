import assert from "node:assert/strict";
import { test } from "node:test";

import { backoff, meaningOf } from "../../web/connection.js";

test("tries come slower and slower, ten seconds apart at most", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 99].map((attempt) => backoff(attempt, 0.5)), [500, 1000, 2000, 4000, 8000, 10000, 10000]);
  assert.deepEqual([backoff(0, 0), backoff(0, 1)], [375, 625]);
});

test("only a refusal at the door ends the tries", () => {
  assert.equal(meaningOf({ welcomed: false, code: 4401 }), "denied");
  assert.equal(meaningOf({ welcomed: false, code: 1008 }), "denied");
  assert.equal(meaningOf({ welcomed: false, code: 4400 }), "outdated");
  for (const code of [1006, 1001, 4408]) assert.equal(meaningOf({ welcomed: false, code }), "lost");
  assert.equal(meaningOf({ welcomed: true, code: 4401 }), "lost");
  assert.equal(meaningOf({ welcomed: true, code: 4403 }), "denied");
});
