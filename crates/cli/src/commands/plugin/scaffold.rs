//! `lazaret plugin new`: a folder to begin from.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use model::{Code, Failure};

use super::Context;
use crate::exit::Done;
use crate::out;

/// A language that a handler can be written in.
struct Language {
    name: &'static str,
    handler: (&'static str, &'static str),
    test: (&'static str, &'static str),
    runner: &'static str,
}

const LANGUAGES: &[Language] = &[
    Language {
        name: "python",
        handler: ("handler.py", include_str!("scaffold/handler.py")),
        test: ("test_handler.py", include_str!("scaffold/test_handler.py")),
        runner: "python3",
    },
    Language {
        name: "node",
        handler: ("handler.js", include_str!("scaffold/handler.js")),
        test: ("test_handler.js", include_str!("scaffold/test_handler.js")),
        runner: "node",
    },
    Language {
        name: "sh",
        handler: ("handler.sh", include_str!("scaffold/handler.sh")),
        test: ("test_handler.sh", include_str!("scaffold/test_handler.sh")),
        runner: "sh",
    },
];

const MANIFEST: &str = include_str!("scaffold/manifest.toml");
const SKILL: &str = include_str!("scaffold/skill.md");

/// Makes the folder; one that is there is left alone.
pub(super) fn make(context: &Context, name: &str, lang: &str, dir: &Path) -> Done {
    app::check_plugin_name(name)?;
    let language = LANGUAGES.iter().find(|language| language.name == lang);
    let language = language.ok_or_else(|| Failure::new(Code::Usage, "there is no such language").field("lang"))?;
    let folder = dir.join(name);
    let fail = |e: std::io::Error| Failure::new(Code::PathUnusable, format!("{} cannot be made: {e}", folder.display()));
    let fill = |text: &str| text.replace("NAME_", &format!("{}_", name.replace('-', "_"))).replace("NAME", name);
    fs::create_dir(&folder).map_err(fail)?;
    fs::create_dir(folder.join("skills")).map_err(fail)?;
    let manifest = fill(MANIFEST).replace("RUNNER", language.runner).replace("HANDLER", language.handler.0);
    let (handler, test) = (fill(language.handler.1), fill(language.test.1));
    let skill = format!("skills/{name}.md");
    let files: [(&str, String, u32); 4] = [
        ("manifest.toml", manifest, 0o644),
        (language.handler.0, handler, 0o755),
        (language.test.0, test, 0o755),
        (&skill, fill(SKILL), 0o644),
    ];
    for (file, text, mode) in files {
        fs::write(folder.join(file), text).map_err(fail)?;
        fs::set_permissions(folder.join(file), fs::Permissions::from_mode(mode)).map_err(fail)?;
    }
    app::check_plugin(&folder)?;
    if context.json {
        out::json(&serde_json::json!({ "name": name, "folder": folder }))?;
    } else {
        let at = folder.display();
        out::line(&format!("{at} is made; test it: {} {at}/{}", language.runner, language.test.0));
        out::line(&format!(
            "then: lazaret plugin install {at} && lazaret plugin call {}_greet '{{\"who\":\"you\"}}'",
            name.replace('-', "_")
        ));
    }
    Ok(0)
}
