// Schedules: work that is done at set times.

import { html } from "../dom.js";
import { Head, Missing, isMissing, useLoad } from "../parts.js";

export function Tasks() {
  const tasks = useLoad("/v1/tasks", 5000);
  return html`<${Head} title="Schedules" />${isMissing(tasks.problem) ? html`<${Missing} what="Schedules" />` : null}`;
}
export const Task = Tasks;
