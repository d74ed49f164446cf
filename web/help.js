// @ts-check
/** The help: what the labeler was asked to do, and every key. */

import { closable, part, press, sayOrHide } from "./dom.js";
import { HELP } from "./keys.js";
import { partsOf, writeMarkdown } from "./markdown.js";

export class HelpPanel {
  /** @param {HTMLDialogElement} dialog @param {() => void} close */
  constructor(dialog, close) {
    this.dialog = dialog;
    this.instructions = part(dialog, "#help-instructions", HTMLElement);
    const rows = part(dialog, "dl", HTMLElement);
    this.rows = HELP.map(({ keys, does, choice }) => {
      const row = document.createElement("div");
      const names = document.createElement("dt");
      const words = document.createElement("dd");
      names.append(...keys.flatMap((key) => [Object.assign(document.createElement("kbd"), { textContent: key }), " "]));
      words.textContent = does;
      row.append(names, words);
      rows.append(row);
      return { row, choice };
    });
    press(part(dialog, "#help-close", HTMLElement), close);
    closable(dialog, close);
    dialog.addEventListener("click", (event) => event.target === dialog && close()); // beside it
  }

  /** @param {import("./state.js").State} state */
  render({ help, rules, welcome }) {
    const { question, instructions } = partsOf(welcome?.task ?? "");
    sayOrHide("help-question", question);
    writeMarkdown(this.instructions, instructions);
    for (const { row, choice } of this.rows) {
      row.hidden = (choice === "equal" && !rules?.allow_ties) || (choice === "skip" && !rules?.allow_skipping);
    }
    if (help && !this.dialog.open) this.dialog.showModal();
    if (!help && this.dialog.open) this.dialog.close();
  }
}
