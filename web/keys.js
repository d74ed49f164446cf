// @ts-check
/** Which key means what, when a key is not meant for us, and how a person changes that. */

/**
 * @typedef {import("./choices.js").Choice | "undo" | "toggle" | "replay" | "step-back" | "step-on" | "slower" | "faster" |
 *   "enlarge" | "trim" | "reason" | "review" | "help"} Remappable
 * @typedef {Remappable | "back"} Command
 * @typedef {Partial<Record<Remappable, string>>} Own
 * @typedef {{on: boolean, own: Own}} Keys own: keys that the person chose instead of the usual ones
 * @typedef {import("./state.js").State} State
 */

/** The usual keys, and what each is for. @type {Record<Remappable, {keys: string[], name: string}>} */
export const USUAL = {
  left: { keys: ["ArrowLeft"], name: "left is better" },
  right: { keys: ["ArrowRight"], name: "right is better" },
  "slightly-left": { keys: ["a"], name: "left is slightly better" },
  "slightly-right": { keys: ["d"], name: "right is slightly better" },
  "much-left": { keys: ["Shift+ArrowLeft"], name: "left is much better" },
  "much-right": { keys: ["Shift+ArrowRight"], name: "right is much better" },
  equal: { keys: ["ArrowUp"], name: "equal" },
  "both-bad": { keys: ["b"], name: "both bad" },
  skip: { keys: ["ArrowDown"], name: "can’t tell" },
  reason: { keys: ["r"], name: "reason" },
  undo: { keys: ["Backspace"], name: "undo" },
  review: { keys: ["h"], name: "last answers" },
  toggle: { keys: [" "], name: "pause or play" },
  "step-back": { keys: [","], name: "one frame back" },
  "step-on": { keys: ["."], name: "one frame on" },
  replay: { keys: ["0"], name: "from the start" },
  slower: { keys: ["-"], name: "slower" },
  faster: { keys: ["+", "="], name: "faster" }, // + without its shift
  enlarge: { keys: ["e"], name: "enlarge" },
  trim: { keys: ["t"], name: "trim handles" },
  help: { keys: ["?"], name: "help" },
};

/** What the help lists, in this order. @type {{commands: Remappable[], does: string, rule?: "allow_ties" | "allow_skipping" | "allow_reasons" | "allow_editing"}[]} */
export const HELP = [
  { commands: ["left", "right"], does: "That clip is better" },
  { commands: ["slightly-left", "slightly-right"], does: "That clip is slightly better" },
  { commands: ["much-left", "much-right"], does: "That clip is much better" },
  { commands: ["equal"], does: "Equally good", rule: "allow_ties" },
  { commands: ["both-bad"], does: "Both bad", rule: "allow_ties" },
  { commands: ["skip"], does: "Can’t tell", rule: "allow_skipping" },
  { commands: ["reason"], does: "Say why", rule: "allow_reasons" },
  { commands: ["undo"], does: "Take the last answer back" },
  { commands: ["review"], does: "The last answers, to change one" },
  { commands: ["toggle"], does: "Pause or play" },
  { commands: ["step-back", "step-on"], does: "One frame back or on" },
  { commands: ["replay"], does: "From the start" },
  { commands: ["slower", "faster"], does: "Slower or faster" },
  { commands: ["enlarge"], does: "Enlarge a clip" },
  { commands: ["trim"], does: "Trim handles", rule: "allow_editing" },
  { commands: ["help"], does: "This list" },
];

/** @type {Keys} */
export const AS_USUAL = { on: true, own: {} };

/** Inputs that use the arrow keys, space or letters themselves. */
const FIELDS = "input, select, textarea, [contenteditable], [role=slider], dialog[open]";
/** What the space key presses by itself. */
const PRESSED_BY_SPACE = "button, summary, a[href]";
/** Keys that work the browser, or are none. */
const TAKEN = ["Tab", "Enter", "Escape", "Dead", "Unidentified", "Process", "CapsLock"];
const MODIFIERS = ["Shift", "Control", "Alt", "AltGraph", "Meta"];
/** Longer names of keys are none. */
const LONGEST = 24;

/** @type {Record<string, string>} */
const LABELS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space", "-": "−" };

/** A key as it is written. @param {string} key */
export function labelOf(key) {
  if (key.startsWith("Shift+")) return `Shift ${labelOf(key.slice(6))}`;
  return LABELS[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}

/** The same on a button. @param {string} key @returns {string} */
export function shortOf(key) {
  return labelOf(key).replace("Shift ", "⇧").replace("Backspace", "⌫");
}

/** @param {Keys} keys @param {Remappable} command @returns {string} its first key */
export function keyOf({ own }, command) {
  return keysOf(own, command)[0];
}

/** @param {Own} own @param {Remappable} command @returns {string[]} */
function keysOf(own, command) {
  const chosen = own[command];
  return chosen === undefined ? USUAL[command].keys : [chosen];
}

/** @param {Own} own @param {string} key @returns {Remappable | undefined} what a key does */
function meaningOf(own, key) {
  return commands().find((command) => keysOf(own, command).includes(key));
}

/** @returns {Remappable[]} */
function commands() {
  return /** @type {Remappable[]} */ (Object.keys(USUAL));
}

/** @param {{key: string, shiftKey: boolean}} event @returns {string} a character has its shift in it already: ? and + are where the keyboard has them */
export function nameOf({ key, shiftKey }) {
  return key.length === 1 ? key.toLowerCase() : shiftKey ? `Shift+${key}` : key;
}

/** The character at that place of a Latin keyboard, where another script is typed. @param {{key: string, code: string, shiftKey: boolean}} event */
function latin({ key, code, shiftKey }) {
  if (key.length !== 1 || key <= "~") return "";
  if (code === "Slash") return shiftKey ? "?" : "";
  return { Comma: ",", Period: "." }[code] ?? (/^Key[A-Z]$/.test(code) ? code.slice(3).toLowerCase() : "");
}

/**
 * What a keydown asks for; null where it is not for us.
 * @param {{key: string, code: string, ctrlKey: boolean, altKey: boolean, metaKey: boolean, shiftKey: boolean,
 *   target: {closest?: (selector: string) => unknown} | null}} event
 * @param {Keys} [keys]
 * @returns {Command | null}
 */
export function commandOf(event, { on, own } = AS_USUAL) {
  const { key, target } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || target?.closest?.(FIELDS)) return null;
  if (key === " " && target?.closest?.(PRESSED_BY_SPACE)) return null;
  if (key === "Escape") return "back";
  return (on && (meaningOf(own, nameOf(event)) ?? meaningOf(own, latin(event)))) || null;
}

// ---- keys of one's own

/** Why a key cannot be had for a command, in a sentence; "" where it can. @param {Own} own @param {Remappable} command @param {string} key */
export function refusal(own, command, key) {
  if (TAKEN.includes(key.replace("Shift+", ""))) return `${labelOf(key)} works the page itself. Choose another key.`;
  const taken = meaningOf(own, key);
  return taken && taken !== command ? `${labelOf(key)} is taken: ${USUAL[taken].name}. Choose another key.` : "";
}

/** @param {Own} own @param {Remappable} command @param {string} key @returns {Own} */
function withKey(own, command, key) {
  const { [command]: _, ...others } = own;
  return USUAL[command].keys.includes(key) ? others : { ...others, [command]: key };
}

/** What a browser kept; the usual keys where that is no such thing, or two commands would share a key. @param {string | null} text @returns {Keys} */
export function recalledKeys(text) {
  try {
    const { on, own } = JSON.parse(text ?? "");
    const kept = commands().filter((command) => typeof own[command] === "string" && own[command].length <= LONGEST);
    /** @type {Own} */ const found = Object.fromEntries(kept.map((command) => [command, own[command]]));
    const sound = commands().every((command) => keysOf(found, command).every((key) => !refusal(found, command, key)));
    return { on: on !== false, own: sound ? found : {} };
  } catch {
    return AS_USUAL;
  }
}

/** What a person does with them. @type {Record<string, (state: State, event: any) => State>} */
export const KEY_EVENTS = {
  rebind: (state, { command }) => ({ ...state, rebinding: command, keysError: "" }),

  rebound(state, { key }) {
    const command = state.rebinding;
    if (command === null || MODIFIERS.includes(key.replace("Shift+", ""))) return state;
    const error = refusal(state.keys.own, command, key);
    if (error) return { ...state, keysError: error };
    const keys = { ...state.keys, own: withKey(state.keys.own, command, key) };
    return { ...state, keys, rebinding: null, keysError: "", spoken: `${labelOf(key)}: ${USUAL[command].name}.` };
  },

  keysSwitched: (state, { on }) => ({ ...state, keys: { ...state.keys, on }, rebinding: null, keysError: "" }),
  keysReset: (state) => ({ ...state, keys: { ...state.keys, own: {} }, rebinding: null, keysError: "", spoken: "The usual keys are back." }),
};
