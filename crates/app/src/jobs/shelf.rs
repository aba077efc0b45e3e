//! Where the bytes of what jobs bring and leave are: in files of this home, and where several daemons share a database also
//! there, so that each of them can read what another one kept.

use std::fs::File;
use std::io::Read;

use model::{Code, Failure};
use store::{JobBody, SHELF_PIECE_BYTES, StoreError};

use super::desk::unkept;
use crate::{App, now};

/// How often sharing is tried when a sweep of another daemon came in between.
const TRIES_MAX: usize = 3;

impl App {
    /// Makes what was just kept readable for the other daemons, before a row names it.
    pub(super) async fn share_kept(&self, body: &JobBody) -> Result<(), Failure> {
        let JobBody::Kept(hash) = body else { return Ok(()) };
        if !self.store().is_shared() {
            return Ok(());
        }
        for _ in 0..TRIES_MAX {
            match self.shelve(hash).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.failure()),
            }
        }
        Err(Failure::new(Code::StoreUnusable, "what the job leaves could not be shared with the other daemons"))
    }

    async fn shelve(&self, hash: &str) -> Result<(), StoreError> {
        if self.store().reshelve(hash, now()).await? {
            return Ok(());
        }
        let kept = self.desk_of_jobs().blobs.open_blob(hash);
        let mut file = kept.map_err(|e| StoreError::Conflict(model::chain(&e)))?;
        let (mut pieces, mut bytes) = (0, 0);
        loop {
            let (piece, rest) = tokio::task::spawn_blocking(move || read_piece(file)).await.map_err(broken)?.map_err(broken)?;
            file = rest;
            if piece.is_empty() {
                break;
            }
            bytes += piece.len() as u64;
            self.store().shelve_piece(hash, pieces, piece, now()).await?;
            pieces += 1;
        }
        self.store().shelve(hash, pieces, bytes, now()).await
    }

    /// Opens what is kept under a hash; what another daemon kept is brought here first.
    pub(super) async fn open_kept(&self, hash: &str) -> Result<File, Failure> {
        let blobs = &self.desk_of_jobs().blobs;
        let missing = match blobs.open_blob(hash) {
            Ok(file) => return Ok(file),
            Err(error) => unkept(&error),
        };
        if !self.store().is_shared() {
            return Err(missing);
        }
        let Some(pieces) = self.store().shelved(hash).await.map_err(|e| e.failure())? else { return Err(missing) };
        let mut growing = blobs.grow().map_err(|e| unkept(&e))?;
        for n in 0..pieces {
            let piece = self.store().shelf_piece(hash, n).await.map_err(|e| e.failure())?;
            growing = tokio::task::spawn_blocking(move || growing.write(&piece).map(|()| growing))
                .await
                .map_err(|e| Failure::new(Code::Internal, e.to_string()))?
                .map_err(|e| unkept(&e))?;
        }
        let got = tokio::task::spawn_blocking(move || growing.keep()).await.map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        let got = got.map_err(|e| unkept(&e))?;
        if got != hash {
            return Err(Failure::new(Code::StoreUnusable, "what the database holds of a job's files is not what was kept there"));
        }
        blobs.open_blob(hash).map_err(|e| unkept(&e))
    }
}

/// The next piece of a file, and the file again.
fn read_piece(file: File) -> std::io::Result<(Vec<u8>, File)> {
    let mut piece = Vec::new();
    let mut limited = file.take(SHELF_PIECE_BYTES as u64);
    limited.read_to_end(&mut piece)?;
    Ok((piece, limited.into_inner()))
}

fn broken(error: impl std::fmt::Display) -> StoreError {
    StoreError::Conflict(format!("a kept file cannot be read: {error}"))
}
