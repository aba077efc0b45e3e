//! Profiles, engines, templates and hooks: texts with versions, a tenant's own beside those that the program ships with.
//!
//! Nothing is cached: a change is seen by the next job, on every replica.

mod check;
mod forms;
mod shipped;

pub use forms::{CheckForm, Checked, ConfigForm, ConfigView, EngineView, ProfileVariable, ProfileView};
pub use profiles::ConfigKind;

use model::{Code, Failure, Timestamp};
use profiles::{Hook, Profile, Source, Templates};
use store::{ConfigKey, ConfigRow, ConfigRule, NewConfig};

use crate::{App, Caller};

/// Templates that one rendering may bring in, one through the other.
const INCLUDED_MAX: usize = 50;

/// The configurations of an [`App`], as one caller sees them.
pub struct ConfigsOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

/// A text and its version.
struct Found {
    content: String,
    description: String,
    version: u64,
    shipped: bool,
    created: Timestamp,
    updated: Timestamp,
}

impl App {
    /// The profiles, engines, templates and hooks that this caller sees.
    #[must_use]
    pub fn configs_of(&self, caller: &Caller) -> ConfigsOf<'_> {
        ConfigsOf { app: self, caller: caller.clone() }
    }
}

impl ConfigsOf<'_> {
    fn key(&self, kind: ConfigKind, name: &str) -> ConfigKey {
        ConfigKey { tenant: self.caller.makes_for().to_owned(), kind: kind.as_str().to_owned(), name: name.to_owned() }
    }

    /// What is there, stored or shipped.
    async fn find(&self, kind: ConfigKind, name: &str) -> Result<Option<Found>, Failure> {
        profiles::check_name(kind, name).map_err(|e| e.failure().field("name"))?;
        let row = self.app.store().config(&self.key(kind, name)).await.map_err(|e| e.failure())?;
        Ok(found(kind, name, row))
    }

    async fn found(&self, kind: ConfigKind, name: &str) -> Result<Found, Failure> {
        self.find(kind, name).await?.ok_or_else(|| missing(kind, name))
    }

    /// All of a kind by name, without their texts.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self, kind: ConfigKind) -> Result<Vec<ConfigView>, Failure> {
        let all = self.all(kind).await?;
        Ok(all.into_iter().map(|(name, found)| found.view(kind, &name, false)).collect())
    }

    async fn all(&self, kind: ConfigKind) -> Result<Vec<(String, Found)>, Failure> {
        let rows = self.app.store().list_configs(self.caller.makes_for(), kind.as_str()).await.map_err(|e| e.failure())?;
        let mut all = std::collections::BTreeMap::new();
        for name in shipped::names(kind) {
            all.insert(name.to_owned(), found(kind, name, None));
        }
        for row in rows {
            let name = row.key.name.clone();
            all.insert(name.clone(), found(kind, &name, Some(row)));
        }
        Ok(all.into_iter().filter_map(|(name, found)| Some((name, found?))).collect())
    }

    /// One of them, with its text.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn show(&self, kind: ConfigKind, name: &str) -> Result<ConfigView, Failure> {
        Ok(self.found(kind, name).await?.view(kind, name, true))
    }

    /// A version of one of them.
    ///
    /// # Errors
    /// There is none of this name, or no such version is kept.
    pub async fn version(&self, kind: ConfigKind, name: &str, version: u64) -> Result<ConfigView, Failure> {
        profiles::check_name(kind, name).map_err(|e| e.failure().field("name"))?;
        if version == shipped::SHIPPED_VERSION && shipped::text(kind, name).is_some() {
            return found(kind, name, None).map(|found| found.view(kind, name, true)).ok_or_else(|| missing(kind, name));
        }
        let row = self.app.store().config_version(&self.key(kind, name), version).await.map_err(|e| e.failure())?;
        Ok(Found::of(row).view(kind, name, true))
    }

    /// Every version, the youngest first, without texts.
    ///
    /// # Errors
    /// There was never one of this name.
    pub async fn history(&self, kind: ConfigKind, name: &str) -> Result<Vec<ConfigView>, Failure> {
        profiles::check_name(kind, name).map_err(|e| e.failure().field("name"))?;
        let rows = self.app.store().config_history(&self.key(kind, name)).await.map_err(|e| e.failure())?;
        let mut views: Vec<ConfigView> = rows
            .into_iter()
            .map(|row| {
                let removed = row.removed;
                ConfigView { removed, ..Found::of(row).view(kind, name, false) }
            })
            .collect();
        views.extend(found(kind, name, None).map(|found| found.view(kind, name, false)));
        if views.is_empty() { Err(missing(kind, name)) } else { Ok(views) }
    }

    /// Makes one.
    ///
    /// # Errors
    /// The name is taken, or name or text cannot be used.
    pub async fn add(&self, kind: ConfigKind, form: ConfigForm, actor: &str) -> Result<ConfigView, Failure> {
        let name = form.name.clone().ok_or_else(|| Failure::new(Code::Usage, "a name is needed").field("name"))?;
        self.put(kind, &name, form, ConfigRule::New, actor).await
    }

    /// Gives one a new version.
    ///
    /// # Errors
    /// There is none of this name, it has another version than the form says, or the text cannot be used.
    pub async fn set(&self, kind: ConfigKind, name: &str, form: ConfigForm, actor: &str) -> Result<ConfigView, Failure> {
        if form.name.as_ref().is_some_and(|named| named != name) {
            return Err(Failure::new(Code::Usage, "it keeps its name").hint("add another and remove this one").field("name"));
        }
        let rule = form.version.map_or(ConfigRule::There, ConfigRule::At);
        self.put(kind, name, form, rule, actor).await
    }

    /// Makes one, or gives it a new version.
    ///
    /// # Errors
    /// Name or text cannot be used.
    pub async fn keep(&self, kind: ConfigKind, name: &str, form: ConfigForm, actor: &str) -> Result<ConfigView, Failure> {
        let rule = form.version.map_or(ConfigRule::Any, ConfigRule::At);
        self.put(kind, name, form, rule, actor).await
    }

    async fn put(&self, kind: ConfigKind, name: &str, form: ConfigForm, rule: ConfigRule, actor: &str) -> Result<ConfigView, Failure> {
        let warnings = check::check(kind, name, &form.content)?;
        let new = self.draft(kind, name, form.content, form.description, rule, actor);
        let row = self.app.store().put_config(new).await.map_err(|e| e.failure())?;
        model::crash::point("config:put");
        self.app.pool().changed();
        Ok(ConfigView { warnings, ..Found::of(row).view(kind, name, true) })
    }

    fn draft(
        &self,
        kind: ConfigKind,
        name: &str,
        content: String,
        description: Option<String>,
        rule: ConfigRule,
        actor: &str,
    ) -> NewConfig {
        let after = if shipped::text(kind, name).is_some() { shipped::SHIPPED_VERSION } else { 0 };
        NewConfig {
            key: self.key(kind, name),
            content,
            description,
            removed: false,
            after,
            rule,
            actor: actor.to_owned(),
            now: crate::now(),
        }
    }

    /// Removes one. Its versions are kept, and one that the program ships with comes back with [`ConfigsOf::reset`].
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn remove(&self, kind: ConfigKind, name: &str, actor: &str) -> Result<(), Failure> {
        profiles::check_name(kind, name).map_err(|e| e.failure().field("name"))?;
        let new = NewConfig { removed: true, ..self.draft(kind, name, String::new(), None, ConfigRule::There, actor) };
        self.app.store().put_config(new).await.map_err(|e| e.failure())?;
        self.app.pool().changed();
        Ok(())
    }

    /// Goes back to a version, as a new one: what the program ships with when none is said.
    ///
    /// # Errors
    /// There is no such version.
    pub async fn reset(&self, kind: ConfigKind, name: &str, version: Option<u64>, actor: &str) -> Result<ConfigView, Failure> {
        let to = self.version(kind, name, version.unwrap_or(shipped::SHIPPED_VERSION)).await?;
        let form = ConfigForm { content: to.content.unwrap_or_default(), description: Some(to.description), ..ConfigForm::default() };
        self.keep(kind, name, form, actor).await
    }

    /// Whether a text could be kept, and for a profile what its prompt would be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn check(&self, kind: ConfigKind, form: CheckForm) -> Result<Checked, Failure> {
        let name = form.name.as_deref().unwrap_or("unnamed");
        let named_by_itself = (kind == ConfigKind::Engine && form.name.is_none()).then(|| described(&form.content)).flatten();
        let mut warnings = check::check(kind, named_by_itself.as_deref().unwrap_or(name), &form.content)?;
        let (mut prompt, mut instructions) = (None, None);
        if kind == ConfigKind::Profile {
            let profile = Profile::parse(&form.content).map_err(|e| e.failure())?.profile;
            match form.prompt_vars {
                Some(vars) => {
                    let rendered = self.render(&profile, &vars, &form.claude_md_vars.unwrap_or_default(), &serde_json::Map::new()).await?;
                    (prompt, instructions) = (rendered.prompt, Some(rendered.instructions));
                }
                None => warnings.extend(self.dangling(&profile).await?),
            }
        }
        Ok(Checked { warnings, prompt, instructions })
    }

    /// What a profile names that is not there.
    async fn dangling(&self, profile: &Profile) -> Result<Vec<String>, Failure> {
        let mut warnings = Vec::new();
        for (source, directory) in [(&profile.prompt, "prompts"), (&profile.claude_md, "claude-md")] {
            if let Some(Source::Named(name)) = source
                && self.template(directory, name).await?.is_none()
            {
                warnings.push(format!("there is no template `{name}`"));
            }
        }
        for hook in [&profile.pre, &profile.post].into_iter().flatten() {
            if let Hook::Named(name) = hook
                && self.find(ConfigKind::Hook, name).await?.is_none()
            {
                warnings.push(format!("there is no hook `{name}`"));
            }
        }
        Ok(warnings)
    }

    /// The profiles, as who makes jobs wants to know them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn profiles(&self) -> Result<Vec<ProfileView>, Failure> {
        let all = self.all(ConfigKind::Profile).await?;
        let view = |(name, found): (String, Found)| ProfileView::of(name, found.version, found.shipped, &found.content);
        Ok(all.into_iter().filter_map(view).collect())
    }

    /// How many sandboxes each profile wants to have ready, where it says so.
    pub(crate) async fn pool_sizes(&self) -> Result<Vec<(String, Option<usize>)>, Failure> {
        let all = self.all(ConfigKind::Profile).await?;
        let size = |(name, found): (String, Found)| Some((name, Profile::parse(&found.content).ok()?.profile.pool_size));
        Ok(all.into_iter().filter_map(size).collect())
    }

    /// A profile and its version.
    pub(crate) async fn profile(&self, name: &str) -> Result<(Profile, u64), Failure> {
        let found = self.found(ConfigKind::Profile, name).await.map_err(|failure| failure.field("profile"))?;
        let read = Profile::parse(&found.content).map_err(|e| e.failure())?;
        Ok((read.profile, found.version))
    }

    /// The script of a hook.
    pub(crate) async fn script(&self, hook: Option<&Hook>) -> Result<Option<String>, Failure> {
        match hook {
            None => Ok(None),
            Some(Hook::Inline(text)) => Ok(Some(text.clone())),
            Some(Hook::Named(name)) => Ok(Some(self.found(ConfigKind::Hook, name).await?.content)),
        }
    }

    /// The engines, built in or described.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn engines(&self) -> Result<Vec<EngineView>, Failure> {
        let all = self.all(ConfigKind::Engine).await?;
        let installed = self.app.engines().list().await?;
        Ok(all
            .into_iter()
            .map(|(name, found)| {
                let known = installed.iter().find(|status| status.name == name);
                EngineView::of(name, &found.content, known.map(|status| status.installed))
            })
            .collect())
    }

    /// The description of an engine that is not built in; `None` for those that are, and for programs by their path.
    pub(crate) async fn engine_text(&self, name: &str) -> Result<Option<String>, Failure> {
        if engines::by_name(name).is_some() || name.starts_with("program:") || profiles::check_name(ConfigKind::Engine, name).is_err() {
            return Ok(None);
        }
        Ok(self.find(ConfigKind::Engine, name).await?.map(|found| found.content))
    }

    async fn template(&self, directory: &str, name: &str) -> Result<Option<(String, String)>, Failure> {
        let candidates = [name.to_owned(), format!("{directory}/{name}.md.j2")];
        for candidate in candidates {
            if profiles::check_name(ConfigKind::Template, &candidate).is_ok()
                && let Some(found) = self.find(ConfigKind::Template, &candidate).await?
            {
                return Ok(Some((candidate, found.content)));
            }
        }
        Ok(None)
    }

    /// Renders a profile's prompt and instructions. `fixed` is what every template may use.
    pub(crate) async fn render(
        &self,
        profile: &Profile,
        prompt_vars: &Vars,
        claude_md_vars: &Vars,
        fixed: &Vars,
    ) -> Result<Rendered, Failure> {
        let prompt = match &profile.prompt {
            Some(source) => Some(self.text("prompts", source, &profile.prompt_vars, prompt_vars, fixed, profile.undefined).await?),
            None => None,
        };
        let instructions = match &profile.claude_md {
            Some(source) => self.text("claude-md", source, &profile.claude_md_vars, claude_md_vars, fixed, profile.undefined).await?,
            None => String::new(),
        };
        Ok(Rendered { prompt, instructions })
    }

    async fn text(
        &self,
        directory: &str,
        source: &Source,
        declared: &profiles::Variables,
        given: &Vars,
        fixed: &Vars,
        undefined: profiles::Undefined,
    ) -> Result<String, Failure> {
        let mut variables = declared.complete(given).map_err(|e| e.failure())?;
        for (name, value) in fixed {
            variables.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let (name, text) = match source {
            Source::Inline(text) => (directory.to_owned(), text.clone()),
            Source::Named(name) => self.template(directory, name).await?.ok_or_else(|| missing(ConfigKind::Template, name))?,
        };
        let templates = self.reach(&text).await?;
        let rendered = tokio::task::spawn_blocking(move || templates.render_text(&name, &text, &variables, undefined)).await;
        let rendered = rendered.map_err(|e| Failure::new(Code::Internal, format!("a template was not rendered: {e}")))?;
        rendered.map_err(|e| e.failure())
    }

    /// The templates that a text brings in, and those that they bring in.
    async fn reach(&self, text: &str) -> Result<Templates, Failure> {
        let mut templates = Templates::default();
        let mut wanted = profiles::included(text);
        let mut seen = std::collections::BTreeSet::new();
        while let Some(name) = wanted.pop() {
            if !seen.insert(name.clone()) || profiles::check_name(ConfigKind::Template, &name).is_err() {
                continue;
            }
            if seen.len() > INCLUDED_MAX {
                return Err(Failure::new(Code::Usage, format!("a template brings in more than {INCLUDED_MAX} others")));
            }
            if let Some(found) = self.find(ConfigKind::Template, &name).await? {
                wanted.extend(profiles::included(&found.content));
                templates.add(&name, &found.content).map_err(|e| e.failure())?;
            }
        }
        Ok(templates)
    }
}

impl App {
    /// The description of the engine that is asked for, where it is not built in.
    ///
    /// # Errors
    /// `ENGINE_MISSING` when nothing is called so.
    pub(crate) async fn described_engine(&self, caller: &Caller, name: &str) -> Result<Option<String>, Failure> {
        let text = self.configs_of(caller).engine_text(name).await?;
        if text.is_none() {
            engines::find(name)?;
        }
        Ok(text)
    }
}

/// Values of variables by name.
pub(crate) type Vars = serde_json::Map<String, serde_json::Value>;

/// What a profile's templates come to.
pub(crate) struct Rendered {
    pub(crate) prompt: Option<String>,
    pub(crate) instructions: String,
}

impl Found {
    fn of(row: ConfigRow) -> Self {
        Self {
            content: row.content,
            description: row.description,
            version: row.version,
            shipped: false,
            created: row.created,
            updated: row.updated,
        }
    }

    fn view(self, kind: ConfigKind, name: &str, with_content: bool) -> ConfigView {
        ConfigView {
            name: name.to_owned(),
            kind,
            version: self.version,
            content: with_content.then_some(self.content),
            description: self.description,
            shipped: self.shipped,
            removed: false,
            warnings: Vec::new(),
            created: self.created,
            updated: self.updated,
        }
    }
}

fn found(kind: ConfigKind, name: &str, row: Option<ConfigRow>) -> Option<Found> {
    match row {
        Some(row) if row.removed => None,
        Some(row) => Some(Found::of(row)),
        None => shipped::text(kind, name).map(|text| Found {
            content: text.to_owned(),
            description: describe(kind, text),
            version: shipped::SHIPPED_VERSION,
            shipped: true,
            created: Timestamp(0),
            updated: Timestamp(0),
        }),
    }
}

/// What a text says of itself.
fn describe(kind: ConfigKind, text: &str) -> String {
    match kind {
        ConfigKind::Profile => Profile::parse(text).map(|read| read.profile.description).unwrap_or_default(),
        ConfigKind::Engine => forms::about_engine(text).1,
        ConfigKind::Template | ConfigKind::Hook => String::new(),
    }
}

/// The name that a description of an engine gives itself.
fn described(text: &str) -> Option<String> {
    engines::described_name(text).or_else(|| engines::Custom::parse(text).ok().map(|custom| engines::Engine::name(&custom).to_owned()))
}

fn missing(kind: ConfigKind, name: &str) -> Failure {
    let shown: String = name.escape_debug().take(profiles::NAME_CHARS_MAX).collect();
    Failure::new(Code::NotFound, format!("there is no {} `{shown}`", kind.as_str())).field(kind.as_str())
}
