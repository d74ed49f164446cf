// @ts-check
/** Fingers on a clip: a tap plays or stops both, a swipe to either side chooses the clip. */

/** A swipe goes this far, and more to the side than up or down. */
const FAR = 64;
/** A tap stays within this, and is over by then. */
const NEAR = 10;
const TAP_MS = 350;

/** @typedef {{x: number, y: number, at: number}} Touch */

/** @param {Touch} from @param {Touch} to @returns {"swipe" | "tap" | null} */
export function gestureOf(from, to) {
  const [across, along] = [Math.abs(to.x - from.x), Math.abs(to.y - from.y)];
  if (across >= FAR && across > 2 * along) return "swipe";
  return across < NEAR && along < NEAR && to.at - from.at < TAP_MS ? "tap" : null;
}

/**
 * @param {HTMLElement} screen the pictures; scrolling up and down stays the browser's (touch-action in style.css)
 * @param {(gesture: "swipe" | "tap", at: number) => void} done
 */
export function listenToFingers(screen, done) {
  /** @type {(Touch & {id: number}) | null} */ let from = null;
  const pull = (/** @type {number} */ by) => screen.style.setProperty("--pull", `${by}px`);
  const touch = (/** @type {PointerEvent} */ { clientX: x, clientY: y, timeStamp: at }) => ({ x, y, at });
  screen.addEventListener("pointerdown", (event) => {
    const onButton = event.target instanceof Element && event.target.closest("button");
    if (event.pointerType !== "touch" || !event.isPrimary || onButton) return;
    from = { ...touch(event), id: event.pointerId };
  });
  screen.addEventListener("pointermove", (event) => from?.id === event.pointerId && pull(event.clientX - from.x));
  for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) {
    screen.addEventListener(end, (event) => {
      if (from?.id !== event.pointerId) return;
      const gesture = end === "pointerup" ? gestureOf(from, touch(event)) : null;
      from = null;
      pull(0);
      if (gesture) done(gesture, event.timeStamp);
    });
  }
}
