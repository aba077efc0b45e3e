// How the page makes nodes. Everything that is shown comes from programs that nobody trusts, so text becomes text nodes
// and there is no way from here to markup: a property that could hold any is refused, and so is a link that leaves.

import { createContext, h, render } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { createContext, render };
export { useContext, useEffect, useErrorBoundary, useMemo, useRef, useState } from "./vendor/hooks.js";

const MARKUP = new Set(["dangerouslySetInnerHTML", "innerHTML", "outerHTML", "srcdoc"]);
// Places of this page and of this server; nothing else is ever linked to.
const OWN_LINK = /^(#\/|(\/[\w./-]*)?\/(docs|ui)$)/;

function make(type, props, ...children) {
  if (typeof type === "string" && props) {
    for (const name of Object.keys(props)) {
      if (MARKUP.has(name)) throw new Error(`${name} is not used here`);
      if ((name === "href" || name === "src") && !OWN_LINK.test(String(props[name]))) throw new Error("only own links are made");
    }
  }
  return h(type, props, ...children);
}

export const html = htm.bind(make);
