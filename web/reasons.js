// @ts-check
/** Why: a few words that go with an answer. Nobody has to say any. */

/** Most characters, as `REASON_LENGTH` in rltrainer/core.py. */
export const LONGEST = 200;
/** Reasons of late, to be given again by a click. */
const RECENT = 5;

/** @typedef {import("./state.js").State} State */

/** Whether reasons may be given now. @param {State} state */
export function mayExplain({ rules, welcome }) {
  return !!rules?.allow_reasons && welcome?.mode === "label";
}

/** What goes with an answer to that pair. @param {State} state @param {import("./state.js").Pair} pair */
export function reasonFor(state, pair) {
  return mayExplain(state) ? pair.reason.trim() : "";
}

/** @param {string[]} recent @param {string} reason @returns {string[]} */
export function withReason(recent, reason) {
  return reason ? [reason, ...recent.filter((one) => one !== reason)].slice(0, RECENT) : recent;
}

/** What a browser kept of it; nothing where that is no such list. @param {string | null} text @returns {string[]} */
export function recalled(text) {
  try {
    const found = JSON.parse(text ?? "[]");
    const fits = (/** @type {unknown} */ one) => typeof one === "string" && one.length <= LONGEST;
    return Array.isArray(found) ? found.filter(fits).slice(0, RECENT) : [];
  } catch {
    return [];
  }
}

/** What a person does with the field. @type {Record<string, (state: State, event: any) => State>} */
export const REASON_EVENTS = {
  explaining: (state) => (mayExplain(state) && state.pairs.length ? { ...state, explaining: !state.explaining } : state),
  explained: (state) => (state.explaining ? { ...state, explaining: false } : state),
  reason(state, { queryId, text }) {
    const pairs = state.pairs.map((pair) => (pair.queryId === queryId ? { ...pair, reason: text.slice(0, LONGEST) } : pair));
    return { ...state, pairs };
  },
};
