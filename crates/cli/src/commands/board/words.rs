//! What is to be read before a merge.

use app::{BranchView, MergeView};

/// What would come of a merge of the commit `tip`, and what there is to know of it.
pub(super) fn merge_text(agent: &BranchView, view: &MergeView, seen: &str) -> String {
    let mut text = match view.result.as_str() {
        "ready" => format!("{} merges into {}.", view.branch, view.into),
        "current" => format!("{} has everything of {} already.", view.into, view.branch),
        "conflict" => format!("{} conflicts with {}; nothing is changed:\n{}", view.branch, view.into, view.conflicts.join("\n")),
        other => format!("{}: {other}", view.branch),
    };
    let (tip, also) = seen.split_once(',').unwrap_or((seen, ""));
    text.push_str(&format!("\n\nrepository {}\ncommit     {tip}\ncommits    {}", agent.repo, agent.commits));
    for (name, tip) in also.split(',').filter_map(|part| part.split_once('=')) {
        let commits = agent.also.iter().find(|other| other.name == name).map_or(0, |other| other.commits);
        text.push_str(&format!("\nin {name}: {commits} commits, at {tip}"));
    }
    if let Some(size) = view.size.or(agent.size) {
        text.push_str(&format!("\nchanges    {} files, +{} -{}", size.files, size.added, size.removed));
    }
    let check = agent.check.as_ref().map_or("not run", |check| if check.passed { "passed" } else { "failed" });
    text.push_str(&format!("\ncheck      {check}"));
    if agent.dirty + agent.untracked > 0 {
        text.push_str(&format!("\n\n{} files are not committed and do not come along.", agent.dirty + agent.untracked));
    }
    text
}
