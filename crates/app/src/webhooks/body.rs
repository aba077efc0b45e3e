//! What a webhook says: its job, as everybody who may see it sees it.

use model::{Code, Failure};
use serde_json::{Value, json};
use store::WebhookRow;

use crate::{App, Caller};

/// Bytes that a body may have before the long parts are left out.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The parts that are left out then, the longest first to go; they can be asked for by the job's identity.
const LONG: &[&str] = &["output", "result", "text", "prompt", "artifacts", "labels", "error"];

/// The bytes that are sent.
pub(super) async fn made(app: &App, row: &WebhookRow) -> Result<Vec<u8>, Failure> {
    let job = job_of(app, &row.job).await?.unwrap_or_else(|| json!({ "id": row.job }));
    to_bytes(row, job)
}

/// The job as everybody sees it who may; `None` when it is gone.
async fn job_of(app: &App, id: &str) -> Result<Option<Value>, Failure> {
    match app.jobs_of(&Caller::OWNER).show(id).await {
        Ok(view) => serde_json::to_value(view).map(Some).map_err(unwritable),
        Err(failure) if failure.code == Code::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn unwritable(error: serde_json::Error) -> Failure {
    Failure::new(Code::Internal, format!("a webhook could not be written: {error}"))
}

fn to_bytes(row: &WebhookRow, job: Value) -> Result<Vec<u8>, Failure> {
    let mut whole = match job {
        Value::Object(fields) => fields,
        other => [("job".to_owned(), other)].into_iter().collect(),
    };
    whole.insert("event".to_owned(), json!(row.event));
    whole.insert("delivery".to_owned(), json!(row.id));
    let mut left_out: Vec<&str> = Vec::new();
    loop {
        let bytes = serde_json::to_vec(&whole).map_err(unwritable)?;
        let next = LONG.iter().find(|name| whole.contains_key(**name));
        match next {
            Some(name) if bytes.len() > BODY_BYTES_MAX => {
                whole.remove(*name);
                left_out.push(name);
                whole.insert("left_out".to_owned(), json!(left_out));
            }
            _ => return Ok(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_left_out_and_said() {
        let row = WebhookRow {
            id: model::WebhookId::from_bits(1),
            tenant: String::new(),
            job: "a-1".to_owned(),
            event: "job.completed".to_owned(),
            url: String::new(),
            host: String::new(),
            secret: None,
            traceparent: None,
            body: None,
            state: String::new(),
            tries: 0,
            tries_before: 0,
            due: model::Timestamp(0),
            claim: 0,
            created: model::Timestamp(0),
            begun: model::Timestamp(0),
            tried: None,
            settled: None,
            status: None,
            error: None,
        };
        let short: Value = serde_json::from_slice(&to_bytes(&row, json!({ "id": "a-1", "result": "x" })).expect("bytes")).expect("JSON");
        assert_eq!(short, json!({ "id": "a-1", "result": "x", "event": "job.completed", "delivery": row.id }));
        let long =
            to_bytes(&row, json!({ "id": "a-1", "result": "x".repeat(2 << 20), "text": "y", "status": "completed" })).expect("bytes");
        let long: Value = serde_json::from_slice(&long).expect("JSON");
        assert_eq!((&long["left_out"], &long["text"], &long["status"]), (&json!(["result"]), &json!("y"), &json!("completed")));
    }
}
