//! What a program inside prints, acting on the terminal that shows it: a terminal that answers types, and one that is told keeps.

use std::process::Stdio;

use crate::support::{Caller, each_caller, ended};

/// Each attack by its name, as a format of `printf`, and what of it must not come out.
const ATTACKS: &[(&str, &str, &[u8])] = &[
    ("write-clipboard", "\\033]52;c;ZXZpbA==\\007", b"\x1b]52"),
    ("read-clipboard", "\\033]52;c;?\\033\\\\", b"\x1b]52"),
    ("title", "\\033]0;sudo\\007", b"\x1b]0"),
    ("title-report", "\\033[21t", b"\x1b[21t"),
    ("request-status-string", "\\033P$qm\\033\\\\", b"\x1bP"),
    ("request-terminfo", "\\033P+q544e\\033\\\\", b"\x1bP"),
    ("colour-report", "\\033]11;?\\007", b"\x1b]11"),
    ("position-report", "\\033[6n", b"\x1b[6n"),
    ("device-attributes", "\\033[c", b"\x1b[c"),
    ("answerback", "\\005", b"\x05"),
    ("print", "\\033[5i", b"\x1b[5i"),
    ("clear-scrollback", "\\033[3J", b"\x1b[3J"),
    ("hyperlink", "\\033]8;;http://evil.example\\007x", b"\x1b]8"),
    ("notification", "\\033]777;notify;a;b\\007", b"\x1b]777"),
    ("through-tmux", "\\033Ptmux;\\033\\033]52;c;eA==\\007\\033\\\\", b"\x1b]52"),
    ("eight-bit", "\\302\\23552;c;eA==\\302\\234", b"\xc2\x9d"),
    ("turn-text", "\\342\\200\\256", b"\xe2\x80\xae"),
];

/// What a terminal was sent by a command of the shipped binary.
fn sent(caller: &Caller, words: &str) -> Vec<u8> {
    let lazaret = caller.lazaret();
    let mut command = std::process::Command::new("script");
    caller.dress(&mut command);
    command.args(["-qefc", &format!("exec {} {words}", lazaret.get_program().to_string_lossy()), "/dev/null"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script is part of util-linux");
    let keys = child.stdin.take();
    let all = ended(child, words).stdout;
    // Nobody hangs up before.
    drop(keys);
    all
}

fn all_attacks() -> String {
    let bytes: String = ATTACKS.iter().map(|(_, text, _)| *text).collect();
    format!("/usr/bin/printf '{bytes}end-of-it'")
}

#[test]
fn what_a_program_prints_does_nothing_to_the_terminal() {
    each_caller(|caller: &Caller| {
        let all = sent(caller, &format!("shell -- {}", all_attacks()));
        let text = String::from_utf8_lossy(&all).into_owned();
        assert!(text.contains("end-of-it"), "{text}");
        for (name, _, bytes) in ATTACKS {
            assert!(!all.windows(bytes.len()).any(|w| w == *bytes), "{name} came out: {text:?}");
        }
    });
}

#[test]
fn without_the_screen_between_all_of_it_comes_out() {
    // A command that has the terminal itself writes to it what it likes.
    let caller = Caller::root();
    let all = sent(&caller, &format!("sandbox run -- {}", all_attacks()));
    for (name, _, bytes) in ATTACKS {
        assert!(all.windows(bytes.len()).any(|w| w == *bytes), "{name} is no attack: {:?}", String::from_utf8_lossy(&all));
    }
}
