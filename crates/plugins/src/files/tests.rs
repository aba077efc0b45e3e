use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::surroundings::Surroundings;

fn files(root: &Path) -> Files {
    let root = root.to_string_lossy().into_owned();
    let around = Surroundings::read(&|name| (name == "LAZARET_VAULT").then(|| root.clone())).unwrap();
    Files::open(around).unwrap()
}

async fn call(files: &Files, tool: &str, arguments: Value) -> Result<Value, ToolError> {
    let call = Call { tool: tool.to_owned(), arguments, key: None };
    match files.call(&call).await? {
        Outcome::Object(value) | Outcome::Whole(value) => Ok(value),
    }
}

fn vault() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("vault");
    std::fs::create_dir_all(root.join("notes/deep")).unwrap();
    std::fs::write(root.join("notes/harbour.md"), "# Harbour\nThe Ships come at EBB tide.\nNothing else.\n").unwrap();
    std::fs::write(root.join("notes/deep/ebb-plan.txt"), "ships leave at noon").unwrap();
    std::fs::write(root.join("picture.png"), [0x89, b'P', b'N', b'G', 0, 0, 1, 2]).unwrap();
    std::fs::write(dir.path().join("outside.md"), "ships secret ebb").unwrap();
    symlink(dir.path().join("outside.md"), root.join("out.md")).unwrap();
    symlink("/", root.join("notes/rootdir")).unwrap();
    symlink("harbour.md", root.join("notes/inner.md")).unwrap();
    dir
}

#[tokio::test]
async fn lists_reads_and_pages() {
    let dir = vault();
    let files = files(&dir.path().join("vault"));
    let listed = call(&files, "files_list", json!({"path": "/notes/"})).await.unwrap();
    let names: Vec<&str> = listed["entries"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["deep", "harbour.md", "inner.md", "rootdir"]);
    assert_eq!(listed["entries"][3]["kind"], "link");
    let paged = call(&files, "files_list", json!({"path": "notes", "limit": 3})).await.unwrap();
    assert_eq!((&paged["next"], &paged["total"]), (&json!(3), &json!(4)));
    let read = call(&files, "files_read", json!({"path": "notes/harbour.md", "limit": 12})).await.unwrap();
    assert_eq!((&read["text"], &read["next"]), (&json!("# Harbour\nTh"), &json!(12)));
    let rest = call(&files, "files_read", json!({"path": "notes/harbour.md", "offset": 12})).await.unwrap();
    assert!(rest["text"].as_str().unwrap().starts_with("e Ships") && rest["next"].is_null());
    let picture = call(&files, "files_read", json!({"path": "picture.png"})).await.unwrap();
    assert_eq!((&picture["binary"], picture.get("text")), (&json!(true), None));
}

#[tokio::test]
async fn characters_are_not_cut() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.txt"), "aä€🙂".repeat(3)).unwrap();
    let files = files(dir.path());
    let (mut text, mut offset) = (String::new(), 0);
    loop {
        let read = call(&files, "files_read", json!({"path": "a.txt", "offset": offset, "limit": 5})).await.unwrap();
        text += read["text"].as_str().unwrap();
        match read["next"].as_u64() {
            Some(next) => offset = next,
            None => break,
        }
    }
    assert_eq!(text, "aä€🙂".repeat(3));
}

#[tokio::test]
async fn nothing_leads_out() {
    let dir = vault();
    let files = files(&dir.path().join("vault"));
    for path in ["out.md", "../outside.md", "notes/rootdir/etc/passwd", "notes/../../outside.md", "/etc/passwd", "notes/inner.md", "a\0b"] {
        let read = call(&files, "files_read", json!({ "path": path })).await;
        assert!(read.is_err(), "{path}: {read:?}");
    }
    for path in ["notes/rootdir", "..", "out.md"] {
        assert!(call(&files, "files_list", json!({ "path": path })).await.is_err(), "{path}");
    }
    // The positive control: the same words are found where they may be.
    let found = call(&files, "files_search", json!({"query": "ships ebb"})).await.unwrap();
    let paths: Vec<&str> = found["files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["notes/harbour.md", "notes/deep/ebb-plan.txt"]);
}

#[tokio::test]
async fn a_pipe_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let files = files(dir.path());
    assert!(call(&files, "files_read", json!({"path": "pipe"})).await.is_err());
    let found = call(&files, "files_search", json!({"query": "pipe"})).await.unwrap();
    assert_eq!(found["files"], json!([]));
}

#[tokio::test]
async fn searches_show_lines_and_keep_to_globs() {
    let dir = vault();
    let files = files(&dir.path().join("vault"));
    let found = call(&files, "files_search", json!({"query": "SHIPS", "glob": "notes/*.md"})).await.unwrap();
    assert_eq!(found["files"].as_array().unwrap().len(), 1);
    assert_eq!(found["files"][0]["lines"], json!([{"line": 2, "text": "The Ships come at EBB tide."}]));
    assert_eq!(found["complete"], true);
    let first = call(&files, "files_search", json!({"query": "ships", "limit": 1})).await.unwrap();
    assert_eq!((first["files"].as_array().unwrap().len(), &first["complete"]), (1, &json!(false)));
    assert!(call(&files, "files_search", json!({"query": "  "})).await.is_err());
}
