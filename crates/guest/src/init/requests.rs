//! What the host asks for, one function each.

use std::time::Instant;

use wire::{Attach, Exec, Frame, FromGuest, Started, ToGuest, Trouble};

use super::host::Host;
use super::serve::{COMMANDS_MAX, Init, KILL_ROUNDS, Stage};
use super::transfers::trouble;
use crate::channel::ChannelEnd;
use crate::command::Command;

impl Init {
    /// Does what a frame asks.
    pub(super) fn request(&mut self, frame: &Frame, now: Instant) -> Result<(), ChannelEnd> {
        let stream = frame.stream;
        match ToGuest::read(frame)? {
            ToGuest::Exec(exec) => self.start(stream, &exec),
            ToGuest::Stdin(bytes) => {
                if let Some(command) = self.commands.get_mut(&stream) {
                    command.stdin(&bytes)?;
                }
            }
            ToGuest::StdinEnd => {
                if let Some(command) = self.commands.get_mut(&stream) {
                    command.stdin_end();
                }
            }
            ToGuest::Resize(size) => {
                if let Some(command) = self.commands.get(&stream) {
                    command.resize(size);
                }
            }
            ToGuest::Signal(number) => {
                if let Some(Err(errno)) = self.commands.get(&stream).map(|c| c.signal(number)) {
                    let message = format!("send signal {number} to a command");
                    self.say(&FromGuest::Trouble(Trouble { errno: errno.raw_os_error(), message }), stream, 0);
                }
            }
            ToGuest::Ack => self.spool.ack(stream, frame.number),
            ToGuest::Attach(attach) => self.attach(stream, attach),
            ToGuest::Put(put) => {
                let result = self.transfers.put(stream, &put.path);
                self.say_trouble(stream, result);
            }
            ToGuest::Get(get) => {
                let result = self.transfers.get(stream, &get.path);
                self.say_trouble(stream, result);
            }
            ToGuest::Data(bytes) => {
                let result = self.transfers.data(stream, &bytes);
                self.say_trouble(stream, result);
            }
            ToGuest::End => match self.transfers.end(stream) {
                Ok(Some(skipped)) => self.say(&FromGuest::End, stream, skipped),
                Ok(None) => {}
                Err(trouble) => self.say(&FromGuest::Trouble(trouble), stream, 0),
            },
            ToGuest::Ping => self.say(&FromGuest::Pong, stream, frame.number),
            ToGuest::KillAll => self.stage = Stage::Killing { rounds: KILL_ROUNDS, next: now },
            ToGuest::Shutdown => self.stage = Stage::Over(0),
            // It comes once, before this loop.
            ToGuest::Launch(_) => return Err(wire::FrameError::UnknownKind(frame.kind).into()),
        }
        Ok(())
    }

    /// Starts a command; what fails is said on its stream.
    pub(super) fn start(&mut self, stream: u32, exec: &Exec) {
        match self.try_start(stream, exec) {
            Ok(started) => self.say(&FromGuest::Started(started), stream, 0),
            Err(trouble) => self.say(&FromGuest::Trouble(trouble), stream, 0),
        }
    }

    fn try_start(&mut self, stream: u32, exec: &Exec) -> Result<Started, Trouble> {
        if self.spool.lanes() >= COMMANDS_MAX {
            let message = format!("start more than {COMMANDS_MAX} commands at once");
            return Err(Trouble { errno: 0, message });
        }
        let passed = self.passed(exec.stdio);
        if !self.spool.open(stream, exec.lease) {
            return Err(Trouble { errno: 0, message: "start a command on a stream that is in use".to_owned() });
        }
        let started = Command::start(stream, exec, passed, &self.setup.command_cgroups, &self.poll);
        let command = started.map_err(|error| {
            self.spool.drop_lane(stream);
            trouble(error.errno(), &error)
        })?;
        let started = Started { pid: command.pid.as_raw_nonzero().get(), lease: exec.lease };
        self.commands.insert(stream, command);
        Ok(started)
    }

    fn attach(&mut self, stream: u32, attach: Attach) {
        match self.spool.attach(stream, attach.lease, attach.after) {
            Ok(()) => {
                if let Some(taken) = self.commands.get(&stream).and_then(Command::taken) {
                    self.say(&FromGuest::StdinTaken(taken), stream, 0);
                }
            }
            Err(error) => self.say(&FromGuest::Trouble(trouble(0, &error)), stream, 0),
        }
    }

    fn say_trouble(&mut self, stream: u32, result: Result<(), Trouble>) {
        if let Err(trouble) = result {
            self.say(&FromGuest::Trouble(trouble), stream, 0);
        }
    }

    fn say(&mut self, message: &FromGuest, stream: u32, number: u64) {
        if let Host::Here(channel) = &mut self.host {
            channel.push(message, stream, number);
        }
    }
}
