//! The API document against the server, by a program that other people wrote: whatever the document allows to be asked is
//! answered as the document says, and nothing that is asked makes the server fail.

use std::process::Command;

use crate::support::{Lab, project};
use crate::web::Web;

/// What would reach out of this machine, end the daemon, or end the token that the program asks with; and what takes archives,
/// which the program cannot write.
const NOT_ASKED: &str = r"^/v1/(shutdown|logout|login.*|reload|engines/.*/(install|verify)|tools|plugins|plugins/.*/(reload|login)|replays|sessions/import)$|/(files|tape)$|^/v1/plugins/\{name\}$";

#[test]
fn nothing_that_the_document_allows_makes_the_server_fail() {
    let program = project("target/test-servers/python/bin/st");
    assert!(program.exists(), "{} is not here: run `cargo xtask test e2e`, which installs it", program.display());
    let lab = Lab::new();
    let web = Web::start(&lab);
    let (address, token) = (format!("http://{}/openapi.json", web.address), format!("Authorization: Bearer {}", web.owner));
    let mut command = Command::new(program);
    command.env_clear().env("HOME", lab.path("")).env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(lab.path("")).args([
        "run",
        &address,
        "--header",
        &token,
        "--checks",
        "not_a_server_error,status_code_conformance",
        "--phases",
        "examples,coverage",
        "--max-examples",
        "1",
        "--seed",
        "7",
        "--generation-database",
        "none",
        "--request-timeout",
        "300",
        "--workers",
        "2",
        "--suppress-health-check",
        "all",
        "--exclude-path-regex",
        NOT_ASKED,
    ]);
    // It bounds its own time: how long it takes in all depends on the machine.
    let output = command.output().expect("run the program");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("Test cases") && said.contains("Coverage"), "it asked: {said} {}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("ST101") && !said.contains("FAILURES"), "{said}");
    // The daemon is as it was.
    lab.run(&["status"]).succeeds();
}
