//! Typing into the terminal that the sandbox was started from, which would run on the host what the sandbox wrote.

use std::fs::File;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{Caller, each_caller};

/// A terminal; the other end must stay open.
fn terminal() -> (rustix::fd::OwnedFd, File) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("open a terminal");
    grantpt(&controller).expect("grant it");
    unlockpt(&controller).expect("unlock it");
    let name = ptsname(&controller, Vec::new()).expect("name it");
    let user = File::options().read(true).write(true).open(name.to_str().expect("a plain name")).expect("open the user's side");
    (controller, user)
}

#[test]
fn input_cannot_be_typed_ahead() {
    each_caller(|caller: &Caller| {
        let (_controller, input) = terminal();
        // The second one sets bits above those that the kernel looks at.
        let attacks = ["type-ahead", "type-ahead=high", "line-discipline"];
        caller.sandbox().input(input).attack(&attacks).all_denied(&attacks, "EPERM");
    });
}

#[test]
fn without_the_filter_the_kernel_decides() {
    each_caller(|caller: &Caller| {
        let (_controller, input) = terminal();
        // Recent kernels refuse it by default, and with another error.
        let report = caller.without("seccomp").input(input).attack(&["line-discipline"]);
        report.none_denied(&["line-discipline"], "EPERM");
    });
}
