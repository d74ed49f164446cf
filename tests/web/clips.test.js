import assert from "node:assert/strict";
import { test } from "node:test";

import { Shelf } from "../../web/clips.js";

const settled = () => new Promise((resolve) => setImmediate(resolve));

test("only the urgent pairs keep pictures, the most urgent is decoded first, and bytes come back to pictures", async () => {
  const [decoded, closed] = [[], []];
  const decode = async ({ segment_id }) => [{ close: () => closed.push(segment_id) }];
  const shelf = new Shelf((id) => decoded.push(id), assert.fail, decode);
  const add = (id) => shelf.add({ query_id: id, clips: [{ segment_id: `${id}a` }, { segment_id: `${id}b` }] }, [new Uint8Array(), new Uint8Array()]);
  ["q1", "q2", "q3"].forEach(add);
  shelf.settle(["q1", "q2", "q3"], ["q2", "q1"]);
  await settled();
  assert.deepEqual(decoded, ["q2", "q1"]);
  assert.deepEqual([...shelf.pictures("q1").keys()], ["q1a", "q1b"]);
  shelf.settle(["q1", "q3"], ["q3"]);
  await settled();
  assert.deepEqual(closed, ["q1a", "q1b", "q2a", "q2b"]);
  assert.deepEqual([shelf.pictures("q1"), shelf.pictures("q2")], [null, null]);
  shelf.settle(["q1", "q3"], ["q1", "q2"]);
  await settled();
  assert.equal(shelf.pictures("q1").size, 2);
});

test("a pair that is forgotten while it is decoded leaves nothing behind", async () => {
  const closed = [];
  const shelf = new Shelf(assert.fail, assert.fail, async ({ segment_id }) => [{ close: () => closed.push(segment_id) }]);
  shelf.add({ query_id: "q1", clips: [{ segment_id: "a" }, { segment_id: "b" }] }, [new Uint8Array(), new Uint8Array()]);
  shelf.settle(["q1"], ["q1"]);
  shelf.settle([], []);
  await settled();
  assert.deepEqual(closed, ["a", "b"]);
});
