//! What the host asks of btrfs and of loop devices, which have no interface but ioctls.
//!
//! Every function takes a descriptor that the caller opened and names that are single path components.

use std::ffi::{CStr, c_ulong};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};

/// The longest name of a subvolume.
pub const NAME_BYTES_MAX: usize = 255;
/// How often a free loop device is looked for again because another process took it.
const LOOP_ATTEMPTS_MAX: usize = 16;

const NAME_FIELD_V1: usize = 4088;
const PATH_FIELD: usize = 4040;

/// The kernel's `btrfs_ioctl_vol_args`.
#[repr(C)]
struct VolArgs {
    fd: i64,
    name: [u8; NAME_FIELD_V1],
}

/// The kernel's `btrfs_ioctl_vol_args_v2`, as far as it is used here.
#[repr(C)]
struct VolArgsV2 {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; PATH_FIELD],
}

#[repr(C)]
struct QuotaCtl {
    cmd: u64,
    status: u64,
}

#[repr(C)]
struct QgroupLimit {
    qgroup: u64,
    flags: u64,
    max_referenced: u64,
    max_exclusive: u64,
    reserved: [u64; 2],
}

#[repr(C)]
struct QgroupCreate {
    create: u64,
    qgroup: u64,
}

/// The kernel's `btrfs_ioctl_search_args`.
#[repr(C)]
struct SearchArgs {
    tree: u64,
    min_objectid: u64,
    max_objectid: u64,
    min_offset: u64,
    max_offset: u64,
    min_transid: u64,
    max_transid: u64,
    min_type: u32,
    max_type: u32,
    items: u32,
    unused: u32,
    unused_more: [u64; 4],
    buffer: [u8; 3992],
}

#[repr(C)]
struct InoLookup {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

/// The kernel's `loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// The kernel's `loop_info64`.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

const MAGIC: u32 = 0x94;
const WRITE: u32 = 1;
const READ: u32 = 2;

const fn request<T>(direction: u32, number: u32) -> c_ulong {
    #[expect(clippy::cast_possible_truncation, reason = "the largest argument has 4 KiB")]
    let size = size_of::<T>() as u32;
    (direction << 30 | size << 16 | MAGIC << 8 | number) as c_ulong
}

const RESIZE: c_ulong = request::<VolArgs>(WRITE, 3);
const SUBVOL_CREATE: c_ulong = request::<VolArgs>(WRITE, 14);
const SNAP_DESTROY: c_ulong = request::<VolArgs>(WRITE, 15);
const TREE_SEARCH: c_ulong = request::<SearchArgs>(READ | WRITE, 17);
const INO_LOOKUP: c_ulong = request::<InoLookup>(READ | WRITE, 18);
const SNAP_CREATE_V2: c_ulong = request::<VolArgsV2>(WRITE, 23);
const QUOTA_CTL: c_ulong = request::<QuotaCtl>(READ | WRITE, 40);
const QGROUP_CREATE: c_ulong = request::<QgroupCreate>(WRITE, 42);
const QGROUP_LIMIT: c_ulong = request::<QgroupLimit>(READ, 43);
const LOOP_GET_STATUS: c_ulong = 0x4C05;
const LOOP_CONFIGURE: c_ulong = 0x4C0A;
const LOOP_CTL_GET_FREE: c_ulong = 0x4C82;

const LO_FLAGS_AUTOCLEAR: u32 = 4;
const QUOTA_ENABLE: u64 = 1;
const QUOTA_ENABLE_SIMPLE: u64 = 4;
const LIMIT_REFERENCED: u64 = 1;
const QUOTA_TREE: u64 = 8;
const QGROUP_INFO_KEY: u32 = 242;
const SNAPSHOT_READ_ONLY: u64 = 1 << 1;

/// A file as a block device. It goes away by itself once neither this nor a mount uses it.
#[derive(Debug)]
pub struct LoopDevice {
    /// The device, for example `/dev/loop3`.
    pub path: PathBuf,
    device: File,
}

/// Makes a block device of `file`, or gives the one that it is already. Two devices on one file would destroy it, so
/// callers hold a lock of their own around this.
///
/// # Errors
/// The kernel's; `NotFound` without /dev/loop-control.
pub fn attach_loop(file: &File) -> io::Result<LoopDevice> {
    if let Some(found) = find_loop(file)? {
        return Ok(found);
    }
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    for _ in 0..LOOP_ATTEMPTS_MAX {
        // SAFETY: the request has no argument.
        let free = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })?;
        let Some(found) = open_loop(format!("/dev/loop{free}").into())? else { continue };
        // SAFETY: the type consists of integers, for which zero is a value.
        let mut config: LoopConfig = unsafe { std::mem::zeroed() };
        config.fd = file.as_raw_fd().try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
        config.info.flags = LO_FLAGS_AUTOCLEAR;
        // SAFETY: `config` has the kernel's layout and outlives the call, which only reads it.
        match check(unsafe { libc::ioctl(found.device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) }) {
            Ok(_) => return Ok(found),
            // Another process has it since, and may be letting it go already.
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// The device that `file` is already.
fn find_loop(file: &File) -> io::Result<Option<LoopDevice>> {
    let called = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    // By what they are made of and not by its path, of which a file may have many; and all of them, as their numbers may have gaps.
    for entry in std::fs::read_dir("/sys/block")? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with("loop")) else { continue };
        let Ok(backing) = std::fs::read(format!("/sys/block/{name}/loop/backing_file")) else { continue };
        let path = PathBuf::from("/dev").join(name);
        let is_it = match OpenOptions::new().read(true).open(&path) {
            Ok(device) => has_file(&device, file)?,
            // One that cannot be looked at goes by its name: a second device on the file would destroy it.
            Err(e) if e.raw_os_error() != Some(libc::ENXIO) && backing.trim_ascii_end() == called.as_os_str().as_encoded_bytes() => {
                return Err(e);
            }
            Err(_) => false,
        };
        if !is_it {
            continue;
        }
        let Some(found) = open_loop(path)? else { continue };
        // Its last user may have gone before it was opened; then it is free, or another file's by now. Opened it stays what it is.
        if has_file(&found.device, file)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Opens a device; `None` while its last user lets it go.
fn open_loop(path: PathBuf) -> io::Result<Option<LoopDevice>> {
    match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(device) => Ok(Some(LoopDevice { path, device })),
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether an open device is one of `file`.
fn has_file(device: &File, file: &File) -> io::Result<bool> {
    // SAFETY: the type consists of integers, for which zero is a value.
    let mut info: LoopInfo = unsafe { std::mem::zeroed() };
    // SAFETY: `info` has the kernel's layout and outlives the call.
    match check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS, &raw mut info) }) {
        Ok(_) => {
            let file = file.metadata()?;
            Ok((info.device, info.inode) == (file.dev(), file.ino()))
        }
        // It has no file, or no longer.
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok(false),
        Err(e) => Err(e),
    }
}

impl LoopDevice {
    /// The device's own descriptor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// Mounts a device for this process alone: no other process sees the mount, and it ends with the descriptor.
///
/// # Errors
/// The kernel's.
pub fn mount_detached(device: &std::path::Path, options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let fs = fsopen("btrfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "source", device)?;
    for (key, value) in options {
        fsconfig_set_string(&fs, *key, *value)?;
    }
    fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Grows the file system to its device. `root` is its root, opened for reading.
///
/// # Errors
/// The kernel's.
pub fn grow(root: BorrowedFd<'_>) -> io::Result<()> {
    vol_args(root, RESIZE, c"max")
}

/// Counts what each subvolume uses from now on: the simple way, which costs next to nothing, or on a kernel before 6.7
/// the exact one. Fine when it is on already.
///
/// The simple way counts a block for the subvolume that wrote it for as long as any snapshot has it. The exact way does
/// not, but there each snapshot of a busy tree takes longer than the one before: seconds after a dozen.
///
/// # Errors
/// The kernel's.
pub fn enable_quota(root: BorrowedFd<'_>) -> io::Result<()> {
    let mut first = None;
    for cmd in [QUOTA_ENABLE_SIMPLE, QUOTA_ENABLE] {
        let mut args = QuotaCtl { cmd, status: 0 };
        // SAFETY: `args` has the kernel's layout and outlives the call.
        match check(unsafe { libc::ioctl(root.as_raw_fd(), QUOTA_CTL, &raw mut args) }) {
            Ok(_) => return Ok(()),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => return Ok(()),
            Err(e) => first = first.or(Some(e)),
        }
    }
    first.map_or(Ok(()), Err)
}

/// Makes an empty subvolume `name` in `parent`.
///
/// # Errors
/// The kernel's; `AlreadyExists` when the name is taken.
pub fn create(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    vol_args(parent, SUBVOL_CREATE, name)
}

/// Makes `name` in `parent` a subvolume with what `source` holds now.
///
/// # Errors
/// The kernel's; `AlreadyExists` when the name is taken.
pub fn snapshot(source: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &CStr, read_only: bool) -> io::Result<()> {
    let flags = if read_only { SNAPSHOT_READ_ONLY } else { 0 };
    let mut args = VolArgsV2 { fd: source.as_raw_fd().into(), transid: 0, flags, unused: [0; 4], name: [0; PATH_FIELD] };
    copy_name(&mut args.name, name)?;
    // SAFETY: `args` has the kernel's layout, ends its name with a NUL and outlives the call.
    check(unsafe { libc::ioctl(parent.as_raw_fd(), SNAP_CREATE_V2, &raw const args) }).map(drop)
}

/// Removes the subvolume `name` of `parent` with all that it holds; the space comes back in the background.
///
/// # Errors
/// The kernel's; `NotFound` when there is none.
pub fn destroy(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    vol_args(parent, SNAP_DESTROY, name)
}

/// The number of the subvolume that `directory` lies in.
///
/// # Errors
/// The kernel's.
pub fn subvolume(directory: BorrowedFd<'_>) -> io::Result<u64> {
    // 256 is the root directory of every subvolume.
    let mut args = InoLookup { tree: 0, object: 256, name: [0; 4080] };
    // SAFETY: `args` has the kernel's layout and outlives the call.
    check(unsafe { libc::ioctl(directory.as_raw_fd(), INO_LOOKUP, &raw mut args) })?;
    Ok(args.tree)
}

/// Limits what the subvolume that `directory` lies in may use, in bytes.
///
/// # Errors
/// The kernel's; quota must be on.
pub fn limit(directory: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    // Group 0 means the one of the subvolume itself.
    let mut args = QgroupLimit { qgroup: 0, flags: LIMIT_REFERENCED, max_referenced: bytes, max_exclusive: 0, reserved: [0; 2] };
    // SAFETY: `args` has the kernel's layout and outlives the call.
    check(unsafe { libc::ioctl(directory.as_raw_fd(), QGROUP_LIMIT, &raw mut args) }).map(drop)
}

/// Forgets the limit and the count of a subvolume that was removed.
///
/// # Errors
/// The kernel's; `NotFound` when it is forgotten already, `ResourceBusy` while the subvolume is still being removed.
pub fn forget(root: BorrowedFd<'_>, subvolume: u64) -> io::Result<()> {
    let mut args = QgroupCreate { create: 0, qgroup: subvolume };
    // SAFETY: `args` has the kernel's layout and outlives the call.
    check(unsafe { libc::ioctl(root.as_raw_fd(), QGROUP_CREATE, &raw mut args) }).map(drop)
}

/// How many bytes a subvolume uses, as of the last commit; `None` when it is not counted.
///
/// # Errors
/// The kernel's.
pub fn used(root: BorrowedFd<'_>, subvolume: u64) -> io::Result<Option<u64>> {
    // SAFETY: the type consists of integers, for which zero is a value.
    let mut args: SearchArgs = unsafe { std::mem::zeroed() };
    args.tree = QUOTA_TREE;
    (args.min_offset, args.max_offset) = (subvolume, subvolume);
    args.max_transid = u64::MAX;
    (args.min_type, args.max_type) = (QGROUP_INFO_KEY, QGROUP_INFO_KEY);
    args.items = 1;
    // SAFETY: `args` has the kernel's layout and outlives the call.
    check(unsafe { libc::ioctl(root.as_raw_fd(), TREE_SEARCH, &raw mut args) })?;
    // A header of 32 bytes, then the item: its generation and the bytes that are referenced.
    let word = |at: usize| args.buffer[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or(0);
    Ok((args.items == 1 && word(16) == subvolume).then(|| word(40)))
}

/// Whether the open directory is the root of a subvolume.
///
/// # Errors
/// The kernel's.
pub fn is_subvolume(directory: &File) -> io::Result<bool> {
    Ok(directory.metadata()?.ino() == 256)
}

fn vol_args(fd: BorrowedFd<'_>, request: c_ulong, name: &CStr) -> io::Result<()> {
    let mut args = VolArgs { fd: 0, name: [0; NAME_FIELD_V1] };
    copy_name(&mut args.name, name)?;
    // SAFETY: `args` has the kernel's layout, ends its name with a NUL and outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw const args) }).map(drop)
}

fn copy_name(field: &mut [u8], name: &CStr) -> io::Result<()> {
    let bytes = name.to_bytes();
    if bytes.is_empty() || bytes.len() > NAME_BYTES_MAX || bytes.contains(&b'/') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    field[..bytes.len()].copy_from_slice(bytes);
    Ok(())
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

const _: () = {
    assert!(size_of::<VolArgs>() == 4096);
    assert!(size_of::<VolArgsV2>() == 4096);
    assert!(size_of::<SearchArgs>() == 4096);
    assert!(size_of::<InoLookup>() == 4096);
    assert!(size_of::<QgroupLimit>() == 48);
    assert!(size_of::<LoopInfo>() == 232);
    assert!(size_of::<LoopConfig>() == 304);
};
