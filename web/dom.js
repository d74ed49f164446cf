// @ts-check
/** The smallest steps at the DOM's edge. Text goes in as text; what has not changed is not touched. */

import { draw, sparkline } from "./sparkline.js";

/**
 * An element that index.html has.
 * @template {Element} T
 * @param {ParentNode} parent
 * @param {string} selector
 * @param {new () => T} kind
 * @returns {T}
 */
export function part(parent, selector, kind) {
  const element = parent.querySelector(selector);
  if (!(element instanceof kind)) throw new Error(`index.html has no ${kind.name} ${selector}`);
  return element;
}

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  return part(document, `#${id}`, HTMLElement);
}

/** @param {Element} element @param {string} value */
export function write(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** @param {Element} element @param {string} name @param {string} value */
export function mark(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** @param {string} id @param {string} value */
export function say(id, value) {
  write(byId(id), value);
}

/** What has nothing to say is not there. @param {string} id @param {string} value */
export function sayOrHide(id, value) {
  say(id, value);
  show(id, !!value);
}

/** @param {string} id @param {unknown} visible */
export function show(id, visible) {
  byId(id).hidden = !visible;
}

/**
 * A click, after which the focus does not stay on the button where a mouse left it: space would press it again.
 * @param {HTMLElement} button
 * @param {(at: number) => unknown} action
 */
export function press(button, action) {
  button.addEventListener("click", (event) => {
    if (event.detail > 0) button.blur();
    action(event.timeStamp);
  });
  button.addEventListener("keydown", (event) => event.repeat && [" ", "Enter"].includes(event.key) && event.preventDefault());
}

/**
 * A dialog that the state opens and closes: Escape asks the state, so that no frame in between opens it again.
 * @param {HTMLDialogElement} dialog @param {() => void} close
 */
export function closable(dialog, close) {
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });
  dialog.addEventListener("close", close);
}

/** A slider keeps the keys while a keyboard moves it, not after a drag. @param {HTMLInputElement} slider */
export function letGo(slider) {
  slider.addEventListener("pointerup", () => slider.blur());
  slider.addEventListener("keydown", ({ key }) => (key === "Escape" || key === "Enter") && slider.blur());
}

/**
 * Rows of a definition list; a share is drawn as a bar, a spark as a curve.
 * @param {Element} parent
 * @param {import("./words.js").Insight[]} rows
 */
export function list(parent, rows) {
  while (parent.children.length > rows.length) parent.lastElementChild?.remove();
  for (const [index, { name, value, share, spark }] of rows.entries()) {
    const row = parent.children[index] ?? parent.appendChild(emptyRow());
    const bar = part(row, "progress", HTMLProgressElement);
    const curve = part(row, "svg", SVGElement);
    write(part(row, "dt", HTMLElement), name);
    write(part(row, "dd > span", HTMLElement), value);
    mark(bar, "aria-label", name);
    bar.hidden = share === undefined;
    bar.value = Math.min(1, share ?? 0);
    curve.toggleAttribute("hidden", !spark);
    if (spark) draw(curve, spark.curve, `${name}: ${spark.words}`);
  }
}

function emptyRow() {
  const row = document.createElement("div");
  const words = document.createElement("dd");
  words.append(document.createElement("span"), document.createElement("progress"), sparkline());
  row.append(document.createElement("dt"), words);
  return row;
}
