//! Which commits of an agent somebody looked at: what is done after that is done with these, or not at all.

use store::BranchRow;

use super::forms::BranchView;

impl BranchView {
    /// The commits that it is at, as `expect` takes them: the commit, and for each repository beside the first one `,NAME=COMMIT`.
    /// `None` while nothing came home.
    #[must_use]
    pub fn seen(&self) -> Option<String> {
        let with = |seen: String, (name, tip): (&str, Option<&str>)| format!("{seen},{name}={}", tip.unwrap_or_default());
        Some(self.beside().fold(self.tip.clone()?, with))
    }

    /// Where it is elsewhere than it was seen, in words; `None` where it still is there. A commit alone is that of the first repository,
    /// and then the others may be anywhere.
    #[must_use]
    pub fn elsewhere(&self, seen: &str) -> Option<String> {
        elsewhere(&self.branch, self.tip.as_deref(), self.beside(), seen)
    }

    fn beside(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.also.iter().map(|other| (other.name.as_str(), other.tip.as_deref()))
    }
}

/// The same of a row.
pub(super) fn elsewhere_of(row: &BranchRow, seen: &str) -> Option<String> {
    let beside = row.also.iter().map(|other| (other.name.as_str(), other.tip.as_deref()));
    elsewhere(&row.name, row.home_tip.as_deref(), beside, seen)
}

fn elsewhere<'a>(
    branch: &str,
    tip: Option<&str>,
    mut beside: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    seen: &str,
) -> Option<String> {
    let differs = |place: String, at: Option<&str>, was: &str| {
        let is_there = at.unwrap_or_default() == was;
        (!is_there).then(|| format!("{branch}{place} is at {} and no longer at {}", at.unwrap_or("no commit"), was.escape_debug()))
    };
    let mut parts = seen.split(',');
    let first = differs(String::new(), tip, parts.next().unwrap_or_default());
    let mut named = parts.map(|part| part.split_once('=').unwrap_or((part, ""))).peekable();
    if first.is_some() || named.peek().is_none() {
        return first;
    }
    // One that was not looked at is not where it was looked at.
    let was: Vec<(&str, &str)> = named.collect();
    beside.find_map(|(name, at)| match was.iter().find(|(known, _)| *known == name) {
        Some((_, was)) => differs(format!(" in {name}"), at, was),
        None => Some(format!("{branch} in {name} was not looked at")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_of_every_repository_or_of_the_first_one() {
        let beside = || [("lib", Some("b")), ("docs", None)].into_iter();
        let at = |seen: &str| elsewhere("feat", Some("a"), beside(), seen);
        assert_eq!((at("a"), at("a,lib=b,docs="), at("a,docs=,lib=b")), (None, None, None));
        for (seen, says) in [
            ("c", "feat is at a and no longer at c"),
            ("c,lib=b,docs=", "feat is at a and no longer at c"),
            ("a,lib=c,docs=", "feat in lib is at b and no longer at c"),
            ("a,lib=b,docs=c", "feat in docs is at no commit and no longer at c"),
            ("a,lib=b", "feat in docs was not looked at"),
            ("a,", "feat in lib was not looked at"),
            ("", "feat is at a and no longer at "),
        ] {
            assert_eq!(at(seen).as_deref(), Some(says), "{seen}");
        }
        assert!(elsewhere("feat", None, std::iter::empty(), "a").is_some(), "nothing came home");
    }
}
