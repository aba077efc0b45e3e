//! What was heard, as those who look after chats see it: what became of each message, never what it said.

use model::{Code, Failure, InboundId, OutboxId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{HeardFilter, InboundRow, Page};

use super::of::{ChatsOf, out_view};
use super::why::fix_of;
use super::{OutView, web};
use crate::clock::fresh_bits;
use crate::delivery::{Saying, Target};

/// Entries of a page when nothing is said, and at most.
const PAGE: (usize, usize) = (50, 200);
/// What a test says.
const TEST: &str = "This is a test: messages of this account arrive here.";

/// Which messages are listed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeardQuery {
    /// Those of this account.
    pub channel: Option<String>,
    /// `turn`, `kept`, `held`, `dropped`, `command`, `answer` or `paired`.
    pub outcome: Option<String>,
    /// The cursor of an earlier page.
    pub after: Option<String>,
    /// How many; 50 when left out.
    pub limit: Option<usize>,
}

/// Something that was heard.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HeardView {
    /// Its identity.
    pub id: InboundId,
    /// The account.
    pub channel: String,
    /// The platform's id of the chat.
    pub chat: String,
    /// What kind of thing happened.
    pub kind: String,
    /// The sender's handle.
    pub sender: String,
    /// What they call themselves.
    pub sender_name: String,
    /// What became of it.
    pub outcome: String,
    /// The gate that stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What would let it through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// When it was heard.
    pub heard: Timestamp,
}

impl ChatsOf<'_> {
    /// A page of what was heard, the youngest first.
    ///
    /// # Errors
    /// The cursor is none.
    pub async fn heard(&self, query: HeardQuery) -> Result<Page<HeardView>, Failure> {
        let wrong = |_: model::IdError| Failure::new(Code::Usage, "this is no cursor of an earlier page").field("after");
        let after = query.after.as_deref().map(str::parse::<InboundId>).transpose().map_err(wrong)?;
        let filter = HeardFilter { tenant: self.caller.tenant.clone(), channel: query.channel, outcome: query.outcome };
        let limit = query.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1);
        let page = self.app.store().list_heard(filter, after, limit).await.map_err(|e| e.failure())?;
        Ok(Page { items: page.items.into_iter().map(view).collect(), next: page.next })
    }

    /// Sends a word to a chat. When this returns, it is owed.
    ///
    /// # Errors
    /// There is no such chat.
    pub async fn test(&self, chat: &str) -> Result<OutView, Failure> {
        let row = self.app.chat_seen(&self.caller, chat).await?;
        let target = Target {
            channel: row.channel.clone(),
            chat: row.chat,
            thread: None,
            cause: format!("test:{}", OutboxId::from_bits(fresh_bits())),
            agent: None,
            session: None,
            turn: None,
        };
        let saying = Saying { text: TEST.to_owned(), ..Saying::default() };
        let owed = self.app.delivery().say(target, saying).await?;
        let id = owed.first().ok_or_else(|| Failure::new(Code::Internal, "nothing became owed"))?;
        let out = self.app.store().out(id).await.map_err(|e| e.failure())?;
        if web::is_own(&out.channel) {
            self.app.board().web.changed(web::whose(&out.chat));
        }
        Ok(out_view(out))
    }
}

fn view(row: InboundRow) -> HeardView {
    HeardView {
        fix: row.gate.as_deref().and_then(|gate| fix_of(gate, &row)),
        id: row.id,
        channel: row.channel,
        chat: row.chat,
        kind: row.kind,
        sender: row.sender,
        sender_name: row.sender_name,
        outcome: row.outcome,
        gate: row.gate,
        reason: row.reason,
        heard: row.heard,
    }
}
