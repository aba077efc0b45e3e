// Words and numbers as people read them.

// What can hide or turn round what stands beside it: control characters but tab and newline, marks of direction, and
// characters without width. They are shown by name. Joiners stay, since scripts and emoji need them.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/u;

function nameOf(char) {
  const code = char.codePointAt(0);
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  return `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}

// Splits a text into what is plain and what is hidden: [[text, isHidden]].
export function pieces(text) {
  const parts = [];
  let plain = "";
  for (const char of String(text).replaceAll("\r\n", "\n")) {
    if (!HIDDEN.test(char)) {
      plain += char;
      continue;
    }
    if (plain) parts.push([plain, false]);
    plain = "";
    parts.push([nameOf(char), true]);
  }
  if (plain) parts.push([plain, false]);
  return parts;
}

// The same as one string, for places that take no nodes.
export function visible(text) {
  return pieces(text).map(([piece]) => piece).join("");
}

export function hasHidden(text) {
  return HIDDEN.test(text);
}

// A name under which a browser may keep a file.
export function fileName(path) {
  const last = String(path).split(/[\\/]/).pop() || "file";
  return visible(last).replace(/[^\p{L}\p{N}._ -]/gu, "_").replace(/^\.+/, "_").slice(0, 120) || "file";
}

export function money(usd) {
  if (!Number.isFinite(usd)) return "–";
  if (usd === 0) return "$0";
  const digits = Math.abs(usd) >= 1 ? 2 : Math.abs(usd) >= 0.01 ? 4 : 6;
  // Cents keep both places; smaller parts need no zeros at their end.
  return `$${digits === 2 ? usd.toFixed(2) : usd.toFixed(digits).replace(/(\.\d\d\d*?)0+$/, "$1")}`;
}

// The store counts money in billionths of a dollar.
export const NANOS = 1e9;

export function count(n) {
  return Number.isFinite(n) ? n.toLocaleString("en") : "–";
}

export function bytes(n) {
  if (!Number.isFinite(n)) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (n >= 1000 && at < units.length - 1) {
    n /= 1000;
    at += 1;
  }
  return `${at === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[at]}`;
}

export function span(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 0) ms = 0;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(s % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function ago(ms, now = Date.now()) {
  const past = now - ms;
  if (past < 0) return `in ${span(-past)}`;
  if (past < 5000) return "just now";
  return past < 60_000 ? `${Math.floor(past / 1000)} s ago` : `${span(past).replace(/ min .*/, " min")} ago`;
}

const two = (n) => String(n).padStart(2, "0");

// A point in time, in the reader's own zone.
export function time(ms) {
  if (!Number.isFinite(ms)) return "–";
  const at = new Date(ms);
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export function json(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2) ?? "";
}

// Identities are long and begin with the time; a list shows enough to tell them apart.
export function short(id) {
  const text = String(id ?? "");
  return text.length > 16 ? `${text.slice(0, 4)}…${text.slice(-8)}` : text;
}
