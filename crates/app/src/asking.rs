//! Asking a session: turns, answers, and what becomes of them.

use std::path::PathBuf;

use base64::Engine as _;
use model::{Code, Failure, PROMPT_BYTES_MAX, SessionId, TurnEvent, TurnId};
use sandbox::HostMount;
use store::{NewTurn, StoreError, TurnAbout};

use crate::follow::Follow;
use crate::questions::check_answer;
use crate::sessions::{SessionsOf, make_dir, read_spec};
use crate::turn::Running;
use crate::{AnswerForm, App, MessageFile, MessageForm, MountNote, SessionView};

/// Files that may come with one message.
const FILES_MAX: usize = 32;
/// Bytes of all files of one message together.
const FILES_BYTES_MAX: usize = 48 << 20;
/// The longest name of such a file.
const FILE_NAME_BYTES_MAX: usize = 200;
/// Where the files of a message are put, below the working directory.
const FILES_DIR: &str = "upload";
/// The longest text that is pushed into work that goes on.
pub const INJECT_CHARS_MAX: usize = 32_000;
/// Turns that may wait behind the one that runs before no more is pushed in.
const INJECTED_MAX: usize = 16;

impl SessionsOf<'_> {
    /// Makes a session ready for a further turn, with its host directories opened by the caller again.
    ///
    /// # Errors
    /// There is none of this identity, or it works just now with other directories.
    pub async fn resume(&self, id: &str, notes: Vec<MountNote>, mounts: Vec<HostMount>) -> Result<SessionView, Failure> {
        let row = self.row(id).await?;
        if read_spec(&row)?.mounts != notes {
            return Err(Failure::new(Code::Conflict, "the session was made with other host directories").field("mounts"));
        }
        let live = self.app.hold(&row.id).await?;
        live.give_mounts(mounts);
        self.view(&row.id, false).await
    }

    /// Accepts a turn: when this returns, it is durable.
    ///
    /// # Errors
    /// The prompt or a file is malformed, there is no such session, it is archived, or its inbox is full.
    pub async fn message(&self, id: &str, form: MessageForm, key: Option<String>) -> Result<TurnId, Failure> {
        self.message_about(id, form, key, TurnAbout::default()).await
    }

    /// The same of a turn of which more is known: for whom it acts, where its answer goes.
    pub(crate) async fn message_about(
        &self,
        id: &str,
        form: MessageForm,
        key: Option<String>,
        about: TurnAbout,
    ) -> Result<TurnId, Failure> {
        check_prompt(&form.text)?;
        let row = self.row(id).await?;
        self.app.store().check_quota(&row.tenant, store::Claim::Turn, crate::now()).await.map_err(|e| e.failure())?;
        let elsewhere = self.app.store().session_elsewhere(&row.id).await.map_err(|e| e.failure())?;
        if elsewhere.is_some() && !form.files.is_empty() {
            // They would be kept where nobody looks for them.
            self.app.check_here(&row.id).await?;
        }
        let turn = TurnId::from_bits(crate::clock::fresh_bits());
        let names = self.app.keep_files(&row.id, &turn, &form.files).await?;
        // Of a session elsewhere, the turn is kept here and done there.
        let live = if elsewhere.is_none() { Some(self.app.hold(&row.id).await?) } else { None };
        let mut text = form.text;
        for name in names {
            text.push_str(&format!("\n\n[attached: {FILES_DIR}/{name}]"));
        }
        let new = NewTurn {
            key,
            priority: form.priority.unwrap_or(row.priority).min(9),
            ..NewTurn::new(turn.clone(), row.id.clone(), text, crate::now())
        };
        let app = self.app.clone();
        let accept = async move {
            let accepted = if about == TurnAbout::default() {
                app.store().accept_turn(new).await
            } else {
                app.store().accept_turn_of(new, about).await
            };
            if !matches!(&accepted, Ok(a) if a.fresh) {
                app.forget_files(&row.id, &turn);
            }
            let accepted = accepted.map_err(|e| e.failure())?;
            app.branch_news(&row.id);
            model::crash::point("turn:accepted");
            if let Some(live) = live {
                live.wake.notify_one();
            }
            Ok(accepted.turn)
        };
        self.app.see_through(accept).await
    }

    /// Asks while a turn runs: it is durable, and goes to the same engine as soon as the turn that runs is over, before
    /// the session is idle.
    ///
    /// # Errors
    /// Nothing runs (`NOT_FOUND`), the text is malformed, or too much waits already (`BUSY`).
    pub async fn inject(&self, id: &str, text: String) -> Result<TurnId, Failure> {
        if text.chars().count() > INJECT_CHARS_MAX {
            return Err(Failure::new(Code::PromptInvalid, format!("the text has more than {INJECT_CHARS_MAX} characters")).field("text"));
        }
        let row = self.row(id).await?;
        let open = self.app.store().open_turns(&row.id).await.map_err(|e| e.failure())?;
        if open.is_empty() {
            return Err(Failure::new(Code::NotFound, "nothing runs in this session").hint("send a message instead"));
        }
        if open.len() > INJECTED_MAX {
            return Err(Failure::new(Code::Busy, format!("{INJECTED_MAX} texts wait already")));
        }
        self.message(id, MessageForm { text, ..MessageForm::default() }, None).await
    }

    /// Answers what a turn asks.
    ///
    /// # Errors
    /// Nothing is asked, it was answered already, or the answer is none of those offered.
    pub async fn answer(&self, id: &str, form: AnswerForm) -> Result<(), Failure> {
        let row = self.row(id).await?;
        let open = self.app.store().open_questions(&row.id).await.map_err(|e| e.failure())?;
        let question = match &form.question {
            Some(id) => self.app.store().question(id).await.ok().filter(|q| q.session == row.id),
            None => open.into_iter().next(),
        };
        let question = question.ok_or_else(|| Failure::new(Code::NotFound, "nothing is asked").field("question"))?;
        check_answer(&question, &form.text)?;
        let app = self.app.clone();
        let answer = async move {
            app.store().answer_question(&question.id, form.text, crate::now()).await.map_err(|e| e.failure())?;
            model::crash::point("question:answered");
            if let Some(live) = app.live(&row.id) {
                live.waits.answered(&crate::agent_tools::wait_of(&question.id));
                live.answered.notify_waiters();
            }
            // What its chat shows of it changes, whichever surface it was answered on.
            app.wake_channels();
            Ok(())
        };
        self.app.see_through(answer).await
    }

    /// A page of the log.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn events(&self, id: &str, after: u64, limit: usize) -> Result<Vec<model::Event>, Failure> {
        let id = self.row(id).await?.id;
        self.app.store().events(&id, after, limit).await.map_err(|e| e.failure())
    }

    /// The log as it grows. With `attach`, foreground work goes on as long as the answer lives.
    ///
    /// # Errors
    /// There is none of this identity, or its turn stands because the store takes nothing.
    pub async fn follow(&self, id: &str, after: u64, attach: bool) -> Result<Follow, Failure> {
        let row = self.row(id).await?;
        let watcher = self.app.watcher(&row.id, row.last_seq);
        let attached = if attach { Some(self.app.bring(&row.id, None, None).await?.attach()) } else { None };
        if let Some(failure) = self.app.live(&row.id).and_then(|live| live.stalled()) {
            return Err(failure);
        }
        let (changes, stalled) = (watcher.seq.subscribe(), Some(watcher.stalled.subscribe()));
        Ok(Follow { store: self.app.store().clone(), session: row.id, after, watcher, changes, stalled, _attached: attached })
    }

    /// Cancels what runs and what waits.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn cancel(&self, id: &str) -> Result<(), Failure> {
        let id = self.row(id).await?.id;
        self.app.cancel_session(&id).await
    }
}

impl App {
    /// Cancels what runs and what waits in a session.
    pub(crate) async fn cancel_session(&self, id: &SessionId) -> Result<(), Failure> {
        let open = self.store().open_turns(id).await.map_err(|e| e.failure())?;
        for turn in &open {
            if turn.state == model::TurnState::Queued {
                let record = crate::stops::ended_unrun(turn, TurnEvent::Cancel, Code::Cancelled, "cancelled before it ran");
                match self.store().record(record).await {
                    Ok(events) => self.publish(id, &events),
                    // It was leased in between, and is cancelled below.
                    Err(StoreError::Conflict(_) | StoreError::StaleFence { .. } | StoreError::Transition { .. }) => {}
                    Err(error) => return Err(error.failure()),
                }
            }
        }
        match self.live(id) {
            Some(live) => open.into_iter().for_each(|turn| live.cancel_turn(turn.id)),
            None if self.store().replica().is_some() => self.store().signal_cancel(id).await.map_err(|e| e.failure())?,
            None => {}
        }
        Ok(())
    }

    fn files_dir(&self, session: &SessionId, turn: &TurnId) -> PathBuf {
        self.session_dir(session).join("inbox").join(turn.as_str())
    }

    /// Keeps the files of a message until its turn begins; gives their names. They are on the disk before the turn is
    /// accepted.
    async fn keep_files(&self, session: &SessionId, turn: &TurnId, files: &[MessageFile]) -> Result<Vec<String>, Failure> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let wrong = |why: String| Failure::new(Code::Usage, why).field("files");
        if files.len() > FILES_MAX {
            return Err(wrong(format!("at most {FILES_MAX} files come with one message")));
        }
        let mut kept: Vec<(String, Vec<u8>)> = Vec::new();
        let mut total = 0;
        for file in files {
            let plain = !file.name.is_empty()
                && file.name.len() <= FILE_NAME_BYTES_MAX
                && !file.name.starts_with('.')
                && !file.name.chars().any(|c| c == '/' || c.is_control());
            if !plain || kept.iter().any(|(name, _)| *name == file.name) {
                return Err(wrong(format!("`{}` is not the plain name of one file", file.name.escape_debug())));
            }
            let bytes = base64::engine::general_purpose::STANDARD.decode(&file.data);
            let bytes = bytes.map_err(|e| wrong(format!("{} is not base64: {e}", file.name)))?;
            total += bytes.len();
            if total > FILES_BYTES_MAX {
                return Err(wrong(format!("the files have more than {FILES_BYTES_MAX} bytes together")));
            }
            kept.push((file.name.clone(), bytes));
        }
        let dir = self.files_dir(session, turn);
        make_dir(&dir)?;
        let names = kept.iter().map(|(name, _)| name.clone()).collect();
        let written = tokio::task::spawn_blocking(move || {
            for (name, bytes) in kept {
                let mut file = std::fs::File::create(dir.join(name))?;
                std::io::Write::write_all(&mut file, &bytes)?;
                file.sync_all()?;
            }
            std::fs::File::open(&dir)?.sync_all()
        });
        let fail = |why: String| Failure::new(Code::DiskLimit, format!("the files of the message cannot be kept: {why}"));
        written.await.map_err(|e| fail(e.to_string()))?.map_err(|e| fail(e.to_string()))?;
        Ok(names)
    }

    /// Forgets the files of a turn that is over, or was never accepted.
    pub(crate) fn forget_files(&self, session: &SessionId, turn: &TurnId) {
        let _ = std::fs::remove_dir_all(self.files_dir(session, turn));
    }
}

impl Running<'_> {
    /// Puts the message's files where the agent finds them, and makes the working directory.
    pub(crate) async fn unpack_files(&self, sandbox: &sandbox::Sandbox) -> Result<(), Failure> {
        self.bring_sources(sandbox).await?;
        let fail = |e: std::io::Error| Failure::new(Code::Internal, format!("the files of the message cannot be read: {e}"));
        let dir = self.app.files_dir(&self.live.id, &self.turn.id);
        let workdir = &self.live.spec.workdir;
        let has_files = dir.is_dir();
        let inbox = self.app.inbox_of_turn(&self.turn.id).await;
        if let Some((dir, place)) = inbox {
            let tar = tokio::task::spawn_blocking(move || {
                let mut tar = tar::Builder::new(Vec::new());
                tar.append_dir_all(place, dir)?;
                tar.into_inner()
            });
            let tar = tar.await.map_err(|e| fail(std::io::Error::other(e)))?.map_err(fail)?;
            sandbox.put(crate::turn::HOME, tar.as_slice()).await.map_err(|e| e.failure())?;
        }
        if !has_files && (workdir == crate::turn::HOME || workdir == "/workspace") {
            return Ok(());
        }
        let tar = tokio::task::spawn_blocking(move || {
            let mut tar = tar::Builder::new(Vec::new());
            if has_files {
                for entry in std::fs::read_dir(&dir)? {
                    let entry = entry?;
                    let name = format!("{FILES_DIR}/{}", entry.file_name().to_string_lossy());
                    tar.append_path_with_name(entry.path(), name)?;
                }
            }
            tar.into_inner()
        });
        let tar = tar.await.map_err(|e| fail(std::io::Error::other(e)))?.map_err(fail)?;
        sandbox.put(workdir, tar.as_slice()).await.map(drop).map_err(|e| e.failure())
    }

    /// Where the turn's input stands in all that its engine was ever sent: kept beside its output, so that a daemon that
    /// comes after a crash sends what is missing and nothing twice.
    pub(crate) fn note_input_base(&self, base: u64) -> Result<(), Failure> {
        let fail = |e: std::io::Error| Failure::new(Code::Internal, format!("the place of the turn's input cannot be kept: {e}"));
        std::fs::write(self.input_base_path(), base.to_string()).map_err(fail)
    }

    pub(crate) fn input_base(&self) -> u64 {
        std::fs::read_to_string(self.input_base_path()).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn input_base_path(&self) -> PathBuf {
        self.app.session_dir(&self.live.id).join("input.base")
    }
}

/// A prompt that can be asked: not empty, not too long, without NUL.
fn check_prompt(text: &str) -> Result<(), Failure> {
    let why = if text.trim().is_empty() {
        "the prompt is empty".to_owned()
    } else if text.len() > PROMPT_BYTES_MAX {
        format!("the prompt has {} bytes; at most {PROMPT_BYTES_MAX} are taken", text.len())
    } else if text.contains('\0') {
        "the prompt holds a NUL".to_owned()
    } else {
        return Ok(());
    };
    Err(Failure::new(Code::PromptInvalid, why).field("prompt"))
}
