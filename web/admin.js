// @ts-check
/** What only an admin's page has: a button that opens the run's report in a tab of its own. */

import { press, show } from "./dom.js";

export class ReportButton {
  /** @type {Window | null} opened in the click, as browsers want it, and filled when the report is there */ #tab = null;

  /**
   * @param {HTMLElement} button
   * @param {{ask: () => boolean, say: (remark: string) => void}} on `ask`: whether the service could be asked
   */
  constructor(button, on) {
    this.on = on;
    press(button, () => this.#open());
  }

  #open() {
    this.#tab?.close();
    this.#tab = window.open("", "_blank");
    if (!this.#tab) return this.on.say("The browser blocked the report’s tab. Allow pop-ups for this page, then try again.");
    this.#tab.document.title = "Report · rltrainer";
    this.#tab.document.body.textContent = "The report is being made…";
    if (!this.on.ask()) this.#fail("The service is not connected; try again when it is.");
  }

  /** @param {import("./wire.js").ReportReady} message */
  ready({ path, reason }) {
    if (path === null) return this.#fail(reason);
    this.#tab?.location.replace(new URL(path, location.href));
    this.#tab = null;
  }

  /** @param {string} reason */
  #fail(reason) {
    this.#tab?.close();
    this.#tab = null;
    this.on.say(reason);
  }

  /** @param {import("./state.js").State} state */
  render({ welcome, link }) {
    show("report", welcome?.admin && link.phase === "open");
    if (this.#tab && link.phase !== "open") {
      this.#tab.close(); // whoever asked is gone, and nobody tells of the report
      this.#tab = null;
      queueMicrotask(() => this.on.say("The connection was lost before the report was there; ask for it again."));
    }
  }
}
