//! The reference page of the configuration, from the doc comments of the structs that read it.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context, Result};

use crate::run;

/// A struct of the configuration and where it stands.
const ROOT: (&str, &str) = ("crates/cli/src/config.rs", "Config");
/// What one provider's table may hold; it is the gateway's.
const PROVIDER: (&str, &str) = ("crates/gateway/src/config.rs", "ProviderConfig");
/// The one file that reads the environment.
const ENVIRONMENT: &str = "crates/cli/src/env.rs";

/// One field of a struct.
#[derive(Debug, PartialEq, Eq)]
struct Field {
    name: String,
    kind: String,
    doc: String,
}

/// The whole page.
pub(crate) fn page() -> Result<String> {
    let mut page =
        "# Configuration\n\nThe file `config.toml` in the home. Unknown keys are refused. `lazaret config show` prints what is in force, \
                    defaults included. Made by `cargo xtask docs`.\n\n| key | meaning |\n|---|---|\n"
            .to_owned();
    let source = run::read(Path::new(ROOT.0))?;
    rows(&source, ROOT.1, "", &mut page)?;
    page.push_str("\n## Environment\n\n| variable | meaning |\n|---|---|\n");
    for line in run::read(Path::new(ENVIRONMENT))?.lines().filter_map(|line| line.trim_start().strip_prefix("/// `")) {
        if let Some((name, rest)) = line.split_once('`').filter(|(name, _)| name.starts_with("LAZARET_")) {
            let meaning = capitalised(rest.trim_start_matches([':', ',', ' ']));
            // Writing to a String cannot fail.
            let _ = writeln!(page, "| `{name}` | {meaning} |");
        }
    }
    Ok(page)
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A row for each key of a struct, those of the structs in it included.
fn rows(source: &str, name: &str, prefix: &str, page: &mut String) -> Result<()> {
    for field in fields(source, name)? {
        let key = format!("{prefix}{}", field.name);
        if field.name == "providers" {
            rows(&run::read(Path::new(PROVIDER.0))?, PROVIDER.1, "providers.NAME.", page)?;
        } else if field.kind.chars().all(char::is_alphanumeric) && source.contains(&format!("struct {} {{", field.kind)) {
            rows(source, &field.kind, &format!("{key}."), page)?;
        } else {
            let _ = writeln!(page, "| `{key}` | {} |", field.doc);
        }
    }
    Ok(())
}

/// The fields of a struct with their doc comments.
fn fields(source: &str, name: &str) -> Result<Vec<Field>> {
    let head = format!("struct {name} {{\n");
    let (_, body) = source.split_once(&head).with_context(|| format!("there is no struct {name}"))?;
    let (body, _) = body.split_once("\n}").with_context(|| format!("struct {name} has no end"))?;
    let mut found = Vec::new();
    let mut doc = String::new();
    for line in body.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("///") {
            doc.push_str(more);
        } else if let Some((name, kind)) = line.split_once(": ").filter(|_| line.starts_with("pub")) {
            let name = name.rsplit(' ').next().unwrap_or(name);
            found.push(Field { name: name.to_owned(), kind: kind.trim_end_matches(',').to_owned(), doc: doc.trim().to_owned() });
            doc.clear();
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_with_their_docs() {
        let source =
            "pub(crate) struct A {\n    /// One\n    /// thing.\n    #[serde(default)]\n    pub(crate) b: Option<u8>,\n    pub c: B,\n}\n";
        let field = |name: &str, kind: &str, doc: &str| Field { name: name.into(), kind: kind.into(), doc: doc.into() };
        assert_eq!(fields(source, "A").expect("a struct"), [field("b", "Option<u8>", "One thing."), field("c", "B", "")]);
        assert!(fields(source, "X").is_err());
    }
}
