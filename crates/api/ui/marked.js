// The few signs of Markdown that agents write, as nodes. Text that nobody trusts stays text: no address becomes a link, no picture is
// loaded, and what is not understood is shown as it was written.

import { html, useMemo } from "./dom.js";
import { Text } from "./parts.js";

// Beyond these a text is shown as it was written.
const CHARS_MAX = 100_000;
const LINES_MAX = 4000;
const CELLS_MAX = 20;
// A paragraph that is longer is looked through for no signs: looking takes longer than its length.
const SPANS_CHARS_MAX = 8000;

const FENCE = /^(`{3,}|~{3,})\s*([\w+#.-]*)\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const HEADING = /^(#{1,6})\s+(.+?)\s*#*$/;
const RULE = /^\s*([-*_])(\s*\1){2,}\s*$/;
const TABLE = /^\s*\|.*\|\s*$/;
const TABLE_RULE = /^\s*\|(\s*:?-{1,}:?\s*\|)+\s*$/;

// Splits a text into blocks: {kind, ...}.
export function blocks(text) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const out = [];
  let plain = [];
  const flush = () => {
    if (plain.length) out.push({ kind: "text", text: plain.join("\n") });
    plain = [];
  };
  for (let n = 0; n < lines.length; n += 1) {
    const line = lines[n];
    const fence = FENCE.exec(line);
    if (fence) {
      const end = lines.findIndex((later, at) => at > n && later.trim().startsWith(fence[1]) && !later.trim().slice(fence[1].length).trim());
      // One that is not closed goes to the end: an answer that is still coming.
      const last = end < 0 ? lines.length : end;
      flush();
      out.push({ kind: "code", word: fence[2], text: lines.slice(n + 1, last).join("\n") });
      n = last;
      continue;
    }
    const heading = HEADING.exec(line);
    const item = ITEM.exec(line);
    if (!line.trim()) flush();
    else if (heading) {
      flush();
      out.push({ kind: "heading", level: heading[1].length, text: heading[2] });
    } else if (RULE.test(line)) {
      flush();
      out.push({ kind: "rule" });
    } else if (TABLE.test(line) && TABLE_RULE.test(lines[n + 1] ?? "")) {
      flush();
      const rows = [];
      const head = cells(line);
      for (n += 2; n < lines.length && TABLE.test(lines[n]); n += 1) rows.push(cells(lines[n]));
      n -= 1;
      out.push({ kind: "table", head, rows });
    } else if (item) {
      flush();
      const before = out.at(-1);
      const isNumbered = /\d/.test(item[2]);
      const entry = { depth: Math.min(4, Math.floor(item[1].length / 2)), text: item[3], sign: isNumbered ? item[2] : "•" };
      if (before?.kind === "list") before.items.push(entry);
      else out.push({ kind: "list", items: [entry] });
    } else if (/^\s*>\s?/.test(line)) {
      flush();
      const before = out.at(-1);
      const said = line.replace(/^\s*>\s?/, "");
      if (before?.kind === "quote" && lines[n - 1]?.trim().startsWith(">")) before.text += `\n${said}`;
      else out.push({ kind: "quote", text: said });
    } else if (/^\s{2,}/.test(line) && !plain.length && out.at(-1)?.kind === "list" && lines[n - 1]?.trim()) {
      out.at(-1).items.at(-1).text += `\n${line.trim()}`;
    } else plain.push(line);
  }
  flush();
  return out;
}

function cells(line) {
  return line.trim().slice(1, -1).split("|").slice(0, CELLS_MAX).map((cell) => cell.trim());
}

const INLINE = /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)|\*\*([^\s*](?:[^*\n]*[^\s*])?)\*\*|(?<![\w*])\*([^\s*](?:[^*\n]*[^\s*])?)\*(?![\w*])|\[([^\]\n]{1,300})\]\(([^\s()]{1,2000})\)/g;

// The parts of one line of text: [kind, text, address].
export function spans(text) {
  if (text.length > SPANS_CHARS_MAX) return [["text", text]];
  const out = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    if (found.index > at) out.push(["text", text.slice(at, found.index)]);
    if (found[2] !== undefined) out.push(["code", found[2]]);
    else if (found[3] !== undefined) out.push(["strong", found[3]]);
    else if (found[4] !== undefined) out.push(["em", found[4]]);
    else out.push(["address", found[5], found[6]]);
    at = found.index + found[0].length;
  }
  if (at < text.length) out.push(["text", text.slice(at)]);
  return out;
}

function Spans({ of }) {
  return spans(of).map(([kind, text, address]) => {
    if (kind === "code") return html`<code><${Text} of=${text} /></code>`;
    if (kind === "strong") return html`<strong><${Text} of=${text} /></strong>`;
    if (kind === "em") return html`<em><${Text} of=${text} /></em>`;
    // Where an address leads is said, and nobody is led there.
    if (kind === "address") return html`<span><${Text} of=${text} /> <span class="muted">(<${Text} of=${address} max=${300} />)</span></span>`;
    return html`<${Text} of=${text} />`;
  });
}

function Piece({ of }) {
  switch (of.kind) {
    case "code":
      return html`<pre class="block" tabindex="0" aria-label=${of.word ? `code, ${of.word}` : "code"}><${Text} of=${of.text} /></pre>`;
    case "heading":
      return html`<p class=${`mark-h mark-h${Math.min(3, of.level)}`}><${Spans} of=${of.text} /></p>`;
    case "rule":
      return html`<hr />`;
    case "quote":
      return html`<blockquote><${Spans} of=${of.text} /></blockquote>`;
    case "list":
      return html`<ul class="mark-list">${of.items.map((item) => html`<li class=${`depth-${item.depth}`}><span class="sign" aria-hidden="true">${item.sign}</span><span><${Spans} of=${item.text} /></span></li>`)}</ul>`;
    case "table":
      return html`<div class="mark-table" tabindex="0"><table><thead><tr>${of.head.map((cell) => html`<th><${Spans} of=${cell} /></th>`)}</tr></thead>
        <tbody>${of.rows.map((row) => html`<tr>${row.map((cell) => html`<td><${Spans} of=${cell} /></td>`)}</tr>`)}</tbody></table></div>`;
    default:
      return html`<p><${Spans} of=${of.text} /></p>`;
  }
}

export function Marked({ of }) {
  const text = String(of ?? "");
  const parts = useMemo(() => (text.length > CHARS_MAX || text.split("\n", LINES_MAX + 1).length > LINES_MAX ? null : blocks(text)), [text]);
  if (!parts) return html`<div class="said"><${Text} of=${text} /></div>`;
  return html`<div class="said marked">${parts.map((part, n) => html`<${Piece} key=${n} of=${part} />`)}</div>`;
}
