//! What callers do with jobs.

use std::time::Duration;

use model::{Code, Failure, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::{JobBlob, JobBody, JobDetail, JobFilter, JobRow, NewJob, Page, StoreError, Webhook};

use super::resolve::resolve_with;
use super::settings::{JOBS_QUEUED_MAX, RETRIES_DEFAULT};
use super::view::brief;
use super::{JobFiles, JobForm, JobPart, JobQuery, JobRepo, JobStaging, JobView, ResolvedJob, check_job, resolve};
use crate::files::FileStream;
use crate::{App, Caller, SessionForm, SessionSpec};

/// Entries in a page when nothing else is asked for, and at most.
const PAGE: (usize, usize) = (50, 200);
/// Hexadecimal digits after the `agent_id` of a job's identity.
const ID_DIGITS: usize = 12;

/// The jobs of an [`App`], as one caller sees them.
pub struct JobsOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

/// What a job runs with, as its row keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    /// The form, its profile and the configuration, without the prompt.
    pub(super) resolved: ResolvedJob,
    /// The session that each try makes.
    pub(super) spec: SessionSpec,
    /// The agent.
    pub(super) agent: String,
    /// The env.
    pub(super) env: Option<String>,
    /// What the request that asked for it is part of, as the field `traceparent` says it.
    #[serde(default)]
    pub(super) traceparent: Option<String>,
}

impl Stored {
    pub(super) fn read(value: &Value) -> Result<Self, Failure> {
        serde_json::from_value(value.clone()).map_err(|e| Failure::new(Code::StoreUnusable, format!("a job cannot be read: {e}")))
    }
}

impl App {
    /// Where the files of forms go that ask for jobs.
    #[must_use]
    pub fn job_staging(&self) -> &JobStaging {
        &self.desk_of_jobs().staging
    }

    /// The jobs that this caller sees.
    #[must_use]
    pub fn jobs_of(&self, caller: &Caller) -> JobsOf<'_> {
        JobsOf { app: self, caller: caller.clone() }
    }
}

impl JobsOf<'_> {
    /// Accepts a job: when this returns, it is durable. The same key with the same form is the same job.
    ///
    /// # Errors
    /// A field is wrong, the profile, engine, model, agent or env is missing, the key was used for another form, or too many
    /// jobs wait. Nothing is made then.
    pub async fn create(&self, form: JobForm, key: Option<String>) -> Result<JobView, Failure> {
        self.create_with(form, self.app.job_staging().files(), key).await
    }

    /// The same with files that came beside the form. They are the job's, or gone when this fails.
    ///
    /// # Errors
    /// As [`JobsOf::create`].
    pub async fn create_with(&self, mut form: JobForm, mut files: JobFiles, key: Option<String>) -> Result<JobView, Failure> {
        files.absorb(&mut form).await?;
        let request = hash_of(&form, &files)?;
        if let Some(key) = &key
            && let Some((row, known)) = self.app.store().job_of_key(self.caller.makes_for(), key).await.map_err(|e| e.failure())?
        {
            // What is looked up below may have changed since.
            if known == request {
                return self.show(&row.id).await;
            }
            return Err(StoreError::Conflict(format!("the key was used for another request, job `{}`", row.id)).failure().field("key"));
        }
        self.accept(form, Files::Sent(files), key, request, None).await
    }

    /// A new job with the form of an earlier one. It has the label `retry_of`.
    ///
    /// # Errors
    /// There is none of this identity, or what it needs is missing now.
    pub async fn retry(&self, id: &str) -> Result<JobView, Failure> {
        let detail = self.detail(id).await?;
        let mut form: JobForm = serde_json::from_value(detail.form)
            .map_err(|e| Failure::new(Code::StoreUnusable, format!("the form of job {id} cannot be read: {e}")))?;
        if form.prompt.is_some() {
            form.prompt = Some(self.app.store().job_prompt(id).await.map_err(|e| e.failure())?);
        }
        form.labels.insert("retry_of".to_owned(), id.to_owned());
        let files = self.app.store().job_blobs(id, "file").await.map_err(|e| e.failure())?;
        let secret = self.app.store().job_webhook_key(id).await.map_err(|e| e.failure())?;
        let request = hash_of(&form, &self.app.job_staging().files())?;
        self.accept(form, Files::Kept(files), None, request, secret).await
    }

    async fn accept(
        &self,
        mut form: JobForm,
        files: Files,
        key: Option<String>,
        request: String,
        sealed: Option<String>,
    ) -> Result<JobView, Failure> {
        check_job(&mut form)?;
        if let Some(schema) = &form.output_schema {
            broker::check_output_schema(schema).map_err(|e| wrong("output_schema", e.to_string()))?;
        }
        let webhook = self.webhook(&form, sealed)?;
        let mut resolved = resolve(self.app, &self.caller, &form).await?;
        let id = format!("{}-{:0width$x}", form.agent_id, crate::clock::fresh_bits() & ((1 << (4 * ID_DIGITS)) - 1), width = ID_DIGITS);
        let (spec, agent) = self.spec(&id, &form, &resolved).await?;
        self.check_source(&form)?;
        let blobs = match files {
            Files::Kept(files) => files,
            Files::Sent(files) => files.keep().await?,
        };
        let prompt = std::mem::take(&mut resolved.prompt);
        if prompt.trim().is_empty() {
            return Err(wrong("prompt", "there is neither a prompt nor a profile with one"));
        }
        // Kept once, with the row: here only whether it was the caller's own.
        form.prompt = form.prompt.map(|_| String::new());
        form.webhook_secret = None;
        for blob in &blobs {
            self.app.share_kept(&blob.body).await?;
        }
        let now = crate::now();
        let traceparent = crate::telemetry::asked().map(|parent| parent.to_string());
        let stored = Stored { resolved, spec, agent, env: form.env.clone(), traceparent };
        let new = NewJob {
            tenant: self.caller.makes_for().to_owned(),
            agent_id: form.agent_id.clone(),
            agent: stored.agent.clone(),
            priority: form.priority.unwrap_or(store::PRIORITY_DEFAULT),
            profile: stored.resolved.profile.clone(),
            engine: stored.spec.engine.clone(),
            model: stored.spec.model.clone().unwrap_or_default(),
            labels: form.labels.clone(),
            form: value(&form)?,
            resolved: value(&stored)?,
            prompt,
            blobs,
            key,
            request,
            retries_max: u32::from(form.retries.unwrap_or(RETRIES_DEFAULT)),
            not_before: Timestamp(now.0.saturating_add(form.delay_s.unwrap_or(0).saturating_mul(1000))),
            webhook,
            queued_max: JOBS_QUEUED_MAX,
            now,
            id,
        };
        let accepted = self.app.store().accept_job(new).await.map_err(|e| e.failure())?;
        model::crash::point("job:accepted");
        if accepted.fresh {
            self.app.job_accepted(&accepted.row);
        }
        self.app.desk_of_jobs().wake.notify_one();
        self.app.brief_job(accepted.row).await
    }

    /// Where its end is told.
    fn webhook(&self, form: &JobForm, sealed: Option<String>) -> Result<Option<Webhook>, Failure> {
        let Some(url) = &form.webhook_url else { return Ok(None) };
        self.app.check_webhook_url(url)?;
        let secret = form.webhook_secret.as_deref().map(|secret| self.app.seal_webhook_secret(secret)).transpose()?;
        Ok(Some(Webhook {
            url: url.clone(),
            secret: secret.or(sealed),
            traceparent: crate::telemetry::asked().map(|parent| parent.to_string()),
        }))
    }

    /// The session that each try makes, and its agent.
    async fn spec(&self, id: &str, form: &JobForm, resolved: &ResolvedJob) -> Result<(SessionSpec, String), Failure> {
        let settings = self.app.settings();
        let mut limits = resolved.limits;
        if let Some(timeout) = resolved.timeout {
            limits.get_or_insert(settings.limits).time = timeout;
        }
        let repo = form.repo.clone().map(|from| JobRepo { from, reference: form.reference.clone() });
        let session = SessionForm {
            agent: form.agent.clone(),
            engine: resolved.engine.clone(),
            model: resolved.model.clone(),
            env: form.env.clone(),
            title: Some(format!("job {id}")),
            labels: form.labels.clone(),
            priority: form.priority,
            limits,
            workdir: Some(WORKDIR.to_owned()),
            variables: form.variables.clone().into_iter().collect(),
            egress: resolved.egress.clone(),
            budget: resolved.budget,
            job: Some(JobPart { repo, variables: form.variables.clone(), ..JobPart::of(id, resolved) }),
            ..SessionForm::default()
        };
        let sessions = self.app.sessions_of(&self.caller);
        let (spec, agent) = sessions.job_spec(session).await?;
        Ok((spec, agent))
    }

    /// What a job of a profile that asks for nothing besides would be made with, its agent, and whether it may have
    /// instructions that are not known yet.
    pub(crate) async fn spec_of_profile(&self, name: &str) -> Result<(SessionSpec, String, bool), Failure> {
        // The prompt is not part of what a sandbox is made with.
        let form =
            JobForm { agent_id: "pool".to_owned(), profile: Some(name.to_owned()), prompt: Some("-".to_owned()), ..JobForm::default() };
        let (profile, version) = self.app.configs_of(&self.caller).profile(name).await?;
        let bare = profiles::Profile { claude_md: None, ..profile.clone() };
        let (resolved, is_unknown) = match resolve_with(self.app, &self.caller, &form, name, (profile, version)).await {
            Ok(resolved) => (resolved, false),
            // Variables without a default come with the job.
            Err(_) if bare.claude_md_vars.0.values().any(|variable| variable.required) => {
                (resolve_with(self.app, &self.caller, &form, name, (bare, version)).await?, true)
            }
            Err(failure) => return Err(failure),
        };
        let (spec, agent) = self.spec(name, &form, &resolved).await?;
        Ok((spec, agent, is_unknown))
    }

    /// Whether a repository on this machine may be used.
    fn check_source(&self, form: &JobForm) -> Result<(), Failure> {
        match form.repo.as_deref() {
            Some(repo) if !super::source::is_address(repo) => self.app.open_repo(repo).map(drop),
            _ => Ok(()),
        }
    }

    /// What a job is, with its result.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn show(&self, id: &str) -> Result<JobView, Failure> {
        let detail = self.detail(id).await?;
        self.app.whole_job(detail).await
    }

    /// A page of jobs, the youngest first, without what they were asked and what they left.
    ///
    /// # Errors
    /// The cursor or a filter is malformed.
    pub async fn list(&self, query: JobQuery) -> Result<Page<JobView>, Failure> {
        let label = query.label.as_deref().map(|l| l.split_once('=').ok_or_else(|| wrong("label", "a label is asked for as KEY=VALUE")));
        let filter = JobFilter {
            tenant: self.caller.tenant.clone(),
            state: query.status,
            agent_id: query.agent_id,
            profile: query.profile,
            engine: query.engine,
            label: label.transpose()?.map(|(k, v)| (k.to_owned(), v.to_owned())),
            from: query.from.map(Timestamp),
            to: query.to.map(Timestamp),
        };
        let after = query.after.as_deref().map(|a| a.parse().map_err(|_| wrong("after", "this is no cursor of an earlier page")));
        let limit = query.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1);
        let page = self.app.store().list_jobs(&filter, after.transpose()?, limit).await.map_err(|e| e.failure())?;
        let ids = page.items.iter().filter(|j| j.state.is_final()).map(|j| j.id.clone()).collect();
        let artifacts = self.app.store().artifacts_of(ids).await.map_err(|e| e.failure())?;
        let view = |row: JobRow| {
            let left = artifacts.get(&row.id).map_or(&[][..], Vec::as_slice);
            brief(row, left)
        };
        let mut items: Vec<JobView> = page.items.into_iter().map(view).collect();
        self.app.name_begun(&mut items).await?;
        Ok(Page { items, next: page.next })
    }

    /// How many jobs stand where, by the words of the states.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn counts(&self) -> Result<store::JobCounts, Failure> {
        self.app.store().count_jobs(self.caller.tenant.clone()).await.map_err(|e| e.failure())
    }

    /// Stops a job, wherever it stands.
    ///
    /// # Errors
    /// There is none of this identity, or it is over (`CONFLICT`).
    pub async fn cancel(&self, id: &str) -> Result<JobView, Failure> {
        self.row(id).await?;
        let (app, id) = (self.app.clone(), id.to_owned());
        let cancel = async move {
            let ended = app.store().cancel_job(&id, crate::now()).await.map_err(|e| e.failure())?;
            model::crash::point("job:cancelled");
            app.job_changed(&ended.row);
            if let Some(session) = &ended.row.session {
                // Whoever works on it hears of it here, or at the daemon's next start.
                app.desk_of_jobs().stop(&id);
                match app.cancel_session(session).await {
                    Ok(()) => {}
                    Err(failure) => tracing::warn!(job = id, %failure, "the work on a job that was stopped cannot be ended"),
                }
            }
            Ok(brief(ended.row, &[]))
        };
        self.app.see_through(cancel).await
    }

    /// Waits until a job is over, at most so long; gives it as it then is.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn wait(&self, id: &str, timeout: Duration) -> Result<JobView, Failure> {
        let mut watch = self.app.desk_of_jobs().watch(id);
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            watch.seen();
            let row = self.row(id).await?;
            if row.state.is_final() {
                return self.show(id).await;
            }
            tokio::select! {
                () = watch.over_or_unknown() => {}
                () = tokio::time::sleep_until(deadline) => return self.app.brief_job(row).await,
                () = self.app.cancel().cancelled() => return self.app.brief_job(row).await,
            }
            if let Some(over) = watch.over().filter(|over| self.caller.sees(&over.tenant)) {
                // One of those who wait reads it for all of them.
                return over.view.get_or_try_init(|| self.show(id)).await.cloned();
            }
        }
    }

    /// Forgets a job that is over, with its sessions and all that it left.
    ///
    /// # Errors
    /// There is none of this identity, it is not over, or its webhook is still to be sent (`CONFLICT`).
    pub async fn remove(&self, id: &str) -> Result<(), Failure> {
        let row = self.row(id).await?;
        if !row.state.is_final() {
            return Err(Failure::new(Code::Conflict, format!("job {id} is not over")).hint("cancel it first"));
        }
        self.app.forget_job(id).await
    }

    /// What a job asks, as its engine is given it.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn prompt(&self, id: &str) -> Result<String, Failure> {
        self.row(id).await?;
        self.app.store().job_prompt(id).await.map_err(|e| e.failure())
    }

    /// A file that a job left: its length and its bytes.
    ///
    /// # Errors
    /// There is no such job or file.
    pub async fn artifact(&self, id: &str, path: &str) -> Result<(u64, FileStream), Failure> {
        self.row(id).await?;
        self.open(id, "artifact", path).await
    }

    /// The whole result of a job in the form that was asked for: its media type, its length and its bytes.
    ///
    /// # Errors
    /// There is no such job, or it has no result.
    pub async fn result(&self, id: &str) -> Result<(&'static str, u64, FileStream), Failure> {
        let detail = self.detail(id).await?;
        if detail.blobs.iter().any(|b| b.kind == "output") {
            let (bytes, stream) = self.open(id, "output", "").await?;
            return Ok(("application/x-ndjson", bytes, stream));
        }
        let Some(blob) = detail.blobs.iter().find(|b| b.kind == "text") else {
            return Err(Failure::new(Code::NotFound, format!("job {id} has no result")));
        };
        let is_json = Stored::read(&detail.resolved)?.resolved.output_format == super::OutputFormat::Json;
        let text = self.app.blob_text(blob).await?;
        match super::view::json_of(&text).filter(|_| is_json) {
            Some(value) => {
                let bytes = value.to_string().into_bytes();
                Ok(("application/json", bytes.len() as u64, Box::new(std::io::Cursor::new(bytes))))
            }
            None => {
                let (bytes, stream) = self.open(id, "text", "").await?;
                Ok(("text/plain; charset=utf-8", bytes, stream))
            }
        }
    }

    async fn open(&self, id: &str, kind: &str, path: &str) -> Result<(u64, FileStream), Failure> {
        let blob = self.app.store().job_blob(id, kind, path).await.map_err(|e| e.failure())?;
        let stream: FileStream = match blob.body {
            JobBody::Inline(bytes) => Box::new(std::io::Cursor::new(bytes)),
            JobBody::Kept(hash) => {
                let file = self.app.open_kept(&hash).await?;
                Box::new(tokio::fs::File::from_std(file))
            }
            JobBody::Unread => return Err(Failure::new(Code::Internal, "the bytes were not read")),
        };
        Ok((blob.bytes, stream))
    }

    /// The row of a job that this caller sees.
    pub(super) async fn row(&self, id: &str) -> Result<JobRow, Failure> {
        let row = self.app.store().job(id).await.map_err(|e| e.failure())?;
        if self.caller.sees(&row.tenant) { Ok(row) } else { Err(missing(id)) }
    }

    async fn detail(&self, id: &str) -> Result<JobDetail, Failure> {
        let detail = self.app.store().job_detail(id).await.map_err(|e| e.failure())?;
        if self.caller.sees(&detail.row.tenant) { Ok(detail) } else { Err(missing(id)) }
    }
}

/// Where jobs work.
pub(super) const WORKDIR: &str = "/workspace";

/// Where the files of a job come from.
enum Files {
    /// With its form.
    Sent(JobFiles),
    /// From an earlier job.
    Kept(Vec<JobBlob>),
}

fn missing(id: &str) -> Failure {
    StoreError::NotFound { what: "job", id: id.chars().take(128).collect() }.failure()
}

fn wrong(field: &str, why: impl Into<String>) -> Failure {
    Failure::new(Code::Usage, format!("{field}: {}", why.into())).field(field)
}

fn value<T: Serialize>(of: &T) -> Result<Value, Failure> {
    serde_json::to_value(of).map_err(|e| Failure::new(Code::Internal, format!("a job cannot be written: {e}")))
}

/// What the same form with the same files hashes to.
fn hash_of(form: &JobForm, files: &JobFiles) -> Result<String, Failure> {
    let mut hash = Hashing(Sha256::new());
    serde_json::to_writer(&mut hash, form).map_err(|e| Failure::new(Code::Internal, format!("a job cannot be written: {e}")))?;
    files.mark(&mut hash.0);
    Ok(hash.0.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// Hashes what is written: a long prompt is not held once more.
struct Hashing(Sha256);

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
