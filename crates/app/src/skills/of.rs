//! Skills as the owner handles them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use model::{Code, Failure};
use serde_json::json;
use store::NewSkill;
use tokio::io::AsyncRead;

use super::forms::{SkillFinding, SkillOrder, SkillReview, SkillState, SkillVersionView, SkillView};
use super::lay::{CAME, blocking, copy, tar_of_folder};
use super::look::{Looked, SKILL_BYTES_MAX, changes, files_of, find, look, of_skill};
use super::shelf::Skill;
use crate::App;
use crate::inside::Held;
use crate::plugins::{Fresh, folder};

/// The longest archive that is taken, in bytes: it may hold more than the one skill.
const ARCHIVE_BYTES_MAX: u64 = crate::PLUGIN_BYTES_MAX;
/// The longest text that says where a skill came from, in characters.
const SOURCE_CHARS_MAX: usize = 512;
/// The name of what tells of the daemon's own tools.
const RESERVED: &str = "lazaret-tools";
/// Findings that are only told: nothing of the skill is hidden by them.
const NOTES: &[&str] = &["binary"];

/// The skills of an [`App`].
pub struct SkillsOf<'a> {
    pub(crate) app: &'a App,
}

/// A skill that came, unpacked and looked at.
struct Came {
    _fresh: Fresh,
    dir: PathBuf,
    looked: Looked,
}

impl SkillsOf<'_> {
    /// Every skill, by name, those that ship too.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<SkillView>, Failure> {
        let agents = self.agents().await?;
        Ok(self.app.shelf().all().values().map(|skill| view(skill, &agents)).collect())
    }

    /// One skill, and whether its files in the home are what was approved.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn show(&self, name: &str) -> Result<SkillView, Failure> {
        let skill = self.find(name)?;
        let mut view = view(&skill, &self.agents().await?);
        let dir = self.app.lay_out_skill(&skill).await?;
        let (there, files) = blocking(move || {
            let leaves = folder::leaves(&dir).map_err(of_skill)?;
            Ok((folder::hash_leaves(&leaves), files_of(&dir, &leaves)))
        })
        .await?;
        view.state = Some(if there == skill.hash { SkillState::Ready } else { SkillState::Changed });
        if there != skill.hash {
            view.changes = match files {
                Ok(files) => changes(&skill.about.files, &files),
                Err(failure) => vec![failure.message],
            };
            view.found = Some(there);
        }
        Ok(view)
    }

    /// What was in force of a skill, the youngest first.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn versions(&self, name: &str) -> Result<Vec<SkillVersionView>, Failure> {
        self.find(name)?;
        let rows = self.app.store().skill_versions(name).await.map_err(|e| e.failure())?;
        Ok(rows.into_iter().map(SkillVersionView::from).collect())
    }

    /// Looks at a skill as it would be put in force. Nothing changes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn review(&self, order: &SkillOrder, archive: impl AsyncRead + Send + Unpin) -> Result<SkillReview, Failure> {
        let held = Held::take(self.app, archive, ARCHIVE_BYTES_MAX).await?;
        let came = self.take(order, held.file).await?;
        self.review_of(order, &came.looked).await
    }

    /// The same for a git repository, which is cloned in a sandbox.
    ///
    /// # Errors
    /// As [`SkillsOf::review`]; the repository cannot be had.
    pub async fn review_git(&self, mut order: SkillOrder) -> Result<SkillReview, Failure> {
        let (archive, source) = self.app.cloned(&order.source).await?;
        order.source = source;
        let came = self.take(&order, archive).await?;
        self.review_of(&order, &came.looked).await
    }

    /// Puts the skill of an archive in force. Sandboxes that are there keep what they have.
    ///
    /// # Errors
    /// It is refused, its place is taken, or it is not what was shown. Nothing changes then.
    pub async fn put(&self, order: SkillOrder, actor: &str, archive: impl AsyncRead + Send + Unpin) -> Result<SkillView, Failure> {
        let held = Held::take(self.app, archive, ARCHIVE_BYTES_MAX).await?;
        self.approve_archive(order, actor, held.file).await
    }

    /// The same for a git repository, which is cloned in a sandbox.
    ///
    /// # Errors
    /// As [`SkillsOf::put`]; the repository cannot be had.
    pub async fn put_git(&self, mut order: SkillOrder, actor: &str) -> Result<SkillView, Failure> {
        let (archive, source) = self.app.cloned(&order.source).await?;
        order.source = source;
        self.approve_archive(order, actor, archive).await
    }

    async fn approve_archive(&self, order: SkillOrder, actor: &str, archive: File) -> Result<SkillView, Failure> {
        let _one = self.app.shelf().changing.lock().await;
        let came = self.take(&order, archive).await?;
        self.keep(order, actor, came).await
    }

    /// Says that a skill's files are what the owner wants, as they are in the home now.
    ///
    /// # Errors
    /// There is none of this name, or they are not what `hash` stands for.
    pub async fn approve(&self, name: &str, hash: &str, actor: &str) -> Result<SkillView, Failure> {
        let _one = self.app.shelf().changing.lock().await;
        let skill = self.find(name)?;
        if skill.shipped.is_some() {
            return Err(Failure::new(Code::Usage, format!("{name} is part of the program: its files are not yours to change"))
                .hint(format!("put them back: lazaret skill verify {name} --restore   (or add a skill of this name of your own)")));
        }
        let dir = self.app.lay_out_skill(&skill).await?;
        let order = SkillOrder { source: skill.source.clone(), path: None, replaces: Some(name.to_owned()), hash: Some(hash.to_owned()) };
        let (parent, hash, name) = (self.app.skills_dir().join(CAME), hash.to_owned(), name.to_owned());
        let came = blocking(move || {
            // Looked at in a copy: nobody changes it after the look.
            let fresh = Fresh::make(&parent)?;
            let into = fresh.dir.join("skill");
            copy(&dir, &into, &hash, &name)?;
            let looked = look(&into)?;
            Ok(Came { _fresh: fresh, dir: into, looked })
        })
        .await?;
        self.keep(order, actor, came).await
    }

    /// Puts the files of a skill in the home back as they were approved.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn restore(&self, name: &str) -> Result<SkillView, Failure> {
        {
            let _one = self.app.shelf().changing.lock().await;
            let skill = self.find(name)?;
            let dir = self.app.version_dir(&skill.hash);
            blocking(move || match std::fs::remove_dir_all(&dir) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    Err(Failure::new(Code::HomeUnsafe, format!("the changed files cannot be removed: {e}")))
                }
                _ => Ok(()),
            })
            .await?;
            self.app.lay_out_skill(&skill).await?;
        }
        self.show(name).await
    }

    /// Forgets a skill that was added.
    ///
    /// # Errors
    /// There is none of this name, it ships, or an agent has it and `force` is not given.
    pub async fn remove(&self, name: &str, force: bool) -> Result<(), Failure> {
        let _one = self.app.shelf().changing.lock().await;
        let skill = self.find(name)?;
        if skill.shipped.is_some() {
            return Err(Failure::new(Code::Usage, format!("{name} is part of the program")).hint("take it from the agents that have it"));
        }
        let agents = self.agents().await?.remove(name).unwrap_or_default();
        if !agents.is_empty() && !force {
            return Err(Failure::new(Code::Conflict, format!("the skill {name} is had by {}", agents.join(", ")))
                .hint("their sessions would not begin any more; take it from them first, or say --force"));
        }
        self.app.store().remove_skill(name).await.map_err(|e| e.failure())?;
        self.app.skills_changed().await
    }

    fn find(&self, name: &str) -> Result<Arc<Skill>, Failure> {
        self.app.shelf().all().get(name).cloned().ok_or_else(|| {
            let shown: String = name.escape_debug().take(80).collect();
            Failure::new(Code::NotFound, format!("there is no skill {shown}")).hint("`lazaret skill list` names them").field("name")
        })
    }

    /// The agents that have each skill.
    async fn agents(&self) -> Result<BTreeMap<String, Vec<String>>, Failure> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for agent in self.app.agents().list().await? {
            for skill in &agent.skills {
                all.entry(skill.clone()).or_default().push(agent.name.clone());
            }
        }
        Ok(all)
    }

    /// Unpacks what came, and looks at it.
    async fn take(&self, order: &SkillOrder, archive: File) -> Result<Came, Failure> {
        let source = &order.source;
        if source.chars().count() > SOURCE_CHARS_MAX || source.chars().any(char::is_control) {
            let why = format!("the source is longer than {SOURCE_CHARS_MAX} characters, or not plain");
            return Err(Failure::new(Code::Usage, why).field("source"));
        }
        let (parent, path) = (self.app.skills_dir().join(CAME), order.path.clone());
        blocking(move || {
            let fresh = Fresh::make(&parent)?;
            let all = fresh.dir.join("all");
            std::fs::create_dir(&all).map_err(|e| Failure::new(Code::HomeUnsafe, format!("the skill cannot be unpacked: {e}")))?;
            folder::unpack(archive, &all).map_err(of_skill)?;
            let dir = find(&all, path.as_deref())?;
            let looked = look(&dir)?;
            Ok(Came { _fresh: fresh, dir, looked })
        })
        .await
    }

    async fn review_of(&self, order: &SkillOrder, looked: &Looked) -> Result<SkillReview, Failure> {
        let name = &looked.front.name;
        if order.replaces.as_ref().is_some_and(|replaces| replaces != name) {
            let replaces = order.replaces.as_deref().unwrap_or_default();
            return Err(Failure::new(Code::SkillInvalid, format!("what came is the skill {name}, not {replaces}")));
        }
        if *name == RESERVED || self.app.plugin_skill_names().contains(name) {
            return Err(Failure::new(Code::Conflict, format!("{name} is the name of a skill that a plugin or the daemon brings"))
                .hint("call it something else in its SKILL.md"));
        }
        let before = self.app.shelf().all().get(name).filter(|skill| skill.shipped.is_none()).cloned();
        match (&before, &order.replaces) {
            (Some(_), None) => {
                let failure = Failure::new(Code::Conflict, format!("there is a skill {name} already")).field("name");
                return Err(failure.hint(format!("bring it up to date: lazaret skill update {name}")));
            }
            (None, Some(_)) => return Err(Failure::new(Code::NotFound, format!("there is no skill {name}")).field("name")),
            _ => {}
        }
        let mut findings = looked.findings.clone();
        if let Some(before) = &before {
            let rows = self.app.store().skill_versions(name).await.map_err(|e| e.failure())?;
            if let Some(old) = rows.iter().find(|row| row.hash == looked.hash && row.version < before.version) {
                let text = format!("these files were in force before, as version {}; {} is now", old.version, before.version);
                findings.insert(0, SkillFinding { file: String::new(), line: 0, kind: "downgrade".to_owned(), text });
            }
        }
        Ok(SkillReview {
            name: name.clone(),
            description: crate::plugins::visible(&looked.front.description),
            source: order.source.clone(),
            hash: looked.hash.clone(),
            files: looked.files.clone(),
            findings,
            replaces: before.as_ref().map(|skill| skill.version),
            changes: before.map(|skill| changes(&skill.about.files, &looked.files)).unwrap_or_default(),
        })
    }

    /// Puts what came in force.
    async fn keep(&self, order: SkillOrder, actor: &str, came: Came) -> Result<SkillView, Failure> {
        let review = self.review_of(&order, &came.looked).await?;
        if let Some(hash) = order.hash.as_ref().filter(|hash| **hash != review.hash) {
            let hash: String = hash.escape_debug().take(80).collect();
            return Err(Failure::new(Code::SkillInvalid, format!("its files are {}, not {hash}", review.hash))
                .hint("somebody changed it since it was looked at, or the hash is of another version")
                .field("hash"));
        }
        if let Some(finding) = review.hidden().filter(|_| order.hash.is_none()) {
            let place = if finding.file.is_empty() { String::new() } else { format!(" in {}:{}", finding.file, finding.line) };
            return Err(Failure::new(Code::SkillInvalid, format!("it has {}{place}: {}", finding.kind, finding.text))
                .hint(format!("look at all of it; who wants it all the same says so by its hash: {}", review.hash))
                .field("hash"));
        }
        let dir = came.dir.clone();
        let archive = blocking(move || tar_of_folder(&dir)).await?;
        debug_assert!(archive.len() as u64 <= SKILL_BYTES_MAX * 2, "files of at most {SKILL_BYTES_MAX} bytes");
        let new = NewSkill {
            name: review.name.clone(),
            hash: review.hash,
            description: review.description,
            source: order.source,
            about: json!({ "files": review.files, "findings": review.findings }),
            actor: actor.to_owned(),
            archive,
            replaces: review.replaces,
        };
        self.app.store().put_skill(new, crate::now()).await.map_err(|e| e.failure())?;
        self.app.skills_changed().await?;
        drop(came);
        let skill = self.find(&review.name)?;
        self.app.lay_out_skill(&skill).await?;
        Ok(view(&skill, &self.agents().await?))
    }
}

impl SkillReview {
    /// The first thing in it that a reader would not see, or that acts by itself.
    pub(crate) fn hidden(&self) -> Option<&SkillFinding> {
        self.findings.iter().find(|finding| !NOTES.contains(&finding.kind.as_str()))
    }
}

impl App {
    /// The skills that agents are given by name.
    #[must_use]
    pub fn skills(&self) -> SkillsOf<'_> {
        SkillsOf { app: self }
    }

    /// Reads again which skills are in force.
    pub(crate) async fn skills_changed(&self) -> Result<(), Failure> {
        self.shelf().read(self.store()).await?;
        self.pool().changed();
        Ok(())
    }

    /// Refuses names of skills that are not there.
    pub(crate) fn check_skills(&self, names: &[String]) -> Result<(), Failure> {
        let skills = self.shelf().all();
        match names.iter().find(|name| !skills.contains_key(*name)) {
            Some(name) => {
                let shown: String = name.escape_debug().take(80).collect();
                Err(Failure::new(Code::NotFound, format!("there is no skill {shown}"))
                    .hint("add it first: lazaret skill add DIR   (`lazaret skill list` names those that are there)")
                    .field("skills"))
            }
            None => Ok(()),
        }
    }
}

fn view(skill: &Skill, agents: &BTreeMap<String, Vec<String>>) -> SkillView {
    SkillView {
        name: skill.name.clone(),
        description: skill.description.clone(),
        version: skill.version,
        hash: skill.hash.clone(),
        source: skill.source.clone(),
        shipped: skill.shipped.is_some(),
        files: skill.about.files.clone(),
        findings: skill.about.findings.clone(),
        approved_by: skill.approved.as_ref().map(|(actor, _)| actor.clone()),
        approved: skill.approved.as_ref().map(|(_, at)| *at),
        agents: agents.get(&skill.name).cloned().unwrap_or_default(),
        state: None,
        found: None,
        changes: Vec::new(),
    }
}
