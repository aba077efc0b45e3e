//! The dashboard as a chat network: this daemon is the platform, and whoever is logged in is a verified handle on it.
//!
//! What is said there goes the way of every other message: noted once, routed, made a turn; what is owed goes through the outbox. Only
//! the account's program is missing: `desk.rs` settles what is owed at once, since the store is where the page reads it (`view.rs`).

mod desk;
mod forms;
mod hub;
mod of;
mod view;

pub use forms::{WebChat, WebEditForm, WebFile, WebMessage, WebMessageForm, WebMessageQuery, WebMessages, WebPressForm, WebSaid};
pub(crate) use hub::Hub;
pub use of::{Speaker, WebOf};

use crate::OWN_TENANT;

/// The network, and the account of the owner's tenant.
pub(crate) const WEB: &str = "web";

/// The account of a tenant. None that somebody adds has such a name: names have no colon.
pub(crate) fn web_channel(tenant: &str) -> String {
    if tenant == OWN_TENANT { WEB.to_owned() } else { format!("{WEB}:{tenant}") }
}

/// Whether an account is a dashboard's.
pub(crate) fn is_web(channel: &str) -> bool {
    channel == WEB || channel.strip_prefix(WEB).is_some_and(|rest| rest.starts_with(':'))
}

/// The person whose conversation a chat is: they are named before the dot, the agent behind it.
pub(crate) fn whose(chat: &str) -> &str {
    chat.split_once('.').map_or(chat, |(who, _)| who)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_account_that_somebody_adds_is_taken_for_a_dashboard() {
        for (name, expect) in [("web", true), ("web:crew", true), ("web-crew", false), ("webex", false), ("my-web", false), ("", false)] {
            assert_eq!(is_web(name), expect, "{name}");
        }
        assert!(!model::is_name(&web_channel("crew")), "nobody can add an account of this name");
        assert_eq!((web_channel("default").as_str(), whose("usr_1.andy"), whose("usr_1")), ("web", "usr_1", "usr_1"));
    }
}
