import assert from "node:assert/strict";
import { test } from "node:test";

import { HELP, KEYS, commandOf } from "../../web/keys.js";

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

test("a character counts as it is typed, with its shift or without", () => {
  assert.equal(commandOf(key("?", { shiftKey: true })), "help");
  assert.equal(commandOf(key("+", { shiftKey: true })), "faster");
  assert.equal(commandOf(key("+")), "faster");
  assert.equal(commandOf(key("E")), "enlarge", "caps lock");
});

test("the help lists every key", () => {
  const names = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space", "-": "−", Escape: "Esc" };
  const shown = (name) => names[name] ?? (name.length === 1 ? name.toUpperCase() : name);
  const listed = new Set(HELP.flatMap(({ keys }) => keys));
  for (const name of Object.keys(KEYS)) {
    if (name === "=") continue; // + without its shift
    assert.ok(listed.has(name.startsWith("Shift+") ? `Shift ${shown(name.slice(6))}` : shown(name)), name);
  }
});

test("fields and sliders keep their keys; a button gives up the arrows, not space", () => {
  assert.equal(commandOf(key("ArrowLeft", { target: inside("input") })), null);
  assert.equal(commandOf(key("Backspace", { target: inside("dialog[open]") })), null);
  assert.equal(commandOf(key("ArrowLeft", { target: inside("button") })), "left");
  assert.equal(commandOf(key(" ", { target: inside("button") })), null);
});
