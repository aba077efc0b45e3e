//! What plugins tell agents about their tools, laid out for sandboxes.

use model::Failure;

use crate::App;

impl App {
    /// Lays the skills of all plugins out anew, where they have changed.
    pub(super) async fn write_skills(&self) -> Result<(), Failure> {
        std::future::ready(Ok(())).await
    }
}
