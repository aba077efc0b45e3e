//! Being the daemon.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::{Access, Api, BasePath, Logins, Rates, Tickets};
use app::App;
use model::{Code, Failure};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::args;
use crate::client::internal;
use crate::commands::{Context, lifecycle, repo};
use crate::compose;
use crate::config::{Config, LISTEN_DEFAULT};
use crate::exit::Done;
use crate::home::Home;
use crate::out;

/// The exit status of a daemon on demand that found another one up: `EX_TEMPFAIL` of sysexits.h.
pub(crate) const ALREADY_UP: u8 = 75;
/// How often an idle daemon on demand looks whether its time has come.
const IDLE_STEP: Duration = Duration::from_secs(1);
/// How long a daemon that just starts or ends is waited for, and how often it is looked.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_STEP: Duration = Duration::from_millis(20);
/// How much time running work gets when the daemon is told to end by a signal.
const SIGNAL_GRACE: Duration = Duration::from_secs(2);

/// The point at which this process ends itself, and how often it still passes it.
static CRASH_AT: OnceLock<(String, AtomicUsize)> = OnceLock::new();

/// From now on the process dies at once when it comes to the named point, as `kill -9` would end it there. `POINT@N` is
/// the N-th time that it comes there.
pub(crate) fn crash_at(point: &str) {
    let (name, times) = point.split_once('@').and_then(|(name, n)| Some((name, n.parse().ok()?))).unwrap_or((point, 1));
    if CRASH_AT.set((name.to_owned(), AtomicUsize::new(times))).is_ok() {
        model::crash::set(|name| {
            if CRASH_AT.get().is_some_and(|(at, left)| at == name && left.fetch_sub(1, Ordering::SeqCst) == 1) {
                let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            }
        });
    }
}

/// `lazaret up`.
pub(crate) async fn up(context: Context, flags: args::Up) -> Done {
    if flags.on_demand {
        // Its own session: neither a terminal's end nor its Ctrl-C reaches it.
        let _ = rustix::process::setsid();
    }
    let home = Home::open(&context.env.home)?;
    if !flags.on_demand {
        lifecycle::make_room(&home).await?;
    }
    let lock = if flags.on_demand { home.lock()? } else { free_lock(&home).await? };
    let Some(_lock) = lock else {
        if flags.on_demand {
            return Ok(ALREADY_UP);
        }
        return Err(Failure::new(Code::Conflict, "a daemon of this home is just starting or ending").hint("try again in a moment"));
    };
    // A configuration that cannot be read is told of when there is a log.
    let format = Config::load(home.path()).map(|config| config.log.format).unwrap_or_default();
    let lines = crate::logs::begin(&home, context.env.log.as_deref(), format)?;
    let config = Config::load(home.path())?;
    repo::sweep(&home.run_dir());
    let app = compose::open(&home, &context.env).await?;
    app.send_logs(&lines.0, lines.1);
    let tasks = TaskTracker::new();
    let cancel = CancellationToken::new();
    let served = serve(&home, &config, &flags, &app, &tasks, &cancel).await;
    let place = match served {
        Ok(place) => place,
        Err(failure) => {
            app.shutdown(Duration::ZERO).await;
            return Err(failure);
        }
    };
    let process = std::process::id();
    match &place {
        _ if context.json => {
            let (address, link) = (place.as_ref().map(|p| &p.address), place.as_ref().map(|p| &p.link));
            out::json(&serde_json::json!({ "ready": true, "address": address, "link": link, "pid": process }))?;
        }
        Some(place) => out::line(&format!("lazaret is ready: http://{} (process {process}), log in once: {}", place.address, place.link)),
        None => out::line(&format!("lazaret is ready: on demand (process {process})")),
    }
    if !flags.on_demand {
        app.keep_pool();
    }
    tracing::info!(address = place.as_ref().map(|p| p.address.as_str()), "ready");
    let idle = if flags.on_demand { Some(config.idle_daemon().map_err(|why| internal(&why))?) } else { None };
    let grace = wait_for_end(&app, idle).await?;
    tracing::info!(?grace, "ending");
    // No new requests first, then the work; streams that wait for it are closed last.
    app.shutdown(grace).await;
    cancel.cancel();
    tasks.close();
    let _ = tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await;
    for socket in [api::OWNER_SOCKET, api::FDS_SOCKET] {
        let _ = std::fs::remove_file(home.run_dir().join(socket));
    }
    Ok(0)
}

/// The home's lock. A daemon that was killed a moment ago leaves it to a process that it was about to start, until that has become
/// its program: that is waited for, unless a daemon answers.
async fn free_lock(home: &Home) -> Result<Option<OwnedFd>, Failure> {
    let deadline = tokio::time::Instant::now() + LOCK_WAIT;
    loop {
        let lock = home.lock()?;
        if lock.is_some() || tokio::time::Instant::now() > deadline {
            return Ok(lock);
        }
        lifecycle::make_room(home).await?;
        tokio::time::sleep(LOCK_STEP).await;
    }
}

/// Where the daemon is reached over HTTP, with a one-time link to its page.
struct Place {
    address: String,
    link: String,
}

/// Opens every listener.
async fn serve(
    home: &Home,
    config: &Config,
    flags: &args::Up,
    app: &App,
    tasks: &TaskTracker,
    cancel: &CancellationToken,
) -> Result<Option<Place>, Failure> {
    let (owner, fds) = (bind(&home.run_dir(), api::OWNER_SOCKET)?, bind(&home.run_dir(), api::FDS_SOCKET)?);
    let listener = match flags.on_demand {
        true => None,
        false => Some(listen_on(flags.listen.as_deref().or(config.listen.as_deref()).unwrap_or(LISTEN_DEFAULT)).await?),
    };
    let address = listener.as_ref().map(|l| l.local_addr().map(|a| a.to_string()));
    let address = address.transpose().map_err(|e| internal(&e.to_string()))?;
    let tickets = Tickets::default();
    let base = BasePath::parse(flags.base_path.as_deref().unwrap_or_default())?;
    let api = Api {
        app: app.clone(),
        tickets: tickets.clone(),
        logins: Logins::default(),
        rates: Rates::default(),
        base: base.clone(),
        listen: address.clone(),
    };
    if let Some(listener) = listener {
        // Clients over TCP hand no descriptors over: their set of tickets stays empty.
        let router = api::under(api::router(Api { tickets: Tickets::default(), ..api.clone() }), &base);
        let (access, cancel) = (Access::new(&home.token()?, api.logins.clone()), cancel.clone());
        tasks.spawn(async move {
            if let Err(error) = api::serve_tcp(listener, router, access, cancel).await {
                tracing::error!(%error, "the HTTP port failed");
            }
        });
    }
    app.opened();
    let place = address
        .map(|address| {
            let link = format!("http://{address}{}/ui#{}", base.as_str(), api.logins.code()?);
            Ok(Place { link, address: format!("{address}{}", base.as_str()) })
        })
        .transpose();
    tasks.spawn(api::serve_descriptors(fds, tickets, tasks.clone(), cancel.clone()));
    let (router, cancel) = (api::router(api), cancel.clone());
    tasks.spawn(async move {
        if let Err(error) = api::serve_owner(owner, router, cancel).await {
            tracing::error!(%error, "the owner's socket failed");
        }
    });
    place
}

async fn listen_on(listen: &str) -> Result<TcpListener, Failure> {
    let address: std::net::SocketAddr = listen
        .parse()
        .map_err(|_| Failure::new(Code::Usage, format!("`{listen}` is not an address like {LISTEN_DEFAULT}")).field("--listen"))?;
    if !address.ip().is_loopback() {
        return Err(Failure::new(Code::Forbidden, format!("{address} is not on this machine alone, and this build has no TLS for it"))
            .hint("listen on 127.0.0.1 and put a proxy with TLS in front"));
    }
    TcpListener::bind(address).await.map_err(|e| {
        Failure::new(Code::Conflict, format!("the daemon cannot listen on {address}: {e}")).hint("name another with --listen ADDR")
    })
}

/// Waits for a signal, a request, or too long an idle time; gives the grace for running work.
async fn wait_for_end(app: &App, idle: Option<Duration>) -> Result<Duration, Failure> {
    let listen = |kind| signal(kind).map_err(|e| internal(&format!("signals cannot be taken: {e}")));
    let (mut term, mut int, mut hup) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(SIGNAL_GRACE),
            _ = int.recv() => return Ok(SIGNAL_GRACE),
            _ = hup.recv() => {}
            grace = app.stop_asked() => return Ok(grace),
            () = tokio::time::sleep(IDLE_STEP), if idle.is_some() => {
                if idle.is_some_and(|idle| app.idle() >= idle) {
                    return Ok(Duration::ZERO);
                }
            }
        }
    }
}

/// Binds a socket of the owner's, by its directory, so that the length of the home's path does not matter.
fn bind(run_dir: &Path, name: &str) -> Result<UnixListener, Failure> {
    let fail = |e: std::io::Error| Failure::new(Code::HomeUnsafe, format!("the socket {name} cannot be made: {e}"));
    let dir: OwnedFd = std::fs::File::open(run_dir).map_err(fail)?.into();
    // The lock is ours, so a socket that is there belongs to nobody.
    match std::fs::remove_file(run_dir.join(name)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fail(e)),
        _ => {}
    }
    UnixListener::bind(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd())).map_err(fail)
}
