//! The reference page, made from the list.

use std::fmt::Write as _;

use super::bpf::{ARCH, X32_BIT};
use super::{Answer, Argument, GROUPS, Group, NUMBER_MAX, Profile, Test, program};

/// The text of `docs/reference/seccomp.md` for the architecture that this was built for.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    let length = program(Profile::Enforce).instructions().len();
    let _ = write!(
        page,
        "The filter has {length} instructions. It ends a process that calls through an ABI other than `{ARCH:#x}` or with a number from\n`{X32_BIT:#x}` up (32-bit and x32 \
         programs), and answers numbers above {NUMBER_MAX}, which are newer than the list, with `ENOSYS`.\n"
    );
    section(&mut page, "Allowed", |answer| matches!(answer, Answer::Allow));
    section(&mut page, "Allowed with certain arguments", |answer| matches!(answer, Answer::AllowIf(_)));
    section(&mut page, "Refused", |answer| matches!(answer, Answer::Fail(_)));
    page
}

const HEAD: &str = "# System calls in a sandbox

This page is generated from `crates/jail/src/seccomp/groups.rs`; write it again with
`cargo run -p lazaret-jail --example seccomp_reference > docs/reference/seccomp.md`. It shows x86-64.

";

fn section(page: &mut String, title: &str, wanted: impl Fn(&Answer) -> bool) {
    let _ = writeln!(page, "\n## {title}");
    for group in GROUPS.iter().filter(|group| wanted(&group.answer)) {
        let _ = writeln!(page, "\n### {}\n\n{}{}\n\n{}", group.name, group.reason, condition(group), names(group));
    }
}

fn names(group: &Group) -> String {
    group.calls.iter().map(|call| format!("`{}`", call.name())).collect::<Vec<_>>().join(", ")
}

fn condition(group: &Group) -> String {
    match group.answer {
        Answer::Allow => String::new(),
        Answer::Fail(errno) if i32::from(errno) == libc::ENOSYS => " Answer: `ENOSYS`.".to_owned(),
        Answer::Fail(_) => " Answer: `EPERM`.".to_owned(),
        Answer::AllowIf(alternatives) => {
            let any: Vec<String> = alternatives.iter().map(|tests| tests.iter().map(one).collect::<Vec<_>>().join(" and ")).collect();
            format!("\n\nAllowed when {}; else `EPERM`.", any.join("; or when "))
        }
    }
}

fn one(argument: &Argument) -> String {
    let subject = match argument.mask {
        u32::MAX => argument.name.to_owned(),
        mask => format!("{} & {mask:#x}", argument.name),
    };
    let (word, values) = match argument.test {
        Test::OneOf(values) => ("is", values),
        Test::NoneOf(values) => ("is not", values),
    };
    let values: Vec<String> = values.iter().map(|value| if *value < 10 { value.to_string() } else { format!("{value:#x}") }).collect();
    format!("`{subject}` {word} {}", values.join(" or "))
}
