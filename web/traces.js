// @ts-check
/** What the reward predicts along both clips, on their one clock. */

import { framesAt, positionAt } from "./player.js";

/**
 * Rewards of the left clip and of the right one, by tick of their clock; the shorter ends first.
 * @typedef {[number[], number[]]} Traces
 * @typedef {import("./player.js").Playing} Playing
 */

/** Lines are drawn in a box of this size. */
export const WIDTH = 1000;
export const HEIGHT = 100;

/** @param {[Playing, Playing]} clips @param {[number[], number[]]} rewards by frame @returns {Traces} */
export function tracesOf(clips, rewards) {
  const { rate } = positionAt(0, clips);
  const trace = (/** @type {0 | 1} */ side) => {
    const { range, frameRate } = clips[side];
    const ticks = Math.ceil(((range[1] - range[0]) * rate) / frameRate - 1e-6);
    return Array.from({ length: ticks }, (_, tick) => rewards[side][framesAt(tick / rate, clips)[side]]);
  };
  return [trace(0), trace(1)];
}

/** Of all these values the least and the most. @param {number[]} values */
export function boundsOf(values) {
  return { least: Math.min(...values), most: Math.max(...values) };
}

/**
 * How far up each value is, from 0 to 1: one scale for both lines, so that they can be compared.
 * @param {Traces} traces @returns {(value: number) => number}
 */
export function scaleOf(traces) {
  const { least, most } = boundsOf(traces.flat());
  return (value) => (most > least ? (value - least) / (most - least) : 0.5);
}

/** Both as points of an SVG polyline, from the first tick to the last. @param {Traces} traces */
export function pointsOf(traces) {
  const last = Math.max(1, Math.max(...traces.map(({ length }) => length)) - 1);
  const up = scaleOf(traces);
  const point = (/** @type {number} */ value, /** @type {number} */ tick) =>
    `${Math.round((WIDTH * tick) / last)},${Math.round(HEIGHT * (1 - up(value)))}`;
  return traces.map((trace) => trace.map(point).join(" "));
}
