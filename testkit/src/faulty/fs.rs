//! The file system: a directory seen through the kernel, every request of which may fail.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::faults::{Fault, Faults};

/// How long the kernel may believe what it was told: not at all.
const TTL: Duration = Duration::ZERO;
/// The number of the root, whatever it is below.
const ROOT: u64 = 1;

/// A directory, seen with faults.
pub(super) struct Through {
    backing: PathBuf,
    faults: Faults,
    known: Known,
    open: Mutex<HashMap<u64, Arc<(File, PathBuf)>>>,
    next: AtomicU64,
}

/// The files that the kernel knows, by number: where each was seen last. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<Mutex<HashMap<u64, PathBuf>>>);

impl Known {
    fn paths(&self) -> MutexGuard<'_, HashMap<u64, PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every number.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.paths().keys().copied().collect()
    }

    fn moved(&self, from: &Path, to: &Path) {
        for path in self.paths().values_mut() {
            if let Ok(rest) = path.strip_prefix(from) {
                *path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            }
        }
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_i32(error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error()))
}

fn kind(meta: &Metadata) -> FileType {
    let kind = meta.file_type();
    match () {
        () if kind.is_dir() => FileType::Directory,
        () if kind.is_symlink() => FileType::Symlink,
        () if kind.is_socket() => FileType::Socket,
        () if kind.is_fifo() => FileType::NamedPipe,
        () if kind.is_char_device() => FileType::CharDevice,
        () if kind.is_block_device() => FileType::BlockDevice,
        () => FileType::RegularFile,
    }
}

fn attributes(meta: &Metadata, ino: u64) -> FileAttr {
    let time = |seconds: i64, nanos: i64| {
        UNIX_EPOCH + Duration::new(u64::try_from(seconds).unwrap_or_default(), u32::try_from(nanos).unwrap_or_default())
    };
    FileAttr {
        ino: INodeNo(ino),
        size: meta.len(),
        blocks: meta.blocks(),
        atime: time(meta.atime(), meta.atime_nsec()),
        mtime: time(meta.mtime(), meta.mtime_nsec()),
        ctime: time(meta.ctime(), meta.ctime_nsec()),
        crtime: UNIX_EPOCH,
        kind: kind(meta),
        perm: u16::try_from(meta.mode() & 0o7777).unwrap_or_default(),
        nlink: u32::try_from(meta.nlink()).unwrap_or(1),
        uid: meta.uid(),
        gid: meta.gid(),
        rdev: u32::try_from(meta.rdev()).unwrap_or_default(),
        blksize: 4096,
        flags: 0,
    }
}

impl Through {
    pub(super) fn new(backing: PathBuf, faults: Faults, known: Known) -> Self {
        known.paths().insert(ROOT, PathBuf::new());
        Self { backing, faults, known, open: Mutex::default(), next: AtomicU64::new(1) }
    }

    /// A file by its number, from the root of the disk.
    fn path(&self, ino: INodeNo) -> io::Result<PathBuf> {
        self.known.paths().get(&ino.0).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> io::Result<PathBuf> {
        Ok(self.path(parent)?.join(name))
    }

    fn real(&self, path: &Path) -> PathBuf {
        self.backing.join(path)
    }

    /// What the kernel is told of a file, which it knows from now on.
    fn entry(&self, path: &Path) -> io::Result<FileAttr> {
        let meta = fs::symlink_metadata(self.real(path))?;
        self.known.paths().insert(meta.ino(), path.to_owned());
        Ok(attributes(&meta, meta.ino()))
    }

    fn handle(&self, file: File, path: PathBuf) -> FileHandle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.handles().insert(number, Arc::new((file, path)));
        FileHandle(number)
    }

    fn handles(&self) -> MutexGuard<'_, HashMap<u64, Arc<(File, PathBuf)>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, fh: FileHandle) -> io::Result<Arc<(File, PathBuf)>> {
        self.handles().get(&fh.0).cloned().ok_or_else(|| rustix::io::Errno::BADF.into())
    }

    fn room(&self, path: &Path) -> io::Result<()> {
        if self.faults.hits(Fault::Full, path) { Err(rustix::io::Errno::NOSPC.into()) } else { Ok(()) }
    }

    fn fails(&self, fault: Fault, path: &Path) -> io::Result<()> {
        if self.faults.hits(fault, path) { Err(rustix::io::Errno::IO.into()) } else { Ok(()) }
    }

    /// Makes something new by `make`, and gives it to whoever asked.
    fn made(&self, req: &Request, parent: INodeNo, name: &OsStr, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<FileAttr> {
        let path = self.child(parent, name)?;
        self.room(&path)?;
        self.fails(Fault::Write, &path)?;
        let real = self.real(&path);
        make(&real)?;
        std::os::unix::fs::lchown(&real, Some(req.uid()), Some(req.gid()))?;
        self.entry(&path)
    }

    fn answer(reply: ReplyEntry, made: io::Result<FileAttr>) {
        match made {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn done(reply: ReplyEmpty, done: io::Result<()>) {
        match done {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn written(&self, fh: FileHandle, offset: u64, data: &[u8]) -> io::Result<u32> {
        let opened = self.opened(fh)?;
        let (file, path) = &*opened;
        self.fails(Fault::Write, path)?;
        if offset + data.len() as u64 > file.metadata()?.len() {
            self.room(path)?;
        }
        let most = self.faults.short(path).map_or(data.len(), |most| data.len().min(most as usize));
        file.write_all_at(data.get(..most).unwrap_or(data), offset)?;
        Ok(u32::try_from(most).unwrap_or(u32::MAX))
    }

    fn change(&self, ino: INodeNo, change: &Change) -> io::Result<FileAttr> {
        let path = self.path(ino);
        if let (Some(size), Ok(path)) = (change.size, &path) {
            self.fails(Fault::Write, path)?;
            let file = match change.fh {
                Some(fh) => self.opened(fh)?.0.try_clone()?,
                None => File::options().write(true).open(self.real(path))?,
            };
            if size > file.metadata()?.len() {
                self.room(path)?;
            }
            file.set_len(size)?;
        }
        // A file that is gone by name is still known by what is open of it.
        if let Some(fh) = change.fh {
            let meta = self.opened(fh)?.0.metadata()?;
            if meta.nlink() == 0 {
                return Ok(attributes(&meta, ino.0));
            }
        }
        let path = path?;
        let real = self.real(&path);
        if change.uid.is_some() || change.gid.is_some() {
            std::os::unix::fs::lchown(&real, change.uid, change.gid)?;
        }
        if let Some(mode) = change.mode {
            fs::set_permissions(&real, fs::Permissions::from_mode(mode & 0o7777))?;
        }
        if change.atime.is_some() || change.mtime.is_some() {
            let times = Timestamps { last_access: stamp(change.atime), last_modification: stamp(change.mtime) };
            rustix::fs::utimensat(CWD, &real, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        let meta = fs::symlink_metadata(&real)?;
        Ok(attributes(&meta, ino.0))
    }

    fn list(&self, ino: INodeNo) -> io::Result<Vec<(u64, FileType, std::ffi::OsString)>> {
        let path = self.path(ino)?;
        self.fails(Fault::Read, &path)?;
        let mut all = vec![(ino.0, FileType::Directory, ".".into()), (ino.0, FileType::Directory, "..".into())];
        for entry in fs::read_dir(self.real(&path))? {
            let entry = entry?;
            // One that went away in between is not there.
            if let Ok(meta) = fs::symlink_metadata(entry.path()) {
                all.push((meta.ino(), kind(&meta), entry.file_name()));
            }
        }
        Ok(all)
    }
}

/// What is to be changed of a file.
struct Change {
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    size: Option<u64>,
    atime: Option<TimeOrNow>,
    mtime: Option<TimeOrNow>,
    fh: Option<FileHandle>,
}

fn stamp(time: Option<TimeOrNow>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(TimeOrNow::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(TimeOrNow::SpecificTime(time)) => {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            Timespec { tv_sec: i64::try_from(since.as_secs()).unwrap_or_default(), tv_nsec: since.subsec_nanos().into() }
        }
    }
}

impl Filesystem for Through {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        Self::answer(reply, self.child(parent, name).and_then(|path| self.entry(&path)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let meta = match fh.map(|fh| self.opened(fh)) {
            Some(Ok(opened)) => opened.0.metadata(),
            _ => self.path(ino).and_then(|path| fs::symlink_metadata(self.real(&path))),
        };
        match meta {
            Ok(meta) => reply.attr(&TTL, &attributes(&meta, ino.0)),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        fh: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match self.change(ino, &Change { mode, uid, gid, size, atime, mtime, fh }) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.path(ino).and_then(|path| fs::read_link(self.real(&path))) {
            Ok(target) => reply.data(target.as_os_str().as_encoded_bytes()),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn mknod(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, rdev: u32, reply: ReplyEntry) {
        let kind = rustix::fs::FileType::from_raw_mode(mode);
        let mode = Mode::from_raw_mode(mode & !umask & 0o7777);
        let made = self.made(req, parent, name, |real| {
            Ok(rustix::fs::mknodat(CWD, real, kind, mode, u64::from(rdev)).and_then(|()| rustix::fs::chmod(real, mode))?)
        });
        Self::answer(reply, made);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let mode = fs::Permissions::from_mode(mode & !umask & 0o7777);
        let made = self.made(req, parent, name, |real| fs::create_dir(real).and_then(|()| fs::set_permissions(real, mode)));
        Self::answer(reply, made);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        Self::answer(reply, self.made(req, parent, name, |real| std::os::unix::fs::symlink(target, real)));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let made = self.path(ino).and_then(|old| {
            let new = self.child(parent, name)?;
            self.room(&new)?;
            rustix::fs::linkat(CWD, self.real(&old), CWD, self.real(&new), AtFlags::empty())?;
            self.entry(&new)
        });
        Self::answer(reply, made);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        Self::done(reply, self.child(parent, name).and_then(|path| fs::remove_file(self.real(&path))));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        Self::done(reply, self.child(parent, name).and_then(|path| fs::remove_dir(self.real(&path))));
    }

    fn rename(&self, _: &Request, parent: INodeNo, name: &OsStr, to: INodeNo, as_name: &OsStr, flags: RenameFlags, reply: ReplyEmpty) {
        let moved = self.child(parent, name).and_then(|old| {
            let new = self.child(to, as_name)?;
            self.fails(Fault::Write, &new)?;
            let flags = rustix::fs::RenameFlags::from_bits_truncate(flags.bits());
            if flags.contains(rustix::fs::RenameFlags::EXCHANGE) {
                return Err(rustix::io::Errno::INVAL.into());
            }
            rustix::fs::renameat_with(CWD, self.real(&old), CWD, self.real(&new), flags)?;
            self.known.moved(&old, &new);
            Ok(())
        });
        Self::done(reply, moved);
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let opened = self.path(ino).and_then(|path| {
            let writes = flags.0 & 0o3 != 0;
            if flags.0 & i32::try_from(rustix::fs::OFlags::TRUNC.bits()).unwrap_or_default() != 0 {
                self.fails(Fault::Write, &path)?;
                File::options().write(true).truncate(true).open(self.real(&path))?;
            }
            let file = File::options().read(true).write(writes).open(self.real(&path))?;
            Ok(self.handle(file, path))
        });
        match opened {
            Ok(fh) => reply.opened(fh, FopenFlags::empty()),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn create(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, flags: i32, reply: ReplyCreate) {
        let mut file = None;
        let exclusive = flags & i32::try_from(rustix::fs::OFlags::EXCL.bits()).unwrap_or_default() != 0;
        let made = self.made(req, parent, name, |real| {
            let mut options = File::options();
            options.read(true).write(true).mode(mode & !umask & 0o7777);
            let opened = if exclusive { options.create_new(true).open(real)? } else { options.create(true).truncate(false).open(real)? };
            opened.set_permissions(fs::Permissions::from_mode(mode & !umask & 0o7777))?;
            file = Some(opened);
            Ok(())
        });
        match (made, file) {
            (Ok(attr), Some(file)) => {
                let path = self.child(parent, name).unwrap_or_default();
                reply.created(&TTL, &attr, Generation(0), self.handle(file, path), FopenFlags::empty());
            }
            (Err(error), _) => reply.error(errno(&error)),
            (Ok(_), None) => reply.error(Errno::EIO),
        }
    }

    fn read(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, size: u32, _: OpenFlags, _: Option<LockOwner>, reply: ReplyData) {
        let read = self.opened(fh).and_then(|opened| {
            let (file, path) = &*opened;
            self.fails(Fault::Read, path)?;
            let mut bytes = vec![0; size as usize];
            let mut filled = 0;
            while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match file.read_at(rest, offset + filled as u64)? {
                    0 => break,
                    more => filled += more,
                }
            }
            bytes.truncate(filled);
            self.faults.flip(path, offset, &mut bytes);
            Ok(bytes)
        });
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.written(fh, offset, data) {
            Ok(bytes) => reply.written(bytes),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, _: Option<LockOwner>, _: bool, reply: ReplyEmpty) {
        self.handles().remove(&fh.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        // What the disk below does is not what is tested: its own flush would only be slow.
        Self::done(reply, self.opened(fh).and_then(|opened| self.fails(Fault::Sync, &opened.1)));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        Self::done(reply, self.path(ino).and_then(|path| self.fails(Fault::Sync, &path)));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.list(ino) {
            Ok(all) => {
                for (n, (ino, kind, name)) in all.into_iter().enumerate().skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
                    if reply.add(INodeNo(ino), n as u64 + 1, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match rustix::fs::statvfs(&self.backing) {
            Ok(found) => {
                let free = if self.faults.hits(Fault::Full, Path::new("")) { 0 } else { found.f_bavail };
                let size = u32::try_from(found.f_frsize).unwrap_or(4096);
                reply.statfs(found.f_blocks, free, free, found.f_files, found.f_ffree, size, 255, size);
            }
            Err(error) => reply.error(errno(&error.into())),
        }
    }

    fn fallocate(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, length: u64, mode: i32, reply: ReplyEmpty) {
        let made = self.opened(fh).and_then(|opened| {
            self.room(&opened.1)?;
            let flags = FallocateFlags::from_bits_truncate(u32::try_from(mode).unwrap_or_default());
            Ok(rustix::fs::fallocate(&opened.0, flags, offset, length)?)
        });
        Self::done(reply, made);
    }
}
