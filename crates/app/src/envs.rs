//! Envs: named file trees that several sessions share.

use model::{Code, Failure, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{EnvRow, NewEnv};

use crate::trees::Growing;
use crate::{App, Caller, MountForm};

/// The longest core memory, in characters.
pub const CORE_MEMORY_CHARS_MAX: usize = 4000;

/// An env to make.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnvForm {
    /// For people.
    pub name: String,
    /// Part of its address; made of the name when left out.
    pub slug: Option<String>,
    /// The session whose files it gets; an empty one without.
    pub session_id: Option<String>,
    /// Host directories that each of its sessions sees.
    pub mounts: Vec<MountForm>,
}

/// What changes in an env.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnvPatch {
    /// For people.
    pub name: Option<String>,
    /// In the instructions of each of its sessions; at most [`CORE_MEMORY_CHARS_MAX`] characters.
    pub core_memory: Option<String>,
    /// Host directories that each of its sessions sees from its next sandbox on.
    pub mounts: Option<Vec<MountForm>>,
}

/// An env as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EnvView {
    /// Part of its address.
    pub slug: String,
    /// For people.
    pub name: String,
    /// In the instructions of each of its sessions.
    pub core_memory: String,
    /// Host directories.
    pub mounts: Vec<MountForm>,
    /// Sessions in it that are not archived.
    pub sessions: u64,
    /// Bytes on the disk, where that is counted.
    pub bytes: Option<u64>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// The envs of an [`App`], as one caller sees them.
pub struct EnvsOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

impl EnvsOf<'_> {
    /// Makes an env: empty, or of a live session's files, which goes on in it.
    ///
    /// # Errors
    /// The slug is taken (`CONFLICT`), the session is in an env already, or a mount is not allowed.
    pub async fn create(&self, form: EnvForm) -> Result<EnvView, Failure> {
        let (slug, name) = named(&form)?;
        drop(self.app.open_mounts(&form.mounts)?);
        let row = match &form.session_id {
            Some(session) => self.save(session, slug, name, form.mounts).await?,
            None => {
                let tree = self.app.grow_tree();
                let disk = self.app.settings().limits.disk_bytes;
                self.app.sandboxes().make_tree(tree.id(), disk).await.map_err(|e| e.failure())?;
                self.name_tree(tree, slug, name, form.mounts).await?
            }
        };
        Ok(self.view(row).await)
    }

    /// Gives a session's tree a name. No file moves, so nothing is lost and the session goes on, also within a turn.
    async fn save(&self, session: &str, slug: String, name: String, mounts: Vec<MountForm>) -> Result<EnvRow, Failure> {
        let missing = || Failure::new(Code::NotFound, format!("there is no session {}", session.escape_debug())).field("session_id");
        let id: SessionId = session.parse().map_err(|_| missing())?;
        let row = self.app.store().session(&id).await.map_err(|e| e.failure())?;
        if !self.caller.sees(&row.tenant) {
            return Err(missing());
        }
        if let Some(env) = &row.env {
            return Err(Failure::new(Code::Conflict, format!("the session works in the env {env} already"))
                .hint("clone the env instead")
                .field("session_id"));
        }
        self.app.keep_left(&row).await?;
        if let Some(tree) = &row.tree {
            // Before its first turn it may have no files yet.
            let disk = self.app.settings().limits.disk_bytes;
            self.app.sandboxes().make_tree(tree, disk).await.map_err(|e| e.failure())?;
        }
        let tree = row.tree.ok_or_else(|| Failure::new(Code::Conflict, "the session has no files of its own").field("session_id"))?;
        let new = NewEnv { slug, name, tenant: row.tenant, tree, mounts: kept(&mounts)?, now: crate::now() };
        let saved = self.app.store().save_env(new, &id).await.map_err(|e| e.failure())?;
        model::crash::point("env:saved");
        Ok(saved)
    }

    /// The row of a tree that was just made. If it cannot be had the tree goes.
    async fn name_tree(&self, tree: Growing, slug: String, name: String, mounts: Vec<MountForm>) -> Result<EnvRow, Failure> {
        model::crash::point("env:tree-made");
        let tenant = self.caller.makes_for().to_owned();
        let new = NewEnv { slug, name, tenant, tree: tree.id().clone(), mounts: kept(&mounts)?, now: crate::now() };
        let made = self.app.store().create_env(new).await.map_err(|e| e.failure());
        if made.is_err() {
            self.app.drop_tree(tree.id()).await;
        }
        made
    }

    /// A page of envs by slug.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self, after: Option<String>, limit: usize) -> Result<store::Page<EnvView>, Failure> {
        let page = self.app.store().list_envs(self.caller.tenant.clone(), after, limit).await.map_err(|e| e.failure())?;
        let mut items = Vec::with_capacity(page.items.len());
        for row in page.items.into_iter().filter(|row| row.state == LIVE) {
            items.push(self.view(row).await);
        }
        Ok(store::Page { items, next: page.next })
    }

    /// One env.
    ///
    /// # Errors
    /// There is none of this slug.
    pub async fn show(&self, slug: &str) -> Result<EnvView, Failure> {
        let row = self.row(slug).await?;
        Ok(self.view(row).await)
    }

    /// Renames it, or changes its core memory or mounts.
    ///
    /// # Errors
    /// There is none of this slug, or a value is too long or not allowed.
    pub async fn update(&self, slug: &str, patch: EnvPatch) -> Result<EnvView, Failure> {
        self.row(slug).await?;
        let name = patch.name.as_deref().map(check_name).transpose()?;
        if let Some(memory) = &patch.core_memory {
            check_memory(memory)?;
        }
        let mounts = match &patch.mounts {
            Some(mounts) => {
                drop(self.app.open_mounts(mounts)?);
                Some(kept(mounts)?)
            }
            None => None,
        };
        let is_memory = patch.core_memory.is_some();
        let updated = self.app.store().update_env(slug, name, patch.core_memory, mounts, crate::now()).await;
        let row = updated.map_err(|e| e.failure())?;
        if is_memory {
            self.app.refresh_env(slug).await;
        }
        Ok(self.view(row).await)
    }

    /// A copy of its files as a new env. Its core memory comes along, and its mounts unless others are given.
    ///
    /// # Errors
    /// There is none of this slug, or the new one is taken.
    pub async fn clone(&self, slug: &str, form: EnvForm) -> Result<EnvView, Failure> {
        if form.session_id.is_some() {
            return Err(Failure::new(Code::Usage, "a clone is made of an env, not of a session").field("session_id"));
        }
        let (slug, name, from) = (named(&form)?.0, named(&form)?.1, self.row(slug).await?);
        let mounts = if form.mounts.is_empty() { mounts_of(&from) } else { form.mounts };
        drop(self.app.open_mounts(&mounts)?);
        let tree = self.app.grow_tree();
        if !self.app.sandboxes().live_checkpoints() {
            self.app.close_look(&from.tree).await;
        }
        self.app.sandboxes().snapshot(&from.tree, tree.id(), false).await.map_err(|e| e.failure())?;
        let disk = self.app.settings().limits.disk_bytes;
        if let Err(error) = self.app.sandboxes().set_tree_limit(tree.id(), disk).await {
            self.app.drop_tree(tree.id()).await;
            return Err(error.failure());
        }
        let mut row = self.name_tree(tree, slug, name, mounts).await?;
        if !from.core_memory.is_empty() {
            let copied = self.app.store().update_env(&row.slug, None, Some(from.core_memory), None, crate::now()).await;
            row = copied.map_err(|e| e.failure())?;
        }
        Ok(self.view(row).await)
    }

    /// Deletes it with its files. Refused while a session works in it, unless `force`, which cancels the work.
    ///
    /// # Errors
    /// There is none of this slug, or it is in use.
    pub async fn delete(&self, slug: &str, force: bool) -> Result<(), Failure> {
        let row = self.row(slug).await?;
        self.app.store().mark_env_deleting(slug, force, crate::now()).await.map_err(|e| e.failure())?;
        model::crash::point("env:marked");
        self.app.finish_env_delete(&row).await
    }

    /// The row of an env that this caller sees and that is not on its way out.
    pub(crate) async fn row(&self, slug: &str) -> Result<EnvRow, Failure> {
        let missing =
            || Failure::new(Code::NotFound, format!("there is no env {}", slug.escape_debug())).hint("`lazaret env list` names them");
        if !model::is_name(slug) {
            return Err(missing());
        }
        let row = match self.app.store().env(slug).await {
            Err(store::StoreError::NotFound { .. }) => return Err(missing()),
            row => row.map_err(|e| e.failure())?,
        };
        if self.caller.sees(&row.tenant) && row.state == LIVE { Ok(row) } else { Err(missing()) }
    }

    async fn view(&self, row: EnvRow) -> EnvView {
        let bytes = self.app.sandboxes().tree_bytes(&row.tree).await;
        EnvView {
            mounts: mounts_of(&row),
            slug: row.slug,
            name: row.name,
            core_memory: row.core_memory,
            sessions: row.sessions,
            bytes,
            created: row.created,
            updated: row.updated,
        }
    }
}

impl App {
    /// Ends deletions of envs that an earlier daemon began.
    pub(crate) async fn finish_env_deletes(&self) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let page = self.store().list_envs(None, after, store::LIST_MAX).await.map_err(|e| e.failure())?;
            for row in page.items.iter().filter(|row| row.state != LIVE) {
                if let Err(failure) = self.finish_env_delete(row).await {
                    tracing::error!(env = row.slug, %failure, "an env that is being deleted is still there");
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Takes an env that nobody can join any more to its end: the work in it, its sandboxes, its row, its files.
    async fn finish_env_delete(&self, row: &EnvRow) -> Result<(), Failure> {
        for session in self.store().env_sessions(&row.slug).await.map_err(|e| e.failure())? {
            self.sessions().cancel(session.as_str()).await?;
            let released = tokio::time::timeout(RELEASE_TIME, async { self.sessions().release(session.as_str()).await }).await;
            match released {
                Ok(released) => released?,
                Err(_) => tracing::warn!(%session, "a session does not leave its env, and loses its sandbox"),
            }
        }
        self.close_look(&row.tree).await;
        for sandbox in self.sandboxes().tree_users(&row.tree).iter().filter_map(|id| self.sandboxes().get(id)) {
            self.doors().dismiss(sandbox.id());
            sandbox.stop().await.map_err(|e| e.failure())?;
        }
        let tree = self.store().delete_env(&row.slug).await.map_err(|e| e.failure())?;
        model::crash::point("env:deleted");
        self.drop_tree(&tree).await;
        Ok(())
    }

    /// Shows the running sessions of an env its core memory as it is now.
    async fn refresh_env(&self, slug: &str) {
        let members = match self.store().env_sessions(slug).await {
            Ok(members) => members,
            Err(error) => {
                tracing::warn!(
                    env = slug,
                    error = model::chain(&error),
                    "running sessions see an env's core memory with their next sandbox"
                );
                return;
            }
        };
        for live in members.iter().filter_map(|id| self.live(id)) {
            if let Err(failure) = self.refresh_instructions(&live).await {
                tracing::warn!(session = %live.id, %failure, "a session sees its env's core memory with its next sandbox");
            }
        }
    }
}

/// The state of an env that can be worked in.
const LIVE: &str = "live";
/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 200;
/// How long a cancelled session may take to let go of its env.
const RELEASE_TIME: std::time::Duration = std::time::Duration::from_secs(120);

/// Slug and name of an env that is to be made.
fn named(form: &EnvForm) -> Result<(String, String), Failure> {
    let title = if form.name.trim().is_empty() { form.slug.as_deref().unwrap_or_default() } else { &form.name };
    let name = check_name(title)?;
    let slug = match &form.slug {
        Some(slug) if model::is_name(slug) => slug.clone(),
        Some(slug) => {
            let why = format!("`{}` is not a slug", slug.chars().take(80).collect::<String>().escape_debug());
            return Err(Failure::new(Code::Usage, why).hint(SLUG_HINT).field("slug"));
        }
        None => model::name_of(&name).ok_or_else(|| {
            Failure::new(Code::Usage, "nothing of this name can stand in an address").hint("give a slug too").field("slug")
        })?,
    };
    Ok((slug, name))
}

const SLUG_HINT: &str = "it has small letters, digits and hyphens, begins and ends with none, and has at most 63";

fn check_name(name: &str) -> Result<String, Failure> {
    let name = name.trim();
    let why = if name.is_empty() {
        "an env has a name".to_owned()
    } else if name.chars().count() > NAME_CHARS_MAX {
        format!("the name has more than {NAME_CHARS_MAX} characters")
    } else if name.chars().any(char::is_control) {
        "the name holds a control character".to_owned()
    } else {
        return Ok(name.to_owned());
    };
    Err(Failure::new(Code::Usage, why).field("name"))
}

fn check_memory(memory: &str) -> Result<(), Failure> {
    let chars = memory.chars().count();
    if chars > CORE_MEMORY_CHARS_MAX {
        let why = format!("the core memory has {chars} characters; at most {CORE_MEMORY_CHARS_MAX} are taken");
        return Err(Failure::new(Code::Usage, why).field("core_memory"));
    }
    if memory.contains('\0') {
        return Err(Failure::new(Code::Usage, "the core memory holds a NUL").field("core_memory"));
    }
    Ok(())
}

fn kept(mounts: &[MountForm]) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(mounts).map_err(|e| Failure::new(Code::Internal, e.to_string()))
}

/// The mounts of an env. A row that is not understood mounts nothing.
pub(crate) fn mounts_of(row: &EnvRow) -> Vec<MountForm> {
    serde_json::from_value(row.mounts.clone()).unwrap_or_else(|error| {
        tracing::error!(env = row.slug, %error, "the mounts of an env are not understood");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(name: &str, slug: Option<&str>) -> EnvForm {
        EnvForm { name: name.to_owned(), slug: slug.map(str::to_owned), ..EnvForm::default() }
    }

    #[test]
    fn slugs_are_made_of_names() {
        let made = |name, slug| named(&form(name, slug)).map_err(|f| (f.code, f.field.unwrap_or_default()));
        assert_eq!(made("My Project!", None), Ok(("my-project".to_owned(), "My Project!".to_owned())));
        assert_eq!(made(" Notes ", Some("n")), Ok(("n".to_owned(), "Notes".to_owned())));
        assert_eq!(made("", Some("only-slug")), Ok(("only-slug".to_owned(), "only-slug".to_owned())));
        for (name, slug, field) in [
            ("", None, "name"),
            ("a\nb", None, "name"),
            (&*"x".repeat(201), None, "name"),
            ("!!!", None, "slug"),
            ("x", Some("../x"), "slug"),
            ("x", Some("X"), "slug"),
        ] {
            assert_eq!(made(name, slug), Err((Code::Usage, field.to_owned())), "{name} {slug:?}");
        }
    }

    #[test]
    fn core_memory_is_counted_in_characters() {
        assert!(check_memory(&"ü".repeat(CORE_MEMORY_CHARS_MAX)).is_ok());
        assert!(check_memory(&"ü".repeat(CORE_MEMORY_CHARS_MAX + 1)).is_err());
        assert!(check_memory("a\0").is_err());
    }
}
