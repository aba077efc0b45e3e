//! An engine that the user brings: any program, by its path.

use std::path::{Path, PathBuf};

use model::{Code, Failure};

/// A program that was named by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Brought {
    /// The engine: one that is known by the program's name, else `program:` and the path inside.
    pub(super) name: String,
    /// Where it lies inside.
    pub(super) program: String,
    /// The directory of the host that holds it and what it needs; `None` where every sandbox has it.
    pub(super) root: Option<PathBuf>,
}

/// The program, where an engine is asked for by a path. Its directory is to be seen inside at `dir`.
pub(super) fn brought(engine: &str, dir: &str) -> Result<Option<Brought>, Failure> {
    if !engine.contains('/') {
        return Ok(None);
    }
    let missing = |why: String| Failure::new(Code::EngineMissing, format!("the engine {engine} cannot be used: {why}")).field("--engine");
    let real = std::fs::canonicalize(engine).map_err(|e| missing(e.to_string()))?;
    if !real.is_file() {
        return Err(missing("it is not a file".to_owned()));
    }
    let (program, root) = if real.starts_with("/usr") && !real.starts_with("/usr/local") {
        (real, None)
    } else {
        let root = package_root(&real);
        let inside = real.strip_prefix(&root).map_err(|e| missing(e.to_string()))?;
        (Path::new(dir).join(inside), Some(root))
    };
    let program = program.to_str().ok_or_else(|| missing("its path is not UTF-8".to_owned()))?.to_owned();
    let stem = Path::new(engine).file_stem().and_then(|s| s.to_str()).unwrap_or("");
    let name = if stem == "claude" { "claude-code" } else { stem };
    let name = engines::by_name(name).map_or_else(|| format!("program:{program}"), |e| e.name().to_owned());
    Ok(Some(Brought { name, program, root }))
}

/// The directory that holds a program and what it needs: the one above the outermost `node_modules`, else its own.
fn package_root(program: &Path) -> PathBuf {
    let outermost = program.ancestors().filter(|at| at.ends_with("node_modules")).last();
    outermost.or(Some(program)).and_then(Path::parent).unwrap_or(program).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_by_path_are_seen_with_what_they_need() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = std::fs::canonicalize(dir.path()).expect("there");
        let deep = at.join("lib/node_modules/x/node_modules/y");
        std::fs::create_dir_all(&deep).expect("make");
        std::fs::write(deep.join("claude"), "").expect("write");
        std::fs::write(at.join("own"), "").expect("write");
        let of = |path: &Path| brought(path.to_str().expect("utf-8"), "/e").map(|one| one.map(|one| (one.name, one.program, one.root)));
        let some = |name: &str, program: &str, root: &Path| Ok(Some((name.to_owned(), program.to_owned(), Some(root.to_owned()))));
        assert_eq!(of(&deep.join("claude")), some("claude-code", "/e/node_modules/x/node_modules/y/claude", &at.join("lib")));
        assert_eq!(of(&at.join("own")), some("program:/e/own", "/e/own", &at));
        assert_eq!(of(Path::new("mini")), Ok(None));
        for bad in [at.join("lib"), at.join("nothing")] {
            assert_eq!(of(&bad).map_err(|failure| failure.code), Err(Code::EngineMissing), "{}", bad.display());
        }
    }
}
