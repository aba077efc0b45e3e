//! The loop: what is ready is served, in bounded portions, until there is reason to end.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use wire::{Boot, FromGuest, Ready, Stdio};

use super::host::{Host, Search};
use super::transfers::Transfers;
use crate::channel::{Channel, ChannelEnd};
use crate::command::Command;
use crate::poll::{Event, Poll, Token};
use crate::relay::{ListenError, Relays};
use crate::spool::Spool;

/// Commands that run at once.
pub(super) const COMMANDS_MAX: usize = 128;

/// The buffer that all reads share.
const SCRATCH_BYTES: usize = 128 << 10;

/// How often processes that must die are told so again, and how many times.
const KILL_EVERY: Duration = Duration::from_millis(5);
pub(super) const KILL_ROUNDS: u32 = 400;

/// How long after a host closed the door again it is tried anew.
const RETRY_REFUSED: Duration = Duration::from_millis(500);

/// How long a command that ended with the sandbox may take to have its last frames sent.
const FAREWELL: Duration = Duration::from_secs(10);

/// What the first process is given.
#[derive(Debug)]
pub struct Setup {
    /// The channel to the host: a connected stream socket.
    pub channel: OwnedFd,
    /// What to do.
    pub boot: Boot,
    /// The descriptors that came with the launch, by index.
    pub fds: Vec<Option<OwnedFd>>,
    /// Open `cgroup.procs` files of the commands' groups.
    pub command_cgroups: Vec<OwnedFd>,
    /// The host's socket.
    pub socket: PathBuf,
}

/// Why the first process cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The kernel refuses what the loop needs.
    #[error("set up the loop")]
    Loop(#[source] Errno),
    /// A port cannot be relayed.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// The first process of a sandbox.
#[derive(Debug)]
pub struct Init {
    pub(super) poll: Poll,
    pub(super) host: Host,
    pub(super) commands: BTreeMap<u32, Command>,
    pub(super) spool: Spool,
    pub(super) transfers: Transfers,
    pub(super) stage: Stage,
    relays: Relays,
    children: OwnedFd,
    pub(super) setup: Kept,
    scratch: Vec<u8>,
}

/// What stays of the setup.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) command_cgroups: Vec<OwnedFd>,
    pub(super) fds: Vec<Option<OwnedFd>>,
    socket: PathBuf,
    orphan: Duration,
    has_boot_command: bool,
}

/// What the loop is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// To serve.
    Serving,
    /// To see every other process dead; no request is read meanwhile. Rounds that are left.
    Killing { rounds: u32, next: Instant },
    /// To say the last words.
    Leaving { until: Instant },
    /// To end with this status.
    Over(i32),
}

/// Since when there is no host. It ends with the first frame of a new one, not with its connection.
#[derive(Debug, Clone, Copy, Default)]
struct Orphaned(Option<Instant>);

impl Init {
    /// Prepares everything: the relayed ports listen when this returns.
    ///
    /// # Errors
    /// [`InitError`].
    pub fn new(setup: Setup) -> Result<Self, InitError> {
        let Setup { channel, boot, fds, command_cgroups, socket } = setup;
        let poll = Poll::new().map_err(InitError::Loop)?;
        let children = jail::spawn::child_signals().map_err(InitError::Loop)?;
        poll.add(&children, Token::Children).map_err(InitError::Loop)?;
        rustix::io::ioctl_fionbio(&channel, true).map_err(InitError::Loop)?;
        poll.add(&channel, Token::Channel).map_err(InitError::Loop)?;
        let relays = Relays::listen(&boot.relays, socket.clone(), &poll)?;
        let has_boot_command = boot.exec.is_some();
        let orphan = Duration::from_millis(boot.orphan_ms);
        let mut init = Self {
            poll,
            host: Host::Here(Channel::new(channel)),
            commands: BTreeMap::new(),
            spool: Spool::default(),
            transfers: Transfers::default(),
            stage: Stage::Serving,
            relays,
            children,
            setup: Kept { command_cgroups, fds, socket, orphan, has_boot_command },
            scratch: vec![0; SCRATCH_BYTES],
        };
        init.greet();
        if let Some(exec) = boot.exec {
            init.start(0, &exec);
            if init.commands.is_empty() {
                // It could not be started: saying so is all there is to do.
                init.stage = Stage::Leaving { until: Instant::now() + FAREWELL };
            }
        }
        // Nobody else gets them.
        init.setup.fds = Vec::new();
        Ok(init)
    }

    /// Serves until there is a reason to end, and returns the exit status: 0, or 1 when the host broke the protocol.
    #[must_use]
    pub fn run(mut self) -> i32 {
        let mut events = Vec::new();
        let mut orphaned = Orphaned::default();
        loop {
            let now = Instant::now();
            let more = self.turn(now, &mut orphaned);
            if let Stage::Over(status) = self.stage {
                return status;
            }
            let timeout = if more { Some(Duration::ZERO) } else { self.timeout(now, orphaned) };
            if self.poll.wait(timeout, &mut events).is_err() {
                return 1;
            }
            for event in events.drain(..) {
                self.on(event);
            }
        }
    }

    fn on(&mut self, event: Event) {
        match event.token {
            Token::Channel => {
                if let Host::Here(channel) = &mut self.host {
                    channel.ready.on(event);
                }
            }
            Token::Children => self.reap(),
            Token::Doorway => {
                if let Host::Away(search) = &mut self.host {
                    search.on_change(Instant::now());
                }
            }
            Token::Listener(_) | Token::Client(_) | Token::Host(_) => self.relays.on(event),
            Token::Stdin(stream) | Token::Stdout(stream) | Token::Stderr(stream) => {
                if let Some(command) = self.commands.get_mut(&stream) {
                    command.on(event);
                }
            }
        }
    }

    /// One portion of everything. Returns whether there is more to do at once.
    fn turn(&mut self, now: Instant, orphaned: &mut Orphaned) -> bool {
        self.kill(now);
        let mut more = self.listen_to_host(now, orphaned);
        more |= self.serve_commands(now);
        more |= self.relays.pump(&self.poll, &mut self.scratch, now);
        if let Host::Here(channel) = &mut self.host {
            self.transfers.pump(channel);
            more |= self.transfers.has_output() && channel.has_room();
        }
        more |= self.tell_host(now);
        self.leave(now, *orphaned);
        more
    }

    /// Reads and does what the host asks.
    fn listen_to_host(&mut self, now: Instant, orphaned: &mut Orphaned) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut end = None;
        let mut more = false;
        while self.stage == Stage::Serving {
            let Host::Here(channel) = &mut self.host else { break };
            if !channel.has_room() {
                break;
            }
            match channel.next_frame(&mut scratch) {
                Ok(Some(frame)) => {
                    orphaned.0 = None;
                    if let Err(error) = self.request(&frame, now) {
                        end = Some(error);
                        break;
                    }
                    // Others get their turn between large pieces.
                    if frame.payload.len() >= SCRATCH_BYTES / 2 {
                        more = true;
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    end = Some(error);
                    break;
                }
            }
        }
        self.scratch = scratch;
        if let Some(end) = end {
            self.host_lost(&end, now, orphaned);
        }
        more
    }

    fn serve_commands(&mut self, now: Instant) -> bool {
        let mut more = false;
        let mut over = Vec::new();
        for (stream, command) in &mut self.commands {
            if let (Some(taken), Host::Here(channel)) = (command.pump_input(), &mut self.host) {
                channel.push(&FromGuest::StdinTaken(taken), *stream, 0);
            }
            more |= command.pump_output(&mut self.spool, &mut self.scratch, now);
            if command.finish(&mut self.spool) {
                over.push(*stream);
            }
        }
        for stream in over {
            self.commands.remove(&stream);
            if stream == 0 && self.setup.has_boot_command && self.stage == Stage::Serving {
                self.stage = Stage::Leaving { until: now + FAREWELL };
            }
        }
        more && !self.spool.is_full()
    }

    /// Sends what waits.
    fn tell_host(&mut self, now: Instant) -> bool {
        let Host::Here(channel) = &mut self.host else { return self.search(now) };
        loop {
            while channel.has_room() {
                let Some(frame) = self.spool.next_frame() else { break };
                channel.push_raw(frame);
            }
            if channel.flush().is_err() {
                // The reading side sees the end after what the host said before it.
                channel.ready.readable = true;
                channel.ready.writable = false;
                if matches!(self.stage, Stage::Leaving { .. }) {
                    // Nobody hears the last words.
                    self.stage = Stage::Over(0);
                }
                return true;
            }
            if channel.waiting() > 0 || !self.spool.has_next() {
                break;
            }
        }
        // Requests that were left because there was no room.
        self.stage == Stage::Serving && channel.has_room() && channel.may_have_more() && channel.ready.readable
    }

    /// Looks for a host that came back.
    fn search(&mut self, now: Instant) -> bool {
        let Host::Away(search) = &mut self.host else { return false };
        let Some(channel) = search.attempt(&self.poll, now) else { return false };
        self.host = Host::Here(channel);
        self.greet();
        true
    }

    fn greet(&mut self) {
        let ready = FromGuest::Ready(Ready { version: wire::VERSION, commands: self.spool.commands() });
        if let Host::Here(channel) = &mut self.host {
            channel.push(&ready, 0, 0);
        }
    }

    fn host_lost(&mut self, end: &ChannelEnd, now: Instant, orphaned: &mut Orphaned) {
        if *end != ChannelEnd::Closed {
            self.stage = Stage::Over(1);
        } else if self.setup.orphan.is_zero() {
            self.stage = Stage::Over(0);
        } else {
            // A host that took the connection and said nothing is not asked again at once.
            let first_try = orphaned.0.map_or(now, |_| now + RETRY_REFUSED);
            orphaned.0.get_or_insert(now);
            self.spool.detach_all();
            self.commands.values_mut().for_each(Command::forget_input);
            self.transfers.clear();
            self.host = Host::Away(Search::new(&self.setup.socket, &self.poll, first_try));
        }
    }

    /// Ends when it is time to.
    fn leave(&mut self, now: Instant, orphaned: Orphaned) {
        if orphaned.0.is_some_and(|since| now >= since + self.setup.orphan) {
            self.stage = Stage::Over(0);
        }
        if let Stage::Leaving { until } = self.stage {
            let said = match &self.host {
                Host::Here(channel) => channel.waiting() == 0 && !self.spool.has_next(),
                Host::Away(_) => false,
            };
            if said || now >= until {
                self.stage = Stage::Over(0);
            }
        }
        if let Stage::Over(_) = self.stage {
            self.kill_round();
        }
    }

    fn kill(&mut self, now: Instant) {
        let Stage::Killing { rounds, next } = self.stage else { return };
        if now < next {
            return;
        }
        self.reap();
        let alone = self.kill_round();
        self.stage = if alone || rounds == 0 { Stage::Serving } else { Stage::Killing { rounds: rounds - 1, next: now + KILL_EVERY } };
    }

    /// Kills all others; true when there are none. Outside a process namespace of its own (which only a deliberately
    /// weakened sandbox is), the process groups of the commands.
    fn kill_round(&mut self) -> bool {
        match jail::spawn::kill_all_others() {
            Ok(()) => false,
            Err(Errno::PERM) => {
                for command in self.commands.values() {
                    // One that is gone already is what is wanted.
                    let _ = command.signal(Signal::KILL.as_raw());
                }
                true
            }
            Err(_) => true,
        }
    }

    /// Collects every child that ended, also those that others left behind.
    fn reap(&mut self) {
        let mut space = [0u8; 1024];
        while rustix::io::read(&self.children, &mut space).is_ok_and(|n| n == space.len()) {}
        let now = Instant::now();
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if let Some(command) = self.command_of(pid) {
                        command.ended(status, now);
                    }
                }
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn command_of(&mut self, pid: Pid) -> Option<&mut Command> {
        self.commands.values_mut().find(|c| c.pid == pid && !c.has_ended())
    }

    fn timeout(&self, now: Instant, orphaned: Orphaned) -> Option<Duration> {
        let spool_full = self.spool.is_full();
        let commands = self.commands.values().filter_map(|c| c.deadline()).filter(|_| !spool_full);
        let stage = match self.stage {
            Stage::Killing { next, .. } => Some(next),
            Stage::Leaving { until } => Some(until),
            Stage::Serving | Stage::Over(_) => None,
        };
        let search = match &self.host {
            Host::Away(search) => Some(search.deadline()),
            Host::Here(_) => None,
        };
        let orphan = orphaned.0.map(|since| since + self.setup.orphan);
        let all = commands.chain(stage).chain(search).chain(orphan).chain(self.relays.deadline(now));
        all.min().map(|at| at.saturating_duration_since(now))
    }

    /// Descriptors for a command that gets three of those that came with the launch.
    pub(super) fn passed(&mut self, stdio: Stdio) -> Option<[OwnedFd; 3]> {
        let Stdio::Passed { first } = stdio else { return None };
        let first = usize::try_from(first).ok()?;
        let fds = self.setup.fds.get_mut(first..first.checked_add(3)?)?;
        let mut take = fds.iter_mut().map(Option::take);
        Some([take.next()??, take.next()??, take.next()??])
    }
}
