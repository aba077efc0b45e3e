//! What plugins tell agents about their tools, and the skills that agents were given by name, laid out for sandboxes.
//!
//! Each set of skills is a directory that never changes: its name is a hash over what it holds. A sandbox keeps the one that it
//! began with; one that no sandbox has any more, and none would get, is removed. A kill in between leaves directories that the
//! next start removes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use broker::manifest::Skill;
use model::{Code, Failure, SandboxId};
use sha2::{Digest, Sha256};

use super::book::blocking;
use super::found::hex;
use crate::App;
use crate::live::lock;
use crate::skills::Skill as Own;

/// Where every engine finds them.
const SKILLS_DIR: &str = "/opt/lazaret/skills";
/// Engines that look for skills by themselves, and where below the home they do: measured with the versions that are pinned.
const NATIVE: [(&str, &str); 4] =
    [("claude-code", ".claude/skills"), ("codex", ".agents/skills"), ("gemini", ".agents/skills"), ("opencode", ".agents/skills")];
/// Sets, by hash, and who has them.
const SETS: &str = "sets";
const USES: &str = "uses";
/// What the name of a set begins with that is not whole yet.
const FRESH: &str = ".fresh-";
/// The file that a skill is read from, in a directory of its name.
const FILE: &str = "SKILL.md";
/// Bytes of all skills of one set.
const SET_BYTES_MAX: usize = 4 << 20;
/// How much of what a skill says it is for an agent is told at once, in characters.
const ABOUT_CHARS_MAX: usize = 300;

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
    /// Skills that the agent was given by name.
    own: Vec<Arc<Own>>,
    /// Why it cannot be laid out.
    wrong: Option<Failure>,
}

/// Sandboxes that a set was laid out for and that are not started yet: no list names them, and what they are to see must stay.
pub(super) type Starting = Arc<Mutex<BTreeSet<SandboxId>>>;

/// A set that was laid out for a sandbox. It stays while the sandbox is listed; until then, as long as this is held.
pub(crate) struct LaidOut {
    pub(crate) set: SkillSet,
    _until_started: UntilStarted,
}

struct UntilStarted {
    sandbox: SandboxId,
    starting: Starting,
}

impl UntilStarted {
    fn new(sandbox: &SandboxId, starting: &Starting) -> Self {
        lock(starting).insert(sandbox.clone());
        Self { sandbox: sandbox.clone(), starting: Arc::clone(starting) }
    }
}

impl Drop for UntilStarted {
    fn drop(&mut self) {
        lock(&self.starting).remove(&self.sandbox);
    }
}

impl SkillSet {
    /// What a sandbox of this engine sees: host path and path inside.
    pub(crate) fn mounts(&self, engine: &str, home: &str) -> Vec<(PathBuf, PathBuf)> {
        let mut mounts = vec![(self.dir.clone(), PathBuf::from(SKILLS_DIR))];
        // A place among the session's own files is taken only where there is something to show in it.
        let native = NATIVE.iter().find(|(name, _)| *name == engine).map(|(_, place)| place);
        if let Some(place) = native.filter(|_| !(self.names.is_empty() && self.own.is_empty())) {
            mounts.push((self.dir.clone(), Path::new(home).join(place)));
        }
        mounts
    }

    /// What an engine is told: not every one looks for skills by itself.
    pub(crate) fn instructions(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        if !self.names.is_empty() {
            let names: Vec<String> = self.names.iter().map(|name| format!("`{name}`")).collect();
            parts.push(format!("Before you use a tool of one of these, read {SKILLS_DIR}/NAME/{FILE}: {}.", names.join(", ")));
        }
        if !self.own.is_empty() {
            let about = |skill: &Arc<Own>| {
                let about: String = skill.description.chars().map(|c| if c.is_control() { ' ' } else { c }).take(ABOUT_CHARS_MAX).collect();
                format!("- `{}`: {about}", skill.name)
            };
            let lines: Vec<String> = self.own.iter().map(about).collect();
            parts
                .push(format!("When a task fits one of these, read {SKILLS_DIR}/NAME/{FILE} first and follow it:\n\n{}", lines.join("\n")));
        }
        if parts.is_empty() {
            return String::new();
        }
        format!("# Skills\n\n{}", parts.join("\n\n"))
    }
}

impl App {
    /// The skills for an agent: those of the plugins of which it may call a tool, and those that it was given by name.
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
        let shelf = self.shelf().all();
        let own: BTreeMap<&String, Arc<Own>> =
            agent.skills.iter().filter_map(|name| shelf.get(name).map(|skill| (name, Arc::clone(skill)))).collect();
        let missing = agent.skills.iter().find(|name| !shelf.contains_key(*name));
        let twice = own.keys().find(|name| texts.contains_key(**name));
        let wrong = match (missing, twice) {
            (Some(name), _) => Some(
                Failure::new(Code::SkillChanged, format!("the agent {} has the skill {name}, which is not there", agent.name))
                    .hint(format!("add it, or take it from the agent: lazaret agent set {}", agent.name)),
            ),
            (None, Some(name)) => Some(Failure::new(Code::SkillChanged, format!("a plugin brings a skill that is called {name} too"))),
            (None, None) => None,
        };
        let own: Vec<Arc<Own>> = own.into_values().collect();
        SkillSet { dir: self.skills_dir().join(SETS).join(hash_of(&texts, &own)), names, own, wrong }
    }

    /// The names of what plugins tell.
    pub(crate) fn plugin_skill_names(&self) -> BTreeSet<String> {
        let entries = self.book().entries();
        let found = entries.iter().filter_map(|(name, entry)| entry.found.as_ref().map(|found| (name, found)));
        found.flat_map(|(name, found)| found.skills.iter().map(|skill| titled(name, skill).0).collect::<Vec<_>>()).collect()
    }

    /// Lays a set out where it is not there yet, and notes that this sandbox has it. What comes is held until the sandbox was started.
    pub(crate) async fn lay_out_skills(&self, agent: &crate::AgentForm, sandbox: &SandboxId) -> Result<LaidOut, Failure> {
        let set = self.skills_of(agent);
        if let Some(failure) = &set.wrong {
            return Err(failure.clone());
        }
        let entries = self.book().entries();
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for (name, entry) in &entries {
            let skills = entry.found.iter().flat_map(|found| &found.skills);
            texts.extend(skills.map(|skill| titled(name, skill)).filter(|(title, _)| set.names.contains(title)));
        }
        let (root, dir, sandbox) = (self.skills_dir(), set.dir.clone(), sandbox.clone());
        let until_started = UntilStarted::new(&sandbox, &self.book().starting);
        // Nothing is removed between the two.
        let _one = self.book().skills.lock().await;
        let mut own = Vec::with_capacity(set.own.len());
        for skill in &set.own {
            own.push((self.lay_out_skill(skill).await?, Arc::clone(skill)));
        }
        blocking(move || lay_out(&root, &dir, &texts, &own, &sandbox)).await?;
        Ok(LaidOut { set, _until_started: until_started })
    }

    /// Removes sets that no sandbox has or is about to have.
    pub(super) async fn sweep_skills(&self) -> Result<(), Failure> {
        let _one = self.book().skills.lock().await;
        // In this order: one that ceases to be starting is listed.
        let mut live: BTreeSet<String> = lock(&self.book().starting).iter().map(ToString::to_string).collect();
        live.extend(self.sandboxes().list().into_iter().map(|s| s.id.to_string()));
        let root = self.skills_dir();
        let app = self.clone();
        blocking(move || sweep(&root, &live).and_then(|()| app.sweep_versions()).map_err(|e| unusable(&e))).await
    }
}

fn unusable(error: &io::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("the skills cannot be written into the home: {error}")).hint("free some space in the home")
}

/// The name of a skill, and its text with a head that says what it is for.
fn titled(plugin: &str, skill: &Skill) -> (String, String) {
    // A person who looks at it must see what an agent reads.
    let skill = &Skill { file: skill.file.clone(), text: super::offer::visible(&skill.text) };
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

fn hash_of(texts: &BTreeMap<String, String>, own: &[Arc<Own>]) -> String {
    let mut hash = Sha256::new();
    hash.update(OWN);
    let own = own.iter().map(|skill| (&skill.name, &skill.hash));
    for (name, text) in texts.iter().chain(own) {
        for part in [name, text] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hex(&hash.finalize()[..16])
}

/// Lays a set out with the files of the agent's own skills, which come from where they are kept: at `own`, each under its hash.
fn lay_out(
    root: &Path,
    dir: &Path,
    texts: &BTreeMap<String, String>,
    own: &[(PathBuf, Arc<Own>)],
    sandbox: &SandboxId,
) -> Result<(), Failure> {
    // What was changed where it is kept is refused, also where it was copied before.
    own.iter().try_for_each(|(from, skill)| crate::skills::check(from, &skill.hash, &skill.name))?;
    let is_whole = own.iter().all(|(_, skill)| crate::skills::check(&dir.join(&skill.name), &skill.hash, &skill.name).is_ok());
    let aside = (dir.is_dir() && !is_whole).then(|| root.join(SETS).join(format!("{FRESH}{:032x}", crate::clock::fresh_bits())));
    if let Some(aside) = &aside {
        tracing::warn!(dir = %dir.display(), "skills that are laid out were changed; they are laid out anew");
        std::fs::rename(dir, aside).map_err(|e| unusable(&e))?;
    }
    lay_out_set(root, dir, texts, own, sandbox)?;
    let _ = aside.map(std::fs::remove_dir_all);
    Ok(())
}

fn lay_out_set(
    root: &Path,
    dir: &Path,
    texts: &BTreeMap<String, String>,
    own: &[(PathBuf, Arc<Own>)],
    sandbox: &SandboxId,
) -> Result<(), Failure> {
    let fresh = root.join(SETS).join(format!("{FRESH}{:032x}", crate::clock::fresh_bits()));
    if !dir.is_dir() {
        write_texts(root, &fresh, texts).map_err(|e| unusable(&e))?;
        own.iter().try_for_each(|(from, skill)| crate::skills::copy(from, &fresh.join(&skill.name), &skill.hash, &skill.name))?;
        model::crash::point("plugin:skills-written");
    }
    let keep = || -> io::Result<()> {
        if !dir.is_dir() {
            std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755))?;
            std::fs::rename(&fresh, dir)?;
        }
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let uses = root.join(USES);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&uses)?;
        std::fs::write(uses.join(sandbox.as_str()), name)
    };
    keep().map_err(|e| unusable(&e))
}

/// Writes what plugins and the daemon tell into a directory that is being made.
fn write_texts(root: &Path, fresh: &Path, texts: &BTreeMap<String, String>) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root.join(SETS))?;
    if texts.values().map(String::len).sum::<usize>() > SET_BYTES_MAX {
        return Err(io::Error::other(format!("they have more than {SET_BYTES_MAX} bytes")));
    }
    std::fs::create_dir(fresh)?;
    let own = ("lazaret-tools".to_owned(), OWN.to_owned());
    for (name, text) in std::iter::once((&own.0, &own.1)).chain(texts) {
        let at = fresh.join(name);
        std::fs::create_dir(&at)?;
        std::fs::write(at.join(FILE), text)?;
        // Whatever the umask: inside, another user reads it.
        std::fs::set_permissions(at.join(FILE), std::fs::Permissions::from_mode(0o644))?;
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
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
    fn engines_that_look_for_skills_find_them_where_they_look() {
        let places = |engine: &str, names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let set = SkillSet { dir: PathBuf::from("/sets/1"), names, own: Vec::new(), wrong: None };
            set.mounts(engine, "/home/sandbox").into_iter().map(|(_, inside)| inside.display().to_string()).collect::<Vec<_>>()
        };
        for (engine, native) in [
            ("mini", None),
            ("claude-code", Some("/home/sandbox/.claude/skills")),
            ("codex", Some("/home/sandbox/.agents/skills")),
            ("gemini", Some("/home/sandbox/.agents/skills")),
            ("opencode", Some("/home/sandbox/.agents/skills")),
        ] {
            assert_eq!(places(engine, &["web"]), [SKILLS_DIR].into_iter().chain(native).collect::<Vec<_>>(), "{engine}");
            assert_eq!(places(engine, &[]), [SKILLS_DIR], "{engine}");
        }
    }

    #[test]
    fn a_set_stays_while_a_sandbox_has_it() {
        let place = Place(std::env::temp_dir().join(format!("lazaret-skills-{:032x}", crate::clock::fresh_bits())));
        let root = &place.0;
        let texts = |text: &str| BTreeMap::from([titled("web", &Skill { file: "web.md".to_owned(), text: text.to_owned() })]);
        let (old, new) = (texts("# Fetch \"pages\"\n"), texts("---\nname: web\n---\nnew"));
        let dir = |texts: &BTreeMap<String, String>| root.join(SETS).join(hash_of(texts, &[]));
        let (a, b) = (SandboxId::from_bits(1), SandboxId::from_bits(2));
        lay_out(root, &dir(&old), &old, &[], &a).unwrap();
        lay_out(root, &dir(&new), &new, &[], &b).unwrap();
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

    #[test]
    fn a_sandbox_that_is_being_started_counts_until_it_was() {
        let (starting, a, b) = (Starting::default(), SandboxId::from_bits(1), SandboxId::from_bits(2));
        let (held, other) = (UntilStarted::new(&a, &starting), UntilStarted::new(&b, &starting));
        drop(other);
        assert_eq!(*lock(&starting), BTreeSet::from([a]));
        drop(held);
        assert!(lock(&starting).is_empty());
    }
}
