//! `lazaret board`: branch agents on one screen, as they work.
//!
//! What happens comes in as [`state::Input`] from the terminal, from the daemon's streams and from answers; [`state::Board`] says
//! what is to be done, and [`draw`] shows it. The screen is drawn only when something came in, or when a time on it runs on.

mod draw;
mod feed;
mod keys;
mod log;
mod patch;
mod safe;
mod screen;
mod state;
#[cfg(test)]
mod tests;
mod words;
mod work;

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use model::{Code, Failure, SessionId};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Context, branches, sandbox::escaped};
use crate::args;
use crate::client::{Client, internal};
use crate::exit::Done;
use crate::home::Home;
use screen::Screen;
use state::{Board, Input, Order, REQUESTS_MAX};

/// What came in and was not looked at yet; whoever has more waits.
const INPUTS_MAX: usize = 256;
/// How often times that run on are drawn.
const TICK: Duration = Duration::from_secs(1);
/// The exit status of a board that a signal ended.
const INTERRUPTED: u8 = 130;

/// Shows the board until its user leaves.
pub(super) async fn run(context: &Context, flags: args::Board) -> Done {
    let place = match (&flags.repo, flags.all) {
        (Some(dir), _) => Some(branches::repo::needed(Some(dir))?),
        (None, true) => None,
        (None, false) => branches::repo::top(Path::new("."))?,
    };
    let query = match &place {
        Some(dir) => {
            let text =
                dir.to_str().ok_or_else(|| Failure::new(Code::PathUnusable, "the repository's path is not UTF-8").field("--repo"))?;
            format!("?repo={}", escaped(text))
        }
        None => String::new(),
    };
    let path = format!("/v1/branches/changes{query}");
    let home = Home::open(&context.env.home)?;
    // Started where that is allowed; from then on a daemon that somebody stopped stays stopped.
    drop(Client::new(&home, context.may_start).connection().await?);
    let client = Client::new(&home, false);
    if context.json {
        return feed::print(&client, &path).await.map(|()| 0);
    }
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::new(Code::Usage, "the board wants a terminal").hint("see: lazaret agents list, or lazaret --json board"));
    }
    let title = place.as_ref().map_or_else(|| "all repositories".to_owned(), |dir| dir.display().to_string());
    let colours = !flags.no_color && !context.env.no_color;
    let board = Board::new(safe::flat(&title), colours, app::now());
    let (inputs, came) = channel(INPUTS_MAX);
    let desk =
        Desk { client, home: home.path().to_owned(), inputs, tasks: TaskTracker::new(), cancel: CancellationToken::new(), follow: None };
    let done = desk.run(board, came, &path, !flags.no_mouse).await;
    done.map_err(|error| internal(&format!("the terminal cannot be used: {error}")))
}

/// What the board works with.
struct Desk {
    client: Client,
    home: std::path::PathBuf,
    inputs: Sender<Input>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    /// Ends the reading of the log that is looked at.
    follow: Option<CancellationToken>,
}

impl Desk {
    async fn run(mut self, mut board: Board, mut came: Receiver<Input>, path: &str, with_mouse: bool) -> std::io::Result<u8> {
        let mut ends = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()]
            .into_iter()
            .map(signal)
            .collect::<std::io::Result<Vec<_>>>()?;
        let mut screen = Screen::take(with_mouse)?;
        screen::listen(self.inputs.clone());
        self.spawn(feed::changes(self.client.clone(), path.to_owned(), self.inputs.clone()), None);
        let status = loop {
            screen.show(&mut board)?;
            let first = tokio::select! {
                input = came.recv() => input.unwrap_or(Input::End),
                _ = any(&mut ends) => break INTERRUPTED,
                () = tokio::time::sleep(TICK), if board.is_moving() => Input::Look,
            };
            // Whatever came together is drawn together.
            let mut next = Some(first);
            let mut left = None;
            while let Some(input) = next {
                if matches!(input, Input::Resized) {
                    screen.refresh()?;
                }
                let is_end = matches!(input, Input::End);
                for order in board.on(input, app::now()) {
                    if order == Order::Quit {
                        left = Some(if is_end { INTERRUPTED } else { 0 });
                    }
                    self.perform(&mut board, order);
                }
                next = came.try_recv().ok();
            }
            if let Some(status) = left {
                break status;
            }
        };
        drop(screen);
        self.cancel.cancel();
        self.tasks.close();
        Ok(status)
    }

    fn perform(&mut self, board: &mut Board, order: Order) {
        match order {
            Order::Quit => {}
            Order::Follow(session) => self.look_at(session, board.log.seq),
            order if board.requests >= REQUESTS_MAX => {
                // What only looks is looked at again with the next change.
                if matches!(order, Order::Do(_)) {
                    board.say("too much is under way: try again in a moment", true);
                }
            }
            order => {
                board.requests += 1;
                let (client, home, inputs) = (self.client.clone(), self.home.clone(), self.inputs.clone());
                let work = async move {
                    if let Some(answer) = work::perform(client, home, order).await {
                        // A board that is gone wants to know nothing.
                        let _ = inputs.send(Input::Answer(answer)).await;
                    }
                };
                self.spawn(work, None);
            }
        }
    }

    /// Reads the log of another session, and no longer that of the one before.
    fn look_at(&mut self, session: Option<SessionId>, after: u64) {
        if let Some(before) = self.follow.take() {
            before.cancel();
        }
        let Some(session) = session else { return };
        let end = self.cancel.child_token();
        self.spawn(feed::events(self.client.clone(), session, after, self.inputs.clone()), Some(end.clone()));
        self.follow = Some(end);
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static, end: Option<CancellationToken>) {
        let end = end.unwrap_or_else(|| self.cancel.clone());
        self.tasks.spawn(async move {
            end.run_until_cancelled(work).await;
        });
    }
}

/// The first signal of several.
async fn any(signals: &mut [tokio::signal::unix::Signal]) {
    let waits = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
    futures_util::future::select_all(waits).await;
}
