//! The examples of the guide to the API do what it says.

use std::process::Command;

use crate::support::{Lab, Ran, project};
use crate::web::Web;

/// The shell's blocks of a page, one after the other in one shell: later ones use what earlier ones set.
fn script(page: &str) -> String {
    let text = std::fs::read_to_string(project(page)).expect("the page");
    let blocks: Vec<&str> = text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n")).collect();
    assert!(blocks.len() > 5, "{page} has its examples");
    format!("set -euxo pipefail\n{}", blocks.join("\n"))
}

#[test]
fn the_examples_of_the_api_work() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let dir = lab.path("examples");
    std::fs::create_dir(&dir).expect("make");
    let mut command = Command::new("/bin/bash");
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("URL", format!("http://{}", web.address)).env("TOKEN", &web.owner);
    command.args(["-c", &script("docs/guide/api.md")]).current_dir(&dir);
    Ran::of(command, None).succeeds();
}
