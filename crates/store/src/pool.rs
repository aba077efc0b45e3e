//! Shares of the sandboxes that are kept ready: all daemons of one database together keep no more than is asked for.
//!
//! A daemon asks before it makes any. Its row says how many it may have; that is lowered only to what it still has, so that
//! what the others get instead is never made before its own are gone. Rows of daemons that count as lost do not count.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::db::{Connection, params};
use crate::error::Doing;
use crate::row::int;
use crate::shared::CLOCK;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Profiles that one daemon may ask for at once.
const ASKS_MAX: usize = 10_000;

/// What a daemon is called that has the database for itself.
const ALONE: &str = "local";

/// What a daemon wants for one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolAsk {
    /// The profile.
    pub profile: String,
    /// How many all daemons together are to keep. With 0 this daemon takes no part.
    pub target: u64,
    /// How many this daemon has.
    pub held: u64,
}

/// A row, while it is thought about.
struct Share {
    replica: String,
    members: u64,
}

impl Store {
    /// How many sandboxes this daemon may keep ready, by profile. Where it is the only one, all that are asked for.
    ///
    /// # Errors
    /// [`StoreError::Limit`] for too many asks, or what the database said.
    pub async fn share_pool(&self, asks: Vec<PoolAsk>) -> Result<BTreeMap<String, u64>, StoreError> {
        if asks.len() > ASKS_MAX {
            return Err(StoreError::Limit { what: "profiles with a pool", max: ASKS_MAX as u64 });
        }
        let shared = self.shared().map(|shared| (shared.replica.clone(), shared.lost_after));
        let (own, after) = shared.unwrap_or_else(|| (ALONE.to_owned(), Duration::ZERO));
        let (read_own, read_asks) = (own.clone(), asks.clone());
        // Mostly nothing has changed: then nothing is written.
        let known = self.read(move |conn| shares_of(conn, &read_own, after, &read_asks, false)).await?;
        match known {
            Some(granted) => Ok(granted),
            None => {
                let granted = self.write(Kind::PoolShare, 0, move |conn| shares_of(conn, &own, after, &asks, true)).await?;
                Ok(granted.unwrap_or_default())
            }
        }
    }
}

/// The shares of one daemon; `None` when a row would have to change and must not.
fn shares_of(
    conn: &Connection,
    own: &str,
    lost_after: Duration,
    asks: &[PoolAsk],
    may_write: bool,
) -> Result<Option<BTreeMap<String, u64>>, StoreError> {
    let mut granted = BTreeMap::new();
    for ask in asks {
        let rows = alive(conn, &ask.profile, lost_after)?;
        let (grant, members) = fair(own, ask, &rows);
        let known = rows.iter().find(|row| row.replica == own).map(|row| row.members);
        if known != members {
            if !may_write {
                return Ok(None);
            }
            put(conn, own, &ask.profile, members)?;
        }
        granted.insert(ask.profile.clone(), grant);
    }
    Ok(Some(granted))
}

/// What a daemon may have now, and what its row says: none once it takes no part and has none.
fn fair(own: &str, ask: &PoolAsk, rows: &[Share]) -> (u64, Option<u64>) {
    if ask.target == 0 {
        return (0, (ask.held > 0).then_some(ask.held));
    }
    let others = rows.iter().filter(|row| row.replica != own);
    let taken: u64 = others.clone().map(|row| row.members).sum();
    let before = others.clone().filter(|row| row.replica.as_str() < own).count() as u64;
    let all = others.count() as u64 + 1;
    let even = ask.target / all + u64::from(before < ask.target % all);
    let grant = even.min(ask.target.saturating_sub(taken));
    (grant, Some(grant.max(ask.held)))
}

fn alive(conn: &Connection, profile: &str, lost_after: Duration) -> Result<Vec<Share>, StoreError> {
    let doing = "read the shares of the pool";
    let read = |r: &crate::db::Row<'_>| Ok(Share { replica: r.get("replica")?, members: r.get("members")? });
    if conn.postgres().is_none() {
        let sql = "SELECT replica, members FROM pool_shares WHERE profile = ?1 AND replica = ?2";
        let mut statement = conn.prepare_cached(sql).doing(doing)?;
        let rows = statement.query_map((profile, ALONE), read).doing(doing)?;
        return rows.collect::<crate::db::Result<_>>().doing(doing);
    }
    let sql = format!(
        "SELECT s.replica AS replica, s.members AS members FROM pool_shares s JOIN replicas r ON r.id = s.replica
         WHERE s.profile = ?1 AND r.heartbeat_ms > {CLOCK} - ?2 ORDER BY s.replica"
    );
    let after = int("limit", u64::try_from(lost_after.as_millis()).unwrap_or(u64::MAX))?;
    let mut statement = conn.prepare_cached(&sql).doing(doing)?;
    let rows =
        statement.query_map((profile, after), |r| Ok(Share { replica: r.get("replica")?, members: r.get("members")? })).doing(doing)?;
    rows.collect::<crate::db::Result<_>>().doing(doing)
}

fn put(conn: &Connection, own: &str, profile: &str, members: Option<u64>) -> Result<(), StoreError> {
    let doing = "share the pool";
    let Some(members) = members else {
        let sql = "DELETE FROM pool_shares WHERE profile = ?1 AND replica = ?2";
        return conn.prepare_cached(sql).and_then(|mut s| s.execute((profile, own))).doing(doing).map(drop);
    };
    let sql = "INSERT INTO pool_shares (profile, replica, members) VALUES (?1, ?2, ?3)
               ON CONFLICT (profile, replica) DO UPDATE SET members = excluded.members";
    let with = params![profile, own, int("members", members)?];
    conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing(doing).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Daemons that come, ask in any order, and go: together they never have more than the target, and in the end as many.
    #[test]
    fn all_daemons_together_never_have_more_than_the_target() {
        for target in [0u64, 1, 2, 3, 7, 50] {
            let names = ["a", "b", "c", "d"];
            let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
            let mut held: BTreeMap<&str, u64> = BTreeMap::new();
            // A fixed order that is none: steps of a linear generator.
            let mut seed = 7u64 + target;
            for step in 0..400 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let own = names[usize::try_from(seed >> 33).expect("small") % if step < 100 { 2 } else { 4 }];
                let ask = PoolAsk { profile: "p".into(), target, held: held.get(own).copied().unwrap_or(0) };
                let all: Vec<Share> =
                    rows.iter().map(|(replica, members)| Share { replica: (*replica).into(), members: *members }).collect();
                let (grant, members) = fair(own, &ask, &all);
                match members {
                    Some(members) => rows.insert(own, members),
                    None => rows.remove(own),
                };
                // It makes what it may, or ends what it may not have; the row is lowered only by the next ask.
                held.insert(own, grant);
                assert!(held.values().sum::<u64>() <= target, "step {step}: {held:?} of {target}");
            }
            assert_eq!(held.values().sum::<u64>(), target, "{held:?}");
        }
    }
}
