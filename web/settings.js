// @ts-check
/** The settings panel: rules → form, form → changes by dotted name. The service checks them; the page only saves it trouble. */

/** Field of the rules → the setting's name in config.yaml. */
const NAMES = {
  allow_ties: "labeling.allow_ties",
  allow_skipping: "labeling.allow_skipping",
  allow_editing: "labeling.allow_editing",
  speed: "clips.speed",
  frame_rate: "clips.frame_rate",
  queue_size: "labeling.queue_size",
};

/** @typedef {{allow_ties: boolean, allow_skipping: boolean, allow_editing: boolean, speed: string, frame_rate: string, queue_size: string}} Filled */

/**
 * What differs from the rules, or a sentence about what cannot be.
 * @param {import("./wire.js").Rules} rules
 * @param {Filled} filled
 * @returns {{changes: import("./wire.js").Changes} | {error: string}}
 */
export function changesOf(rules, filled) {
  const speed = Number(filled.speed);
  if (!filled.speed.trim() || !(speed > 0 && speed <= 16)) return { error: `Playback speed is “${filled.speed}”: give a number above 0, up to 16.` };
  const frameRate = filled.frame_rate.trim() === "" ? null : Number(filled.frame_rate);
  if (frameRate !== null && !(frameRate > 0 && frameRate <= 240)) return { error: `Frame rate is “${filled.frame_rate}”: give a number above 0, up to 240, or nothing.` };
  const queueSize = Number(filled.queue_size);
  if (!Number.isInteger(queueSize) || queueSize < 1) return { error: `Queue is “${filled.queue_size}”: give a whole number from 1.` };
  const { allow_ties, allow_skipping, allow_editing } = filled;
  const wanted = { allow_ties, allow_skipping, allow_editing, speed, frame_rate: frameRate, queue_size: queueSize };
  /** @type {import("./wire.js").Changes} */ const changes = {};
  for (const field of /** @type {(keyof typeof NAMES)[]} */ (Object.keys(NAMES))) {
    if (wanted[field] !== rules[field]) changes[NAMES[field]] = wanted[field];
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
    this.form = /** @type {HTMLFormElement} */ (dialog.querySelector("form"));
    this.error = /** @type {HTMLElement} */ (dialog.querySelector("#settings-error"));
    this.button = /** @type {HTMLButtonElement} */ (dialog.querySelector("#settings-apply"));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      on.apply(this.#filled());
    });
    dialog.querySelector("#settings-cancel")?.addEventListener("click", on.close);
    dialog.addEventListener("close", on.close);
  }

  /** @param {import("./state.js").State} state */
  render({ settings, rules }) {
    if (settings.open && !this.dialog.open && rules) {
      this.#fill(rules);
      this.dialog.showModal();
    }
    if (!settings.open && this.dialog.open) this.dialog.close();
    this.error.textContent = settings.error;
    this.error.hidden = !settings.error;
    this.button.disabled = settings.pending;
  }

  /** @param {string} name @returns {HTMLInputElement} */
  #field(name) {
    return /** @type {HTMLInputElement} */ (this.form.elements.namedItem(name));
  }

  /** @param {import("./wire.js").Rules} rules */
  #fill(rules) {
    for (const name of /** @type {const} */ (["allow_ties", "allow_skipping", "allow_editing"])) this.#field(name).checked = rules[name];
    for (const name of /** @type {const} */ (["speed", "frame_rate", "queue_size"])) this.#field(name).value = String(rules[name] ?? "");
  }

  /** @returns {Filled} */
  #filled() {
    return {
      allow_ties: this.#field("allow_ties").checked,
      allow_skipping: this.#field("allow_skipping").checked,
      allow_editing: this.#field("allow_editing").checked,
      speed: this.#field("speed").value,
      frame_rate: this.#field("frame_rate").value,
      queue_size: this.#field("queue_size").value,
    };
  }
}
