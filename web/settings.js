// @ts-check
/** The settings panel: rules → form, form → changes by dotted name. The service checks them; the page only saves it trouble. */

import { part, press, sayOrHide } from "./dom.js";

/** @typedef {Record<string, boolean | string>} Filled what the form holds, by field of the rules */

/** @type {Record<string, string>} field of the rules → the setting's name in config.yaml */
const NAMES = {
  allow_ties: "labeling.allow_ties",
  allow_skipping: "labeling.allow_skipping",
  allow_editing: "labeling.allow_editing",
  speed: "clips.speed",
  frame_rate: "clips.frame_rate",
  queue_size: "labeling.queue_size",
};

/** @type {Record<string, {fits: (value: number | null) => boolean, wrong: string}>} */
const NUMBERS = {
  speed: { fits: (value) => value !== null && value > 0 && value <= 16, wrong: "Playback speed: give a number above 0, up to 16." },
  frame_rate: { fits: (value) => value === null || (value > 0 && value <= 240), wrong: "Frame rate: give a number above 0, up to 240, or nothing." },
  queue_size: { fits: (value) => Number.isInteger(value) && Number(value) > 0, wrong: "Queue: give a whole number from 1." },
};

/**
 * What differs from the rules, or a sentence about what cannot be.
 * @param {import("./wire.js").Rules} rules
 * @param {Filled} filled
 * @returns {{changes: import("./wire.js").Changes} | {error: string}}
 */
export function changesOf(rules, filled) {
  /** @type {import("./wire.js").Changes} */ const changes = {};
  for (const [field, name] of Object.entries(NAMES)) {
    const text = filled[field];
    const value = typeof text === "boolean" ? text : text.trim() ? Number(text) : null;
    if (typeof value !== "boolean" && !NUMBERS[field].fits(value)) return { error: NUMBERS[field].wrong };
    if (value !== /** @type {any} */ (rules)[field]) changes[name] = value;
  }
  return { changes };
}

/** The dialog at the DOM's edge. */
export class SettingsPanel {
  /**
   * @param {HTMLDialogElement} dialog
   * @param {{apply: (filled: Filled) => void, close: () => void}} on
   */
  constructor(dialog, on) {
    this.dialog = dialog;
    this.form = part(dialog, "form", HTMLFormElement);
    this.button = part(dialog, "#settings-apply", HTMLButtonElement);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      on.apply(Object.fromEntries(this.#fields().map(([field, input]) => [field, input.type === "checkbox" ? input.checked : input.value])));
    });
    press(part(dialog, "#settings-cancel", HTMLElement), on.close);
    dialog.addEventListener("close", on.close);
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
    return Object.keys(NAMES).map((field) => [field, /** @type {HTMLInputElement} */ (this.form.elements.namedItem(field))]);
  }
}
