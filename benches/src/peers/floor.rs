//! The floor: our own layers with nothing around them, in C. See benches/floor/floor.c.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{Skeleton, quiet};
use crate::sample::Contender;

/// A host user that nothing else uses.
const HOST_UID: &str = "1499999999";

pub(crate) struct Floor {
    program: PathBuf,
    state: PathBuf,
    filter: PathBuf,
}

impl Floor {
    /// Compiles the program and prepares its directory in `dir`.
    pub(crate) fn prepare(dir: &Path) -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("floor/floor.c");
        let state = dir.join("floor");
        let program = dir.join("floor-program");
        quiet(Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(source))
            .context("failed to compile the floor program")?;
        Skeleton::make(&state.join("lower"))?;
        let filter = dir.join("floor-filter");
        std::fs::write(&filter, filter_bytes()).context("failed to write the system-call filter")?;
        Ok(Self { program, state, filter })
    }
}

/// Our own filter as the kernel takes it.
fn filter_bytes() -> Vec<u8> {
    let program = jail::seccomp::program(jail::seccomp::Profile::Enforce);
    let mut bytes = Vec::new();
    for i in program.instructions() {
        bytes.extend_from_slice(&i.code.to_ne_bytes());
        bytes.extend_from_slice(&[i.jt, i.jf]);
        bytes.extend_from_slice(&i.k.to_ne_bytes());
    }
    bytes
}

impl Contender for Floor {
    fn name(&self) -> String {
        "floor program".to_owned()
    }

    fn lacks(&self) -> String {
        "no disk limit; no protocol, supervision or clean-up after a failure".to_owned()
    }

    fn once(&mut self) -> Result<()> {
        let Self { program, state, filter } = self;
        quiet(Command::new(program).arg(state).arg(HOST_UID).arg(filter).args(["/usr/bin/true", "true"]))
    }
}
