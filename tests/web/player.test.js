import assert from "node:assert/strict";
import { test } from "node:test";

import { Player, framesAt, positionAt } from "../../web/player.js";

const whole = (frames, frameRate = 20) => ({ range: [0, frames], frameRate });

test("both clips begin together, and the shorter waits for the longer one", () => {
  assert.deepEqual(framesAt(0, [whole(50), whole(10)]), [0, 0]);
  assert.deepEqual(framesAt(0.15, [whole(50), whole(10)]), [3, 3]);
  assert.deepEqual(framesAt(2, [whole(50), whole(10)]), [40, 9]);
  assert.deepEqual(framesAt(2.5 + 0.1, [whole(50), whole(10)]), [49, 9], "a short rest on the last frame");
  assert.deepEqual(framesAt(2.5 + 0.35 + 0.05, [whole(50), whole(10)]), [1, 1]);
});

test("a place on the shared clock is a frame of the finer clip", () => {
  assert.deepEqual(positionAt(0.15, [whole(50), whole(10)]), { tick: 3, count: 50, rate: 20 });
  assert.deepEqual(positionAt(2.5 + 0.1, [whole(50), whole(10)]).tick, 49, "the rest at the end is no place of its own");
  assert.deepEqual(positionAt(0.5, [{ range: [10, 20], frameRate: 20 }, whole(60, 60)]), { tick: 30, count: 60, rate: 60 });
  for (const rate of [7, 20, 30, 60, 125]) {
    for (let tick = 0; tick < 200; tick += 1) assert.equal(positionAt(tick / rate, [whole(200, rate), whole(3, rate)]).tick, tick);
  }
});

test("a trimmed clip plays its range only, at its own rate", () => {
  const clips = [{ range: [10, 20], frameRate: 20 }, { range: [0, 30], frameRate: 60 }];
  assert.deepEqual(framesAt(0.25, clips), [15, 15]);
  assert.deepEqual(framesAt(0.6, clips), [19, 29]);
});

test("every frame of a clip is shown, none twice as long by rounding", () => {
  const frames = Array.from({ length: 50 }, (_, i) => framesAt((i + 0.5) / 50, [whole(50, 50)])[0]);
  assert.deepEqual(frames, Array.from({ length: 50 }, (_, i) => i));
  assert.deepEqual(Array.from({ length: 50 }, (_, i) => framesAt(i / 50, [whole(50, 50)])[0]), frames);
});

test("a pause, however long, is no part of the clip", () => {
  const screen = () => ({ canvas: { getContext: () => null }, head: { style: {} } });
  const player = new Player([screen(), screen()]);
  const clip = { frames: 50, frame_rate: 20, width: 1, height: 1, segment_id: "s" };
  player.show({ queryId: "q", clips: [clip, clip] }, new Map());
  const tick = (now, playing) => (player.tick(now, { playing, speed: 1, ranges: [[0, 50], [0, 50]] }), player.position.tick);
  tick(1000, true);
  assert.equal(tick(1100, true), 2);
  assert.equal(tick(1120, false), 2);
  assert.equal(tick(5000, true), 2);
  assert.equal(tick(5100, true), 4);
});
