// @ts-check
/** The settings panel: rules → form, form → changes by dotted name. The form and the service check them. */

import { closable, part, press, sayOrHide } from "./dom.js";

/** @typedef {Record<string, boolean | string>} Filled what the form holds, by field of the rules */

/** @type {Record<string, string>} field of the rules → the setting's name in config.yaml */
const NAMES = {
  allow_ties: "labeling.allow_ties",
  allow_skipping: "labeling.allow_skipping",
  allow_editing: "labeling.allow_editing",
  allow_reasons: "labeling.allow_reasons",
  speed: "clips.speed",
  frame_rate: "clips.frame_rate",
  queue_size: "labeling.queue_size",
};

/**
 * What differs from the rules. An empty number is null: "as the environment has it".
 * @param {import("./wire.js").Rules} rules
 * @param {Filled} filled
 * @returns {import("./wire.js").Changes}
 */
export function changesOf(rules, filled) {
  /** @type {import("./wire.js").Changes} */ const changes = {};
  for (const [field, name] of Object.entries(NAMES)) {
    const text = filled[field];
    const value = typeof text === "boolean" ? text : text === "" ? null : Number(text);
    if (value !== /** @type {any} */ (rules)[field]) changes[name] = value;
  }
  return changes;
}

/** The dialog at the DOM's edge. */
export class SettingsPanel {
  /**
   * @param {HTMLDialogElement} dialog
   * @param {{apply: (filled: Filled) => void, close: () => void, keys: () => void}} on keys: to change them
   */
  constructor(dialog, on) {
    this.dialog = dialog;
    this.form = part(dialog, "form", HTMLFormElement);
    this.button = part(dialog, "#settings-apply", HTMLButtonElement);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const fields = this.#fields().map(([field, { type, checked, value }]) => [field, type === "checkbox" ? checked : value]);
      on.apply(Object.fromEntries(fields));
    });
    press(part(dialog, "#settings-cancel", HTMLElement), on.close);
    press(part(dialog, "#settings-keys", HTMLElement), on.keys);
    closable(dialog, on.close);
  }

  /** @param {import("./state.js").State} state */
  render({ settings, rules }) {
    if (settings.open && !this.dialog.open && rules) {
      for (const [field, input] of this.#fields()) {
        const value = /** @type {any} */ (rules)[field];
        if (input.type === "checkbox") input.checked = value;
        else input.value = value ?? "";
      }
      this.dialog.showModal();
    }
    if (!settings.open && this.dialog.open) this.dialog.close();
    sayOrHide("settings-error", settings.error);
    this.button.disabled = settings.pending;
  }

  /** @returns {[string, HTMLInputElement][]} */
  #fields() {
    return Object.keys(NAMES).map((field) => [field, part(this.form, `[name=${field}]`, HTMLInputElement)]);
  }
}
