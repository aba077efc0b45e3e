//! The person at the other end of an MCP server, who can be asked where their client can show a question.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};

/// Questions that may wait to be sent.
const ASKS_MAX: usize = 8;

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The person said yes.
    Yes,
    /// The person said no, or put the question away.
    No,
    /// The client cannot ask, or is gone.
    Nobody,
}

/// Asks the person, by MCP's elicitation.
#[derive(Debug, Clone)]
pub struct Person {
    asks: mpsc::Sender<Ask>,
    can_ask: Arc<AtomicBool>,
}

/// The other end, for the server.
#[derive(Debug)]
pub struct Asks {
    asks: mpsc::Receiver<Ask>,
    can_ask: Arc<AtomicBool>,
}

#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) question: String,
    pub(crate) said: oneshot::Sender<Said>,
}

/// A person, and what a server needs to put questions to them.
#[must_use]
pub fn person() -> (Person, Asks) {
    let (send, asks) = mpsc::channel(ASKS_MAX);
    let can_ask = Arc::new(AtomicBool::new(false));
    (Person { asks: send, can_ask: Arc::clone(&can_ask) }, Asks { asks, can_ask })
}

impl Person {
    /// Asks for a yes, and waits for the answer for as long as the client lives.
    pub async fn says(&self, question: String) -> Said {
        if !self.can_ask.load(Ordering::Relaxed) {
            return Said::Nobody;
        }
        let (said, answer) = oneshot::channel();
        if self.asks.send(Ask { question, said }).await.is_err() {
            return Said::Nobody;
        }
        answer.await.unwrap_or(Said::Nobody)
    }
}

impl Asks {
    /// Whether the client said that it can ask.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.can_ask)
    }

    pub(crate) async fn next(&mut self) -> Option<Ask> {
        self.asks.recv().await
    }
}
