// @ts-check
/** A curve so small that it stands beside a figure. */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 160;
const HEIGHT = 28;
const EDGE = 3;

/**
 * Where the curve goes, as an SVG polyline's points: from the first x to the last, from the lowest y to the highest.
 * @param {[number, number][]} curve at least one point, by x
 */
export function lineOf(curve) {
  const across = curve.map(([x]) => x);
  const up = curve.map(([, y]) => y);
  const place = (/** @type {number} */ value, /** @type {number[]} */ values) => {
    const low = Math.min(...values);
    const span = Math.max(...values) - low;
    return span ? (value - low) / span : 0.5;
  };
  const point = (/** @type {[number, number]} */ [x, y]) => [
    EDGE + place(x, across) * (WIDTH - 2 * EDGE),
    HEIGHT - EDGE - place(y, up) * (HEIGHT - 2 * EDGE),
  ];
  return curve.map((one) => point(one).map((value) => Math.round(10 * value) / 10).join()).join(" ");
}

/** @returns {SVGSVGElement} an empty one */
export function sparkline() {
  const image = document.createElementNS(SVG, "svg");
  image.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  image.setAttribute("preserveAspectRatio", "none");
  image.setAttribute("role", "img");
  image.classList.add("spark");
  image.append(document.createElementNS(SVG, "polyline"));
  return image;
}

/** @param {Element} image @param {[number, number][]} curve @param {string} words what the curve says */
export function draw(image, curve, words) {
  const points = lineOf(curve);
  if (image.firstElementChild?.getAttribute("points") === points) return;
  image.firstElementChild?.setAttribute("points", points);
  image.setAttribute("aria-label", words);
}
