// @ts-check
/** The bar under the clips: play, scrub, step, speed. One clock for both clips. */

import { byId, letGo, mark, part, press, say } from "./dom.js";

/** @typedef {import("./player.js").Position} Position */

export class Transport {
  /**
   * @param {(command: import("./keys.js").Command, at: number) => void} command
   * @param {(tick: number) => void} seek
   */
  constructor(command, seek) {
    this.scrub = part(document, "#scrub", HTMLInputElement);
    press(byId("pause"), (at) => command("toggle", at));
    for (const name of /** @type {const} */ (["replay", "step-back", "step-on", "slower", "faster"])) {
      press(byId(name), (at) => command(name, at));
    }
    this.scrub.addEventListener("input", () => seek(Number(this.scrub.value)));
    letGo(this.scrub);
    press(byId("more"), () => this.#openMore(byId("extras").classList.toggle("open")));
  }

  /** @param {boolean} open */
  #openMore(open) {
    mark(byId("more"), "aria-expanded", String(open));
  }

  /** @param {import("./state.js").State} state @param {number[]} speeds what there is to choose from */
  render({ playing, speed }, speeds) {
    say("pause-word", playing ? "Pause" : "Play");
    byId("pause").classList.toggle("halted", !playing);
    say("speed", `${speed}×`);
    byId("speed").classList.toggle("odd", speed !== 1);
    part(document, "#slower", HTMLButtonElement).disabled = speed <= speeds[0];
    part(document, "#faster", HTMLButtonElement).disabled = speed >= speeds[speeds.length - 1];
  }

  /** Where the clips are. While they play, nobody is told of each frame. @param {Position} position @param {boolean} playing */
  follow({ tick, count, rate }, playing) {
    const { scrub } = this;
    mark(scrub, "max", String(count - 1));
    if (scrub.value !== String(tick)) scrub.value = String(tick);
    scrub.style.setProperty("--done", `${(100 * tick) / Math.max(1, count - 1)}%`);
    if (!playing) mark(scrub, "aria-valuetext", `${(tick / rate).toFixed(2)} of ${(count / rate).toFixed(2)} s, frame ${tick + 1} of ${count}`);
  }
}
