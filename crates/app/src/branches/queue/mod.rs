//! Merge queues: branches put into a target one after the other, each on top of what is there by then, and each only when the check
//! passes on exactly that. A queue is a row; the daemon works on it whoever waits, and the next one goes on where the last one died.

mod form;
mod several;
mod work;

pub(super) use work::AtWork;

pub use form::{QueueConflict, QueueForm, QueuePlace, QueueQuery, QueueView};

use model::{Code, Failure, MERGE_QUEUE_PLACES_MAX, MergeQueueId, PlaceState, QueueEvent, QueueState};
use store::{MergeQueueRow, NewMergeQueue};

use super::BranchesOf;
use super::check::command_of;
use crate::git::Oid;
use crate::now;

/// Queues in a list when nothing else is asked for.
const LISTED: usize = 100;

impl BranchesOf<'_> {
    /// Makes a queue of agents' branches and begins with it. Agents that still work are waited for. The same key is the same request.
    ///
    /// # Errors
    /// There is no such agent, target or check command, they are of different repositories, one is named twice, or what is expected is no
    /// commit of each.
    pub async fn queue(&self, form: QueueForm, key: Option<String>) -> Result<QueueView, Failure> {
        let wrong = |why: &str| Failure::new(Code::Usage, why).field("agents");
        if form.agents.is_empty() || form.agents.len() > MERGE_QUEUE_PLACES_MAX {
            return Err(wrong(&format!("a queue has 1 to {MERGE_QUEUE_PLACES_MAX} branches")));
        }
        let mut expected = expected(&form)?.into_iter();
        let mut places = Vec::with_capacity(form.agents.len());
        let mut first = None;
        for id in &form.agents {
            let row = self.row(id.as_str()).await?;
            if places.iter().any(|place: &QueuePlace| place.agent == row.id) {
                return Err(wrong(&format!("{} is named twice", row.name)));
            }
            let (command, expect) = (command_of(&row, form.check.clone())?, expected.next());
            places.push(QueuePlace { command, expect, ..QueuePlace::new(row.id.clone(), row.name.clone()) });
            let first = first.get_or_insert_with(|| row.clone());
            if first.repo != row.repo || first.tenant != row.tenant {
                return Err(wrong("the agents are of different repositories"));
            }
        }
        let first = first.ok_or_else(|| wrong("no agent is named"))?;
        self.app.check_here(&first.session).await?;
        let ground = self.app.ground_of_branch(&first).await.map_err(|e| e.failure())?;
        let into = self.target(&first, &ground, form.into.clone()).await?;
        if let Some(own) = places.iter().find(|place| place.branch == into.name) {
            return Err(wrong(&format!("{} is not merged into itself", own.branch)));
        }
        let id = MergeQueueId::from_bits(crate::clock::fresh_bits());
        let new = NewMergeQueue {
            key: key.unwrap_or_else(|| id.to_string()),
            id,
            tenant: first.tenant,
            repo: first.repo,
            target: into.name,
            options: form::kept(&form)?,
            places: form::value(&places)?,
            now: now(),
        };
        let row = self.app.store().create_merge_queue(new).await.map_err(|e| e.failure())?;
        model::crash::point("queue:made");
        self.app.branch_desk().queues.notify_one();
        form::view(row)
    }

    /// The merge queues, the youngest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn queues(&self, query: QueueQuery) -> Result<Vec<QueueView>, Failure> {
        let limit = query.limit.unwrap_or(LISTED).clamp(1, store::LIST_MAX);
        let rows = self.app.store().merge_queues(self.caller.tenant.clone(), query.repo, None, limit).await;
        rows.map_err(|e| e.failure())?.into_iter().map(form::view).collect()
    }

    /// One merge queue.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn queue_of(&self, id: &str) -> Result<QueueView, Failure> {
        form::view(self.queue_row(id).await?)
    }

    /// Stops a merge queue before its next step. What is merged stays merged.
    ///
    /// # Errors
    /// There is none of this identity, or it is done.
    pub async fn stop_queue(&self, id: &str) -> Result<QueueView, Failure> {
        let row = self.queue_row(id).await?;
        let row = self.app.store().note_merge_queue(&row.id, None, Some(QueueEvent::Stop), now()).await.map_err(|e| e.failure())?;
        form::view(row)
    }

    /// Lets a stopped merge queue go on with the branch that it stopped at.
    ///
    /// # Errors
    /// There is none of this identity, it is done, or its last step is not over.
    pub async fn resume_queue(&self, id: &str) -> Result<QueueView, Failure> {
        let row = self.queue_row(id).await?;
        if self.app.branch_desk().is_at_queue(&row.id) {
            if row.state == QueueState::Working {
                return form::view(row);
            }
            return Err(
                Failure::new(Code::Conflict, "the step of this queue that was stopped is not over yet").hint("try again in a moment")
            );
        }
        let mut places = form::places(&row)?;
        for place in places.iter_mut().filter(|place| place.state.is_in_the_way() || place.state == PlaceState::Resolving) {
            let (command, expect) = (place.command.clone(), place.expect.clone());
            *place = QueuePlace { command, expect, ..QueuePlace::new(place.agent.clone(), place.branch.clone()) };
        }
        let places = form::value(&places)?;
        let row =
            self.app.store().note_merge_queue(&row.id, Some(places), Some(QueueEvent::Resume), now()).await.map_err(|e| e.failure())?;
        self.app.branch_desk().queues.notify_one();
        form::view(row)
    }

    async fn queue_row(&self, id: &str) -> Result<MergeQueueRow, Failure> {
        let missing = || Failure::new(Code::NotFound, "there is no such merge queue").hint("see: lazaret agents queue");
        let id: MergeQueueId = id.parse().map_err(|_| missing())?;
        let row = self.app.store().merge_queue(&id).await.map_err(|e| e.failure())?;
        if self.caller.sees(&row.tenant) { Ok(row) } else { Err(missing()) }
    }
}

/// The commits that a form names, checked: none at all, or one for each agent.
fn expected(form: &QueueForm) -> Result<Vec<String>, Failure> {
    let wrong = |why: &str| Failure::new(Code::Usage, why).field("expect");
    if form.expect.is_empty() {
        return Ok(Vec::new());
    }
    if form.expect.len() != form.agents.len() {
        return Err(wrong("expect names one commit for each agent"));
    }
    if form.resolve {
        return Err(wrong("a branch whose conflict is resolved is at another commit: leave one of expect and resolve out"));
    }
    // Of several repositories each commit but the first has a name, and one at which nothing came home is none.
    let is_named = |part: &str| part.split_once('=').is_some_and(|(_, commit)| commit.is_empty() || Oid::parse(commit).is_some());
    let is_whole = |text: &str| {
        let mut parts = text.split(',');
        parts.next().is_some_and(|first| Oid::parse(first).is_some()) && parts.all(is_named)
    };
    match form.expect.iter().find(|text| !is_whole(text)) {
        Some(text) => Err(wrong(&format!("`{}` is no whole name of a commit", text.escape_debug()))),
        None => Ok(form.expect.clone()),
    }
}
