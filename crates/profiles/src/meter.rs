//! What one rendering has used so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// Bytes that filters and methods may work on altogether.
const WORK_BYTES_MAX: u64 = 256 << 20;
/// The longest text that a filter may make, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 4 << 20;
/// The longest that a rendering may take.
const TIME_MAX: std::time::Duration = std::time::Duration::from_secs(5);
/// What a step costs beside the bytes of its values, in bytes.
const STEP_COST: u64 = 64;

/// What one rendering has used.
#[derive(Debug)]
pub(crate) struct Meter {
    work: AtomicU64,
    out: AtomicU64,
    out_max: u64,
    began: Instant,
}

impl Meter {
    pub(crate) fn new(out_max: usize, began: Instant) -> Self {
        Self { work: AtomicU64::new(0), out: AtomicU64::new(0), out_max: out_max as u64, began }
    }

    /// Takes note that something works on these values.
    pub(crate) fn work(&self, values: &[Value]) -> Result<(), Error> {
        let cost = values.iter().map(cost).fold(STEP_COST, u64::saturating_add);
        let work = self.work.fetch_add(cost, Ordering::Relaxed).saturating_add(cost);
        if work > WORK_BYTES_MAX || self.began.elapsed() > TIME_MAX {
            return Err(fail("it works too long"));
        }
        Ok(())
    }

    /// Takes note that this much is written.
    pub(crate) fn write(&self, bytes: usize) -> Result<(), Error> {
        let out = self.out.fetch_add(bytes as u64, Ordering::Relaxed).saturating_add(bytes as u64);
        if out > self.out_max {
            return Err(fail(&format!("it writes more than {} bytes", self.out_max)));
        }
        self.work(&[])
    }
}

/// What a filter made, unless it is too long.
pub(crate) fn bounded(value: Value) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) if text.len() > TEXT_BYTES_MAX => Err(too_long()),
        _ => Ok(value),
    }
}

pub(crate) fn too_long() -> Error {
    fail(&format!("a text is longer than {TEXT_BYTES_MAX} bytes"))
}

pub(crate) fn fail(why: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why.to_owned())
}

fn cost(value: &Value) -> u64 {
    match value.kind() {
        ValueKind::String => value.as_str().map_or(0, |text| text.len() as u64),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => value.len().unwrap_or(1000) as u64 * 16,
        _ => 0,
    }
}
