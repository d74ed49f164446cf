// @ts-check
/** Whether somebody is at the page: while they are, the service keeps the pairs there that it has given out. */

/** How often the service hears of it: well within the shortest lease that makes sense. */
const EVERY_MS = 15_000;
/** Whoever watches clips may move nothing for this long. */
const STILL_MS = 60_000;
const SIGNS = ["keydown", "pointerdown", "pointermove", "wheel"];

/**
 * @param {{visible: boolean, movedAt: number, now: number}} page
 * @returns {boolean}
 */
export function present({ visible, movedAt, now }) {
  return visible && now - movedAt <= STILL_MS;
}

/** @param {() => unknown} tell called now and then while somebody is there */
export function watchPresence(tell) {
  let movedAt = performance.now();
  for (const sign of SIGNS) addEventListener(sign, (event) => (movedAt = event.timeStamp), { passive: true });
  setInterval(() => {
    if (present({ visible: !document.hidden, movedAt, now: performance.now() })) tell();
  }, EVERY_MS);
}
