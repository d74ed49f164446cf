import assert from "node:assert/strict";
import { test } from "node:test";

import { parse, partsOf } from "../../web/markdown.js";

const node = (tag, ...children) => ({ tag, children });

test("the first paragraph is the question, what follows a blank line instructs", () => {
  assert.deepEqual(partsOf("Which one runs better?"), { question: "Which one runs better?", instructions: "" });
  assert.deepEqual(partsOf("Which one\nruns better?\n\nLook at\n\n- speed\n"), { question: "Which one runs better?", instructions: "Look at\n\n- speed" });
});

test("headings, paragraphs and lists are blocks", () => {
  assert.deepEqual(parse("# What counts\nSpeed,\nthen style.\n\n- far\n- upright,\n  not on its back\n\n1. first\n2) second"), [
    node("h3", "What counts"),
    node("p", "Speed,", " ", "then style."),
    node("ul", node("li", "far"), node("li", "upright,", " ", "not on its back")),
    node("ol", node("li", "first"), node("li", "second")),
  ]);
});

test("strong, emphasis and code stand within text", () => {
  assert.deepEqual(parse("a **b *c*** `d**` _e_ f"), [
    node("p", "a ", node("strong", "b ", node("em", "c")), " ", node("code", "d**"), " ", node("em", "e"), " f"),
  ]);
  assert.deepEqual(parse("2 * 3 * 4, snake_case_name, **"), [node("p", "2 * 3 * 4, snake_case_name, **")]);
});

test("all else is text, whatever it looks like", () => {
  for (const text of ["<img src=x onerror=alert(1)>", "[click](javascript:alert(1))", "![x](http://evil.example/x.png)"]) {
    assert.deepEqual(parse(text), [node("p", text)]);
  }
  assert.deepEqual(parse("<b>**x**</b>"), [node("p", "<b>", node("strong", "x"), "</b>")]);
});

test("a long line of stars takes no time", () => {
  const began = performance.now();
  parse("*a".repeat(2_000));
  parse("**".repeat(4_000));
  assert.ok(performance.now() - began < 1_000);
});
