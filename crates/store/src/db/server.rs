//! A connection to a PostgreSQL server.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use postgres::SimpleQueryMessage;

use super::tls::Tls;
use super::value::Passed;
use super::{DbError, Params, Result, dialect};
use crate::shared::{Change, Topic};

/// Where daemons tell each other what they changed.
pub(crate) const CHANNEL: &str = "lazaret";
/// The longest message, in bytes; the server takes up to 8000.
const NOTICE_BYTES_MAX: usize = 7000;

/// Prepared statements kept per connection; beyond it the one goes that was prepared first.
const STATEMENTS_KEPT: usize = 256;
/// How long a connection may take to be made.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// After how long a server that does not answer on the network counts as gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Where the server is and how it is spoken to.
#[derive(Clone)]
pub(crate) struct Settings {
    config: postgres::Config,
    /// How it is encrypted; `None` for a way that stays on this machine.
    tls: Option<Tls>,
    /// What is said first on a new connection.
    greeting: &'static str,
    /// Who this daemon is to the others.
    replica: String,
}

/// A statement that the server knows.
pub(crate) struct Prepared {
    statement: postgres::Statement,
    places: Vec<usize>,
    values: usize,
}

/// A connection, made anew when it is lost.
pub(crate) struct Postgres {
    settings: Settings,
    client: RefCell<postgres::Client>,
    statements: RefCell<Statements>,
    is_in_transaction: Cell<bool>,
    /// What the transaction changed that other daemons should hear of.
    notes: RefCell<Vec<String>>,
}

#[derive(Default)]
struct Statements {
    known: HashMap<String, Arc<Prepared>>,
    order: VecDeque<String>,
}

impl Postgres {
    /// Connects. Blocks, and must not be called on a thread of an async runtime.
    pub(crate) fn connect(settings: &Settings) -> Result<Self> {
        let client = settings.client()?;
        Ok(Self {
            settings: settings.clone(),
            client: RefCell::new(client),
            statements: RefCell::default(),
            is_in_transaction: Cell::new(false),
            notes: RefCell::default(),
        })
    }

    /// Connects again where the connection was lost.
    pub(crate) fn revive(&self) -> Result<()> {
        if self.is_lost() {
            let client = self.settings.client()?;
            *self.statements.borrow_mut() = Statements::default();
            self.is_in_transaction.set(false);
            *self.client.borrow_mut() = client;
        }
        Ok(())
    }

    /// Whether nothing can be asked over it any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.client.borrow().is_closed()
    }

    /// Whether a transaction is open. A failed one is until it is rolled back; one whose connection is lost is not.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.is_in_transaction.get() && !self.is_lost()
    }

    /// Notes that what was just said began a transaction or ended it.
    pub(crate) fn set_in_transaction(&self, is_open: bool) {
        self.is_in_transaction.set(is_open);
    }

    /// Runs statements without values. Returns the first column of the last row that they gave.
    pub(crate) fn ask(&self, sql: &str) -> Result<Option<String>> {
        let messages = self.client.borrow_mut().simple_query(sql)?;
        let rows = messages.into_iter().filter_map(|m| if let SimpleQueryMessage::Row(row) = m { Some(row) } else { None });
        Ok(rows.last().and_then(|row| row.get(0).map(str::to_owned)))
    }

    /// Who this daemon is to the others.
    pub(crate) fn replica(&self) -> &str {
        &self.settings.replica
    }

    /// Notes something that other daemons should hear of when the transaction stands.
    pub(crate) fn note(&self, word: String) {
        let mut notes = self.notes.borrow_mut();
        if !notes.contains(&word) {
            notes.push(word);
        }
    }

    /// How much is noted.
    pub(crate) fn noted(&self) -> usize {
        self.notes.borrow().len()
    }

    /// Forgets what was noted after the first `count`.
    pub(crate) fn unnote(&self, count: usize) {
        self.notes.borrow_mut().truncate(count);
    }

    /// The statements that tell the others what was noted, and of these topics, with the end of the transaction.
    pub(crate) fn notices(&self, topics: impl Iterator<Item = Topic>) -> String {
        topics.for_each(|topic| self.note(Change::Topic(topic).word()));
        let mut sql = String::new();
        let mut message = String::new();
        let tell = |message: &mut String, sql: &mut String| {
            if !message.is_empty() {
                sql.push_str(&format!("SELECT pg_notify('{CHANNEL}', '{}{message}'); ", self.settings.replica));
                message.clear();
            }
        };
        for word in self.notes.borrow_mut().drain(..) {
            if message.len() + word.len() > NOTICE_BYTES_MAX {
                tell(&mut message, &mut sql);
            }
            message.push(' ');
            message.push_str(&word);
        }
        tell(&mut message, &mut sql);
        sql
    }

    pub(super) fn prepare(&self, sql: &str) -> Result<Arc<Prepared>> {
        if let Some(known) = self.statements.borrow().known.get(sql) {
            return Ok(Arc::clone(known));
        }
        let dialect::Translated { sql: translated, places, values } = dialect::statement(sql);
        let statement = self.client.borrow_mut().prepare(&translated)?;
        let prepared = Arc::new(Prepared { statement, places, values });
        let mut statements = self.statements.borrow_mut();
        if statements.order.len() >= STATEMENTS_KEPT
            && let Some(first) = statements.order.pop_front()
        {
            statements.known.remove(&first);
        }
        statements.order.push_back(sql.to_owned());
        statements.known.insert(sql.to_owned(), Arc::clone(&prepared));
        Ok(prepared)
    }

    pub(super) fn execute<P: Params>(&self, prepared: &Prepared, params: P) -> Result<usize> {
        let values = collect(prepared, params)?;
        let changed = self.client.borrow_mut().execute(&prepared.statement, &at_places(prepared, &values))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(super) fn query<P: Params>(&self, prepared: &Prepared, params: P) -> Result<Vec<postgres::Row>> {
        let values = collect(prepared, params)?;
        Ok(self.client.borrow_mut().query(&prepared.statement, &at_places(prepared, &values))?)
    }

    pub(super) fn batch(&self, sql: &str) -> Result<()> {
        Ok(self.client.borrow_mut().batch_execute(sql)?)
    }
}

impl Settings {
    /// A server by its address.
    pub(crate) fn new(config: postgres::Config, tls: Option<Tls>, greeting: &'static str, replica: &str) -> Self {
        Self { config, tls, greeting, replica: replica.to_owned() }
    }

    /// One more connection.
    pub(crate) fn client(&self) -> std::result::Result<postgres::Client, postgres::Error> {
        let mut config = self.config.clone();
        config.application_name("lazaret").connect_timeout(CONNECT_WAIT).tcp_user_timeout(SILENCE_MAX).keepalives_idle(SILENCE_MAX);
        let mut client = match &self.tls {
            Some(tls) => config.connect(tls.clone())?,
            None => config.connect(postgres::NoTls)?,
        };
        client.batch_execute(self.greeting)?;
        Ok(client)
    }
}

fn collect<P: Params>(prepared: &Prepared, params: P) -> Result<Vec<Passed>> {
    let mut values = Vec::with_capacity(prepared.values);
    params.each(&mut |value| {
        values.push(Passed::new(value)?);
        Ok(())
    })?;
    if values.len() == prepared.values {
        return Ok(values);
    }
    Err(DbError::Statement(format!("{} values were given for the {} of a statement", values.len(), prepared.values)))
}

fn at_places<'v>(prepared: &Prepared, values: &'v [Passed]) -> Vec<&'v (dyn postgres::types::ToSql + Sync)> {
    prepared.places.iter().map(|place| &values[*place] as &(dyn postgres::types::ToSql + Sync)).collect()
}
