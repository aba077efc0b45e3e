//! After a restart: what an earlier process left is taken over or removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::SandboxId;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use wire::{Decoder, Ready};

use crate::home::remove_tree;
use crate::host::Host;
use crate::launcher::Init;
use crate::record::Record;
use crate::sandboxes::{Parts, blocking};
use crate::{Adopted, Kept, Sandbox, SandboxError, Sandboxes, channel, clean, direct, disk, door};

/// How long a guest that lives has to come back. It tries at once, and again within a second; on a machine that is busy it may have to wait
/// for its turn, and what runs in it would be lost.
const COME_BACK_MAX: Duration = Duration::from_secs(15);
/// How often it is looked whether it still lives.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) async fn adopt(all: &Sandboxes) -> Result<Adopted, SandboxError> {
    let host = all.0.host.clone();
    let dirs = blocking(move || {
        if host.is_root() && crate::pool::exists(&host.home) {
            // What a sandbox has in it can only be removed while it is open; a lack of it is said by the sweep.
            let _ = host.pool();
        }
        directories(&host.home.sandboxes())
    })
    .await?;
    let mut adopted = Adopted::default();
    let mut waiting = Vec::new();
    for dir in dirs {
        let (this, at) = (all.clone(), dir.clone());
        waiting.push((dir, tokio_util::task::AbortOnDropHandle::new(tokio::task::spawn_blocking(move || found(&this.0.host, &at)))));
    }
    let mut coming = tokio::task::JoinSet::new();
    for (dir, found) in waiting {
        let found = found.await.unwrap_or(None);
        let this = all.clone();
        coming.spawn(async move {
            let Some((record, init)) = found else { return (dir, None) };
            let taken = take_over(&this, &dir, record, init).await;
            let taken = taken.inspect_err(|error| tracing::info!(error = %model::chain(error), "a sandbox is not taken over")).ok();
            (dir, taken)
        });
    }
    while let Some(joined) = coming.join_next().await {
        match joined {
            Ok((_, Some(taken))) => adopted.sandboxes.push(taken),
            Ok((dir, None)) => {
                let host = all.0.host.clone();
                match blocking(move || remove_dir(&host, &dir)).await {
                    Ok(()) => adopted.removed += 1,
                    Err(error) => adopted.trouble.push(model::chain(&error)),
                }
            }
            Err(error) => adopted.trouble.push(error.to_string()),
        }
    }
    let host = all.0.host.clone();
    let live: Vec<SandboxId> = adopted.sandboxes.iter().map(|(sandbox, _)| sandbox.id().clone()).collect();
    let trouble = blocking(move || Ok(sweep(&host, &live))).await?;
    adopted.trouble.extend(trouble);
    adopted.sandboxes.sort_by(|(a, _), (b, _)| a.id().cmp(b.id()));
    Ok(adopted)
}

/// The record and process of a sandbox that could live on.
fn found(host: &Host, dir: &Path) -> Option<(Record, Init)> {
    let record = Record::read(dir)?;
    let named = dir.file_name().is_some_and(|name| name == record.id.as_str());
    let same = record.boot == host.boot && record.wire == wire::VERSION && record.uid.is_some() == host.is_root();
    let init = Init::find(record.init.filter(|_| named && same)?)?;
    (!init.has_ended()).then_some((record, init))
}

/// Binds the door again and waits until the guest comes back through it.
async fn take_over(all: &Sandboxes, dir: &Path, record: Record, init: Init) -> Result<(Sandbox, Vec<Kept>), SandboxError> {
    let place = all.reserve_adopted(&record)?;
    let (at, uid) = (dir.to_owned(), record.uid);
    let listener = blocking(move || door::bind(&at, uid)).await?;
    let (control, mut coming) = mpsc::channel(1);
    let door = all.open_door(&record, init.process.pid, listener, control)?;
    let back = async {
        let (stream, read) = coming.recv().await.ok_or_else(|| SandboxError::Gone("its door closed".into()))?;
        let mut decoder = Decoder::default();
        decoder.push(&read);
        let ready = first_message(&stream, &mut decoder).await?;
        Ok((stream, decoder, ready))
    };
    let late =
        SandboxError::Timeout { what: "the return of a sandbox", limit_ms: u64::try_from(COME_BACK_MAX.as_millis()).unwrap_or(u64::MAX) };
    let ended = async {
        while !init.has_ended() {
            tokio::time::sleep(LOOK).await;
        }
    };
    let back = tokio::select! {
        back = tokio::time::timeout(COME_BACK_MAX, back) => back.unwrap_or(Err(late)),
        () = ended => Err(SandboxError::Gone("its first process ended".into())),
    };
    let (channel, rest, ready) = back.inspect_err(|_| door.cancel())?;
    let taken = ready.commands.iter().map(|(stream, ..)| *stream).max().unwrap_or(0);
    let group = record.group.as_deref().and_then(|name| all.0.host.groups.open(name));
    let parts = Parts { record, init, group, channel, rest, taken };
    let sandbox = all.run(place, parts, door);
    // The guest counts as orphaned until it hears from its new host.
    if let Err(error) = sandbox.ping().await {
        // What stopping leaves is removed by the caller.
        let _ = sandbox.stop().await;
        return Err(error);
    }
    Ok((sandbox, ready.commands))
}

async fn first_message(stream: &UnixStream, decoder: &mut Decoder) -> Result<Ready, SandboxError> {
    loop {
        if let Some(frame) = decoder.next_frame().map_err(|e| SandboxError::Protocol(e.to_string()))? {
            return channel::ready(&frame);
        }
        stream.readable().await.map_err(SandboxError::io("read the control channel"))?;
        let mut buffer = vec![0u8; 16 << 10];
        match stream.try_read(&mut buffer) {
            Ok(0) => return Err(SandboxError::Gone("it closed its channel".into())),
            Ok(got) => decoder.push(&buffer[..got]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(SandboxError::io("read the control channel")(e)),
        }
    }
}

/// Removes what belongs to no sandbox that lives: control groups, users, half-made images, sandboxes of processes that
/// ran without a daemon. Gives what could not be removed.
fn sweep(host: &Host, live: &[SandboxId]) -> Vec<String> {
    let mut trouble = Vec::new();
    // Listed before the directories are looked at: a group is made after its directory and removed before it.
    let groups = host.groups.list();
    if let Err(error) = direct::sweep(host) {
        trouble.push(model::chain(&error));
    }
    let known = |name: &str| live.iter().any(|id| id.as_str() == name) || host.home.direct().join(name).exists();
    for name in groups.iter().filter(|name| !known(name)) {
        // Its directory is still there when it could not be removed above; the next attempt then finds both.
        if name.parse::<SandboxId>().is_ok_and(|id| host.dir(&id).exists()) {
            continue;
        }
        let Some(group) = host.groups.open(name) else { continue };
        if let Err(error) = group.kill_all().and_then(|()| group.remove()) {
            trouble.push(model::chain(&error));
        }
    }
    if let Err(error) = disk::sweep(host) {
        trouble.push(model::chain(&error));
    }
    if let Some(uids) = &host.uids {
        uids.sweep(|_, what| known(what) || what.parse::<SandboxId>().is_ok_and(|id| host.dir(&id).exists()));
    }
    let fresh = |path: &PathBuf| path.extension().is_some_and(|e| e == "new");
    for path in directories(&host.home.images()).unwrap_or_default().iter().filter(|p| fresh(p)) {
        let locked = host.home.lock("images.lock");
        if let Err(error) = locked.and_then(|_lock| remove_tree(path).map_err(SandboxError::io("remove half an image"))) {
            trouble.push(model::chain(&error));
        }
    }
    trouble
}

fn remove_dir(host: &Host, dir: &Path) -> Result<(), SandboxError> {
    let id = dir.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<SandboxId>().ok());
    match id {
        Some(id) => clean::remove(host, &id, dir),
        None => remove_tree(dir).map_err(SandboxError::io(format!("remove {}", dir.display()))),
    }
}

fn directories(path: &Path) -> Result<Vec<PathBuf>, SandboxError> {
    let entries = fs::read_dir(path).map_err(SandboxError::io("read the home"))?;
    Ok(entries.flatten().map(|e| e.path()).collect())
}
