//! The head of a `SKILL.md`: the few lines of it that mean something here.
//!
//! The head is YAML in general. Only what names and describes a skill is read, in the forms in which people write it: a plain
//! or quoted value, or a block. Whatever else stands there is the engine's, and its keys are told to whoever approves.

use model::{Code, Failure};

/// The longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 1024;
/// Lines of a head.
const LINES_MAX: usize = 200;

/// What stands in the head of a skill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Front {
    pub(super) name: String,
    pub(super) description: String,
    /// Further keys of the outermost level, with their lines.
    pub(super) others: Vec<(String, u32)>,
}

fn wrong(why: impl Into<String>) -> Failure {
    Failure::new(Code::SkillInvalid, why).hint("SKILL.md begins with `---`, lines `name: NAME` and `description: TEXT`, and `---`")
}

impl Front {
    /// Reads the head of a text.
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines();
        if lines.next().map(str::trim_end) != Some("---") {
            return Err(wrong("SKILL.md has no head"));
        }
        let head: Vec<&str> = lines.by_ref().take(LINES_MAX).take_while(|line| line.trim_end() != "---").collect();
        if head.len() >= LINES_MAX || !text.lines().skip(1 + head.len()).any(|line| line.trim_end() == "---") {
            return Err(wrong("the head of SKILL.md has no end"));
        }
        let (mut name, mut description, mut others) = (None, None, Vec::new());
        let mut at = 0;
        while at < head.len() {
            let (line, n) = (head[at], u32::try_from(at + 2).unwrap_or(u32::MAX));
            at += 1;
            let is_inner = line.starts_with([' ', '\t', '-', '#']) || line.trim().is_empty();
            let Some((key, rest)) = line.split_once(':').filter(|_| !is_inner) else { continue };
            let place = match key.trim() {
                "name" => &mut name,
                "description" => &mut description,
                other => {
                    others.push((other.chars().take(64).collect(), n));
                    continue;
                }
            };
            let inner: Vec<&str> = head[at..].iter().take_while(|l| l.starts_with([' ', '\t']) || l.trim().is_empty()).copied().collect();
            if place.replace(value(rest.trim(), &inner)?).is_some() {
                return Err(wrong(format!("`{}` stands twice in the head of SKILL.md", key.trim())));
            }
        }
        let name = name.unwrap_or_default();
        if !model::is_name(&name) {
            let shown: String = name.escape_debug().take(80).collect();
            return Err(wrong(format!("`{shown}` is not a skill's name: small letters, digits and `-`, at most 63")));
        }
        let description = description.unwrap_or_default();
        if description.is_empty() || description.chars().count() > DESCRIPTION_CHARS_MAX {
            return Err(wrong(format!("the description has not 1 to {DESCRIPTION_CHARS_MAX} characters")));
        }
        Ok(Self { name, description, others })
    }
}

/// A value as it was written after the colon, or as a block below it.
fn value(text: &str, inner: &[&str]) -> Result<String, Failure> {
    let block = || inner.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned();
    let folded = |more: String| if more.is_empty() { String::new() } else { format!(" {more}") };
    match text.chars().next() {
        Some('|' | '>') if text.len() <= 3 => Ok(block()),
        Some('"') => match serde_json::from_str(text) {
            Ok(text) => Ok(text),
            Err(_) => Err(wrong("a quoted value in the head of SKILL.md is not closed on its line")),
        },
        Some('\'') => match text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')).filter(|_| text.len() > 1) {
            Some(text) => Ok(text.replace("''", "'")),
            None => Err(wrong("a quoted value in the head of SKILL.md is not closed on its line")),
        },
        Some('[' | '{' | '&' | '*' | '!') => Err(wrong("a name or description in the head of SKILL.md is no text")),
        _ => {
            let plain = text.split(" #").next().unwrap_or(text).trim();
            Ok(format!("{plain}{}", folded(block())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<(String, String), String> {
        Front::read(&format!("---\n{head}\n---\n# Text\n")).map(|f| (f.name, f.description)).map_err(|f| f.message)
    }

    #[test]
    fn heads_as_people_write_them() {
        let is = |name: &str, about: &str| Ok((name.to_owned(), about.to_owned()));
        assert_eq!(read("name: pdf\ndescription: Reads files."), is("pdf", "Reads files."));
        assert_eq!(read("description: \"It says: \\\"x\\\"\"\nname: 'pdf-2'"), is("pdf-2", "It says: \"x\""));
        assert_eq!(read("name: a\ndescription: >\n  one\n  two\n\nlicense: MIT"), is("a", "one two"));
        assert_eq!(read("name: a # the name\ndescription: one\n  two"), is("a", "one two"));
        let front = Front::read("---\nname: a\nhooks:\n  PreToolUse: x\ndescription: b\nallowed-tools: [Bash]\n---\n").unwrap();
        assert_eq!(front.others, [("hooks".to_owned(), 3), ("allowed-tools".to_owned(), 6)]);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for head in [
            "", "name: a", "description: b", "name: A\ndescription: b", "name: ../a\ndescription: b", "name: a\nname: b\ndescription: c",
            "name: a\ndescription: \"b", "name: a\ndescription: [b]", "name: &x a\ndescription: b", "  name: a\n  description: b",
        ] {
            assert!(read(head).is_err(), "{head}");
        }
        assert!(Front::read("name: a\ndescription: b\n").is_err());
        assert!(Front::read("---\nname: a\ndescription: b\n").is_err(), "no end");
        assert!(read(&format!("name: a\ndescription: {}", "x".repeat(1025))).is_err());
        assert!(Front::read(&format!("---\n{}---\n", "x: y\n".repeat(300))).is_err());
    }
}
