import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { WireError, hello, here, label, parse, pause, report, settings, unpackPair } from "../../web/wire.js";

/** The examples that the Python tests read, too. */
const text = (name) => readFileSync(new URL(`../wire/${name}.json`, import.meta.url), "utf8");
const example = (name) => JSON.parse(text(name));

/** As `pack_pair` in rltrainer/labeling/messages.py. */
function pack(header, ...videos) {
  const head = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(head.length);
  return Uint8Array.from(Buffer.concat([length, head, ...videos])).buffer;
}

function small(name = "pair_header") {
  const header = example(name);
  header.clips[0].bytes = 3;
  header.clips[1].bytes = 2;
  return header;
}

for (const name of ["welcome", "rules", "ack", "refused", "withdrawn", "status", "curves", "predicted", "report_ready"]) {
  test(`the service's ${name} is understood as it stands`, () => assert.deepEqual(parse(text(name)), example(name)));
}

test("what the page sends is what the service reads", () => {
  const trims = { "seg-a": [5, 40] };
  assert.deepEqual(hello("s3cret", ["q7"]), example("hello"));
  assert.deepEqual(here(), example("here"));
  assert.deepEqual(report(), example("report"));
  assert.deepEqual(label("5f0c1c9e-58a5-4d0c-a55c-0f6f7d3b0c11", "q1", "prefer", "seg-a", trims), example("label"));
  assert.deepEqual(label("5f0c1c9e-58a5-4d0c-a55c-0f6f7d3b0c12", "q1", "equal"), example("label_equal"));
  assert.deepEqual(label("5f0c1c9e-58a5-4d0c-a55c-0f6f7d3b0c13", "q1", "undo"), example("label_undo"));
  assert.deepEqual(label("5f0c1c9e-58a5-4d0c-a55c-0f6f7d3b0c14", "q1", "prefer", "seg-a", {}, "much"), example("label_much"));
  assert.deepEqual(label("5f0c1c9e-58a5-4d0c-a55c-0f6f7d3b0c15", "q1", "both_bad", null, {}, undefined, "both fall at once"), example("label_both_bad"));
  assert.deepEqual(pause(true), example("pause"));
  assert.deepEqual(settings({ "labeling.allow_ties": true, "clips.speed": 1.5 }), example("settings"));
});

test("a pair comes apart into header and two videos", () => {
  for (const name of ["pair_header", "pair_header_watched"]) {
    const { header, videos } = unpackPair(pack(small(name), Buffer.from([1, 2, 3]), Buffer.from([4, 5])));
    assert.deepEqual(header, small(name));
    assert.deepEqual(videos.map((video) => [...video]), [[1, 2, 3], [4, 5]]);
  }
});

test("a pair that is cut short or too long is refused", () => {
  assert.throws(() => unpackPair(new ArrayBuffer(2)), WireError);
  assert.throws(() => unpackPair(Uint8Array.from([255, 0, 0, 0, 1]).buffer), WireError);
  assert.throws(() => unpackPair(pack(small(), Buffer.from([1, 2, 3]), Buffer.from([4]))), /says that it has/);
  assert.throws(() => unpackPair(pack(small(), Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6]))), /says that it has/);
  assert.throws(() => unpackPair(Uint8Array.from([0, 0, 0, 1, 123]).buffer), /not JSON/);
});

test("a type from a newer service is passed over, what is no message is not", () => {
  assert.equal(parse('{"type": "fanfare"}'), null);
  assert.equal(parse('{"type": "toString"}'), null);
  assert.throws(() => parse('{"type": "ack",'), WireError);
});
