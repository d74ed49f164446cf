import assert from "node:assert/strict";
import { test } from "node:test";

import { changesOf } from "../../web/settings.js";

const rules = { type: "rules", allow_editing: true, allow_reasons: true, allow_skipping: true, allow_ties: false, config_restricted: false, speed: 1, frame_rate: null, queue_size: 8 };
const filled = (more) => ({ allow_editing: true, allow_reasons: true, allow_skipping: true, allow_ties: false, speed: "1", frame_rate: "", queue_size: "8", ...more });

test("only what changed is sent, under its name in config.yaml", () => {
  assert.deepEqual(changesOf(rules, filled()), {});
  assert.deepEqual(changesOf(rules, filled({ allow_reasons: false, allow_ties: true, speed: "1.5", frame_rate: "30" })), {
    "labeling.allow_reasons": false,
    "labeling.allow_ties": true,
    "clips.speed": 1.5,
    "clips.frame_rate": 30,
  });
  assert.deepEqual(changesOf({ ...rules, frame_rate: 30 }, filled()), { "clips.frame_rate": null });
});
