// Keys that work everywhere but where somebody writes.

// How long the second key of two may take.
const SECOND_MS = 1500;

export const KEYS = [
  ["/", "go to the filter or the message"],
  ["j  k", "next and previous row"],
  ["Enter", "open the row"],
  ["?", "these keys"],
  ["Esc", "close a dialog, leave a field"],
];

const isField = (node) => node?.closest?.("input, textarea, select, [contenteditable]");

function step(by) {
  const rows = [...document.querySelectorAll("main tbody a.open")];
  if (!rows.length) return;
  const here = rows.indexOf(document.activeElement);
  const next = here < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, here + by));
  rows[next].focus();
}

// Listens until what is returned is called. `places` maps the key after `g` to the address.
export function listen(places) {
  let since = 0;
  const press = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" && isField(event.target)) {
      event.target.blur();
      return;
    }
    if (isField(event.target) || document.querySelector("dialog[open]") || !document.getElementById("nav")) return;
    const isSecond = Date.now() - since < SECOND_MS;
    since = 0;
    if (isSecond && Object.hasOwn(places, event.key)) {
      event.preventDefault();
      location.hash = `#/${places[event.key]}`;
      return;
    }
    if (event.key === "g") since = Date.now();
    else if (event.key === "?") document.getElementById("keys").showModal();
    else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "/") {
      const field = document.querySelector("main [data-first]");
      if (!field) return;
      event.preventDefault();
      field.focus();
    }
  };
  addEventListener("keydown", press);
  return () => removeEventListener("keydown", press);
}
