//! What ships: names, manifests and skills.

/// A plugin that is part of this program.
#[derive(Debug, Clone, Copy)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// The text of its `manifest.toml`.
    pub manifest: &'static str,
    /// Its skills: file names and texts.
    pub skills: &'static [(&'static str, &'static str)],
}

macro_rules! shipped {
    ($name:literal $(, $skill:literal)?) => {
        Shipped {
            name: $name,
            manifest: include_str!(concat!("../../../share/plugins/", $name, "/manifest.toml")),
            skills: &[$(($skill, include_str!(concat!("../../../share/plugins/", $name, "/skills/", $skill))))?],
        }
    };
}

/// Every plugin that ships, by name.
pub const SHIPPED: &[Shipped] = &[
    shipped!("calendar", "calendar.md"),
    shipped!("email", "email.md"),
    shipped!("files", "files.md"),
    shipped!("github", "github.md"),
    shipped!("http"),
    shipped!("remote-mcp"),
    shipped!("web", "web.md"),
];

/// The shipped plugin of this name.
pub(crate) fn shipped(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|plugin| plugin.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_closed_schema_and_a_risk() {
        for plugin in SHIPPED {
            for tool in crate::manifest::tools(plugin.manifest) {
                let schema = &tool["inputSchema"];
                assert_eq!(schema["additionalProperties"], false, "{tool}");
                let name = tool["name"].as_str().unwrap();
                let own = plugin.name.replace('-', "_");
                assert!(name.starts_with(&own), "{name} of {own}");
            }
        }
        let risks = |name: &str| crate::manifest::tools(shipped(name).unwrap().manifest);
        let send = risks("email").into_iter().find(|t| t["name"] == "email_send").unwrap();
        assert_eq!(send["annotations"]["readOnlyHint"], false);
    }
}
