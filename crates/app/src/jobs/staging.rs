//! Files that come with a job, on their way: they go to the home as they come, are never whole in memory, and nothing of
//! them stays unless the job is accepted. What a killed daemon leaves of them is removed when the next one opens the home.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{Code, Failure};
use sha2::{Digest, Sha256};
use store::{BLOB_INLINE_BYTES, BlobError, Blobs, GrowingBlob, JobBlob, JobBody, StagedBlob};

use super::check::too_large;
use super::desk::unkept;
use super::{JOB_FILES_BYTES_MAX, JOB_FILES_MAX, JobFile, JobForm, check_job_path};
use crate::rooms::{Room, Seat};

/// Forms with files that are received at once; further ones are refused. With the limit of one form this bounds what lies
/// in the home without a job: a gibibyte.
const FORMS_MAX: usize = 16;
/// Bytes of a file that are held before they are written.
const HELD_BYTES: usize = 256 << 10;
/// Bytes of all short files of one job that are kept in rows; further ones are files.
const ROWS_BYTES_MAX: usize = 1 << 20;

/// Where the files of forms go.
#[derive(Debug, Clone)]
pub struct JobStaging {
    blobs: Blobs,
    room: Room,
}

impl JobStaging {
    /// Files below this directory, which no other process has open: what an earlier one left unfinished there is removed.
    ///
    /// # Errors
    /// The directory cannot be made or cleared.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        Ok(Self::of(Blobs::open(dir).map_err(|e| unkept(&e))?))
    }

    pub(super) fn of(blobs: Blobs) -> Self {
        Self { blobs, room: Room::new(FORMS_MAX, "forms with files are being read") }
    }

    /// No files yet, for a form that already is in memory.
    #[must_use]
    pub fn files(&self) -> JobFiles {
        JobFiles { blobs: self.blobs.clone(), all: Vec::new(), left: JOB_FILES_BYTES_MAX, rows_left: ROWS_BYTES_MAX, _place: None }
    }

    /// No files yet, for a form of a tenant that is about to be received.
    ///
    /// # Errors
    /// `BUSY`: too many are received already.
    pub fn enter(&self, tenant: &str) -> Result<JobFiles, Failure> {
        Ok(JobFiles { _place: Some(self.room.enter(tenant)?), ..self.files() })
    }
}

/// The files of one form.
#[derive(Debug)]
pub struct JobFiles {
    blobs: Blobs,
    all: Vec<Received>,
    /// Bytes that may still come.
    left: usize,
    rows_left: usize,
    _place: Option<Seat>,
}

/// A file that has come.
#[derive(Debug)]
struct Received {
    path: String,
    bytes: u64,
    hash: String,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Row(Vec<u8>),
    File(StagedBlob),
}

impl JobFiles {
    /// Begins to receive a file; a path below the working directory.
    ///
    /// # Errors
    /// The path cannot be one of a job's file, or there are too many.
    pub fn begin(&mut self, path: &str) -> Result<ComingFile<'_>, Failure> {
        check_job_path(path)?;
        if self.all.len() >= JOB_FILES_MAX {
            return Err(Failure::new(Code::TooLarge, format!("a job has at most {JOB_FILES_MAX} files")).field("files"));
        }
        Ok(ComingFile { path: path.to_owned(), held: Vec::new(), growing: None, files: self })
    }

    /// Takes over the bytes that a form holds; names all files in it, without their bytes.
    pub(super) async fn absorb(&mut self, form: &mut JobForm) -> Result<(), Failure> {
        if form.files.is_empty() && self.all.is_empty() {
            return Ok(());
        }
        if form.files.len() > JOB_FILES_MAX {
            return Err(Failure::new(Code::Usage, format!("files: at most {JOB_FILES_MAX} are taken")).field("files"));
        }
        let sent: Vec<String> = self.all.iter().map(|file| file.path.clone()).collect();
        for file in &mut form.files {
            let (data, path) = (std::mem::take(&mut file.data), file.path.escape_debug().to_string());
            let decoded = off_thread(move || Ok(STANDARD.decode(data))).await?;
            let wrong = |_| Failure::new(Code::Usage, format!("files: the data of `{path}` is not base64")).field("files");
            let bytes = decoded.map_err(wrong)?;
            let mut coming = self.begin(&file.path)?;
            for piece in bytes.chunks(HELD_BYTES) {
                coming.add(piece).await?;
            }
            coming.end().await?;
        }
        form.files.extend(sent.into_iter().map(|path| JobFile { path, data: String::new() }));
        Ok(())
    }

    /// Adds to a hash what distinguishes these files from others.
    pub(super) fn mark(&self, hash: &mut Sha256) {
        let mut all: Vec<(&str, &str)> = self.all.iter().map(|file| (file.path.as_str(), file.hash.as_str())).collect();
        all.sort_unstable();
        for (path, content) in all {
            // A path has no NUL.
            hash.update(path);
            hash.update([0]);
            hash.update(content);
        }
    }

    /// Puts them where they are safe.
    pub(super) async fn keep(self) -> Result<Vec<JobBlob>, Failure> {
        if self.all.is_empty() {
            return Ok(Vec::new());
        }
        let Self { all, _place, .. } = self;
        off_thread(move || {
            let keep = |file: Received| {
                let body = match file.body {
                    Body::Row(bytes) => JobBody::Inline(bytes),
                    Body::File(staged) => JobBody::Kept(staged.keep()?),
                };
                Ok(JobBlob { kind: "file".to_owned(), path: file.path, bytes: file.bytes, body })
            };
            all.into_iter().map(keep).collect()
        })
        .await
    }
}

/// A file that is being received; forgotten when it is dropped before its end.
#[derive(Debug)]
pub struct ComingFile<'a> {
    files: &'a mut JobFiles,
    path: String,
    held: Vec<u8>,
    growing: Option<GrowingBlob>,
}

impl ComingFile<'_> {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// There are more than a job may bring, or they cannot be written.
    pub async fn add(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.files.left = self.files.left.checked_sub(bytes.len()).ok_or_else(too_large)?;
        self.held.extend_from_slice(bytes);
        if self.held.len() < HELD_BYTES { Ok(()) } else { self.write().await }
    }

    /// Says that all has come.
    ///
    /// # Errors
    /// What was held cannot be written.
    pub async fn end(mut self) -> Result<(), Failure> {
        let is_short = self.growing.is_none() && self.held.len() <= BLOB_INLINE_BYTES.min(self.files.rows_left);
        if is_short {
            let bytes = std::mem::take(&mut self.held);
            self.files.rows_left -= bytes.len();
            let hash = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
            self.files.all.push(Received { path: self.path, bytes: bytes.len() as u64, hash, body: Body::Row(bytes) });
            return Ok(());
        }
        self.write().await?;
        if let Some(staged) = self.growing.take().map(GrowingBlob::rest) {
            let (bytes, hash) = (staged.bytes(), staged.hash().to_owned());
            self.files.all.push(Received { path: self.path, bytes, hash, body: Body::File(staged) });
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), Failure> {
        let (held, growing, blobs) = (std::mem::take(&mut self.held), self.growing.take(), self.files.blobs.clone());
        let written = off_thread(move || {
            let mut growing = growing.map_or_else(|| blobs.grow(), Ok)?;
            growing.write(&held)?;
            Ok((growing, held))
        });
        let (growing, mut held) = written.await?;
        model::crash::point("job:file-coming");
        held.clear();
        (self.held, self.growing) = (held, Some(growing));
        Ok(())
    }
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T, BlobError> + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
    done.map_err(|e| unkept(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("a directory").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    async fn receive(files: &mut JobFiles, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let mut coming = files.begin(path)?;
        for piece in bytes.chunks(70_000) {
            coming.add(piece).await?;
        }
        coming.end().await
    }

    #[tokio::test]
    async fn what_is_not_kept_leaves_nothing() {
        let home = tempfile::tempdir().expect("a directory");
        let staging = JobStaging::open(home.path()).expect("open");
        let mut files = staging.enter("red").expect("a place");
        let long = vec![7; 3 * HELD_BYTES + 5];
        receive(&mut files, "a/long", &long).await.expect("taken");
        receive(&mut files, "short", b"x").await.expect("taken");
        {
            let mut cut = files.begin("cut").expect("a path");
            cut.add(&long).await.expect("taken");
        }
        assert_eq!(names(home.path()).len(), 1, "the file that was cut is there still");
        assert!(files.begin("../x").is_err() && files.begin("/x").is_err());
        drop(files);
        assert_eq!(names(home.path()), Vec::<String>::new());
        // What a process left that was killed goes when the next one opens.
        std::fs::write(home.path().join("growing-1-1"), b"x").expect("write");
        JobStaging::open(home.path()).expect("open");
        assert_eq!(names(home.path()), Vec::<String>::new());
    }

    #[tokio::test]
    async fn what_is_kept_is_what_came() {
        let home = tempfile::tempdir().expect("a directory");
        let staging = JobStaging::open(home.path()).expect("open");
        let mut files = staging.files();
        let long: Vec<u8> = (0..2 * HELD_BYTES + 99).map(|n| u8::try_from(n % 251).expect("small")).collect();
        receive(&mut files, "long", &long).await.expect("taken");
        receive(&mut files, "empty", b"").await.expect("taken");
        let data = STANDARD.encode(b"from the form");
        let mut form = JobForm { files: vec![JobFile { path: "form".to_owned(), data }], ..JobForm::default() };
        files.absorb(&mut form).await.expect("taken");
        assert!(form.files.iter().all(|file| file.data.is_empty()));
        assert_eq!(form.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["form", "long", "empty"]);
        let kept = files.keep().await.expect("kept");
        let read = |path: &str| match &kept.iter().find(|blob| blob.path == path).expect("there").body {
            JobBody::Inline(bytes) => bytes.clone(),
            JobBody::Kept(hash) => {
                let mut bytes = Vec::new();
                let mut file = staging.blobs.open_blob(hash).expect("kept");
                std::io::Read::read_to_end(&mut file, &mut bytes).expect("read");
                bytes
            }
            JobBody::Unread => panic!("unread"),
        };
        assert_eq!((read("long"), read("empty"), read("form")), (long, Vec::new(), b"from the form".to_vec()));
    }

    #[tokio::test]
    async fn there_are_limits() {
        let home = tempfile::tempdir().expect("a directory");
        let staging = JobStaging::open(home.path()).expect("open");
        let held: Vec<JobFiles> =
            (0..FORMS_MAX).map(|n| staging.enter(if n % 2 == 0 { "red" } else { "blue" }).expect("a place")).collect();
        assert_eq!(staging.enter("red").expect_err("full").code, Code::Busy);
        drop(held);
        let mut files = staging.enter("red").expect("a place");
        files.left = 10;
        assert_eq!(receive(&mut files, "a", b"0123456789a").await.expect_err("too long").code, Code::TooLarge);
        let mut files = staging.files();
        files.rows_left = 10;
        receive(&mut files, "a", b"012345678").await.expect("taken");
        receive(&mut files, "b", b"012345678").await.expect("taken");
        let kept = files.keep().await.expect("kept");
        assert!(matches!((&kept[0].body, &kept[1].body), (JobBody::Inline(_), JobBody::Kept(_))), "{kept:?}");
        for n in [0, JOB_FILES_MAX - 1, JOB_FILES_MAX] {
            let mut files = JobFiles { rows_left: 0, ..staging.files() };
            files.all =
                (0..n).map(|n| Received { path: n.to_string(), bytes: 0, hash: String::new(), body: Body::Row(Vec::new()) }).collect();
            assert_eq!(files.begin("x").is_ok(), n < JOB_FILES_MAX);
        }
    }

    #[tokio::test]
    async fn the_same_files_have_one_mark_however_they_came() {
        let home = tempfile::tempdir().expect("a directory");
        let staging = JobStaging::open(home.path()).expect("open");
        let mark = |files: &JobFiles| {
            let mut hash = Sha256::new();
            files.mark(&mut hash);
            hash.finalize()
        };
        let (mut one, mut two, mut other) = (staging.files(), staging.files(), staging.files());
        for (path, bytes) in [("a", b"1"), ("b", b"2")] {
            receive(&mut one, path, bytes).await.expect("taken");
        }
        receive(&mut two, "b", b"2").await.expect("taken");
        let mut form = JobForm { files: vec![JobFile { path: "a".to_owned(), data: STANDARD.encode(b"1") }], ..JobForm::default() };
        two.absorb(&mut form).await.expect("taken");
        receive(&mut other, "a", b"1").await.expect("taken");
        assert_eq!(mark(&one), mark(&two));
        assert_ne!(mark(&one), mark(&other));
    }
}
