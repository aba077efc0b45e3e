//! A named env of a caller, and sessions of bash in it: what they are asked is a script.

use std::process::{Output, Stdio};

use crate::support::{Caller, finish, probe_mount};

/// An env. Its sessions have the probe mounted; it goes with the caller's home.
pub(crate) struct Env<'a> {
    caller: &'a Caller,
    name: &'static str,
}

impl<'a> Env<'a> {
    pub(crate) fn create(caller: &'a Caller, name: &'static str) -> Self {
        let env = Self { caller, name };
        env.lazaret(&["env", "create", name]);
        env
    }

    /// Runs the binary, which must succeed.
    #[track_caller]
    pub(crate) fn lazaret(&self, args: &[&str]) -> String {
        let output = self.attempt(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs the binary, whatever comes of it.
    pub(crate) fn attempt(&self, args: &[&str]) -> Output {
        let mut command = self.caller.lazaret();
        command.args(args);
        finish(command, Stdio::null())
    }

    /// A new session in the env runs a script; these options come before it.
    #[track_caller]
    pub(crate) fn session(&self, options: &[&str], script: &str) -> Output {
        let mount = probe_mount();
        let mut args = vec!["run", "--engine", "/bin/bash", "--model", "rehearsal", "--env", self.name, "--mount", &mount];
        args.extend(options);
        args.push(script);
        let output = self.attempt(&args);
        assert!(output.status.success(), "{output:?}");
        output
    }

    /// The same, and what it printed.
    #[track_caller]
    pub(crate) fn printed(&self, script: &str) -> String {
        String::from_utf8_lossy(&self.session(&[], script).stdout).into_owned()
    }
}
