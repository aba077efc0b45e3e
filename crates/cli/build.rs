//! Builds the static guest program and hands its path to `guest.rs`, which embeds it.

#![expect(clippy::disallowed_methods, reason = "cargo tells a build script everything by its environment")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let env = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let crates = PathBuf::from(env("CARGO_MANIFEST_DIR")).join("..");
    for watched in ["guest", "jail", "wire", "model"] {
        println!("cargo::rerun-if-changed={}", crates.join(watched).display());
    }
    let target = env("TARGET");
    // One directory for every profile of the program, so that the guest is built once.
    let out = PathBuf::from(env("OUT_DIR"));
    let shared = out.ancestors().nth(4).map_or_else(|| out.join("guest"), |target_dir| target_dir.join("guest"));
    let program = build_guest(&crates.join(".."), &shared, &target);
    println!("cargo::rustc-env=LAZARET_GUEST_PROGRAM={}", program.display());
    println!("cargo::rustc-env=LAZARET_GUEST_TAG={:016x}", fingerprint(&std::fs::read(&program).unwrap_or_default()));
}

/// A static, position-dependent program: it needs no loader inside and starts in half a millisecond.
fn build_guest(workspace: &Path, shared: &Path, target: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["build", "--quiet", "--locked", "--package", "lazaret-guest", "--profile", "guest", "--target", target])
        .env("CARGO_TARGET_DIR", shared)
        .env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CLIPPY_ARGS");
    let status = command.status().unwrap_or_else(|error| panic!("cannot run cargo for the guest: {error}"));
    assert!(status.success(), "the guest program did not build");
    shared.join(target).join("guest").join("lazaret-guest")
}

/// FNV-1a: tells one build of the guest from another.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
