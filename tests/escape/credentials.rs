//! A credential of the host, planted wherever a caller may have one, is found nowhere inside.

use serde_json::json;

use crate::support::{Caller, PROBE, Report, Standing, each_caller, finish};

/// Looks like a key and is none. Made of two halves, so that the search finds no command line with the whole of it.
fn canary(caller: &Caller) -> String {
    format!("sk-fake-canary-{}-{}", caller.uid, std::process::id())
}

#[test]
fn a_planted_key_is_found_nowhere() {
    each_caller(|caller| {
        let key = canary(caller);
        for name in [".netrc", ".npmrc", ".git-credentials", ".bash_history"] {
            caller.file(name, &key);
        }
        caller.dir(".aws");
        caller.file(".aws/credentials", &key);
        let mut command = caller.sandbox().command();
        for name in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "MY_OWN_NAME"] {
            command.env(name, &key);
        }
        let attack = format!("canary={key}");
        command.args([PROBE, &attack]);
        let report = Report::read(&finish(command, std::process::Stdio::null()), 1);
        assert_eq!(report.worked(&attack), &json!([]));
    });
}

/// The search finds what is really there: a variable and a file that the caller handed over by name.
#[test]
fn a_key_that_was_handed_over_is_found() {
    each_caller(|caller| {
        let key = canary(caller);
        let dir = caller.dir("given");
        caller.file("given/key", &key);
        let trial = caller
            .sandbox()
            .option("--env")
            .option(format!("KEY={key}"))
            .option("--mount")
            .option(format!("{}:/home/sandbox/given", dir.display()));
        let attack = format!("canary={key}");
        let found = trial.attack(&[&attack]).worked(&attack).to_string();
        assert!(found.contains("/home/sandbox/given/key") && found.contains("environ"), "{found}");
    });
}

/// A secret of the store, which the daemon holds, is not in a sandbox of that daemon.
#[test]
fn a_stored_secret_is_found_nowhere() {
    each_caller(|caller| {
        let key = canary(caller);
        let mut command = caller.lazaret();
        command.args(["secret", "set", "anthropic", "-"]);
        let input = std::fs::File::open(caller.file("key", &key)).expect("open the key");
        let set = finish(command, input.into());
        assert!(set.status.success(), "{set:?}");
        std::fs::remove_file(caller.home.join("key")).expect("remove the key's file");
        let sandbox = Standing::create(caller, &[]);
        let attack = format!("canary={key}");
        let report = Report::read(&sandbox.exec(&[PROBE, &attack]), 1);
        assert_eq!(report.worked(&attack), &json!([]));
    });
}
