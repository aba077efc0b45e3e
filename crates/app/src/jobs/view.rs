//! How jobs are shown.

use model::{Failure, JobState};
use serde_json::Value;
use store::{JobBlob, JobBody, JobDetail, JobRow};
use tokio::io::AsyncReadExt;

use super::desk::unkept;
use super::{Artifact, JobView, OutputFormat, Stored};
use crate::App;

/// Characters that are shown of why a job failed.
const ERROR_CHARS_MAX: usize = 500;

/// A job without what it was asked and what it left.
pub(super) fn brief(row: JobRow, artifacts: &[JobBlob]) -> JobView {
    let is_over = row.state.is_final();
    JobView {
        id: row.id,
        agent_id: row.agent_id,
        status: row.state,
        engine: row.engine,
        model: row.model,
        profile: row.profile,
        priority: row.priority,
        labels: row.labels,
        session: row.session,
        turn: row.turn,
        tries: row.tries,
        exit_code: row.exit_code,
        result: None,
        text: None,
        output: None,
        // While it waits for another try, why the last one failed is no end.
        error: row.error.filter(|_| is_over).map(|e| e.chars().take(ERROR_CHARS_MAX).collect()),
        code: row.code.filter(|_| is_over).map(|c| c.as_str().to_owned()),
        usage: row.usage,
        cost_usd: row.cost.as_usd(),
        artifacts: artifacts.iter().map(|a| Artifact { path: a.path.clone(), bytes: a.bytes }).collect(),
        created: row.created,
        started: row.started,
        finished: row.finished,
    }
}

impl App {
    /// A job that is not over.
    pub(super) async fn brief_job(&self, row: JobRow) -> Result<JobView, Failure> {
        let mut views = [brief(row, &[])];
        self.name_begun(&mut views).await?;
        let [view] = views;
        Ok(view)
    }

    /// Takes out the names of sessions that are not there yet: who asks for their log is to find one.
    pub(super) async fn name_begun(&self, views: &mut [JobView]) -> Result<(), Failure> {
        let is_open = |view: &&mut JobView| !view.status.is_final();
        let named = views.iter_mut().filter(is_open).filter_map(|view| view.session.clone()).collect::<Vec<_>>();
        if named.is_empty() {
            return Ok(());
        }
        let there = self.store().sessions_there(named).await.map_err(|e| e.failure())?;
        for view in views.iter_mut().filter(is_open) {
            if view.session.as_ref().is_some_and(|session| !there.contains(session)) {
                (view.session, view.turn) = (None, None);
            }
        }
        Ok(())
    }

    /// A job with its result.
    pub(super) async fn whole_job(&self, detail: JobDetail) -> Result<JobView, Failure> {
        let JobDetail { row, resolved, blobs, .. } = detail;
        let format = Stored::read(&resolved)?.resolved.output_format;
        let is_over = row.state.is_final();
        let (artifacts, rest): (Vec<_>, Vec<_>) = blobs.into_iter().partition(|b| b.kind == "artifact");
        let id = row.id.clone();
        if !is_over {
            return self.brief_job(row).await;
        }
        let mut view = brief(row, &artifacts);
        for blob in rest {
            match blob.kind.as_str() {
                "text" => view.text = Some(self.blob_text(&blob).await?),
                "output" => {
                    let blob = self.store().job_blob(&id, "output", "").await.map_err(|e| e.failure())?;
                    view.output = Some(self.blob_text(&blob).await?);
                }
                _ => {}
            }
        }
        view.result = view.text.as_deref().filter(|_| view.status == JobState::Completed).map(|text| result(text, format));
        Ok(view)
    }

    /// The bytes of what a job left, as text.
    pub(super) async fn blob_text(&self, blob: &JobBlob) -> Result<String, Failure> {
        let bytes = match &blob.body {
            JobBody::Inline(bytes) => bytes.clone(),
            JobBody::Kept(hash) => {
                let file = self.open_kept(hash).await?;
                let mut bytes = Vec::new();
                let mut file = tokio::fs::File::from_std(file);
                file.read_to_end(&mut bytes).await.map_err(|e| unkept(&e))?;
                bytes
            }
            JobBody::Unread => Vec::new(),
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A final text as the result of a job.
pub(super) fn result(text: &str, format: OutputFormat) -> Value {
    match format {
        OutputFormat::Json => json_of(text).unwrap_or_else(|| Value::String(text.to_owned())),
        OutputFormat::Text | OutputFormat::StreamJson => Value::String(text.to_owned()),
    }
}

/// The JSON value that a text is: by itself, or as the only block of code in it, which is how models like to write it.
pub(super) fn json_of(text: &str) -> Option<Value> {
    let trimmed = text.trim();
    if let Ok(value) = serde_json::from_str(trimmed) {
        return Some(value);
    }
    let (_, rest) = trimmed.split_once("```")?;
    let (_, rest) = rest.split_once('\n')?;
    let (block, after) = rest.split_once("\n```")?;
    if after.contains("```") {
        return None;
    }
    serde_json::from_str(block.trim()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_the_value_that_it_says() {
        let check = |text: &str, value: Value| assert_eq!(result(text, OutputFormat::Json), value, "{text}");
        check(" {\"a\": 1}\n", json!({ "a": 1 }));
        check("7", json!(7));
        check("Here you are:\n```json\n{\"a\": [2]}\n```\nDone.", json!({ "a": [2] }));
        check("```\n1\n```\nor\n```\n2\n```", json!("```\n1\n```\nor\n```\n2\n```"));
        check("plain words", json!("plain words"));
        check("", json!(""));
        assert_eq!(result("7", OutputFormat::Text), json!("7"));
    }
}
