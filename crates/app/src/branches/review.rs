//! What people say of an agent's work, and the turn that it becomes.

use model::{Code, Failure};
use store::{BranchPatch, NewBranchComment};

use super::forms::{BranchView, CommentForm, CommentView, SpawnedOne, VerdictForm, VerdictView};
use super::read::tip_of;
use super::{BranchesOf, kinds};
use crate::now;

/// The verdicts.
const VERDICTS: [&str; 2] = ["approved", "rejected"];

impl BranchesOf<'_> {
    /// The comments on an agent's work, the oldest first.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn comments(&self, id: &str) -> Result<Vec<CommentView>, Failure> {
        let row = self.row(id).await?;
        let comments = self.app.store().branch_comments(&row.id).await.map_err(|e| e.failure())?;
        Ok(comments.into_iter().map(view).collect())
    }

    /// Keeps a comment until the next review is sent.
    ///
    /// # Errors
    /// There is none of this identity, or the comment is malformed.
    pub async fn comment(&self, id: &str, form: CommentForm) -> Result<CommentView, Failure> {
        let row = self.row(id).await?;
        if form.line.is_some() && form.path.is_none() || form.line == Some(0) {
            return Err(Failure::new(Code::Usage, "a line is one of a file, counted from 1").field("line"));
        }
        let new = NewBranchComment { path: form.path, line: form.line, body: form.text, now: now() };
        self.app.store().comment_branch(&row.id, new).await.map(view).map_err(|e| e.failure())
    }

    /// Gives the comments that were not sent yet to the agent, as its next turn.
    ///
    /// # Errors
    /// There is none of this identity, or nothing to send.
    pub async fn send_review(&self, id: &str) -> Result<SpawnedOne, Failure> {
        let row = self.row(id).await?;
        let comments = self.app.store().branch_comments(&row.id).await.map_err(|e| e.failure())?;
        let open: Vec<CommentView> = comments.into_iter().filter(|comment| comment.turn.is_none()).map(view).collect();
        let Some(last) = open.last().map(|comment| comment.n) else {
            return Err(
                Failure::new(Code::Conflict, "there is no comment that was not sent").hint("make one: review --comment FILE:LINE TEXT")
            );
        };
        // The same comments are one turn, however often a client or a daemon that died has to say so.
        let key = format!("review:{}:{last}", row.id);
        let turn = self.ask(&row, kinds::further(&row.name, &asked(&open)), Some(key)).await?;
        model::crash::point("branch:review-asked");
        self.app.store().send_branch_comments(&row.id, last, &turn).await.map_err(|e| e.failure())?;
        let row = self.app.store().branch(&row.id).await.map_err(|e| e.failure())?;
        Ok(SpawnedOne { agent: self.app.branch_view(row).await?, turn, is_new: false })
    }

    /// Notes what a reader decided of the commit that came home last.
    ///
    /// # Errors
    /// There is none of this identity, nothing of it came home, or the verdict is none.
    pub async fn judge(&self, id: &str, form: VerdictForm) -> Result<BranchView, Failure> {
        let row = self.row(id).await?;
        if !VERDICTS.contains(&form.verdict.as_str()) {
            return Err(Failure::new(Code::Usage, format!("a verdict is {}", VERDICTS.join(" or "))).field("verdict"));
        }
        let verdict = VerdictView { verdict: form.verdict, commit: tip_of(&row)?.to_string(), at: now() };
        let value = serde_json::to_value(verdict).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        let patch = BranchPatch { verdict: Some(value), ..BranchPatch::default() };
        let row = self.app.store().update_branch(&row.id, patch, now()).await.map_err(|e| e.failure())?;
        self.app.branch_news(&row.session);
        self.app.branch_view(row).await
    }
}

fn view(comment: store::BranchComment) -> CommentView {
    let store::BranchComment { n, path, line, body, turn, created } = comment;
    CommentView { n, path, line, text: body, turn, created }
}

/// The turn that comments become.
fn asked(comments: &[CommentView]) -> String {
    let mut text = String::from("Your work was reviewed. Look at each comment, mend what it is about, and say what you did about it.\n");
    for comment in comments {
        let place = match (&comment.path, comment.line) {
            (Some(path), Some(line)) => format!("{path}, line {line}"),
            (Some(path), None) => path.clone(),
            _ => "the whole".to_owned(),
        };
        text.push_str(&format!("\n{}. {place}:\n{}\n", comment.n, comment.text.trim_end()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_one_text() {
        let comment = |n, path: Option<&str>, line, text: &str| CommentView {
            n,
            path: path.map(str::to_owned),
            line,
            text: text.to_owned(),
            turn: None,
            created: model::Timestamp(0),
        };
        let text = asked(&[comment(1, Some("a.rs"), Some(3), "off by one"), comment(2, None, None, "more tests\n")]);
        assert!(text.contains("\n1. a.rs, line 3:\noff by one\n") && text.ends_with("\n2. the whole:\nmore tests\n"));
    }
}
