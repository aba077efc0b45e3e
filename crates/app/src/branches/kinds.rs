//! Kinds of tasks: what an agent is told besides its task, and how the kind is found out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use model::{Code, Failure};
use serde::Deserialize;

/// The kinds, in the order in which they are tried.
const SHIPPED: &[(&str, &str)] = &[
    ("mutation", include_str!("../../../../share/branch-types/mutation.toml")),
    ("review", include_str!("../../../../share/branch-types/review.toml")),
    ("explore", include_str!("../../../../share/branch-types/explore.toml")),
    ("test", include_str!("../../../../share/branch-types/test.toml")),
    ("fix", include_str!("../../../../share/branch-types/fix.toml")),
    ("docs", include_str!("../../../../share/branch-types/docs.toml")),
    ("refactor", include_str!("../../../../share/branch-types/refactor.toml")),
    ("feature", include_str!("../../../../share/branch-types/feature.toml")),
    ("other", include_str!("../../../../share/branch-types/other.toml")),
];
/// The kind of what is nothing else.
const OTHER: &str = "other";
/// Where the owner's own lie, below the home.
const DIR: &str = "branch-types";
/// Kinds of the owner's own, and kinds that one request brings.
pub(crate) const KINDS_MAX: usize = 64;
/// The longest text of a kind, in bytes.
pub(crate) const KIND_BYTES_MAX: usize = 16 << 10;
/// Words of a task that are looked at: what it is about stands at its beginning.
const WORDS_MAX: usize = 12;

/// A kind of task.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kind {
    /// Its name.
    #[serde(skip)]
    pub(crate) name: String,
    /// What it is for.
    pub(crate) description: String,
    /// First parts of branch names that say so.
    #[serde(default)]
    prefixes: Vec<String>,
    /// Words of tasks that say so.
    #[serde(default)]
    words: Vec<String>,
    /// What the agent is told.
    prompt: String,
}

/// The kinds that one request chooses from: those that it brings, the owner's own, and those that ship. Of one name the first counts.
#[derive(Debug, Clone)]
pub(crate) struct Kinds(Vec<Kind>);

fn read(name: &str, text: &str) -> Result<Kind, Failure> {
    let wrong = |why: String| Failure::new(Code::Usage, format!("the type `{}` cannot be used: {why}", name.escape_debug())).field("types");
    if !model::is_name(name) {
        return Err(wrong("a name has lower-case letters, digits and hyphens".to_owned()));
    }
    if text.len() > KIND_BYTES_MAX {
        return Err(wrong(format!("it has more than {KIND_BYTES_MAX} bytes")));
    }
    let kind: Kind = toml::from_str(text).map_err(|e| wrong(e.message().to_owned()))?;
    if kind.prompt.trim().is_empty() || kind.prompt.contains('\0') {
        return Err(wrong("its prompt says nothing".to_owned()));
    }
    Ok(Kind { name: name.to_owned(), ..kind })
}

/// The kinds that ship.
fn shipped() -> &'static [Kind] {
    static ALL: OnceLock<Vec<Kind>> = OnceLock::new();
    ALL.get_or_init(|| {
        let told = |(name, text): &(&str, &str)| {
            read(name, text).inspect_err(|failure| tracing::error!(name, %failure, "a shipped kind of task is malformed")).ok()
        };
        SHIPPED.iter().filter_map(told).collect()
    })
}

/// The owner's own, as files below the home.
fn own(home: &Path) -> Result<Vec<Kind>, Failure> {
    let dir = home.join(DIR);
    let unreadable = |path: &Path, why: String| Failure::new(Code::PathUnusable, format!("{} cannot be read: {why}", path.display()));
    let entries = match std::fs::read_dir(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| unreadable(&dir, e.to_string()))?,
    };
    let mut kinds = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| unreadable(&dir, e.to_string()))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".toml")) else { continue };
        if kinds.len() >= KINDS_MAX {
            return Err(unreadable(&dir, format!("it has more than {KINDS_MAX} types")));
        }
        let meta = std::fs::symlink_metadata(&path).map_err(|e| unreadable(&path, e.to_string()))?;
        if !meta.is_file() || meta.len() > KIND_BYTES_MAX as u64 {
            return Err(unreadable(&path, format!("it is no file of at most {KIND_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(&path).map_err(|e| unreadable(&path, e.to_string()))?;
        kinds.push(read(name, &text).map_err(|failure| failure.hint(format!("see {}", path.display())))?);
    }
    kinds.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(kinds)
}

impl Kinds {
    /// The kinds of a home, and those that a request brings besides, each by its name.
    ///
    /// # Errors
    /// One of them is malformed: nothing is quietly left out.
    pub(crate) fn of(home: &Path, brought: &BTreeMap<String, String>) -> Result<Self, Failure> {
        if brought.len() > KINDS_MAX {
            return Err(Failure::new(Code::Usage, format!("at most {KINDS_MAX} types are brought")).field("types"));
        }
        let mut all = brought.iter().map(|(name, text)| read(name, text)).collect::<Result<Vec<_>, _>>()?;
        for kind in own(home)?.into_iter().chain(shipped().iter().cloned()) {
            if !all.iter().any(|known| known.name == kind.name) {
                all.push(kind);
            }
        }
        Ok(Self(all))
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Kind] {
        &self.0
    }

    /// The kind of this name.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn named(&self, name: &str) -> Result<&Kind, Failure> {
        self.0.iter().find(|kind| kind.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.0.iter().map(|kind| kind.name.as_str()).collect();
            Failure::new(Code::Usage, format!("there is no type `{}`", name.escape_debug()))
                .hint(format!("one of {}", names.join(", ")))
                .field("type")
        })
    }

    /// The kind that branch and task speak of: the first part of the branch decides, then the first word of the task that does.
    pub(crate) fn inferred(&self, branch: &str, task: &str) -> &str {
        let of_branch = branch.split(['/', '-', '_']).next().unwrap_or_default().to_lowercase();
        if let Some(kind) = self.0.iter().find(|kind| kind.prefixes.contains(&of_branch)) {
            return &kind.name;
        }
        let words = task.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).take(WORDS_MAX).map(str::to_lowercase);
        for word in words {
            if let Some(kind) = self.0.iter().find(|kind| kind.words.contains(&word)) {
                return &kind.name;
            }
        }
        OTHER
    }

    /// What the agent is asked: the words of its kind, the rules of its place, and the task as it was given.
    pub(crate) fn prompt(&self, kind: &str, branch: &str, beside: &[String], task: &str) -> String {
        let more = match beside {
            [] => String::new(),
            places => format!(
                " Clones of further repositories, on the same branch, are in {}: commit in each what you change there.",
                places.iter().map(|place| format!("`{place}`")).collect::<Vec<_>>().join(", ")
            ),
        };
        let told = self.named(kind).map(|kind| kind.prompt.trim()).unwrap_or_default();
        format!(
            "{told}\n\nYou are in a clone of your own, on the branch `{branch}`.{more} {} \
             Nobody else works in this clone, and there is nothing to push to: your commits are fetched when you are done. \
             End with a short summary of what you did and what is left.\n\nYour task:\n\n{task}",
            gateway::rehearsal::REHEARSAL_COMMIT
        )
    }
}

/// What the agent is asked in a further turn.
pub(crate) fn further(branch: &str, task: &str) -> String {
    format!("{task}\n\nYou are still on the branch `{branch}`. {}", gateway::rehearsal::REHEARSAL_COMMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped_alone() -> Kinds {
        Kinds::of(Path::new("/nonexistent"), &BTreeMap::new()).expect("they can be read")
    }

    #[test]
    fn every_shipped_kind_can_be_read() {
        let kinds = shipped_alone();
        assert_eq!(kinds.all().len(), SHIPPED.len());
        assert!(kinds.all().iter().all(|kind| !kind.prompt.trim().is_empty() && !kind.description.is_empty()));
        assert!(kinds.named("feature").is_ok() && kinds.named("fea ture").is_err());
    }

    #[test]
    fn branch_and_task_say_the_kind() {
        let kinds = shipped_alone();
        for (branch, task, kind) in [
            ("feat/login", "whatever", "feature"),
            ("feature-login", "", "feature"),
            ("fix/1", "add a thing", "fix"),
            ("work", "Add an endpoint", "feature"),
            ("work", "Please review the parser", "review"),
            ("work", "mutation testing of src/", "mutation"),
            ("work", "find out why it is slow", "explore"),
            ("tests/more", "x", "test"),
            ("x", "do it", "other"),
        ] {
            assert_eq!(kinds.inferred(branch, task), kind, "{branch}: {task}");
        }
    }

    #[test]
    fn the_task_stands_as_it_was_given() {
        let task = "a \"quoted\" $(thing)\n`second` line {{ x }} %s";
        assert!(shipped_alone().prompt("feature", "feat/x", &[], task).ends_with(task));
        assert!(further("feat/x", task).starts_with(task));
    }

    #[test]
    fn own_kinds_come_before_those_that_ship_and_malformed_ones_are_told() {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(home.path().join(DIR)).expect("make");
        let write = |name: &str, text: &str| std::fs::write(home.path().join(DIR).join(name), text).expect("write");
        write("audit.toml", "description = \"Looks for holes.\"\nprefixes = [\"audit\"]\nprompt = \"Look for holes.\"");
        write("feature.toml", "description = \"Ours.\"\nprompt = \"Ours.\"");
        write("notes.txt", "not one");
        let brought = BTreeMap::from([("audit".to_owned(), "description = \"b\"\nprompt = \"Brought.\"".to_owned())]);
        let kinds = Kinds::of(home.path(), &BTreeMap::new()).expect("they can be read");
        assert_eq!(kinds.inferred("audit/x", ""), "audit");
        assert!(kinds.prompt("feature", "b", &[], "t").starts_with("Ours."));
        assert_eq!(kinds.all().len(), SHIPPED.len() + 1);
        let kinds = Kinds::of(home.path(), &brought).expect("they can be read");
        assert!(kinds.prompt("audit", "b", &[], "t").starts_with("Brought."));
        for bad in ["", "prompt = 1", "description = \"x\"\nprompt = \" \"", "description = \"x\"\nprompt = \"y\"\nrun = \"sh\""] {
            assert!(Kinds::of(home.path(), &BTreeMap::from([("x".to_owned(), bad.to_owned())])).is_err(), "{bad}");
        }
        assert!(Kinds::of(home.path(), &BTreeMap::from([("../x".to_owned(), String::new())])).is_err());
        write("broken.toml", "prompt = ");
        assert!(Kinds::of(home.path(), &BTreeMap::new()).is_err(), "nothing is quietly left out");
    }
}
