import assert from "node:assert/strict";
import { test } from "node:test";

import { present } from "../../web/presence.js";

test("whoever moved within a minute is there, and nobody is at a page that is not seen", () => {
  assert.equal(present({ visible: true, movedAt: 1000, now: 61_000 }), true);
  assert.equal(present({ visible: true, movedAt: 1000, now: 61_001 }), false);
  assert.equal(present({ visible: false, movedAt: 1000, now: 1000 }), false);
});
