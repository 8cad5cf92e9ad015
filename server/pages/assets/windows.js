// The windows of a report, as buttons of which one is pressed.

import { element } from "./element.js";

/** Window -> its name in a sentence. */
export const WINDOWS = { "1h": "1 hour", "24h": "24 hours", "7d": "7 days" };

/** `choose` is called with the window of a button that is clicked. */
export class Windows {
  constructor(label, choose) {
    this.buttons = Object.entries(WINDOWS).map(([window, text]) =>
      element("button", { type: "button", value: window, onclick: () => choose(window) }, text),
    );
    const group = element("div", { class: "segments", role: "group", "aria-label": label }, this.buttons);
    this.element = element("div", { class: "tools" }, group);
  }

  press(window) {
    this.chosen = window;
    for (const button of this.buttons) button.setAttribute("aria-pressed", button.value === window);
  }
}
