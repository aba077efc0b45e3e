//! A clock that a test sets while the program under test runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A time of the host that is shifted for the programs that get [`ShiftedClock::env`], and only for them.
#[derive(Debug)]
pub struct ShiftedClock {
    library: PathBuf,
    file: PathBuf,
}

/// What stands between a program and its clock.
const SOURCE: &str = include_str!("shifted.c");

impl ShiftedClock {
    /// Builds it in a directory of the test. Not shifted yet.
    ///
    /// # Panics
    /// There is no C compiler, or it refuses.
    #[must_use]
    pub fn build(dir: &Path) -> Self {
        let (source, library, file) = (dir.join("shifted.c"), dir.join("shifted.so"), dir.join("shift"));
        std::fs::write(&source, SOURCE).expect("write the source");
        let built = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(&source)
            .status();
        assert!(built.expect("a C compiler").success(), "the library cannot be built");
        let clock = Self { library, file };
        clock.shift(0);
        clock
    }

    /// Sets the clock so many seconds ahead, or back, of the host's.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn shift(&self, seconds: i64) {
        let beside = self.file.with_extension("new");
        std::fs::write(&beside, seconds.to_string()).and_then(|()| std::fs::rename(&beside, &self.file)).expect("set the clock");
    }

    /// The variables of a program that has this clock.
    #[must_use]
    pub fn env(&self) -> [(&'static str, OsString); 2] {
        [("LD_PRELOAD", self.library.clone().into()), ("SHIFTED_CLOCK", self.file.clone().into())]
    }
}
