// @ts-check
/** How the run went, by steps. */

/** Points of the run's curves that are kept; where there are more, every second one goes. */
export const POINTS = 200;

/**
 * A status that tells something new is a point of the curves; a run that went back to a checkpoint goes on from there.
 * @param {import("./wire.js").CurvePoint[]} curves @param {import("./wire.js").Status} status
 */
export function withPoint(curves, { step, held_out_accuracy: accuracy, true_return: own, reward_version }) {
  const last = curves.at(-1);
  const version = reward_version ?? 0;
  if (last && last[1] === accuracy && last[2] === own && last[3] === version) return curves;
  /** @type {import("./wire.js").CurvePoint[]} */
  const points = [...curves.filter(([earlier]) => earlier < step), [step, accuracy, own, version]];
  return points.length > POINTS ? points.filter((_, index) => index % 2 === 0) : points;
}
