//! Writes the reference page of the system-call filter to standard output.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(lazaret_jail::seccomp::reference().as_bytes())
}
