import assert from "node:assert/strict";
import { test } from "node:test";

import { Delivery } from "../../web/outbox.js";
import { label } from "../../web/wire.js";

/** A disk whose writes end when the test says so. */
class Disk {
  writes = [];
  gone = [];
  put = (owner, entry) => new Promise((done, fail) => this.writes.push({ owner, id: entry.label_id, done, fail }));
  remove = async (id) => void this.gone.push(id);
}
const settled = () => new Promise((resolve) => setImmediate(resolve));
const one = label("l1", "q1", "prefer", "s1");
const two = label("l2", "q1", "undo");

test("a label is sent after it is on disk, and an undo never before its answer", async () => {
  const [disk, sent] = [new Disk(), []];
  const delivery = new Delivery(disk, (entry) => sent.push(entry.label_id) > 0, assert.fail);
  delivery.adopt("run/you", []);
  delivery.follow([one]);
  delivery.follow([one, two]);
  assert.deepEqual(disk.writes.map(({ owner, id }) => [owner, id]), [["run/you", "l1"], ["run/you", "l2"]]);
  disk.writes[1].done();
  await settled();
  assert.deepEqual(sent, []);
  disk.writes[0].done();
  await settled();
  assert.deepEqual(sent, ["l1", "l2"]);
  delivery.follow([two]);
  assert.deepEqual(disk.gone, ["l1"]);
});

test("a new connection gets everything that is not acked again, once", async () => {
  const [disk, sent] = [new Disk(), []];
  let open = false;
  const delivery = new Delivery(disk, (entry) => open && sent.push(entry.label_id) > 0, assert.fail);
  delivery.adopt("run/you", [one, two]);
  delivery.follow([one, two]);
  assert.deepEqual([sent, disk.writes], [[], []], "what came from the disk is not written again");
  open = true;
  delivery.connected();
  delivery.connected();
  assert.deepEqual(sent, ["l1", "l2", "l1", "l2"]);
  delivery.adopt("other/you", []);
  delivery.connected();
  assert.deepEqual([sent.length, disk.gone], [4, []], "another run neither sends nor deletes them");
});

test("a disk that fails does not keep a label from the service", async () => {
  const [disk, sent, failures] = [new Disk(), [], []];
  const delivery = new Delivery(disk, (entry) => sent.push(entry.label_id) > 0, (error) => failures.push(error));
  delivery.adopt("run/you", []);
  delivery.follow([one]);
  disk.writes[0].fail("full");
  await settled();
  assert.deepEqual([sent, failures], [["l1"], ["full"]]);
});
