//! The owner's word on a plugin: whether it is on, and whether what is there is what was approved.

use std::path::Path;

use broker::Manifest;
use model::Failure;

use super::offer::Definition;
use super::pins::SHIPPED;
use crate::App;

/// What the owner's word on a plugin means for its tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// They may be offered.
    Approved,
    /// Something has changed since the owner saw it; they wait for approval.
    Pending(String),
}

/// Whether the owner switched a plugin on or off; `None` where nothing was said.
pub(super) async fn switch(app: &App, name: &str) -> Result<Option<bool>, Failure> {
    let row = app.pins().row(name).await?;
    // A plugin of the home is on unless its owner says otherwise; one that ships has a row only when something was said.
    Ok(row.filter(|row| !row.is_enabled || row.source == SHIPPED).map(|row| row.is_enabled))
}

/// The owner's word on the process and the files of a plugin of the home, before anything of it is run. What is seen for the
/// first time counts as approved.
pub(super) async fn before_start(app: &App, name: &str, folder: &Path, manifest: &Manifest) -> Result<Word, Failure> {
    app.pins().see_process(name, folder, manifest).await
}

/// The owner's word on what a plugin of the home offers now. What is seen for the first time counts as approved.
pub(super) async fn word(app: &App, name: &str, tools: &[Definition]) -> Result<Word, Failure> {
    app.pins().see_tools(name, tools).await
}
