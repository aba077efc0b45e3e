// Envs: named file trees that several sessions share.

import { html, useRef, useState } from "../dom.js";
import { call, piece } from "../api.js";
import { Act, Empty, Field, Form, Head, List, Sure, Text, Time, usePages } from "../parts.js";
import { bytes } from "../text.js";

export function Envs() {
  const pages = usePages("/v1/envs", {}, "slug", 5000);
  const make = async (form, node) => {
    const slug = form.get("slug").trim();
    await call("POST", "/v1/envs", { name: form.get("name"), ...(slug ? { slug } : {}) });
    node.reset();
    pages.reload();
  };
  return html`<${Head} title="Envs" sub="Named file trees that sessions share and that stay when they end." />
    <details class="panel"><summary>Make an env</summary><${Form} run=${make} label="Make an env" send="Make"><div class="fields">
      <${Field} label="Name"><input name="name" required maxlength="200" /><//>
      <${Field} label="Slug" hint="empty: made of the name"><input name="slug" maxlength="64" pattern="[a-z0-9][a-z0-9-]*" /><//></div><//></details>
    <${List} pages=${pages} what="Envs" heads=${["Name", "Slug", "#Sessions", "#Size", "Changed", ""]} row=${(env) => ({
      key: env.slug,
      cells: [html`<a class="open" href=${`#/sessions?env=${piece(env.slug)}`}><${Text} of=${env.name} max=${120} /></a>`, html`<code><${Text} of=${env.slug} /></code>`, env.sessions, bytes(env.bytes ?? NaN), html`<${Time} of=${env.updated} />`,
        html`<${Menu} env=${env} reload=${pages.reload} />`],
    })}><${Empty} title="No env yet.">An env keeps files for several sessions. Make one above, or save a session as one: <code>lazaret env create NAME --from SESSION</code>.<//><//>`;
}

function Menu({ env, reload }) {
  const path = `/v1/envs/${piece(env.slug)}`;
  const box = useRef(null);
  const [problem, setForce] = useState(null);
  const save = async (form) => {
    await call("PATCH", path, { name: form.get("name"), core_memory: form.get("memory") });
    box.current.close();
    reload();
  };
  const remove = (force) => async () => {
    try {
      await call("DELETE", force ? `${path}?force=true` : path);
      setForce(null);
      reload();
    } catch (trouble) {
      setForce(trouble);
      throw trouble;
    }
  };
  const begin = async () => {
    const made = await call("POST", "/v1/sessions", { env: env.slug });
    location.hash = `#/sessions/${piece(made.id)}`;
  };
  return html`<div class="row small"><${Act} run=${begin} label=${`new session in ${env.slug}`}>New session<//><button aria-label=${`edit ${env.slug}`} onClick=${() => box.current.showModal()}>Edit</button>
    <${Act} run=${async () => (await call("POST", `${path}/clone`, { name: `${env.name} copy` }), reload())}>Clone<//>
    <${Sure} ask=${`Delete the env ${env.slug} with all its files? This cannot be undone.`} run=${remove(Boolean(problem))}>${problem ? "Delete, and end what works in it" : "Delete"}<//></div>
    <dialog ref=${box} aria-label="Edit the env"><${Form} run=${save} label="Edit the env"><${Field} label="Name"><input name="name" defaultValue=${env.name} required maxlength="200" /><//>
      <${Field} label="What every session in it is told" wide><textarea name="memory" rows="8">${env.core_memory}</textarea><//>
      <button type="button" onClick=${() => box.current.close()}>Leave it</button><//></dialog>`;
}
