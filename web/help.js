// @ts-check
/** The help: what the labeler was asked to do, and every key, to be changed by a click. */

import { byId, closable, mark, part, press, sayOrHide, show, write } from "./dom.js";
import { HELP, USUAL, keyOf, labelOf, nameOf } from "./keys.js";
import { partsOf, writeMarkdown } from "./markdown.js";

/** @typedef {import("./keys.js").Remappable} Remappable */
/** @typedef {{close: () => void, keys: (event: import("./state.js").Event) => void}} On keys: what is done with them */

export class HelpPanel {
  /** @type {[Remappable, HTMLButtonElement][]} */ #keys = [];
  /** @type {Remappable | null} */ #rebinding = null;

  /** @param {HTMLDialogElement} dialog @param {On} on */
  constructor(dialog, on) {
    this.dialog = dialog;
    this.on = on;
    this.instructions = part(dialog, "#help-instructions", HTMLElement);
    this.switch = part(dialog, "#keys-on", HTMLInputElement);
    const rows = part(dialog, "dl", HTMLElement);
    this.rows = HELP.map(({ commands, does, rule }) => ({ row: rows.appendChild(this.#row(commands, does)), rule }));
    this.switch.addEventListener("change", () => on.keys({ type: "keysSwitched", on: this.switch.checked }));
    press(byId("keys-reset"), () => on.keys({ type: "keysReset" }));
    press(part(dialog, "#help-close", HTMLElement), on.close);
    closable(dialog, () => (this.#rebinding === null ? on.close() : this.#ask(null)));
    dialog.addEventListener("click", (event) => event.target === dialog && on.close()); // beside it
    document.addEventListener("keydown", (event) => this.#pressed(event), { capture: true });
  }

  /** @param {Remappable[]} commands @param {string} does */
  #row(commands, does) {
    const row = document.createElement("div");
    const names = document.createElement("dt");
    const words = document.createElement("dd");
    for (const command of commands) {
      const button = document.createElement("button");
      button.append(document.createElement("kbd"));
      press(button, () => this.#ask(command));
      names.append(button);
      this.#keys.push([command, button]);
    }
    words.textContent = does;
    row.append(names, words);
    return row;
  }

  /** Known at once, not from the next frame on: the key may follow quickly. @param {Remappable | null} command */
  #ask(command) {
    this.#rebinding = command;
    this.on.keys({ type: "rebind", command });
  }

  /** While a key is asked for, every key is it; Escape leaves things as they are. @param {KeyboardEvent} event */
  #pressed(event) {
    if (this.#rebinding === null || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat) return;
    if (event.key === "Escape") this.#ask(null);
    else this.on.keys({ type: "rebound", key: nameOf(event) });
  }

  /** @param {import("./state.js").State} state */
  render({ help, rules, welcome, keys, rebinding, keysError }) {
    const { question, instructions } = partsOf(welcome?.task ?? "");
    sayOrHide("help-question", question);
    writeMarkdown(this.instructions, instructions);
    for (const { row, rule } of this.rows) row.hidden = !!rule && !rules?.[rule];
    for (const [command, button] of this.#keys) {
      const key = labelOf(keyOf(keys, command));
      const asked = rebinding === command;
      write(part(button, "kbd", HTMLElement), asked ? "…" : key);
      mark(button, "aria-label", asked ? `Press the new key for ${USUAL[command].name}` : `${key}: ${USUAL[command].name}. Change this key`);
      button.classList.toggle("asked", asked);
    }
    this.switch.checked = keys.on;
    this.dialog.classList.toggle("off", !keys.on);
    show("keys-reset", Object.keys(keys.own).length);
    write(byId("keys-hint"), rebinding ? `Press the new key for “${USUAL[rebinding].name}”. Esc leaves it as it is.` : "Choose a key to change it. This browser remembers.");
    sayOrHide("keys-error", keysError);
    this.#rebinding = rebinding;
    if (help && !this.dialog.open) this.dialog.showModal();
    if (!help && this.dialog.open) this.dialog.close();
  }
}
