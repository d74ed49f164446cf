import assert from "node:assert/strict";
import { test } from "node:test";

import { changesOf } from "../../web/settings.js";

const rules = { type: "rules", allow_editing: true, allow_skipping: true, allow_ties: false, config_restricted: false, speed: 1, frame_rate: null, queue_size: 8 };
const filled = (more) => ({ allow_editing: true, allow_skipping: true, allow_ties: false, speed: "1", frame_rate: "", queue_size: "8", ...more });

test("only what changed is sent, under its name in config.yaml", () => {
  assert.deepEqual(changesOf(rules, filled()), { changes: {} });
  assert.deepEqual(changesOf(rules, filled({ allow_ties: true, speed: "1.5", frame_rate: "30" })), {
    changes: { "labeling.allow_ties": true, "clips.speed": 1.5, "clips.frame_rate": 30 },
  });
  assert.deepEqual(changesOf({ ...rules, frame_rate: 30 }, filled()), { changes: { "clips.frame_rate": null } });
});

test("a number that cannot be is named in a sentence", () => {
  for (const wrong of [{ speed: "0" }, { speed: "" }, { speed: "fast" }, { frame_rate: "-1" }, { queue_size: "1.5" }, { queue_size: "" }]) {
    assert.match(changesOf(rules, filled(wrong)).error, /^(Playback speed|Frame rate|Queue): give a/);
  }
});
