import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mock, test } from "node:test";

import { Connection, backoff, meaningOf } from "../../web/connection.js";

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

test("a line that is dead without saying so is left at once when an ack does not come", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  /** @type {any[]} */ const sockets = [];
  class Deaf {
    static OPEN = 1;
    readyState = 1;
    constructor() {
      sockets.push(this);
    }
    send() {}
    close() {} // and no onclose
  }
  Object.assign(globalThis, { WebSocket: Deaf, window: globalThis });
  const told = [];
  const listener = { connecting: () => told.push("connecting"), holds: () => [], message: () => {}, lost: () => told.push("lost") };
  const connection = new Connection("ws://x/ws", listener);
  connection.start("t");
  sockets[0].onmessage({ data: readFileSync(new URL("../wire/welcome.json", import.meta.url), "utf8") });
  assert.ok(connection.send({ type: "label", label_id: "l" }));
  mock.timers.tick(12_001);
  assert.deepEqual(told, ["connecting", "lost"]);
  connection.retryNow();
  assert.equal(sockets.length, 2);
  mock.timers.reset();
});
