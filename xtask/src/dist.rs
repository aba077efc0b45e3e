//! What a release consists of: an archive for each platform, their checksums, and the list of what is in them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{metadata, run};

/// The platform that every release has.
const FIRST: &str = "x86_64-unknown-linux-gnu";
/// Platforms that are built where their standard library and linker are installed, with the linker.
const MORE: &[(&str, &str)] = &[("aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc")];
/// What stands in every archive beside the program, where there is one.
const BESIDE: &[&str] = &["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-MIT", "LICENSE-APACHE"];
/// The package of the program.
const PACKAGE: &str = "lazaret-cli";
/// The program.
const PROGRAM: &str = "lazaret";
/// Every program of an archive, with its package.
const PROGRAMS: &[(&str, &str)] = &[(PACKAGE, PROGRAM), ("lazaret-channels", "lazaret-channels")];
/// Programs need nothing of the machine that they run on, not even its loader.
const STATIC: &str = "-C target-feature=+crt-static";

/// Builds everything into `target/dist`.
pub(crate) fn run() -> Result<()> {
    let target = metadata::target_directory()?;
    let out = target.join("dist");
    if out.exists() {
        std::fs::remove_dir_all(&out).with_context(|| format!("failed to empty {}", out.display()))?;
    }
    std::fs::create_dir_all(&out).with_context(|| format!("failed to make {}", out.display()))?;
    let packages = metadata::linux()?;
    let version = packages.iter().find(|p| p.name == PACKAGE).map(|p| p.version.clone()).context("the workspace has no program")?;
    let mut made = vec![archive(&target, &out, FIRST, None, &version)?];
    for (platform, linker) in MORE {
        if is_installed(platform)? && run::has(linker) {
            made.push(archive(&target, &out, platform, Some(linker), &version)?);
        } else {
            eprintln!("{platform} is left out: its standard library or {linker} is not installed");
        }
    }
    let bom = format!("{PROGRAM}-{version}.cdx.json");
    let text = serde_json::to_string_pretty(&components(&packages, &version)).context("failed to write the list of components")?;
    std::fs::write(out.join(&bom), text + "\n").with_context(|| format!("failed to write {bom}"))?;
    made.push(bom);
    checksums(&out, &made)?;
    println!("{}", out.display());
    Ok(())
}

/// Builds the program for one platform and packs it. Gives the archive's name.
fn archive(target: &Path, out: &Path, platform: &str, linker: Option<&str>, version: &str) -> Result<String> {
    let mut build = run::command("cargo", &["build", "--release", "--locked", "--target", platform]);
    for (package, program) in PROGRAMS {
        build.args(["-p", package, "--bin", program]);
    }
    build.env("RUSTFLAGS", STATIC);
    if let Some(linker) = linker {
        let name = platform.to_uppercase().replace('-', "_");
        build.env(format!("CARGO_TARGET_{name}_LINKER"), linker).env(format!("CC_{}", platform.replace('-', "_")), linker);
    }
    run::run_command(build)?;
    let name = format!("{PROGRAM}-{version}-{platform}");
    let dir = out.join(&name);
    std::fs::create_dir(&dir).with_context(|| format!("failed to make {}", dir.display()))?;
    for (_, program) in PROGRAMS {
        let built = target.join(platform).join("release").join(program);
        if !is_static(&built)? {
            bail!("{} needs a loader: it was not linked statically", built.display());
        }
        copy(&built, &dir.join(program))?;
    }
    for file in BESIDE {
        let from = run::root().join(file);
        if from.exists() {
            copy(&from, &dir.join(file))?;
        }
    }
    let packed = format!("{name}.tar.gz");
    // The same program makes the same archive: no names, no times.
    let args = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-czf", &packed, &name];
    let mut tar = run::command("tar", &args);
    tar.current_dir(out).env("GZIP", "-n");
    run::run_command(tar)?;
    std::fs::remove_dir_all(&dir).with_context(|| format!("failed to remove {}", dir.display()))?;
    Ok(packed)
}

/// Whether a program of 64 bits names no loader among its segments.
fn is_static(program: &Path) -> Result<bool> {
    /// The type of the segment that names one.
    const INTERPRETER: u32 = 3;
    let bytes = std::fs::read(program).with_context(|| format!("failed to read {}", program.display()))?;
    let part = |at: usize, len: usize| bytes.get(at..at + len).context("the program is no ELF file");
    let number = |at: usize, len: usize| -> Result<usize> {
        let little = part(at, len)?.iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
        usize::try_from(little).context("the program is too large")
    };
    if part(0, 6)? != b"\x7fELF\x02\x01" {
        bail!("{} is no ELF file of 64 bits", program.display());
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for n in 0..count {
        if number(table + n * size, 4)? == INTERPRETER as usize {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the standard library of a platform is there.
fn is_installed(platform: &str) -> Result<bool> {
    let dir = run::command("rustc", &["--print", "target-libdir", "--target", platform]).stderr(Stdio::null()).output();
    let dir = dir.context("failed to ask rustc for a library")?;
    let dir = PathBuf::from(String::from_utf8_lossy(&dir.stdout).trim());
    let is_std = |name: &str| name.starts_with("libstd-") && Path::new(name).extension().is_some_and(|end| end == "rlib");
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    Ok(files.into_iter().any(|file| file.file_name().to_str().is_some_and(is_std)))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).map(drop).with_context(|| format!("failed to copy {} to {}", from.display(), to.display()))
}

fn checksums(out: &Path, files: &[String]) -> Result<()> {
    let mut command = run::command("sha256sum", &files.iter().map(String::as_str).collect::<Vec<_>>());
    let sums = command.current_dir(out).output().context("failed to start sha256sum")?;
    if !sums.status.success() {
        bail!("sha256sum failed ({})", sums.status);
    }
    std::fs::write(out.join("SHA256SUMS"), sums.stdout).context("failed to write SHA256SUMS")
}

/// Every crate that a build may use, as CycloneDX has it.
fn components(packages: &[metadata::Package], version: &str) -> Value {
    let of = |package: &metadata::Package| {
        let url = format!("pkg:cargo/{}@{}", package.name, package.version);
        let licenses: Vec<Value> = package.license.iter().map(|text| json!({ "expression": expression(text) })).collect();
        json!({ "type": "library", "bom-ref": url, "name": package.name, "version": package.version, "purl": url, "licenses": licenses })
    };
    let mut all: Vec<&metadata::Package> = packages.iter().filter(|p| p.name != PACKAGE).collect();
    all.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "application", "bom-ref": PROGRAM, "name": PROGRAM, "version": version,
            "licenses": [{ "expression": "MIT OR Apache-2.0" }],
        } },
        "components": all.into_iter().map(of).collect::<Vec<_>>(),
    })
}

/// A licence as SPDX writes it; an older form has slashes for its choices.
fn expression(text: &str) -> String {
    text.replace('/', " OR ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_of_licences_has_one_form() {
        for text in ["MIT/Apache-2.0", "MIT / Apache-2.0", "MIT OR Apache-2.0"] {
            assert_eq!(expression(text), "MIT OR Apache-2.0");
        }
    }

    #[test]
    fn a_program_with_a_loader_is_told_apart() {
        // What runs this test is linked as every program of the machine is.
        assert!(!is_static(&std::env::current_exe().expect("a program")).expect("an ELF file"));
        assert!(is_static(&run::root().join("Cargo.toml")).is_err());
    }

    #[test]
    fn the_list_names_every_crate_once() {
        let packages = metadata::linux().expect("metadata");
        let list = components(&packages, "0.0.0");
        let names: Vec<&str> = list["components"].as_array().expect("components").iter().filter_map(|c| c["purl"].as_str()).collect();
        let once: std::collections::BTreeSet<&&str> = names.iter().collect();
        assert_eq!(once.len(), names.len());
        assert!(names.iter().any(|name| name.starts_with("pkg:cargo/tokio@")) && list["specVersion"] == "1.5");
    }
}
