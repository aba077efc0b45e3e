//! A disk that fails on command: a directory mounted through the kernel's FUSE, whose requests meet the [`Fault`]s that a
//! test has set. It needs root.
//!
//! A process of its own serves it, so that neither a kill of the test nor a fork in it leaves the mount behind or stuck:
//! the process is told what to do by lines on its standard input, and unmounts when that ends. Which program becomes that
//! process is the test's choice, usually its own binary once more; it calls [`serve`].

mod faults;
mod fs;

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub use faults::Fault;
use faults::Faults;
use fuser::{BackgroundSession, Config, INodeNo, MountOption, SessionACL};

/// What stands before every line that an answer is, as a test harness prints lines of its own.
const ANSWER: &str = "disk: ";

/// The mounted disk, in the process that serves it.
struct Mounted {
    session: Option<BackgroundSession>,
    at: PathBuf,
    faults: Faults,
    known: fs::Known,
}

impl Mounted {
    fn mount(backing: &Path, at: &Path) -> io::Result<Self> {
        let (faults, known) = (Faults::default(), fs::Known::default());
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("faulty".to_owned()), MountOption::DefaultPermissions, MountOption::NoDev, MountOption::NoSuid];
        config.acl = SessionACL::All;
        let through = fs::Through::new(backing.to_owned(), faults.clone(), known.clone());
        let session = Some(fuser::spawn_mount(through, at, &config)?);
        Ok(Self { session, at: at.to_owned(), faults, known })
    }

    /// Lets the kernel forget what it has read, so that the next read meets what is set now.
    fn forget(&self) {
        let Some(session) = &self.session else { return };
        let notifier = session.notifier();
        for number in self.known.numbers() {
            // One that the kernel does not know has nothing to forget.
            let _ = notifier.inval_inode(INodeNo(number), 0, 0);
        }
    }

    fn obey(&self, line: &str) -> Result<String, String> {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("set"), Some(fault), prefix) => {
                self.faults.set(fault.parse()?, prefix.unwrap_or_default());
                self.forget();
                Ok("set".to_owned())
            }
            (Some("clear"), None, None) => {
                let struck = self.faults.clear();
                self.forget();
                Ok(struck.to_string())
            }
            (Some("struck"), None, None) => Ok(self.faults.struck().to_string()),
            _ => Err(format!("{line} is no command")),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Whoever has a file of it open keeps it, but nobody finds it any more. A failure leaves it to the session's own end.
        let _ = rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::DETACH);
        drop(self.session.take());
    }
}

/// Serves `backing` at `at` until `commands` end, and answers each on `answers`.
///
/// # Errors
/// It cannot be mounted, or a pipe breaks.
pub fn serve(backing: &Path, at: &Path, commands: impl io::Read, mut answers: impl Write) -> io::Result<()> {
    let mounted = Mounted::mount(backing, at)?;
    writeln!(answers, "\n{ANSWER}mounted")?;
    for line in BufReader::new(commands).lines() {
        let answer = mounted.obey(&line?).unwrap_or_else(|why| format!("error: {why}"));
        writeln!(answers, "{ANSWER}{answer}")?;
        answers.flush()?;
    }
    Ok(())
}

/// A disk that fails on command, as a test holds it. It is unmounted when it is dropped.
pub struct FaultyDisk {
    server: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    dir: tempfile::TempDir,
}

impl FaultyDisk {
    /// Mounts an empty one. `server` makes a command that calls [`serve`] with the two directories and its own standard
    /// streams.
    ///
    /// # Panics
    /// When it cannot be mounted: a test that needs it must not pass without.
    pub fn mount(server: impl FnOnce(&Path, &Path) -> Command) -> Self {
        let dir = tempfile::Builder::new().prefix("lazaret-disk-").tempdir().expect("make a directory");
        let (backing, at) = (dir.path().join("below"), dir.path().join("disk"));
        for path in [&backing, &at] {
            std::fs::create_dir(path).expect("make a directory");
        }
        let mut command = server(&backing, &at);
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start the server of a disk");
        let commands = server.stdin.take();
        let answers = BufReader::new(server.stdout.take().expect("a pipe"));
        let mut disk = Self { server, commands, answers, dir };
        assert_eq!(disk.answer(), "mounted");
        disk
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// The directory below it, where nothing fails.
    #[must_use]
    pub fn below(&self) -> PathBuf {
        self.dir.path().join("below")
    }

    /// Sets a fault for the files whose path from the root of the disk begins with `prefix`.
    ///
    /// # Panics
    /// When the server is gone.
    pub fn set(&mut self, fault: Fault, prefix: &str) {
        assert_eq!(self.ask(&format!("set {fault} {prefix}")), "set");
    }

    /// Ends all faults, and says how often they struck.
    ///
    /// # Panics
    /// When the server is gone.
    pub fn clear(&mut self) -> u64 {
        self.ask("clear").parse().expect("a number")
    }

    /// How often the faults that hold now have struck.
    ///
    /// # Panics
    /// When the server is gone.
    pub fn struck(&mut self) -> u64 {
        self.ask("struck").parse().expect("a number")
    }

    fn ask(&mut self, line: &str) -> String {
        let pipe = self.commands.as_mut().expect("the disk is mounted");
        writeln!(pipe, "{line}").expect("the server lives");
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.answers.read_line(&mut line).expect("the server lives");
            assert!(read > 0, "the server of the disk ended");
            if let Some(answer) = line.trim_end().strip_prefix(ANSWER) {
                return answer.to_owned();
            }
        }
    }
}

impl Drop for FaultyDisk {
    fn drop(&mut self) {
        drop(self.commands.take());
        // It unmounts at the end of its input; nothing is left to do when it is gone already.
        let _ = self.server.wait();
        if !std::thread::panicking() {
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            assert!(!mounts.contains(&*self.path().to_string_lossy()), "the disk is still mounted");
        }
    }
}
