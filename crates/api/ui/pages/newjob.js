import { html } from "../dom.js";
import { Head } from "../parts.js";
export function NewJob() {
  return html`<${Head} title="New job" />`;
}
