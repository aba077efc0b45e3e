//! What cannot be done is refused with a stable code, a reason, and what to do; nothing is left.

use crate::support::Lab;

#[test]
fn what_does_not_exist() {
    let lab = Lab::new();
    lab.run(&["run", "--engine", "nothing", "x"]).fails("ENGINE_MISSING", 3);
    lab.run(&["run", "--image", "nothing", "x"]).fails("IMAGE_MISSING", 3);
    lab.run(&["run", "--workspace", "/nonexistent", "x"]).fails("PATH_UNUSABLE", 3);
    lab.run(&["run", "--resume", "ses_00000000000000000000000000000000", "x"]).fails("NOT_FOUND", 2);
    lab.run(&["run", "--engine", "claude-code", "--model", "rehearsal", "x"]).fails("ENGINE_MISSING", 3);
    lab.run(&["sandbox", "rm", "sbx_00000000000000000000000000000000"]).fails("NOT_FOUND", 2);
    lab.run(&["nonsense"]).ends_with(2);
    lab.assert_nothing_left();
}

#[test]
fn prompts_that_are_none() {
    let lab = Lab::new();
    lab.run(&["run", ""]).fails("PROMPT_INVALID", 2);
    lab.run(&["run", "  \n "]).fails("PROMPT_INVALID", 2);
    lab.run_with(&["run", "-"], b"").fails("PROMPT_INVALID", 2);
    lab.run_with(&["run", "-"], b"a\0b").fails("PROMPT_INVALID", 2);
    lab.run_with(&["run", "-"], b"\xff\xfe").fails("PROMPT_INVALID", 2);
    let long = vec![b'x'; (100 << 20) + 1];
    lab.run_with(&["run", "-"], &long).fails("PROMPT_INVALID", 2);
    lab.assert_nothing_left();
}

#[test]
fn a_model_without_its_key() {
    let lab = Lab::new();
    let ran = lab.run(&["run", "--model", "claude-sonnet-4-5", "x"]).fails("KEY_MISSING", 3);
    assert!(ran.err.contains("lazaret secret set anthropic -"), "{}", ran.err);
    lab.run(&["run", "--engine", "mini", "x"]).fails("KEY_MISSING", 3);
    let json = lab.run(&["run", "--json", "--model", "gpt-5", "x"]).ends_with(3);
    let error: serde_json::Value = serde_json::from_str(json.err.trim()).expect("one JSON line");
    assert_eq!(error["error"]["code"], "KEY_MISSING");
}

#[test]
fn values_that_make_no_sense() {
    let lab = Lab::new();
    for args in [
        ["run", "--memory", "lots", "x"],
        ["run", "--memory", "1k", "x"],
        ["run", "--cpus", "0", "x"],
        ["run", "--pids", "1", "x"],
        ["run", "--timeout", "never", "x"],
        ["run", "--budget-usd", "-1", "x"],
        ["run", "--mount", "nowhere", "x"],
        ["run", "--env", "1=2", "x"],
    ] {
        lab.run(&args).ends_with(2);
    }
    let ran = lab.run(&["run", "--allow", "example.com", "x"]).fails("EGRESS_DENIED", 3);
    assert!(ran.err.contains("example.com:443"), "{}", ran.err);
}

#[test]
fn a_home_that_others_can_read_or_that_is_damaged() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    lab.run(&["config", "path"]).succeeds();
    let home = lab.home();
    let mode = |mode| std::fs::set_permissions(&home, std::fs::Permissions::from_mode(mode)).expect("chmod");
    mode(0o750);
    let ran = lab.run(&["run", "x"]).fails("HOME_UNSAFE", 3);
    assert!(ran.err.contains("chmod 700"), "{}", ran.err);
    mode(0o700);
    std::fs::write(home.join("config.toml"), "colour = 1\n").expect("write");
    lab.run(&["config", "show"]).fails("CONFIG_INVALID", 2);
    std::fs::remove_file(home.join("config.toml")).expect("remove");
    std::fs::write(home.join("lazaret.db"), b"this is no database, but long enough to be looked at as one").expect("write");
    std::fs::set_permissions(home.join("lazaret.db"), std::fs::Permissions::from_mode(0o600)).expect("chmod");
    let before = std::fs::read(home.join("lazaret.db")).expect("read");
    lab.run(&["run", "x"]).fails("STORE_UNUSABLE", 3);
    assert_eq!(std::fs::read(home.join("lazaret.db")).expect("read"), before, "nothing is repaired in silence");
}

#[test]
fn directories_that_hold_credentials_are_never_mounted() {
    let lab = Lab::new();
    let ssh = lab.path(".ssh");
    std::fs::create_dir(&ssh).expect("make");
    lab.run(&["run", "--workspace", ssh.to_str().expect("utf-8"), "x"]).fails("PATH_UNUSABLE", 3);
    lab.run(&["config", "path"]).succeeds();
    lab.run(&["run", "--workspace", lab.home().to_str().expect("utf-8"), "x"]).fails("PATH_UNUSABLE", 3);
    std::os::unix::fs::symlink(&ssh, lab.path("innocent")).expect("link");
    lab.run(&["run", "--mount", &format!("{}:/data", lab.path("innocent").display()), "x"]).fails("PATH_UNUSABLE", 3);
}
