//! Cards: what a person is asked beside the conversation, on a channel where they can be reached. Shown where somebody who may answer is,
//! answered once on any surface, and changed to what came of it.

use model::{AdmissionId, ApprovalId, ApprovalState, Failure};
use store::{ApprovalFilter, ApprovalRow, AskerRow, HandleRow};
use wire::chat::Button;

use super::{Saying, Target};
use crate::{App, Ground, shown};

/// People who are asked at once.
const ASKED_MAX: usize = 3;
/// Characters of a call that is shown in a chat; a longer one is looked at elsewhere.
const SHOWN_CHARS_MAX: usize = 12_000;
/// Characters of the hash that an answer names.
pub(crate) const HASH_CHARS: usize = 8;

impl App {
    /// Shows a confirmation that waits to those who may answer it; what came of one is sent. Called again, it shows nothing twice.
    pub(crate) fn show_card(&self, row: &ApprovalRow) {
        if !self.board().is_busy() {
            return;
        }
        if row.state != ApprovalState::Pending {
            // What came of it was written to the cards together with it.
            return self.wake_channels();
        }
        let (app, row) = (self.clone(), row.clone());
        self.spawn(async move {
            if let Err(failure) = app.ask_by_card(&row).await {
                tracing::warn!(approval = %row.id, %failure, "a confirmation could not be shown in a chat");
            }
        });
    }

    /// Shows what waits since an earlier daemon.
    pub(crate) async fn show_cards(&self) -> Result<(), Failure> {
        let filter = ApprovalFilter { status: Some("pending".to_owned()), ..ApprovalFilter::default() };
        let page = self.store().approvals(&filter, None, store::LIST_MAX).await.map_err(|e| e.failure())?;
        page.items.iter().for_each(|row| self.show_card(row));
        Ok(())
    }

    /// Where those are who answer for an agent: on the channel that was asked through first, then wherever they can be reached.
    async fn reached(&self, tenant: &str, agent: &str, channel: &str) -> Result<Vec<HandleRow>, Failure> {
        let mut all = self.store().answerable(tenant, agent).await.map_err(|e| e.failure())?;
        let mut opened = 0;
        for row in &mut all {
            // Somebody who never wrote directly may be written to all the same, where the network lets us.
            if row.dm.is_none() && opened < ASKED_MAX {
                opened += 1;
                row.dm = self.open_dm(&row.channel, &row.handle).await;
            }
        }
        all.retain(|row| row.dm.is_some());
        // The order among them stays, but for the terminal: nobody may be looking at it.
        all.sort_by_key(|row| (row.channel != channel, Ground::of(&row.channel) == Some(Ground::Terminal)));
        let mut seen = std::collections::HashSet::new();
        all.retain(|row| seen.insert(row.user.clone()));
        all.truncate(ASKED_MAX);
        Ok(all)
    }

    async fn ask_by_card(&self, row: &ApprovalRow) -> Result<(), Failure> {
        let Some(turn) = &row.turn else { return Ok(()) };
        let Some(asker) = self.store().asker(turn).await.map_err(|e| e.failure())? else { return Ok(()) };
        let people = self.reached(&row.tenant, &row.agent, &asker.channel).await?;
        let code: String = row.hash.chars().take(HASH_CHARS).collect();
        if people.is_empty() {
            let text = format!("This needs the yes of somebody who answers for {}, and none of them can be reached here.", row.agent);
            let target = Target {
                channel: asker.channel,
                chat: asker.chat,
                thread: asker.thread,
                cause: format!("approval:{}:nobody", row.id),
                agent: Some(row.agent.clone()),
                session: None,
                turn: None,
            };
            return self.delivery().say(target, Saying { text, ..Saying::default() }).await.map(drop);
        }
        let who = self.who_asked(row, &asker).await;
        for person in people {
            let text = card_text(row, &who, &code);
            let is_whole = row.text.chars().count() <= SHOWN_CHARS_MAX;
            let button = |label: &str, word: &str| Button { label: label.to_owned(), value: format!("a:{}:{word}:{code}", row.id) };
            let buttons = if is_whole { vec![button("Approve", "y"), button("Deny", "n")] } else { Vec::new() };
            let target = Target {
                channel: person.channel.clone(),
                chat: person.dm.clone().unwrap_or_default(),
                thread: None,
                cause: format!("approval:{}:{}:{}", row.id, person.channel, person.handle),
                agent: Some(row.agent.clone()),
                session: None,
                turn: None,
            };
            self.delivery().ask(target, &text, &buttons).await?;
        }
        model::crash::point("card:shown");
        Ok(())
    }

    /// Who asked for a call, by what they call themselves and, since anybody can call themselves anything, by what their network verified.
    async fn who_asked(&self, row: &ApprovalRow, asker: &AskerRow) -> String {
        let name = match &asker.inbound {
            Some(id) => self.store().inbound(id).await.map(|heard| heard.sender_name).unwrap_or_default(),
            None => String::new(),
        };
        let name = plain(&name);
        let now = self.store().asker_now(&asker.turn).await.ok().flatten();
        let standing = now.map_or("nobody", |now| crate::askers::standing(&now, &row.agent).as_str());
        let called = if name.is_empty() { String::new() } else { format!("{name}, ") };
        format!("{called}{} ({standing}) on {}", plain(&asker.handle), asker.channel)
    }

    /// Tells something to those who answer for an agent, each once for a cause. How many were told now.
    pub(crate) async fn tell_who_answers(&self, tenant: &str, agent: &str, cause: &str, text: &str) -> Result<usize, Failure> {
        if !self.board().is_busy() {
            return Ok(0);
        }
        let mut told = 0;
        for person in self.reached(tenant, agent, "").await? {
            let cause = format!("{cause}:{}:{}", person.channel, person.handle);
            if self.store().out_of(&cause).await.map_err(|e| e.failure())?.is_some() {
                continue;
            }
            let target = Target {
                channel: person.channel.clone(),
                chat: person.dm.clone().unwrap_or_default(),
                thread: None,
                cause,
                agent: Some(agent.to_owned()),
                session: None,
                turn: None,
            };
            self.delivery().say(target, Saying { text: text.to_owned(), ..Saying::default() }).await?;
            told += 1;
        }
        Ok(told)
    }

    /// Tells those who answer for an agent that somebody wants to be let in. Called again, it tells nobody twice.
    pub(crate) async fn tell_of_admission(&self, id: &AdmissionId) {
        if let Err(failure) = self.ask_admission(id).await {
            tracing::warn!(admission = %id, %failure, "nobody was told who wants to be let in");
        }
    }

    /// Tells again who waits to be let in through a channel, where an earlier daemon may not have come to it.
    pub(crate) fn tell_of_admissions(&self, channel: &str) {
        let (app, channel) = (self.clone(), channel.to_owned());
        self.spawn(async move {
            let waiting = match app.store().list_admissions(None, Some("pending".to_owned())).await {
                Ok(waiting) => waiting,
                Err(error) => return tracing::warn!(channel, error = model::chain(&error), "who waits to be let in is not known"),
            };
            for row in waiting.iter().filter(|row| row.channel == channel) {
                app.tell_of_admission(&row.id).await;
            }
        });
    }

    async fn ask_admission(&self, id: &AdmissionId) -> Result<(), Failure> {
        let row = self.store().admission(id).await.map_err(|e| e.failure())?;
        if row.state != "pending" {
            return Ok(());
        }
        for person in self.reached(&row.tenant, &row.agent, &row.channel).await? {
            let text = format!(
                "{} ({}) wants to talk to {} in {}. Let them in?\n\nOr answer: /admit {id} yes",
                plain(&row.name),
                plain(&row.handle),
                row.agent,
                if row.chat_name.is_empty() { "a direct chat".to_owned() } else { plain(&row.chat_name) },
            );
            let button = |label: &str, word: &str| Button { label: label.to_owned(), value: format!("m:{id}:{word}") };
            let target = Target {
                channel: person.channel.clone(),
                chat: person.dm.clone().unwrap_or_default(),
                thread: None,
                cause: format!("admission:{id}:{}:{}", person.channel, person.handle),
                agent: Some(row.agent.clone()),
                session: None,
                turn: None,
            };
            let buttons = vec![button("Let in", "y"), button("Refuse", "n")];
            self.delivery().ask(target, &text, &buttons).await?;
        }
        Ok(())
    }
}

/// The call as a person is to read it: whole, or not to be answered here.
fn card_text(row: &ApprovalRow, who: &str, code: &str) -> String {
    let head = format!("{} wants to call {} (risk {}), asked by {who}.", row.agent, row.tool, row.risk.as_str());
    if row.text.chars().count() > SHOWN_CHARS_MAX {
        return format!("{head}\n\nThe call is too long to be shown here: lazaret approvals show {}", row.id);
    }
    format!("{head}\n\n```\n{}\n```\n\nOr answer: /approve {code} or /deny {code}", row.text.replace("```", "` ` `"))
}

/// What somebody calls themselves: on one line, and nothing that formats.
fn plain(text: &str) -> String {
    text.chars().filter(|c| shown::is_plain(*c) && !"*_`[]()<>~|".contains(*c)).take(80).collect()
}

/// The identity of an approval whose hash begins like this, of those that wait.
pub(crate) fn by_code<'a>(rows: &'a [ApprovalRow], code: &str) -> Option<&'a ApprovalId> {
    let mut found = rows.iter().filter(|row| row.hash.chars().take(HASH_CHARS).collect::<String>().eq_ignore_ascii_case(code));
    let first = found.next()?;
    // Two that look the same are answered elsewhere.
    found.next().is_none().then_some(&first.id)
}
