//! What plugins tell agents about their tools, laid out for sandboxes.
//!
//! Each set of skills is a directory that never changes: its name is a hash over what it holds. A sandbox keeps the one that it
//! began with; one that no sandbox has any more, and none would get, is removed. A kill in between leaves directories that the
//! next start removes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use broker::manifest::Skill;
use model::{Code, Failure, SandboxId};
use sha2::{Digest, Sha256};

use super::book::blocking;
use super::found::hex;
use crate::App;

/// Where every engine finds them.
const SKILLS_DIR: &str = "/opt/lazaret/skills";
/// Sets, by hash, and who has them.
const SETS: &str = "sets";
const USES: &str = "uses";
/// What the name of a set begins with that is not whole yet.
const FRESH: &str = ".fresh-";
/// The file that a skill is read from, in a directory of its name.
const FILE: &str = "SKILL.md";
/// Bytes of all skills of one set.
const SET_BYTES_MAX: usize = 4 << 20;

/// What is told of the daemon's own tools.
const OWN: &str = "---\nname: lazaret-tools\ndescription: How to call the tools of this place, see which there are, and find out why a call was refused.\n---\n\
# Tools of this place\n\n\
Everything outside of this sandbox is reached by tools. They are offered over MCP under the server name `lazaret`, and in a shell: \
`ipc tool.invoke.NAME '{\"argument\": \"value\"}'` prints the result, or an error with a code.\n\n\
- `list_tools` gives the tools that you may call, with the schema of their arguments.\n\
- `get_session_info` tells which plugins work and which do not.\n\
- `get_diagnostics` tells what became of your calls: pass `last_n`, or the `correlation` of one call.\n\n\
A tool of high risk asks a person first; the call waits until they have answered. `CONFIRMATION_DENIED` means no: do not try the same \
again or look for a way around. `RATE_LIMITED` and `PLUGIN_TIMEOUT` may go well later; `VALIDATION_FAILED` names the field that is wrong.\n";

/// A set of skills and where it lies.
pub(crate) struct SkillSet {
    /// The directory on the host.
    dir: PathBuf,
    /// Skills of plugins, by name.
    names: Vec<String>,
}

impl SkillSet {
    /// What a sandbox of this engine sees: host path and path inside.
    pub(crate) fn mounts(&self, engine: &str, home: &str) -> Vec<(PathBuf, PathBuf)> {
        let mut mounts = vec![(self.dir.clone(), PathBuf::from(SKILLS_DIR))];
        // A place among the session's own files is taken only where there is something to show in it.
        if engine == "claude-code" && !self.names.is_empty() {
            mounts.push((self.dir.clone(), Path::new(home).join(".claude/skills")));
        }
        mounts
    }

    /// What an engine is told: not every one looks for skills by itself.
    pub(crate) fn instructions(&self) -> String {
        if self.names.is_empty() {
            return String::new();
        }
        let names: Vec<String> = self.names.iter().map(|name| format!("`{name}`")).collect();
        format!("# Skills\n\nBefore you use a tool of one of these, read {SKILLS_DIR}/NAME/{FILE}: {}.", names.join(", "))
    }
}

impl App {
    /// The skills for an agent: those of the plugins of which it may call a tool.
    pub(crate) fn skills_of(&self, agent: &crate::AgentForm) -> SkillSet {
        let caller = broker::Caller {
            // An agent, of whatever session: the owner would see all.
            session: Some(model::SessionId::from_bits(0)),
            group: agent.group.clone(),
            tools: (!agent.tools.is_empty()).then(|| agent.tools.iter().cloned().collect()),
            ..broker::Caller::owner()
        };
        let plugins: BTreeSet<String> = self.broker().catalogue().visible(&caller).iter().map(|tool| tool.plugin.clone()).collect();
        let entries = self.book().entries();
        let texts = entries.iter().filter(|(name, _)| plugins.contains(*name)).flat_map(|(name, entry)| {
            let skills = entry.found.iter().flat_map(|found| &found.skills);
            skills.map(|skill| titled(name, skill)).collect::<Vec<_>>()
        });
        let texts: BTreeMap<String, String> = texts.collect();
        let names: Vec<String> = texts.keys().cloned().collect();
        SkillSet { dir: self.skills_dir().join(SETS).join(hash_of(&texts)), names }
    }

    /// Lays a set out where it is not there yet, and notes that this sandbox has it.
    pub(crate) async fn lay_out_skills(&self, agent: &crate::AgentForm, sandbox: &SandboxId) -> Result<SkillSet, Failure> {
        let set = self.skills_of(agent);
        let entries = self.book().entries();
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for (name, entry) in &entries {
            let skills = entry.found.iter().flat_map(|found| &found.skills);
            texts.extend(skills.map(|skill| titled(name, skill)).filter(|(title, _)| set.names.contains(title)));
        }
        let (root, dir, sandbox) = (self.skills_dir(), set.dir.clone(), sandbox.clone());
        // Nothing is removed between the two.
        let _one = self.book().skills.lock().await;
        blocking(move || lay_out(&root, &dir, &texts, &sandbox).map_err(|e| unusable(&e))).await?;
        Ok(set)
    }

    /// Removes sets that no sandbox has.
    pub(super) async fn sweep_skills(&self) -> Result<(), Failure> {
        let _one = self.book().skills.lock().await;
        let live: BTreeSet<String> = self.sandboxes().list().into_iter().map(|s| s.id.to_string()).collect();
        let root = self.skills_dir();
        blocking(move || sweep(&root, &live).map_err(|e| unusable(&e))).await
    }

    fn skills_dir(&self) -> PathBuf {
        self.home().join("skills")
    }
}

fn unusable(error: &io::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("the skills cannot be written into the home: {error}")).hint("free some space in the home")
}

/// The name of a skill, and its text with a head that says what it is for.
fn titled(plugin: &str, skill: &Skill) -> (String, String) {
    let stem = skill.file.strip_suffix(".md").unwrap_or(&skill.file);
    let name = if stem == plugin { plugin.to_owned() } else { format!("{plugin}-{stem}") };
    if skill.text.starts_with("---\n") {
        return (name, skill.text.clone());
    }
    let heading = skill.text.lines().map(|line| line.trim_start_matches('#').trim()).find(|line| !line.is_empty()).unwrap_or(stem);
    let about: String = heading.chars().filter(|c| !c.is_control()).take(200).collect();
    let about = serde_json::Value::String(about);
    (name.clone(), format!("---\nname: {name}\ndescription: {about}\n---\n{}", skill.text))
}

fn hash_of(texts: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    hash.update(OWN);
    for (name, text) in texts {
        for part in [name, text] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hex(&hash.finalize()[..16])
}

fn lay_out(root: &Path, dir: &Path, texts: &BTreeMap<String, String>, sandbox: &SandboxId) -> io::Result<()> {
    let (sets, uses) = (root.join(SETS), root.join(USES));
    for made in [&sets, &uses] {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(made)?;
    }
    if !dir.is_dir() {
        if texts.values().map(String::len).sum::<usize>() > SET_BYTES_MAX {
            return Err(io::Error::other(format!("they have more than {SET_BYTES_MAX} bytes")));
        }
        let fresh = sets.join(format!("{FRESH}{:032x}", crate::clock::fresh_bits()));
        std::fs::create_dir(&fresh)?;
        let own = ("lazaret-tools".to_owned(), OWN.to_owned());
        for (name, text) in std::iter::once((&own.0, &own.1)).chain(texts) {
            let at = fresh.join(name);
            std::fs::create_dir(&at)?;
            std::fs::write(at.join(FILE), text)?;
            // Whatever the umask: inside, another user reads it.
            std::fs::set_permissions(at.join(FILE), std::fs::Permissions::from_mode(0o644))?;
            std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o755))?;
        }
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755))?;
        model::crash::point("plugin:skills-written");
        std::fs::rename(&fresh, dir)?;
    }
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    std::fs::write(uses.join(sandbox.as_str()), name)
}

fn sweep(root: &Path, live: &BTreeSet<String>) -> io::Result<()> {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for name in names_in(&root.join(USES))? {
        let at = root.join(USES).join(&name);
        if live.contains(&name) {
            used.insert(std::fs::read_to_string(&at)?);
        } else {
            std::fs::remove_file(&at)?;
        }
    }
    for name in names_in(&root.join(SETS))? {
        if !used.contains(&name) {
            std::fs::remove_dir_all(root.join(SETS).join(&name))?;
        }
    }
    Ok(())
}

fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
        Ok(entries) => entries.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(PathBuf);

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_set_stays_while_a_sandbox_has_it() {
        let place = Place(std::env::temp_dir().join(format!("lazaret-skills-{:032x}", crate::clock::fresh_bits())));
        let root = &place.0;
        let texts = |text: &str| BTreeMap::from([titled("web", &Skill { file: "web.md".to_owned(), text: text.to_owned() })]);
        let (old, new) = (texts("# Fetch \"pages\"\n"), texts("---\nname: web\n---\nnew"));
        let dir = |texts: &BTreeMap<String, String>| root.join(SETS).join(hash_of(texts));
        let (a, b) = (SandboxId::from_bits(1), SandboxId::from_bits(2));
        lay_out(root, &dir(&old), &old, &a).unwrap();
        lay_out(root, &dir(&new), &new, &b).unwrap();
        assert_ne!(dir(&old), dir(&new));
        let text = std::fs::read_to_string(dir(&old).join("web/SKILL.md")).unwrap();
        assert!(text.starts_with("---\nname: web\ndescription: \"Fetch \\\"pages\\\"\"\n---\n# Fetch"), "{text}");
        assert!(dir(&old).join("lazaret-tools/SKILL.md").is_file());
        std::fs::create_dir(root.join(SETS).join(".fresh-left")).unwrap();
        sweep(root, &BTreeSet::from([a.to_string()])).unwrap();
        assert!(dir(&old).is_dir() && !dir(&new).exists() && !root.join(SETS).join(".fresh-left").exists());
        sweep(root, &BTreeSet::new()).unwrap();
        assert!(!dir(&old).exists() && names_in(&root.join(USES)).unwrap().is_empty());
    }
}
