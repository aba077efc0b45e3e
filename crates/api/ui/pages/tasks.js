// Schedules: work that is done at set times, and what came of each time.

import { html, useState } from "../dom.js";
import { call, piece } from "../api.js";
import { Act, Badge, Block, Empty, Facts, Field, Form, Head, List, Missing, Sure, Text, Time, Trouble, isMissing, useLoad, usePages } from "../parts.js";

const MISFIRES = [["once", "once for all of them"], ["skip", "not at all"], ["all", "each of them"]];
const OVERLAPS = [["skip", "is left out"], ["queue", "waits for the other"], ["parallel", "runs beside it"]];

export function Tasks() {
  const pages = usePages("/v1/tasks", {}, "id", 5000);
  return html`<${Head} title="Schedules" sub="Jobs and messages at set times." />
    ${isMissing(pages.problem) ? null : html`<details class="panel"><summary>Make a schedule</summary><${Make} done=${pages.reload} /></details>`}
    <${List} pages=${pages} what="Schedules" heads=${["Name", "State", "When", "Zone", "Next", "Does"]} row=${(task) => ({
      key: task.id,
      cells: [html`<a class="open" href=${`#/tasks/${piece(task.id)}`}><${Text} of=${task.name} max=${120} /></a>`, html`<${Badge} of=${task.status} />`, html`<code><${Text} of=${task.cron} /></code>`,
        html`<${Text} of=${task.zone} />`, html`<${Time} of=${task.next} />`, html`<${Text} of=${does(task.action)} max=${80} />`],
    })}><${Empty} title="No schedule yet.">Make one above, or with <code>lazaret task add</code>.<//><//>`;
}

function does(action) {
  if (action?.job) return `job: ${action.job.prompt ?? action.job.profile ?? ""}`;
  return `says: ${action?.message?.text ?? ""}`;
}

function Make({ done }) {
  const [kind, setKind] = useState("job");
  const profiles = useLoad("/v1/profiles").data?.items ?? [];
  const engines = useLoad("/v1/engines").data?.items ?? [];
  const run = async (form, node) => {
    const given = (name) => String(form.get(name) ?? "").trim();
    const some = (names) => Object.fromEntries(names.filter((name) => given(name)).map((name) => [name, given(name)]));
    const action = kind === "job"
      ? { job: { ...some(["agent_id", "profile", "engine", "prompt"]) } }
      : { message: { ...some(["session", "agent", "env"]), text: given("prompt") } };
    const made = await call("POST", "/v1/tasks", { name: given("name"), cron: given("cron"), zone: given("zone") || null, misfire: given("misfire"), overlap: given("overlap"), action });
    node.reset();
    done();
    location.hash = `#/tasks/${piece(made.id)}`;
  };
  return html`<${Form} run=${run} label="Make a schedule" send="Make"><div class="fields">
      <${Field} label="Name"><input name="name" required maxlength="100" /><//>
      <${Field} label="When" hint="minute hour day month weekday"><input name="cron" class="mono" required placeholder="0 9 * * 1-5" /><//>
      <${Field} label="Zone"><input name="zone" defaultValue=${Intl.DateTimeFormat().resolvedOptions().timeZone} placeholder="UTC" /><//>
      <${Field} label="Does"><select name="kind" value=${kind} onChange=${(event) => setKind(event.target.value)}><option value="job">asks for a job</option><option value="message">says something to an agent</option></select><//>
      ${kind === "job" ? html`<${Field} label="Agent id"><input name="agent_id" required defaultValue="schedule" pattern="[A-Za-z0-9_\\-]{1,64}" /><//>
        <${Field} label="Profile"><select name="profile"><option value="">default</option>${profiles.filter((p) => p.name !== "default").map((p) => html`<option>${p.name}</option>`)}</select><//>
        <${Field} label="Engine"><select name="engine"><option value="">the profile’s</option>${engines.map((e) => html`<option>${e.name}</option>`)}</select><//>`
      : html`<${Field} label="Session" hint="empty: a new one each time"><input name="session" placeholder="ses_…" /><//>
        <${Field} label="Agent"><input name="agent" placeholder="default" /><//><${Field} label="Env"><input name="env" /><//>`}
      <${Field} label="Times that were missed are made up for"><select name="misfire">${MISFIRES.map(([value, word]) => html`<option value=${value}>${word}</option>`)}</select><//>
      <${Field} label="While an earlier one is at work, it"><select name="overlap">${OVERLAPS.map(([value, word]) => html`<option value=${value}>${word}</option>`)}</select><//>
      <${Field} label=${kind === "job" ? "Prompt" : "What is said"} wide><textarea name="prompt" rows="3" required=${kind === "message"}></textarea><//></div><//>`;
}

export function Task({ id }) {
  const path = `/v1/tasks/${piece(id)}`;
  const { data: task, problem, reload } = useLoad(path, 3000);
  const log = usePages(`${path}/log`, {}, "id", 3000);
  if (isMissing(problem)) return html`<${Head} title="Schedule" /><${Missing} what="Schedules" />`;
  if (!task) return html`<${Head} title="Schedule" /><${Trouble} problem=${problem} />`;
  const act = (verb) => async () => {
    await call("POST", `${path}/${verb}`);
    reload();
    log.reload();
  };
  return html`<${Head} title=${task.name} sub=${html`<${Badge} of=${task.status} />`}>
      <${Act} kind="primary" run=${act("run")}>Run now<//>
      ${task.status === "active" ? html`<${Act} run=${act("pause")}>Pause<//>` : html`<${Act} run=${act("resume")}>Resume<//>`}
      <${Sure} ask=${`Forget the schedule ${task.name} and its log? What it began goes on.`} run=${async () => (await call("DELETE", path), (location.hash = "#/tasks"))}>Delete<//><//>
    <${Trouble} problem=${problem} />
    ${task.note ? html`<p class="note ask"><${Text} of=${task.note} /></p>` : null}
    <${Facts} of=${[["When", html`<code><${Text} of=${task.cron} /></code>`], ["Zone", html`<${Text} of=${task.zone} />`], ["Next", task.next && html`<${Time} of=${task.next} />`], ["Missed times", task.misfire],
      ["Overlap", task.overlap], ["Failures", `${task.failures} of at most ${task.failures_max}`], ["Made", html`<${Time} of=${task.created} />`]]} />
    <details class="about"><summary>What it does</summary><${Block} of=${task.action} label="action" /></details>
    <h2>Log</h2><${List} pages=${log} what="Runs" heads=${["Due", "State", "Made", "Ended", "Note"]} row=${(run) => ({
      key: run.id,
      cells: [html`<${Time} of=${run.due} />${run.by_hand ? html` <span class="muted">by hand</span>` : null}`, html`<${Badge} of=${run.status} />`, made(run), html`<${Time} of=${run.ended} />`, html`<${Text} of=${run.note ?? "–"} max=${200} />`],
    })}><${Empty} title="It was not due yet.">Run it now to see what it does.<//><//>`;
}

function made(run) {
  if (run.job) return html`<a class="open" href=${`#/jobs/${piece(run.job)}`}><${Text} of=${run.job} /></a>`;
  if (run.session) return html`<a class="open" href=${`#/sessions/${piece(run.session)}`}><code>${run.session.slice(-8)}</code></a>`;
  return "–";
}
