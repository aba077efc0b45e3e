//! `mini`: a small agent, built in, so that a machine with nothing installed has one.
//!
//! It sends the conversation to a model (Anthropic Messages or OpenAI Chat Completions, always as a stream) at a plain
//! HTTP address of this sandbox, runs the tools that the model asks for, in order (its own, and with `--tools` those that the owner allows), and goes on until the model asks for
//! none. The prompt comes on standard input or from a file; what happens goes to standard output, one JSON object in a
//! line (see [`events`]); the conversation is kept in the home and can be resumed. SIGTERM ends it where it stands:
//! what was said so far is on disk, and a tool that ran is answered for at the next turn. With `--stream` one process
//! takes turn after turn (see [`input`]), and the model may ask the person at the other end.
//!
//! It holds no key: the header carries a placeholder, and the gateway outside puts the real one in.
//!
//! `mini [--wire anthropic|openai] [--base-url URL] [--model NAME] [--state DIR] [--resume ID] [--prompt-file FILE]
//! [--instructions FILE] [--max-turns N] [--max-tokens N] [--cwd DIR] [--tools SOCKET] [--allow NAME,NAME]
//! [--system FILE] [--stream | --terminal] [--name ID]`. With `--terminal` a person types and reads. Exit status: 0 the model came to its
//! end, or with `--stream` the input did, 1 it did not (an `error` line says why), 2 wrong arguments.

mod anthropic;
mod chat;
mod events;
mod granted;
mod http;
mod input;
mod openai;
mod options;
mod shell;
mod tools;
mod transcript;
mod turn;

use events::Events;
use input::Input;
use options::Options;

/// Runs one turn. What comes before the first argument with a hyphen (program or verb) is passed over.
pub(crate) fn main(args: Vec<String>) -> i32 {
    let mut events = Events::to_stdout();
    let options = match Options::parse(args.into_iter().skip_while(|arg| !arg.starts_with('-'))) {
        Ok(options) => options,
        Err(message) => {
            events.error(None, &message);
            return 2;
        }
    };
    let done = if options.terminal {
        events = Events::to_terminal();
        turn::serve(&options, &mut events, Input::typed(std::io::stdin().lock()))
    } else if options.stream {
        turn::serve(&options, &mut events, Input::of(std::io::stdin().lock()))
    } else {
        turn::run(&options, &mut events)
    };
    match done {
        Ok(()) => 0,
        Err(trouble) => {
            events.error(trouble.status, &trouble.message);
            1
        }
    }
}

/// Why a turn ended without a result.
#[derive(Debug)]
struct Trouble {
    /// The HTTP status of the model's refusal, where it was one.
    status: Option<u16>,
    /// For a person.
    message: String,
}

impl Trouble {
    fn new(message: impl Into<String>) -> Self {
        Self { status: None, message: message.into() }
    }

    /// A failure of the operating system while doing `what`.
    fn io(what: &str, error: &std::io::Error) -> Self {
        Self::new(format!("failed to {what}: {error}"))
    }
}
