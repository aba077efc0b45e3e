// Shows the API document that this same server gives. Everything is set as text: nothing of it is markup.

const make = (tag, text, parent) => {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  if (parent) parent.append(node);
  return node;
};

// A schema in one line of words.
function name(schema) {
  if (!schema || typeof schema !== "object") return "anything";
  if (schema.$ref) return schema.$ref.split("/").pop();
  for (const many of ["oneOf", "anyOf", "allOf"]) {
    if (schema[many]) return schema[many].map(name).join(many === "allOf" ? " and " : " or ");
  }
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${name(schema.items)}`;
  return [schema.type ?? "anything"].flat().join(" or ");
}

function fields(schema, parent) {
  const entries = Object.entries(schema.properties ?? {});
  if (!entries.length) return;
  const table = make("table", "", parent);
  for (const [field, value] of entries) {
    const row = make("tr", "", table);
    make("th", (schema.required ?? []).includes(field) ? `${field} *` : field, row);
    make("td", name(value), row);
    make("td", value.description ?? "", row);
  }
}

function body(title, content, parent) {
  for (const [kind, { schema }] of Object.entries(content ?? {})) {
    make("p", `${title}: ${kind}${schema.format === "binary" ? "" : `, ${name(schema)}`}`, parent);
    if (schema.properties) fields(schema, parent);
  }
}

function route(path, verb, operation, parent) {
  const details = make("details", "", parent);
  const who = operation.security.length ? ` (scope ${operation["x-scope"]})` : " (open)";
  make("summary", `${verb.toUpperCase()} ${path}: ${operation.summary}${who}`, details);
  if (operation.parameters.length) {
    const table = make("table", "", details);
    for (const parameter of operation.parameters) {
      const row = make("tr", "", table);
      make("th", parameter.required ? `${parameter.name} *` : parameter.name, row);
      make("td", `${parameter.in}, ${name(parameter.schema)}`, row);
      make("td", parameter.description ?? "", row);
    }
  }
  body("takes", operation.requestBody?.content, details);
  for (const [status, answer] of Object.entries(operation.responses)) body(`answers ${status}`, answer.content, details);
}

async function show() {
  const answer = await fetch(new URL("../openapi.json", import.meta.url));
  const api = await answer.json();
  document.getElementById("about").textContent = `version ${api.info.version}. ${api.info.description}`;
  const main = document.getElementById("routes");
  for (const { name: tag } of api.tags) {
    const section = make("section", "", main);
    make("h2", tag, section);
    for (const [path, verbs] of Object.entries(api.paths)) {
      for (const [verb, operation] of Object.entries(verbs)) {
        if (operation.tags.includes(tag)) route(path, verb, operation, section);
      }
    }
  }
  const forms = make("section", "", main);
  make("h2", "forms", forms);
  for (const [title, schema] of Object.entries(api.components.schemas)) {
    const details = make("details", "", forms);
    make("summary", title, details);
    if (schema.description) make("p", schema.description, details);
    if (schema.properties) fields(schema, details);
    else make("p", name(schema), details);
  }
}

show().catch((error) => { document.getElementById("about").textContent = `the document cannot be shown: ${error.message}`; });
