//! Who may depend on whom, and on what from outside.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Problems;
use crate::metadata::{self, Package};

/// Every crate of the workspace and the crates of it that it may depend on. There are no exemptions: a change here is a
/// change of the architecture, and ARCHITECTURE.md's code map changes with it.
pub(crate) const MAY_USE: &[(&str, &[&str])] = &[
    ("lazaret-model", &[]),
    ("lazaret-wire", &[]),
    ("lazaret-jail", &[]),
    ("lazaret-guest", &["lazaret-wire", "lazaret-jail"]),
    ("lazaret-sandbox", &["lazaret-model", "lazaret-wire", "lazaret-jail"]),
    ("lazaret-sanitize", &[]),
    ("lazaret-store", &["lazaret-model"]),
    ("lazaret-engines", &["lazaret-model"]),
    ("lazaret-gateway", &["lazaret-model", "lazaret-sanitize"]),
    ("lazaret-broker", &["lazaret-model", "lazaret-wire", "lazaret-sanitize"]),
    ("lazaret-plugins", &[]),
    ("lazaret-channels", &["lazaret-model", "lazaret-wire"]),
    ("lazaret-profiles", &["lazaret-model"]),
    (
        "lazaret-app",
        &[
            "lazaret-model", "lazaret-wire", "lazaret-store", "lazaret-engines", "lazaret-gateway", "lazaret-sandbox", "lazaret-sanitize",
            "lazaret-broker", "lazaret-profiles",
        ],
    ),
    ("lazaret-api", &["lazaret-model", "lazaret-app"]),
    (
        "lazaret-cli",
        &[
            "lazaret-model", "lazaret-wire", "lazaret-jail", "lazaret-sandbox", "lazaret-store", "lazaret-engines", "lazaret-gateway",
            "lazaret-app", "lazaret-api", "lazaret-plugins",
        ],
    ),
    ("lazaret-testkit", &["lazaret-model", "lazaret-wire", "lazaret-jail", "lazaret-gateway"]),
    (
        "lazaret-benches",
        &[
            "lazaret-model", "lazaret-wire", "lazaret-jail", "lazaret-sandbox", "lazaret-store", "lazaret-gateway", "lazaret-sanitize",
            "lazaret-broker", "lazaret-testkit",
        ],
    ),
    (
        "lazaret-fuzz",
        &[
            "lazaret-model", "lazaret-wire", "lazaret-engines", "lazaret-gateway", "lazaret-sandbox", "lazaret-sanitize", "lazaret-broker",
            "lazaret-channels", "lazaret-app",
        ],
    ),
    ("xtask", &["lazaret-model"]),
];

/// Outside crates that only one crate of the workspace may ask for.
const OWNED: &[(&str, &str, &str)] = &[
    ("rusqlite", "lazaret-store", "SQL lives in the store"),
    ("postgres", "lazaret-store", "SQL lives in the store"),
    ("aes-gcm", "lazaret-store", "secrets at rest live in the store"),
    ("minijinja", "lazaret-profiles", "templates are rendered in profiles"),
    ("axum", "lazaret-api", "HTTP routes live in the api"),
    ("clap", "lazaret-cli", "the command line lives in the cli"),
    ("ratatui", "lazaret-cli", "the board is a part of the command line"),
];

/// Who may ask for them besides: what is measured as a peer speaks to it in its own words.
const PEERS: &[(&str, &str)] = &[("postgres", "lazaret-benches")];

/// Crates that no build may contain.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-sys", "rustls is used with ring"),
    ("aws-lc-rs", "rustls is used with ring"),
    ("openssl-sys", "TLS is rustls"),
    ("native-tls", "TLS is rustls"),
    ("async-std", "the runtime is tokio"),
];

/// Crates of which a build may contain one version only.
const ONE_VERSION: &[&str] = &["ring", "rustls", "rustls-webpki", "tokio-rustls", "hyper-rustls", "hyper", "tokio", "serde_json"];

/// How many crates a build for Linux may consist of. Raise it in the commit that adds one and says what it is for.
const PACKAGES_MAX: usize = 360;

/// Licences that may be linked into what we ship. An expression passes when one of its alternatives, or all of its
/// joint parts, are here.
const LICENCES: &[&str] = &[
    "MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "0BSD", "Unicode-3.0", "CC0-1.0",
    "Unlicense", "CDLA-Permissive-2.0", "MIT-0", "BSL-1.0",
];

pub(crate) fn check(problems: &mut Problems) -> Result<()> {
    let members = metadata::members()?;
    table(&members, problems);
    outside(&metadata::linux()?, problems);
    Ok(())
}

fn table(members: &[Package], problems: &mut Problems) {
    for package in members {
        let Some((_, may)) = MAY_USE.iter().find(|(name, _)| *name == package.name) else {
            problems.push(format!("{}: not in the dependency table of xtask/src/tidy/crates.rs", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let allowed = may.contains(&name) || (dependency.is_dev && matches!(name, "lazaret-testkit"));
            if dependency.is_internal && !allowed {
                problems.push(format!("{}: may not depend on {name} (dependency table of ARCHITECTURE.md)", package.name));
            }
            if let Some((_, owner, why)) = OWNED.iter().find(|(owned, ..)| *owned == name)
                && package.name != *owner
                && !PEERS.contains(&(name, package.name.as_str()))
            {
                problems.push(format!("{}: may not depend on {name}: {why}", package.name));
            }
        }
    }
    for (name, _) in MAY_USE {
        if !members.iter().any(|p| p.name == *name) {
            problems.push(format!("{name}: in the dependency table but not in the workspace"));
        }
    }
}

fn outside(packages: &[Package], problems: &mut Problems) {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
        match package.license.as_deref() {
            Some(licence) if is_allowed(licence) => (),
            Some(licence) => problems.push(format!("{} {}: licence `{licence}` is not on the list", package.name, package.version)),
            None => problems.push(format!("{} {}: has no licence", package.name, package.version)),
        }
    }
    for (name, instead) in BANNED {
        if versions.contains_key(name) {
            problems.push(format!("{name} is in the build: {instead}; find who asks for it with `cargo tree -i {name}`"));
        }
    }
    for name in ONE_VERSION {
        if let Some(found) = versions.get(name).filter(|found| found.len() > 1) {
            problems.push(format!("{name} is in the build in several versions: {}", found.join(", ")));
        }
    }
    if packages.len() > PACKAGES_MAX {
        problems.push(format!("a build for Linux has {} crates, the limit is {PACKAGES_MAX}", packages.len()));
    }
}

/// Reads an SPDX expression: `OR` binds weaker than `AND`; the old `/` means `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    alternatives(&mut rest) && rest.is_empty()
}

fn alternatives(rest: &mut &[&str]) -> bool {
    let mut passes = joint(rest);
    while let ["OR", after @ ..] = *rest {
        *rest = after;
        // Both sides are read whatever the first one says: `|` and not `||`.
        passes |= joint(rest);
    }
    passes
}

fn joint(rest: &mut &[&str]) -> bool {
    let mut passes = single(rest);
    while let ["AND", after @ ..] = *rest {
        *rest = after;
        passes &= single(rest);
    }
    passes
}

fn single(rest: &mut &[&str]) -> bool {
    match *rest {
        ["(", after @ ..] => {
            *rest = after;
            let passes = alternatives(rest);
            let closed = rest.first() == Some(&")");
            *rest = rest.get(1..).unwrap_or_default();
            passes && closed
        }
        [name, "WITH", exception, after @ ..] => {
            *rest = after;
            LICENCES.contains(&format!("{name} WITH {exception}").as_str())
        }
        [name, after @ ..] => {
            *rest = after;
            LICENCES.contains(name)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn package(name: &str, dependency: &str, is_dev: bool) -> Package {
        let dependency = Dependency { name: dependency.to_owned(), is_internal: dependency.starts_with("lazaret-"), is_dev };
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: Some("MIT".to_owned()),
            dir: "x".into(),
            dependencies: vec![dependency],
            targets: Vec::new(),
        }
    }

    fn table_says(name: &str, dependency: &str, is_dev: bool) -> bool {
        let mut problems = Problems::new();
        table(&[package(name, dependency, is_dev)], &mut problems);
        !problems.iter().any(|p| p.starts_with(&format!("{name}: may not")))
    }

    #[test]
    fn the_table_refuses_what_it_does_not_list() {
        assert!(table_says("lazaret-guest", "lazaret-wire", false));
        assert!(!table_says("lazaret-guest", "lazaret-store", false));
        assert!(!table_says("lazaret-guest", "lazaret-store", true));
        assert!(table_says("lazaret-store", "lazaret-testkit", true));
        assert!(!table_says("lazaret-store", "lazaret-testkit", false));
        assert!(table_says("lazaret-store", "rusqlite", false));
        assert!(!table_says("lazaret-app", "rusqlite", false));
    }

    #[test]
    fn the_table_has_no_cycle() {
        fn reaches(from: &str, to: &str, depth: usize) -> bool {
            assert!(depth <= MAY_USE.len(), "a cycle through {from}");
            let next = MAY_USE.iter().find(|(name, _)| *name == from).map_or(&[][..], |(_, may)| may);
            next.iter().any(|n| *n == to || reaches(n, to, depth + 1))
        }
        for (name, _) in MAY_USE {
            assert!(!reaches(name, name, 0), "{name} may use itself");
        }
    }

    #[test]
    fn builds_with_banned_doubled_or_unlicensed_crates_are_refused() {
        let problems_of = |packages: &[Package]| {
            let mut problems = Problems::new();
            outside(packages, &mut problems);
            problems.len()
        };
        assert_eq!(problems_of(&[package("ring", "x", false)]), 0);
        assert_eq!(problems_of(&[package("ring", "x", false), package("ring", "x", false)]), 1);
        assert_eq!(problems_of(&[package("native-tls", "x", false)]), 1);
        assert_eq!(problems_of(&[Package { license: None, ..package("a", "x", false) }]), 1);
        assert_eq!(problems_of(&[Package { license: Some("GPL-3.0".to_owned()), ..package("a", "x", false) }]), 1);
        assert_eq!(problems_of(&(0..=PACKAGES_MAX).map(|i| package(&format!("p{i}"), "x", false)).collect::<Vec<_>>()), 1);
    }

    #[test]
    fn licence_expressions() {
        for good in
            ["MIT", "MIT OR GPL-3.0", "Apache-2.0/MIT", "Apache-2.0 AND ISC", "(MIT OR Apache-2.0) AND Unicode-3.0", "(Apache-2.0 OR MIT)"]
        {
            assert!(is_allowed(good), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", ""] {
            assert!(!is_allowed(bad), "{bad}");
        }
    }
}
