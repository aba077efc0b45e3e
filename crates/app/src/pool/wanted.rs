//! For whom members are kept, and how many: what the profiles say, within what one tenant may have.

use std::collections::BTreeMap;
use std::fmt;

use model::Failure;
use profiles::{ConfigKind, Profile};

use super::{POOL_SIZE_MAX, POOL_TENANTS_MAX};
use crate::{App, Caller, OWN_TENANT};

/// Whose profile something is kept for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kept {
    pub(crate) tenant: String,
    pub(crate) profile: String,
}

impl Kept {
    pub(super) fn caller(&self) -> Caller {
        if self.tenant == OWN_TENANT { Caller::OWNER } else { Caller { tenant: Some(self.tenant.clone()) } }
    }
}

impl fmt::Display for Kept {
    /// The profile, behind its tenant where that is not the owner's. No name has a slash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tenant == OWN_TENANT { f.write_str(&self.profile) } else { write!(f, "{}/{}", self.tenant, self.profile) }
    }
}

impl App {
    /// How many members each profile is to have on all daemons together; those without any are left out. The owner's are as
    /// they say; every other tenant has what the configuration grants it, and all of those together no more than is ever
    /// kept for tenants.
    pub(super) async fn wanted(&self) -> Result<BTreeMap<Kept, usize>, Failure> {
        let settings = self.settings().pool;
        let own = |profile: String| Kept { tenant: OWN_TENANT.to_owned(), profile };
        let size = |(name, size): (String, Option<usize>)| {
            let size = size.unwrap_or(if name == crate::jobs::DEFAULT_PROFILE { settings.size } else { 0 });
            (own(name), size.min(POOL_SIZE_MAX))
        };
        let mut wanted: BTreeMap<Kept, usize> = self.configs_of(&Caller::OWNER).pool_sizes().await?.into_iter().map(size).collect();
        if settings.tenant_size > 0 {
            let kind = ConfigKind::Profile.as_str();
            let rows = self.store().configs_of_others(OWN_TENANT, kind, "pool").await.map_err(|e| e.failure())?;
            let asked = rows.into_iter().filter_map(|row| {
                let size = Profile::parse(&row.content).ok()?.profile.pool_size?;
                Some((Kept { tenant: row.key.tenant, profile: row.key.name }, size))
            });
            wanted.extend(shared_out(asked.collect(), settings.tenant_size, POOL_TENANTS_MAX));
        }
        wanted.retain(|_, size| *size > 0);
        Ok(wanted)
    }
}

/// What of this everybody gets: each tenant at most `each`, all together at most `all`. One after the other gets one more,
/// so that who asks for much takes nothing from who asks for little.
fn shared_out(mut asked: Vec<(Kept, usize)>, each: usize, all: usize) -> BTreeMap<Kept, usize> {
    let (mut granted, mut of_tenant, mut left) = (BTreeMap::<Kept, usize>::new(), BTreeMap::<String, usize>::new(), all);
    for _ in 0..each {
        // In each round a tenant gets one, for the profile of its own that has the fewest.
        let mut round = std::collections::BTreeSet::new();
        asked.sort_by_key(|(kept, _)| (granted.get(kept).copied().unwrap_or(0), kept.clone()));
        for (kept, size) in &asked {
            let has = granted.get(kept).copied().unwrap_or(0);
            let of = of_tenant.entry(kept.tenant.clone()).or_default();
            if left == 0 || has >= *size || *of >= each || !round.insert(kept.tenant.clone()) {
                continue;
            }
            *granted.entry(kept.clone()).or_default() += 1;
            *of += 1;
            left -= 1;
        }
    }
    granted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(asked: &[(&str, &str, usize)], each: usize, all: usize) -> Vec<(String, usize)> {
        let kept = |tenant: &str, profile: &str| Kept { tenant: tenant.to_owned(), profile: profile.to_owned() };
        let asked = asked.iter().map(|(tenant, profile, size)| (kept(tenant, profile), *size)).collect();
        shared_out(asked, each, all).into_iter().map(|(kept, size)| (kept.to_string(), size)).collect()
    }

    fn is(got: Vec<(String, usize)>, wanted: &[(&str, usize)]) {
        assert_eq!(got, wanted.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect::<Vec<_>>());
    }

    #[test]
    fn who_asks_for_much_takes_nothing_from_the_others() {
        is(shares(&[], 2, 10), &[]);
        is(shares(&[("a", "x", 50), ("b", "x", 1)], 2, 10), &[("a/x", 2), ("b/x", 1)]);
        is(shares(&[("a", "x", 50), ("a", "y", 50), ("b", "x", 1)], 3, 10), &[("a/x", 2), ("a/y", 1), ("b/x", 1)]);
        is(shares(&[("a", "x", 50), ("b", "x", 50), ("c", "x", 50)], 50, 4), &[("a/x", 2), ("b/x", 1), ("c/x", 1)]);
        is(shares(&[("a", "x", 50)], 0, 10), &[]);
        is(shares(&[("a", "x", 0)], 5, 10), &[]);
    }

    #[test]
    fn the_owners_profiles_are_named_as_they_are() {
        assert_eq!(Kept { tenant: OWN_TENANT.to_owned(), profile: "x".to_owned() }.to_string(), "x");
    }
}
