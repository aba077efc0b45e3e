//! Descriptors of the host that reach the inside: of a directory they are a way past the mount tree.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{PROBE, Report, each_caller, finish};

/// The probe's own pipe apart, only the three standard streams.
fn foreign(open: &Value) -> Vec<String> {
    let open = open.as_object().expect("descriptors");
    open.iter()
        .filter(|(fd, target)| !["0", "1", "2"].contains(&fd.as_str()) && !target.as_str().is_some_and(|t| t.starts_with("pipe:")))
        .map(|(fd, t)| format!("{fd} {t}"))
        .collect()
}

/// The caller's shell has left descriptors open; one is a directory of the host.
#[test]
fn descriptors_of_the_caller_stay_outside() {
    each_caller(|caller| {
        let inner = caller.sandbox().command();
        let words: Vec<String> =
            std::iter::once(inner.get_program()).chain(inner.get_args()).map(|w| format!("'{}'", w.to_string_lossy())).collect();
        let mut shell = Command::new("/bin/bash");
        caller.dress(&mut shell);
        shell.arg("-c").arg(format!("exec 7</ 8</etc/passwd 9>>\"$HOME/log\" 99</; exec {} {PROBE} descriptors", words.join(" ")));
        let report = Report::read(&finish(shell, Stdio::null()), 1);
        assert_eq!(foreign(report.worked("descriptors")), Vec::<String>::new());
    });
}

/// The working directory, which is one more descriptor, is inside.
#[test]
fn the_working_directory_is_inside() {
    each_caller(|caller| {
        let attacks = ["link-of=/proc/self/cwd", "link-of=/proc/self/root", "list=/proc/self/cwd/../../../../../..", "list=/"];
        let report = caller.sandbox().attack(&attacks);
        assert_eq!(report.worked(attacks[0]), "/workspace");
        assert_eq!(report.worked(attacks[1]), "/");
        assert_eq!(report.worked(attacks[2]), report.worked("list=/"));
    });
}

/// What the caller hands over on purpose does arrive: the check can see descriptors.
#[test]
fn standard_input_arrives() {
    each_caller(|caller| {
        let path = caller.file("input", "given");
        let input = std::fs::File::open(path).expect("open the input");
        let output = caller.sandbox().input(input).run(&["/bin/cat"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "given", "{output:?}");
    });
}
