//! Folders of the mailbox: finding them, and filing into them.

use super::imap::{Imap, Word};
use crate::tool::ToolError;

/// The folder that the owner names, else the one that the server marks for the purpose, else one of the usual name.
pub(super) async fn folder(imap: &mut Imap, named: Option<&str>, mark: &str, usual: &str) -> Result<String, ToolError> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let answers = imap.command(&[Word::raw("LIST \"\" \"*\"")]).await?;
    for answer in &answers {
        let Some((flags, name)) = answer.text.strip_prefix("* LIST (").and_then(|rest| rest.split_once(')')) else { continue };
        if flags.split(' ').any(|flag| flag.eq_ignore_ascii_case(mark))
            && let Some(name) = name_of(name.trim_start())
        {
            return Ok(name);
        }
    }
    Ok(usual.to_owned())
}

/// The name in the rest of a `LIST` answer: what stands after the separator. One in another spelling is not guessed.
fn name_of(rest: &str) -> Option<String> {
    let (_, name) = rest.split_once(' ')?;
    let name = match name.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => name.to_owned(),
    };
    // `&` begins another script's letters, which are written anew when the name is used.
    (!name.is_empty() && !name.contains('&') && !name.chars().any(char::is_control)).then_some(name)
}

/// Whether a folder has a mail of this message id. A folder that is not there has none.
pub(super) async fn has(imap: &mut Imap, folder: &str, id: &str) -> Result<bool, ToolError> {
    match imap.examine(folder).await {
        Ok(()) => (),
        Err(ToolError::NotFound(_)) => return Ok(false),
        Err(error) => return Err(error),
    }
    let found = imap.search(&[Word::raw("UID SEARCH HEADER Message-ID"), Word::text(id.trim_matches(['<', '>']))?]).await?;
    Ok(!found.is_empty())
}

/// Files a mail. A folder that is not there is made.
pub(super) async fn append(imap: &mut Imap, folder: &str, flags: &str, mail: &str) -> Result<(), ToolError> {
    let words = [Word::raw("APPEND"), Word::folder(folder)?, Word::raw(format!("({flags})"))];
    match imap.command_with(&words, mail).await {
        Err(ToolError::Remote(why)) if why.to_ascii_uppercase().contains("[TRYCREATE]") => {
            imap.command(&[Word::raw("CREATE"), Word::folder(folder)?]).await?;
            imap.command_with(&words, mail).await.map(drop)
        }
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn names_of_folders() {
        for (rest, expect) in [
            ("\"/\" Drafts", Some("Drafts")),
            ("\".\" \"INBOX.My \\\"Drafts\\\"\"", Some("INBOX.My \"Drafts\"")),
            ("NIL Sent", Some("Sent")),
            ("\"/\" Entw&APw-rfe", None),
            ("\"/\" \"open", None),
        ] {
            assert_eq!(name_of(rest).as_deref(), expect, "{rest}");
        }
    }
}
