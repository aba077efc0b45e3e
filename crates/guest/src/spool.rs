//! What commands said and the host has not acknowledged yet.
//!
//! Each command has a lane of numbered frames. A frame stays until the host says that it is safe; a host that comes
//! back asks for each lane from where it was. The frames of all lanes together are bounded: at the limit the commands'
//! pipes are not read, so the commands wait.

use std::collections::{BTreeMap, VecDeque};

use wire::{FrameError, FromGuest};

/// At this many bytes kept, over all commands, their output is not read any more. One read and the frames that end
/// commands may go over it.
pub const SPOOL_BYTES_MAX: usize = 8 << 20;

/// What a kept frame costs beside its bytes, so that many small ones count as what they are.
const FRAME_COST: usize = 64;

/// Why frames cannot be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AttachError {
    #[error("attach to a command that is not known")]
    Unknown,
    #[error("attach under another lease than the command's")]
    Lease,
    #[error("attach before frames that were acknowledged already")]
    Gap,
    #[error("attach after frames that were never made")]
    Ahead,
}

#[derive(Debug)]
struct Lane {
    lease: u64,
    frames: VecDeque<Vec<u8>>,
    /// The number of the first kept frame.
    first: u64,
    /// The last number that was given to the channel.
    sent: u64,
    /// Whether the host of this channel knows the command: it started it, or it attached to it.
    attached: bool,
    finished: bool,
}

impl Lane {
    fn last(&self) -> u64 {
        self.first + self.frames.len() as u64 - 1
    }

    fn waits(&self) -> bool {
        self.attached && self.sent < self.last()
    }
}

/// The lanes of all commands.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    lanes: BTreeMap<u32, Lane>,
    kept: usize,
    /// The stream served last.
    turn: u32,
}

impl Spool {
    /// Makes the lane of a new command; `false` when the stream is in use.
    pub(crate) fn open(&mut self, stream: u32, lease: u64) -> bool {
        if self.lanes.contains_key(&stream) {
            return false;
        }
        let lane = Lane { lease, frames: VecDeque::new(), first: 1, sent: 0, attached: true, finished: false };
        self.lanes.insert(stream, lane);
        true
    }

    /// Forgets a lane whose command never started.
    pub(crate) fn drop_lane(&mut self, stream: u32) {
        if let Some(lane) = self.lanes.remove(&stream) {
            self.kept -= lane.frames.iter().map(|f| f.len() + FRAME_COST).sum::<usize>();
        }
    }

    /// Whether output must wait.
    pub(crate) fn is_full(&self) -> bool {
        self.kept >= SPOOL_BYTES_MAX
    }

    /// Numbers and keeps a message.
    ///
    /// # Errors
    /// [`FrameError`] when it is too large, which no caller's messages are.
    pub(crate) fn push(&mut self, stream: u32, message: &FromGuest) -> Result<(), FrameError> {
        let Some(lane) = self.lanes.get_mut(&stream) else { return Ok(()) };
        let mut bytes = Vec::new();
        message.frame(stream, lane.last() + 1)?.encode(&mut bytes)?;
        self.kept += bytes.len() + FRAME_COST;
        lane.frames.push_back(bytes);
        lane.finished |= matches!(message, FromGuest::Exited(_));
        Ok(())
    }

    /// Forgets the frames of a stream up to `number`.
    pub(crate) fn ack(&mut self, stream: u32, number: u64) {
        let Some(lane) = self.lanes.get_mut(&stream) else { return };
        while lane.first <= number {
            let Some(frame) = lane.frames.pop_front() else { break };
            self.kept -= frame.len() + FRAME_COST;
            lane.first += 1;
        }
        lane.sent = lane.sent.max(lane.first - 1);
        if lane.finished && lane.frames.is_empty() {
            self.lanes.remove(&stream);
        }
    }

    /// Sends a lane again from `after + 1`.
    pub(crate) fn attach(&mut self, stream: u32, lease: u64, after: u64) -> Result<(), AttachError> {
        let lane = self.lanes.get_mut(&stream).ok_or(AttachError::Unknown)?;
        if lane.lease != lease {
            return Err(AttachError::Lease);
        }
        if after > lane.last() {
            return Err(AttachError::Ahead);
        }
        if after + 1 < lane.first {
            return Err(AttachError::Gap);
        }
        lane.sent = after;
        lane.attached = true;
        Ok(())
    }

    /// The host is gone: nothing is sent until it attaches.
    pub(crate) fn detach_all(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.attached = false;
        }
    }

    /// Whether a frame could be sent.
    pub(crate) fn has_next(&self) -> bool {
        self.lanes.values().any(Lane::waits)
    }

    /// The next frame to send, from the lanes in turn.
    pub(crate) fn next_frame(&mut self) -> Option<&[u8]> {
        let after = self.lanes.range(self.turn.saturating_add(1)..).find(|(_, lane)| lane.waits());
        let found = after.or_else(|| self.lanes.iter().find(|(_, lane)| lane.waits()));
        let stream = *found?.0;
        self.turn = stream;
        let lane = self.lanes.get_mut(&stream)?;
        let at = usize::try_from(lane.sent + 1 - lane.first).ok()?;
        lane.sent += 1;
        lane.frames.get(at).map(Vec::as_slice)
    }

    /// The commands that are running or not wholly acknowledged: stream, lease, last number.
    pub(crate) fn commands(&self) -> Vec<(u32, u64, u64)> {
        self.lanes.iter().map(|(stream, lane)| (*stream, lane.lease, lane.last())).collect()
    }

    /// How many lanes there are.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }
}

#[cfg(test)]
mod tests {
    use wire::{Decoder, Exit};

    use super::*;

    fn out(n: u8) -> FromGuest {
        FromGuest::Stdout(vec![n])
    }

    fn numbers(spool: &mut Spool) -> Vec<(u32, u64)> {
        let mut decoder = Decoder::default();
        while let Some(bytes) = spool.next_frame() {
            decoder.push(bytes);
        }
        std::iter::from_fn(|| decoder.next_frame().expect("well formed")).map(|f| (f.stream, f.number)).collect()
    }

    #[test]
    fn lanes_are_served_in_turn_and_forgotten_when_safe() {
        let mut spool = Spool::default();
        assert!(spool.open(1, 7) && spool.open(2, 8) && !spool.open(2, 9));
        for n in 0..2 {
            spool.push(1, &out(n)).expect("small");
            spool.push(2, &out(n)).expect("small");
        }
        assert_eq!(numbers(&mut spool), [(1, 1), (2, 1), (1, 2), (2, 2)]);
        spool.push(1, &FromGuest::Exited(Exit { code: Some(0), signal: None })).expect("small");
        assert_eq!(numbers(&mut spool), [(1, 3)]);
        spool.ack(1, 2);
        assert_eq!(spool.commands(), [(1, 7, 3), (2, 8, 2)]);
        spool.ack(1, u64::MAX);
        spool.ack(2, 2);
        assert_eq!(spool.commands(), [(2, 8, 2)], "a running command stays");
        assert_eq!(spool.kept, 0);
    }

    #[test]
    fn a_host_that_comes_back_gets_what_it_lacks_and_nothing_else() {
        let mut spool = Spool::default();
        spool.open(5, 1);
        for n in 0..4 {
            spool.push(5, &out(n)).expect("small");
        }
        assert_eq!(numbers(&mut spool).len(), 4);
        spool.ack(5, 2);
        spool.detach_all();
        spool.push(5, &out(9)).expect("small");
        assert_eq!(numbers(&mut spool), []);
        assert_eq!(spool.attach(5, 2, 2), Err(AttachError::Lease));
        assert_eq!(spool.attach(6, 1, 2), Err(AttachError::Unknown));
        assert_eq!(spool.attach(5, 1, 1), Err(AttachError::Gap));
        assert_eq!(spool.attach(5, 1, 6), Err(AttachError::Ahead));
        assert_eq!(spool.attach(5, 1, 3), Ok(()));
        assert_eq!(numbers(&mut spool), [(5, 4), (5, 5)]);
        assert_eq!(spool.attach(5, 1, 5), Ok(()));
        assert_eq!(numbers(&mut spool), []);
    }

    #[test]
    fn many_small_frames_fill_it_too() {
        let mut spool = Spool::default();
        spool.open(1, 1);
        let mut frames = 0;
        while !spool.is_full() {
            spool.push(1, &out(0)).expect("small");
            frames += 1;
        }
        assert!(frames < SPOOL_BYTES_MAX / FRAME_COST);
        spool.drop_lane(1);
        assert_eq!(spool.kept, 0);
    }
}
