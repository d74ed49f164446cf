// @ts-check
/** What a labeler may answer. */

/**
 * @typedef {"left" | "right" | "slightly-left" | "slightly-right" | "much-left" | "much-right" | "equal" | "both-bad" | "skip"} Choice
 * @typedef {{verdict: import("./wire.js").Verdict, side?: 0 | 1, strength?: import("./wire.js").Strength, mark: string,
 *   said: string, spoken: string}} Meaning side: which clip it names; mark: what flashes over that clip, or over both;
 *   said: as the history has it; spoken: to a screen reader
 */

/** @type {Record<Choice, Meaning>} */
export const CHOICES = {
  left: { verdict: "prefer", side: 0, mark: "✓ Chosen", said: "Left is better", spoken: "Left chosen" },
  right: { verdict: "prefer", side: 1, mark: "✓ Chosen", said: "Right is better", spoken: "Right chosen" },
  "slightly-left": { verdict: "prefer", side: 0, strength: "slightly", mark: "✓ Slightly better", said: "Left is slightly better", spoken: "Left chosen as slightly better" },
  "slightly-right": { verdict: "prefer", side: 1, strength: "slightly", mark: "✓ Slightly better", said: "Right is slightly better", spoken: "Right chosen as slightly better" },
  "much-left": { verdict: "prefer", side: 0, strength: "much", mark: "✓✓ Much better", said: "Left is much better", spoken: "Left chosen as much better" },
  "much-right": { verdict: "prefer", side: 1, strength: "much", mark: "✓✓ Much better", said: "Right is much better", spoken: "Right chosen as much better" },
  equal: { verdict: "equal", mark: "= Equal", said: "Equal", spoken: "Equal" },
  "both-bad": { verdict: "both_bad", mark: "✕ Bad", said: "Both bad", spoken: "Both bad" },
  skip: { verdict: "skip", mark: "Can’t tell", said: "Can’t tell", spoken: "Skipped" },
};

/** Whether the rules have that answer. @param {import("./wire.js").Rules | null} rules @param {Choice} choice */
export function allowed(rules, choice) {
  const { verdict } = CHOICES[choice];
  if (verdict === "prefer") return true;
  return verdict === "skip" ? !!rules?.allow_skipping : !!rules?.allow_ties;
}
