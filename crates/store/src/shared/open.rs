//! Opening a shared database.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use postgres::config::{Host, SslMode};
use zeroize::Zeroizing;

use crate::StoreError;
use crate::db::{Connection, Postgres, Settings, Tls};
use crate::error::Doing;
use crate::shared::replica::{Replica, register};
use crate::shared::schema::migrate;

/// The oldest server whose dialect the statements are written in.
const VERSION_MIN: u32 = 140_000;
/// What a connection that writes begins with. One that hangs in a transaction is ended, or all replicas would wait for it.
const WRITES: &str = "SET synchronous_commit = on; SET client_min_messages = warning; SET idle_in_transaction_session_timeout = '30s'";
/// What a connection that reads begins with.
const READS: &str = "SET client_min_messages = warning; SET default_transaction_read_only = on";

/// What opens a shared database, beside its address.
#[derive(Default)]
pub struct Access {
    /// The password.
    pub password: Option<Zeroizing<String>>,
    /// The file of certificates, in PEM, that may have signed the server's; by default those that the system trusts.
    pub authorities: Option<PathBuf>,
}

/// A shared database that passed every check.
pub(crate) struct Opened {
    pub(crate) writer: Connection,
    pub(crate) readers: Vec<Connection>,
    /// Who this daemon is to the others.
    pub(crate) replica: Replica,
    /// For the connection over which the others are heard.
    pub(crate) settings: Settings,
}

/// Opens the database at `url` for the daemon of `home`. Blocks; works on any thread.
pub(crate) fn open(url: &str, access: Access, home: &Path, readers: usize) -> Result<Opened, StoreError> {
    let mut config = checked(url)?;
    let tls = (config.get_ssl_mode() == SslMode::Require).then(|| Tls::open(access.authorities.as_deref())).transpose();
    let tls = tls.map_err(|why| StoreError::invalid("store.ca_file", why))?;
    if let Some(password) = access.password {
        config.password(password.as_bytes());
    }
    let replica = Replica::of(home)?;
    // The driver waits for the server by itself, which it cannot do on a thread of an async runtime.
    let opened = std::thread::scope(|scope| scope.spawn(|| connect(config, tls, replica, readers)).join());
    opened.unwrap_or_else(|_| Err(StoreError::invalid("store.url", "cannot be opened: its driver failed")))
}

fn connect(config: postgres::Config, tls: Option<Tls>, replica: Replica, readers: usize) -> Result<Opened, StoreError> {
    let doing = "connect to the database";
    let settings = Settings::new(config.clone(), tls.clone(), WRITES, replica.id());
    let writer = Connection::from(Postgres::connect(&settings).doing(doing)?);
    check_server(&writer)?;
    migrate(&writer)?;
    register(&writer, &replica)?;
    let reading = Settings::new(config, tls, READS, replica.id());
    let connect = |_| Postgres::connect(&reading).map(Connection::from).doing(doing);
    let readers = (0..readers).map(connect).collect::<Result<_, _>>()?;
    Ok(Opened { writer, readers, replica, settings })
}

/// Reads the address, and sees to it that nobody can listen on the way to the server unless the address allows it.
fn checked(url: &str) -> Result<postgres::Config, StoreError> {
    let mut config =
        postgres::Config::from_str(url).map_err(|e| StoreError::invalid("store.url", format!("is no address: {}", model::chain(&e))))?;
    let is_near = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    };
    if config.get_password().is_some() {
        return Err(StoreError::invalid(
            "store.url",
            "holds a password, which whoever reads the configuration sees: keep it in store.password_file",
        ));
    }
    if config.get_hosts().is_empty() {
        return Err(StoreError::invalid("store.url", "names no host"));
    }
    // A way over a network is encrypted unless the address says otherwise; one on this machine when it asks for it.
    let is_far = !config.get_hosts().iter().all(is_near);
    match config.get_ssl_mode() {
        SslMode::Prefer if is_far => {
            config.ssl_mode(SslMode::Require);
        }
        SslMode::Prefer => {
            config.ssl_mode(SslMode::Disable);
        }
        _ => {}
    }
    Ok(config)
}

fn check_server(conn: &Connection) -> Result<(), StoreError> {
    let sql = "SELECT current_setting('server_version_num'), current_setting('server_encoding')";
    let (version, encoding): (String, String) =
        conn.query_row(sql, [], |r| Ok((r.get(0)?, r.get(1)?))).doing("ask what the database is")?;
    if version.parse::<u32>().unwrap_or(0) < VERSION_MIN {
        return Err(StoreError::invalid("store.url", format!("leads to PostgreSQL {version}; {VERSION_MIN} is the oldest that will do")));
    }
    if encoding != "UTF8" {
        return Err(StoreError::invalid("store.url", format!("leads to a database with the encoding {encoding}, not UTF8")));
    }
    Ok(())
}
