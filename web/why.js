// @ts-check
/** The field for a reason, and reasons given before. */

import { byId, mark, part, press, show, write } from "./dom.js";
import { mayExplain } from "./reasons.js";
import { onScreen } from "./state.js";

export class WhyField {
  #open = false;

  /** @param {{write: (text: string) => void, close: () => void}} on */
  constructor(on) {
    this.on = on;
    this.row = byId("why");
    this.field = part(this.row, "input", HTMLInputElement);
    this.before = part(this.row, ".before", HTMLElement);
    this.field.addEventListener("input", () => on.write(this.field.value));
    this.field.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return; // an input method's own: Safari tells by the code alone
      if (event.key === "Enter" || event.key === "Escape") on.close();
    });
  }

  /** @param {import("./state.js").State} state */
  render(state) {
    const pair = onScreen(state);
    const open = state.explaining && mayExplain(state) && pair === state.pairs[0];
    show("reason", mayExplain(state));
    mark(byId("reason"), "aria-expanded", String(open));
    byId("reason").classList.toggle("said", !!pair?.reason);
    write(part(byId("reason"), "span", HTMLElement), pair?.reason ? "Reason ✓" : "Reason");
    this.row.hidden = !open;
    if (this.field.value !== (pair?.reason ?? "")) this.field.value = pair?.reason ?? "";
    if (open && !this.#open) {
      this.#offer(state.reasons);
      this.field.focus();
    }
    if (!open && this.#open) this.field.blur();
    this.#open = open;
  }

  /** @param {string[]} reasons */
  #offer(reasons) {
    this.before.replaceChildren(
      ...reasons.map((reason) => {
        const button = document.createElement("button");
        button.textContent = reason;
        button.title = reason;
        press(button, () => {
          this.on.write(reason);
          this.on.close();
        });
        return button;
      }),
    );
  }
}
