import assert from "node:assert/strict";
import { test } from "node:test";

import { AS_USUAL, HELP, USUAL, commandOf, keyOf, labelOf, recalledKeys, shortOf } from "../../web/keys.js";
import { initialState, reduce } from "../../web/state.js";

const key = (name, more = {}) => ({ key: name, code: "", ctrlKey: false, altKey: false, metaKey: false, shiftKey: false, target: null, ...more });
const inside = (...selectors) => ({ closest: (list) => selectors.find((selector) => list.split(", ").includes(selector)) });
const press = (name) => (name.startsWith("Shift+") ? key(name.slice(6), { shiftKey: true }) : key(name));
const rebound = (command, pressed, from = initialState()) => reduce(reduce(from, { type: "rebind", command }), { type: "rebound", key: pressed });

test("each key has its command, and with a modifier none", () => {
  for (const [command, { keys }] of Object.entries(USUAL)) for (const name of keys) assert.equal(commandOf(press(name)), command);
  for (const modifier of ["ctrlKey", "altKey", "metaKey"]) assert.equal(commandOf(key("ArrowLeft", { [modifier]: true })), null);
  assert.equal(commandOf(key("toString")), null);
  assert.equal(commandOf(key("Escape")), "back");
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

test("where another script is typed a key counts by its place, but for one that the person chose", () => {
  const russian = { ф: "KeyA", и: "KeyB", е: "KeyT", б: "Comma", ю: "Period", Ф: "KeyA" };
  const found = Object.entries(russian).map(([name, code]) => commandOf(key(name, { code })));
  assert.deepEqual(found, ["slightly-left", "both-bad", "trim", "step-back", "step-on", "slightly-left"]);
  assert.equal(commandOf(key("؟", { code: "Slash", shiftKey: true })), "help");
  assert.equal(commandOf(key("ф", { code: "KeyA" }), { on: true, own: { undo: "ф" } }), "undo");
  assert.equal(commandOf(key("q", { code: "KeyA" })), null, "a French q is no a");
  assert.equal(commandOf(key("ф", { code: "KeyA" }), { on: false, own: {} }), null);
});

test("the help lists every command", () => {
  assert.deepEqual(HELP.flatMap(({ commands }) => commands).sort(), Object.keys(USUAL).sort());
});

test("fields and sliders keep their keys; a button gives up the arrows, not space", () => {
  assert.equal(commandOf(key("ArrowLeft", { target: inside("input") })), null);
  assert.equal(commandOf(key("Backspace", { target: inside("dialog[open]") })), null);
  assert.equal(commandOf(key("ArrowLeft", { target: inside("button") })), "left");
  assert.equal(commandOf(key(" ", { target: inside("button") })), null);
});

test("a key of one's own takes the place of the usual ones", () => {
  const { keys, rebinding } = rebound("left", "q");
  assert.equal(rebinding, null);
  assert.equal(commandOf(key("q"), keys), "left");
  assert.equal(commandOf(key("ArrowLeft"), keys), null, "free for another command");
  assert.equal(keyOf(keys, "left"), "q");
  assert.deepEqual(rebound("left", "ArrowLeft", { ...initialState(), keys }).keys, AS_USUAL);
  const faster = rebound("faster", "f").keys;
  assert.deepEqual(["+", "=", "f"].map((name) => commandOf(key(name), faster)), [null, null, "faster"]);
});

test("a key that is taken is refused in a sentence, and another may follow", () => {
  const refused = rebound("left", "t");
  assert.deepEqual([refused.keysError, refused.keys, refused.rebinding], ["T is taken: trim handles. Choose another key.", AS_USUAL, "left"]);
  assert.equal(rebound("left", "Tab").keysError, "Tab works the page itself. Choose another key.");
  assert.equal(rebound("left", "Shift+Enter").keysError, "Shift Enter works the page itself. Choose another key.");
  assert.equal(rebound("left", "=").keysError, "= is taken: faster. Choose another key.");
  assert.equal(rebound("left", "Shift+Shift").rebinding, "left", "a modifier alone is no key yet");
  const then = reduce(refused, { type: "rebound", key: "q" });
  assert.deepEqual([then.keysError, then.keys.own], ["", { left: "q" }]);
});

test("keys can be switched off, Escape stays", () => {
  const { keys } = reduce(initialState(), { type: "keysSwitched", on: false });
  assert.deepEqual(["ArrowLeft", "b", "?", "Escape"].map((name) => commandOf(key(name), keys)), [null, null, null, "back"]);
});

test("what the browser kept is taken as far as it is sound", () => {
  const keys = { on: false, own: { left: "q", equal: "w" } };
  assert.deepEqual(recalledKeys(JSON.stringify(keys)), keys);
  for (const text of [null, "", "null", "[1", "7"]) assert.deepEqual(recalledKeys(text), AS_USUAL);
  for (const own of [{ left: "q", right: "q" }, { left: "t" }, { left: "=" }, { left: "Tab" }, { left: 7 }, { fly: "q" }, { left: "x".repeat(99) }]) {
    assert.deepEqual(recalledKeys(JSON.stringify({ on: true, own })), AS_USUAL, JSON.stringify(own));
  }
  const swapped = { left: "ArrowRight", right: "ArrowLeft" };
  assert.deepEqual(recalledKeys(JSON.stringify({ on: true, own: swapped })).own, swapped);
});

test("keys are written as they stand on keyboards", () => {
  assert.deepEqual(["ArrowLeft", "Shift+ArrowLeft", " ", "a", "-", "Backspace", "PageUp"].map(labelOf), ["←", "Shift ←", "Space", "A", "−", "Backspace", "PageUp"]);
  assert.deepEqual(["Shift+ArrowLeft", "Backspace", "b"].map(shortOf), ["⇧←", "⌫", "B"]);
});
