//! bubblewrap, as a desktop sandbox starts it.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{Skeleton, quiet};
use crate::sample::Contender;

pub(crate) struct Bubblewrap {
    args: Vec<String>,
}

impl Bubblewrap {
    pub(crate) fn prepare(dir: &Path, skeleton: &Skeleton) -> Result<Self> {
        let workspace = dir.join("bubblewrap-workspace");
        std::fs::create_dir(&workspace)?;
        let fixed = "--unshare-all --unshare-user --die-with-parent --new-session --cap-drop ALL --uid 1000 --gid 1000 --ro-bind /usr /usr \
                     --proc /proc --dev /dev --tmpfs /tmp --chdir /workspace";
        let mut args: Vec<String> = fixed.split_whitespace().map(str::to_owned).collect();
        for (name, target) in skeleton.links() {
            args.extend(["--symlink".to_owned(), target, format!("/{name}")]);
        }
        args.extend(["--bind".to_owned(), workspace.to_string_lossy().into_owned(), "/workspace".to_owned(), "true".to_owned()]);
        Ok(Self { args })
    }
}

impl Contender for Bubblewrap {
    fn name(&self) -> String {
        "bubblewrap".to_owned()
    }

    fn lacks(&self) -> String {
        "no seccomp filter, landlock or host user of its own; no memory, cpu, pids or disk limit; no overlay; full /proc; no supervision"
            .to_owned()
    }

    fn once(&mut self) -> Result<()> {
        quiet(Command::new("bwrap").args(&self.args))
    }
}
