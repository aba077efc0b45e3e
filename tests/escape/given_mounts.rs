//! What the host shows a session beside its own tree: the tools volume, the vault, read-only directories. Nothing inside
//! writes to it, takes it away, or makes it writable; and its own tree cannot be mounted anew.

use std::fs;

use crate::envs::Env;
use crate::support::{Caller, PROBE, Report, each_caller};

/// Every way to mount or take away, at one place.
const MOUNTING: [&str; 6] = ["remount-rw", "setattr-rw", "umount", "open-tree", "mount-tmpfs", "mount-bind"];
const PLACES: [&str; 7] =
    ["/home", "/home/sandbox", "/workspace", "/home/sandbox/Vault", "/opt/lazaret-tools", "/opt/lazaret-agent", "/home/sandbox/probe"];

/// A vault with a note, a tool for all and one of the agent's own, and an env.
fn furnished(caller: &Caller) -> Env<'_> {
    let env = Env::create(caller, "den");
    let vault = caller.dir("vault");
    caller.file("vault/note.md", "a note");
    env.lazaret(&["config", "set", "vault", &vault.to_string_lossy()]);
    let tool = caller.file("hammer", "#!/bin/sh\necho struck\n");
    env.lazaret(&["tools", "install", &format!("file:{}", tool.display())]);
    let own = caller.file("chisel", "#!/bin/sh\necho carved\n");
    env.lazaret(&["tools", "install", "--agent", "default", &format!("file:{}", own.display())]);
    env
}

#[test]
fn no_mount_of_a_session_changes() {
    each_caller(|caller| {
        let env = furnished(caller);
        let attacks: Vec<String> = PLACES.iter().flat_map(|at| MOUNTING.iter().map(move |how| format!("{how}={at}"))).collect();
        let output = env.session(&[], &format!("{PROBE} {}", attacks.join(" ")));
        let report = Report::read(&output, attacks.len());
        let attacks: Vec<&str> = attacks.iter().map(String::as_str).collect();
        report.all_denied(&attacks, "EPERM");
    });
}

#[test]
fn nothing_is_written_to_what_is_shown() {
    each_caller(|caller| {
        let env = furnished(caller);
        let attacks = [
            "create=/opt/lazaret-tools/bin/x", "create=/opt/lazaret-tools/x", "create=/opt/lazaret-agent/bin/x",
            "create=/opt/lazaret-agent/x", "create=/home/sandbox/Vault/x", "write=/home/sandbox/Vault/note.md",
            "create=/home/sandbox/probe/x", "create=/home/sandbox/Parachute/x",
        ];
        let report = Report::read(&env.session(&[], &format!("{PROBE} {}", attacks.join(" "))), attacks.len());
        report.all_denied(&attacks, "EROFS");
        let links = ["hardlink=/home/sandbox/Vault/note.md,/home/sandbox/own", "hardlink=/opt/lazaret-tools/bin/hammer,/home/sandbox/own"];
        let report = Report::read(&env.session(&[], &format!("{PROBE} {}", links.join(" "))), links.len());
        report.all_denied(&links, "EXDEV");
        // By every usual command too, and by moving what is shown out of the way.
        let said = env.printed(
            "{ rm -rf /opt/lazaret-tools/bin/hammer /opt/lazaret-agent/bin/chisel ~/Vault/note.md; \
             chmod -R 777 /opt/lazaret-tools /opt/lazaret-agent ~/Vault; mv ~/Vault ~/gone; \
             rmdir ~/Vault; ln -sfn /tmp ~/Vault; ln -sfn /tmp /opt/lazaret-tools; mv /opt/lazaret-tools/.current /tmp; \
             ln -sfn /tmp /opt/lazaret-agent; mv /opt/lazaret-agent/.current /tmp; } 2>/dev/null; \
             hammer; chisel; cat ~/Vault/note.md; ls ~/Vault",
        );
        assert_eq!(said, "struck\ncarved\na notenote.md\n");
        let note = caller.home.join("vault/note.md");
        assert_eq!(fs::read_to_string(note).expect("there"), "a note");
        assert_eq!(fs::read_dir(caller.home.join("vault")).expect("list").count(), 1);
        assert!(env.lazaret(&["tools", "list"]).contains("hammer"));
    });
}

/// The control: where a directory is shown writable, the same attack works, so it is the mount that stops it.
#[test]
fn what_is_shown_writable_is_written() {
    each_caller(|caller| {
        let env = Env::create(caller, "den");
        let given = caller.dir("given");
        let mount = format!("{}:/home/sandbox/given:rw", given.display());
        let attack = "create=/home/sandbox/given/x";
        Report::read(&env.session(&["--mount", &mount], &format!("{PROBE} {attack}")), 1).worked(attack);
        assert!(given.join("x").exists());
    });
}

/// A name in the tree that the next sandbox needs for a mount, taken by a link to elsewhere or by a file: the mount comes
/// to its own place, and where the link leads nothing is made.
#[test]
fn a_tree_cannot_lead_mounts_elsewhere() {
    each_caller(|caller| {
        let env = Env::create(caller, "den");
        let outside = caller.dir("outside");
        env.printed(&format!(
            "ln -s {0} ~/Vault; ln -s /etc ~/given; echo file > ~/Parachute; mkdir -p ~/.claude; ln -s {0} ~/.claude/CLAUDE.md",
            outside.display()
        ));
        let vault = caller.dir("vault");
        caller.file("vault/note.md", "a note");
        caller.file("vault/passwd", "of the vault");
        env.lazaret(&["config", "set", "vault", &vault.to_string_lossy()]);
        let mount = format!("{}:/home/sandbox/given", vault.display());
        let output = env
            .session(&["--mount", &mount], "cat ~/Vault/note.md; cat ~/given/passwd; cat ~/Parachute/passwd; grep -c sandbox /etc/passwd");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a noteof the vaultof the vault1\n");
        assert_eq!(fs::read_dir(&outside).expect("list").count(), 0, "a mount point was made outside");
    });
}
