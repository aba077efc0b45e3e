import { html } from "../dom.js";
import { Head, Missing, isMissing, useLoad } from "../parts.js";

export function Profiles() {
  const all = useLoad("/v1/profiles", 5000);
  return html`<${Head} title="Profiles" />${isMissing(all.problem) ? html`<${Missing} what="Profiles" />` : null}`;
}
export const Profile = Profiles;
