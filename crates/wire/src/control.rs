//! The messages of the control channel, both ways.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Door, Frame, FrameError};

/// The first message on the channel, with the descriptors that `spec` and `boot` refer to by index. `S` is the jail's
/// specification, which this crate does not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch<S> {
    /// How to build the sandbox.
    pub spec: S,
    /// What the guest does once it stands.
    pub boot: Boot,
}

/// What the guest does once its sandbox stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// Loopback ports to relay to doors of the host socket.
    pub relays: Vec<Relay>,
    /// A command to start at once as stream 0; when it ends the guest ends.
    pub exec: Option<Exec>,
    /// How long the guest lives without a host, in milliseconds. 0: it ends as soon as the channel closes.
    pub orphan_ms: u64,
}

/// A loopback port inside, and the door that connections to it are carried to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// The TCP port on 127.0.0.1.
    pub port: u16,
    /// Where connections go.
    pub door: Door,
}

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// Program and arguments; the program is looked up in the PATH of `env`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: String,
    /// Where its standard streams go.
    pub stdio: Stdio,
    /// The turn's lease; frames of this command carry it back in [`Started`].
    pub lease: u64,
}

/// The standard streams of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stdio {
    /// Frames. Without `stdin` the command reads end of file at once.
    Pipes {
        /// Whether the host will send input.
        stdin: bool,
    },
    /// A terminal of this size; its output comes as standard output.
    Pty(Size),
    /// The three descriptors at this index and after it of those that came with [`Launch`].
    Passed {
        /// The index of standard input.
        first: u32,
    },
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub cols: u16,
}

/// Asks for the spooled frames of a command again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// The lease under which the command was started; another is refused.
    pub lease: u64,
    /// The last number that the host has.
    pub after: u64,
}

/// Unpacks a tar stream (`Data` frames, then `End`) inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// The directory to unpack into, absolute; made when missing.
    pub path: String,
}

/// Packs a file or tree as a tar stream, links as links, entries relative to its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Get {
    /// The file or directory, absolute.
    pub path: String,
}

/// The sandbox stands and the guest serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// [`crate::VERSION`] of the guest.
    pub version: u32,
    /// Commands that are running or whose frames are not all acknowledged: stream, lease, last number.
    pub commands: Vec<(u32, u64, u64)>,
}

/// A command was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// Its process identity inside.
    pub pid: i32,
    /// Its lease.
    pub lease: u64,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// The exit status, when it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// A command or transfer could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// The error number of the operating system, 0 when there is none.
    pub errno: i32,
    /// What was tried, for people.
    pub message: String,
}

macro_rules! messages {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $kind:literal $form:ident $(($body:ty))?,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant $(($body))?,)* }

        impl $name {
            /// The frame of this message.
            ///
            /// # Errors
            /// [`FrameError::TooLarge`] when the payload is over the limit.
            pub fn frame(&self, stream: u32, number: u64) -> Result<Frame, FrameError> {
                let (kind, payload) = match self {
                    $(messages!(@pattern $name $variant $form body) => ($kind, messages!(@encode $form body)),)*
                };
                if payload.len() > crate::FRAME_BYTES_MAX {
                    return Err(FrameError::TooLarge(payload.len() as u64));
                }
                Ok(Frame { kind, stream, number, payload })
            }

            /// Reads a frame as one of these messages.
            ///
            /// # Errors
            /// [`FrameError`] when the kind is not one of these or the payload does not have its form.
            pub fn read(frame: &Frame) -> Result<Self, FrameError> {
                match frame.kind {
                    $($kind => messages!(@decode $name $variant $form frame),)*
                    kind => Err(FrameError::UnknownKind(kind)),
                }
            }
        }
    };
    (@pattern $name:ident $variant:ident none $b:ident) => { $name::$variant };
    (@pattern $name:ident $variant:ident $form:ident $b:ident) => { $name::$variant($b) };
    (@encode none $b:ident) => { Vec::new() };
    (@encode raw $b:ident) => { $b.clone() };
    (@encode json $b:ident) => { serde_json::to_vec($b).expect("these types have only text keys") };
    (@decode $name:ident $variant:ident none $f:ident) => {
        if $f.payload.is_empty() { Ok($name::$variant) } else { Err(malformed($f, "it must be empty")) }
    };
    (@decode $name:ident $variant:ident raw $f:ident) => { Ok($name::$variant($f.payload.clone())) };
    (@decode $name:ident $variant:ident json $f:ident) => { json($f).map($name::$variant) };
}

messages! {
    /// What the host says.
    ToGuest {
        /// The first message: a [`Launch`] as JSON, with descriptors.
        Launch = 1 raw(Vec<u8>),
        /// Start a command under this stream.
        Exec = 2 json(Exec),
        /// Input for a command. The host keeps at most [`crate::STDIN_WINDOW_BYTES`] sent and not yet reported by
        /// [`FromGuest::StdinTaken`]; a guest closes a channel that sends more.
        Stdin = 3 raw(Vec<u8>),
        /// No more input for a command.
        StdinEnd = 4 none,
        /// The terminal of a command has a new size.
        Resize = 5 json(Size),
        /// Send this signal to the command's process group.
        Signal = 6 json(i32),
        /// Frames of this stream up to the frame's number are safe and may be forgotten.
        Ack = 7 none,
        /// Send the spooled frames of this stream again.
        Attach = 8 json(Attach),
        /// Unpack what follows.
        Put = 9 json(Put),
        /// A piece of a tar stream.
        Data = 10 raw(Vec<u8>),
        /// The tar stream is complete.
        End = 11 none,
        /// Pack a tree.
        Get = 12 json(Get),
        /// Answer with the same number.
        Ping = 13 none,
        /// Kill every command and all that they started.
        KillAll = 14 none,
        /// Kill everything and end.
        Shutdown = 15 none,
    }
}

messages! {
    /// What the guest says.
    FromGuest {
        /// The sandbox stands. Also the first message after a reconnection.
        Ready = 64 json(Ready),
        /// The command runs. Not spooled.
        Started = 65 json(Started),
        /// Standard output, spooled.
        Stdout = 66 raw(Vec<u8>),
        /// Standard error, spooled.
        Stderr = 67 raw(Vec<u8>),
        /// The command ended and all its output was sent; spooled, the last of its stream.
        Exited = 68 json(Exit),
        /// A piece of a tar stream.
        Data = 69 raw(Vec<u8>),
        /// The tar stream is complete, or the one that was sent has been unpacked. The frame's number is the count of
        /// entries that were left out because they are no file, directory or link.
        End = 70 none,
        /// The request of this stream failed. For a command that never started, the last of its stream.
        Trouble = 71 json(Trouble),
        /// The answer to a ping.
        Pong = 72 none,
        /// From the launcher: the sandbox's first process, with its pidfd; host numbering. What the first process says
        /// itself may come before it.
        Launched = 73 json(i32),
        /// All bytes of input that the command has taken since it started, or that were dropped because it no longer
        /// reads. Also sent after an [`Attach`]; what the guest had and the command had not taken was dropped when the host
        /// went away. Not spooled.
        StdinTaken = 74 json(u64),
    }
}

fn malformed(frame: &Frame, why: &str) -> FrameError {
    FrameError::Malformed { kind: frame.kind, why: why.to_owned() }
}

fn json<T: DeserializeOwned>(frame: &Frame) -> Result<T, FrameError> {
    serde_json::from_slice(&frame.payload).map_err(|error| {
        let why = format!("{:?} at line {} column {}", error.classify(), error.line(), error.column());
        FrameError::Malformed { kind: frame.kind, why }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_back() {
        let exec = Exec {
            argv: vec!["sh".into(), "-c".into(), "true".into()],
            env: vec![("A".into(), "b".into())],
            cwd: "/workspace".into(),
            stdio: Stdio::Pty(Size { rows: 24, cols: 80 }),
            lease: 9,
        };
        for message in [ToGuest::Exec(exec), ToGuest::Stdin(vec![0, 255]), ToGuest::Ack, ToGuest::Signal(15)] {
            let frame = message.frame(3, 4).expect("small");
            assert_eq!(ToGuest::read(&frame), Ok(message));
        }
        let exited = FromGuest::Exited(Exit { code: Some(0), signal: None });
        assert_eq!(FromGuest::read(&exited.frame(1, 2).expect("small")), Ok(exited));
    }

    #[test]
    fn unknown_kinds_fields_and_trailing_bytes_are_refused() {
        let frame = |kind, payload: &[u8]| Frame { kind, stream: 0, number: 0, payload: payload.to_vec() };
        assert_eq!(FromGuest::read(&frame(2, b"")), Err(FrameError::UnknownKind(2)));
        assert!(FromGuest::read(&frame(65, br#"{"pid":1,"lease":2,"root":true}"#)).is_err());
        assert!(FromGuest::read(&frame(72, b"x")).is_err());
        assert!(FromGuest::read(&frame(68, b"\xff")).is_err());
    }
}
