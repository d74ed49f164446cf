import assert from "node:assert/strict";
import { test } from "node:test";

import { KEYS, commandOf } from "../../web/keys.js";

const key = (name, more = {}) => ({ key: name, ctrlKey: false, altKey: false, metaKey: false, shiftKey: false, target: null, ...more });
const inside = (...selectors) => ({ closest: (list) => selectors.find((selector) => list.split(", ").includes(selector)) });

test("each key has its command, and with a modifier none", () => {
  for (const [name, command] of Object.entries(KEYS)) assert.equal(commandOf(key(name)), command);
  for (const modifier of ["ctrlKey", "altKey", "metaKey"]) assert.equal(commandOf(key("ArrowLeft", { [modifier]: true })), null);
  assert.equal(commandOf(key("toString")), null);
});

test("shift makes an arrow say much better, and nothing of the other named keys", () => {
  assert.equal(commandOf(key("ArrowLeft", { shiftKey: true })), "much-left");
  assert.equal(commandOf(key("ArrowRight", { shiftKey: true })), "much-right");
  for (const name of ["ArrowUp", "ArrowDown", "Backspace"]) assert.equal(commandOf(key(name, { shiftKey: true })), null);
});

test("fields and sliders keep their keys; a button gives up the arrows, not space", () => {
  assert.equal(commandOf(key("ArrowLeft", { target: inside("input") })), null);
  assert.equal(commandOf(key("Backspace", { target: inside("dialog[open]") })), null);
  assert.equal(commandOf(key("ArrowLeft", { target: inside("button") })), "left");
  assert.equal(commandOf(key(" ", { target: inside("button") })), null);
});
