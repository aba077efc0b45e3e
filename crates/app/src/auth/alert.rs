//! Tells who answers for the install that a login ends, or ended, before something fails over it: once each, where they can be reached.

use model::{AuditKind, Timestamp};
use serde_json::json;

use super::LoginTokens;
use crate::setup::Notice;
use crate::{App, DEFAULT_AGENT, OWN_TENANT};

/// How long before its end a login that cannot be renewed is told of, in milliseconds.
const SOON_MS: u64 = 24 * 3_600_000;

/// What is to be told of a login now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// It ends soon, and cannot be renewed.
    Soon,
    /// It has ended.
    Over,
}

fn word(known: &LoginTokens, at: Timestamp) -> Option<Word> {
    if known.trouble.is_some() {
        return Some(Word::Over);
    }
    (!known.renewable && known.expires.0 < at.0.saturating_add(SOON_MS)).then_some(Word::Soon)
}

/// What does something about it.
fn fix(known: &LoginTokens) -> String {
    let agent = known.agent.as_ref().map(|agent| format!(" --agent {agent}")).unwrap_or_default();
    format!("lazaret auth login --plugin {}{agent}", known.plugin)
}

/// What is said of it, without what would change from one look to the next.
fn said(known: &LoginTokens, word: Word) -> String {
    match word {
        Word::Soon => format!("the login of {} ends within a day and cannot be renewed by itself", known.plugin),
        Word::Over => {
            let why = known.trouble.as_deref().map(|why| format!(": {}", crate::shown::plain(why))).unwrap_or_default();
            format!("the login of {} has ended{why}", known.plugin)
        }
    }
}

impl App {
    /// What is to be done about logins.
    pub(crate) async fn login_notices(&self) -> Vec<Notice> {
        let at = crate::now();
        let all = self.logins().list().await.unwrap_or_default();
        all.iter().filter_map(|known| Some(Notice::new("login", said(known, word(known, at)?), fix(known)))).collect()
    }

    /// Tells of a login that ends or ended, once. What cannot be told now is told at the next look.
    pub(super) async fn tell_of_login(&self, known: &LoginTokens) {
        let Some(word) = word(known, crate::now()) else { return };
        let kind = if word == Word::Soon { "soon" } else { "over" };
        let whose = known.agent.as_deref().unwrap_or("");
        // A login that was renewed, or made anew, ends at another time.
        let cause = format!("login:{}@{whose}:{}:{kind}", known.plugin, known.expires.0);
        let text = format!("{}\n\nTo log in again: `{}`", capital(&said(known, word)), fix(known));
        match self.tell_who_answers(OWN_TENANT, DEFAULT_AGENT, &cause, &text).await {
            Ok(0) => {}
            Ok(_) => {
                let detail = json!({ "plugin": known.plugin, "agent": known.agent, "what": kind });
                self.audit(AuditKind::Admin, "login.alert", "told", detail);
            }
            Err(failure) => tracing::warn!(plugin = known.plugin, %failure, "nobody was told that a login ends"),
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_told_of_before_it_ends_where_nothing_renews_it() {
        let at = Timestamp(1_000_000_000_000);
        let known = |renewable: bool, in_ms: u64, trouble: Option<&str>| LoginTokens {
            plugin: "mail".to_owned(),
            agent: None,
            key: "token".to_owned(),
            expires: Timestamp(at.0 + in_ms),
            renewable,
            trouble: trouble.map(str::to_owned),
            client_id: None,
        };
        assert_eq!(word(&known(true, 1_000, None), at), None);
        assert_eq!(word(&known(false, 2 * SOON_MS, None), at), None);
        assert_eq!(word(&known(false, SOON_MS / 2, None), at), Some(Word::Soon));
        assert_eq!(word(&known(true, 1_000, Some("it was taken back")), at), Some(Word::Over));
        let over = known(true, 0, Some("gone\n# to evil"));
        assert!(!said(&over, Word::Over).contains('\n') && said(&over, Word::Over).contains("gone"));
        assert_eq!(fix(&LoginTokens { agent: Some("andy".to_owned()), ..over }), "lazaret auth login --plugin mail --agent andy");
    }
}
