//! Stage 6: the call is carried out, and what comes of it is held to its form.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use model::Code;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::confirm::Approved;
use crate::CallFailure;

/// The stage's number.
pub(crate) const STAGE: u8 = 6;
/// The longest that a tool may take: a client gives up after 35 s and must have its answer before.
pub const DEADLINE_MAX: Duration = Duration::from_secs(30);
/// The longest result, as JSON, in bytes: with what stands around it, it fits a message.
pub const RESULT_BYTES_MAX: usize = wire::CALL_BYTES_MAX - 1024;

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) outcome: Result<Value, CallFailure>,
    /// The code that the handler gave, where the agent is told another.
    pub(crate) own_code: Option<Code>,
}

/// Carries a call out. `gone` ends one that has no effect; a call that was confirmed goes on to its end.
pub(crate) async fn carry(call: &Approved, gone: &CancellationToken) -> Routed {
    let deadline = call.tool().deadline.min(DEADLINE_MAX);
    let may_end = call.tool().risk == model::Risk::Low;
    let work = AssertUnwindSafe(async { call.tool().handler.call(call).await }).catch_unwind();
    tokio::select! {
        biased;
        () = gone.cancelled(), if may_end => failed(CallFailure::new(Code::HandlerError, "the caller went away"), Some(Code::Cancelled)),
        done = tokio::time::timeout(deadline, work) => match done {
            Ok(Ok(outcome)) => held(outcome),
            Ok(Err(panic)) => {
                let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                tracing::error!(tool = call.tool().name, panic = text.unwrap_or("?"), "a handler panicked");
                failed(CallFailure::new(Code::HandlerError, "the tool failed"), Some(Code::Internal))
            }
            Err(_) => failed(CallFailure::new(Code::PluginTimeout, format!("the tool did not answer within {} s", deadline.as_secs_f32())), None),
        },
    }
}

/// A handler's answer as it may be passed on: not too long, and its failure with a code that handlers may give.
fn held(outcome: Result<Value, CallFailure>) -> Routed {
    match outcome {
        Ok(value) if !fits(&value) => too_long(),
        Ok(value) => Routed { outcome: Ok(value), own_code: None },
        Err(failure) if is_of_handlers(failure.code) => Routed { outcome: Err(failure), own_code: None },
        Err(failure) => {
            let own = failure.code;
            failed(CallFailure { code: Code::HandlerError, retriable: false, ..failure }, Some(own))
        }
    }
}

pub(crate) fn too_long() -> Routed {
    failed(CallFailure::new(Code::HandlerError, format!("the tool's result is longer than {RESULT_BYTES_MAX} bytes")), None)
}

fn failed(failure: CallFailure, own_code: Option<Code>) -> Routed {
    Routed { outcome: Err(failure), own_code }
}

fn is_of_handlers(code: Code) -> bool {
    matches!(code, Code::PluginTimeout | Code::PluginUnavailable | Code::PluginError | Code::HandlerError)
}

/// Whether a value is short enough to be a result.
pub(crate) fn fits(value: &Value) -> bool {
    let mut room = Room(RESULT_BYTES_MAX);
    serde_json::to_writer(&mut room, value).is_ok()
}

/// Counts what is written, and refuses what is too much.
struct Room(usize);

impl std::io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
