//! Bytes with descriptors over a Unix socket.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// The most descriptors of one message. The kernel's own limit is 253.
pub const FDS_MAX: usize = 64;

/// Sends `bytes` and, with the first of them, `fds`. Returns how many bytes were taken; a caller of a stream socket
/// sends the rest without the descriptors. Never raises SIGPIPE.
///
/// # Errors
/// The kernel's; `InvalidInput` for more than [`FDS_MAX`] descriptors or for descriptors without a byte to carry them.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if fds.len() > FDS_MAX || (bytes.is_empty() && !fds.is_empty()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL))?)
}

/// Receives into `bytes`; descriptors that came along are appended to `fds`, closed on exec. 0 bytes: the other side
/// has ended.
///
/// # Errors
/// The kernel's; `InvalidData` when the other side sent more than [`FDS_MAX`] descriptors (all are closed then).
pub fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got =
        rustix::io::retry_on_intr(|| rustix::net::recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC))?;
    let came: Vec<OwnedFd> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => rights.collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .collect();
    if got.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors in one message"));
    }
    fds.extend(came);
    Ok(got.bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn descriptors_travel_with_the_first_byte() {
        let (left, right) = UnixStream::pair().expect("socketpair");
        let (mut near, far) = UnixStream::pair().expect("socketpair");
        assert_eq!(send(left.as_fd(), b"hello", &[far.as_fd()]).expect("send"), 5);
        drop(far);
        let (mut bytes, mut fds) = ([0u8; 16], Vec::new());
        assert_eq!(receive(right.as_fd(), &mut bytes, &mut fds).expect("receive"), 5);
        assert_eq!((&bytes[..5], fds.len()), (&b"hello"[..], 1));
        let flags = rustix::io::fcntl_getfd(&fds[0]).expect("flags");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        UnixStream::from(fds.remove(0)).write_all(b"x").expect("write");
        let mut one = [0u8];
        near.read_exact(&mut one).expect("read");
        assert_eq!(one, *b"x");
        drop(left);
        assert_eq!(receive(right.as_fd(), &mut bytes, &mut fds).expect("end"), 0);
    }

    #[test]
    fn descriptors_without_a_byte_and_too_many_are_refused() {
        let (left, _right) = UnixStream::pair().expect("socketpair");
        assert!(send(left.as_fd(), b"", &[left.as_fd()]).is_err());
        assert!(send(left.as_fd(), b"x", &[left.as_fd(); FDS_MAX + 1]).is_err());
    }
}
