//! Secrets that are bound to hosts: an agent holds a placeholder, and the egress proxy puts the value in on the way to its host.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use gateway::Keys as _;
use gateway::egress::{Bound, check_header, check_value};
use model::{Code, EgressRule, Failure};
use serde::{Deserialize, Serialize};
use store::Secrets;
use zeroize::Zeroizing;

use crate::App;

/// A secret to bind.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BindForm {
    /// The secret, and the variable that holds its placeholder inside.
    pub name: String,
    /// The host, with a port unless it is 443.
    pub host: String,
    /// A path prefix; every path when left out.
    #[serde(default)]
    pub path: Option<String>,
    /// A method; every method when left out.
    #[serde(default)]
    pub method: Option<String>,
    /// The header; `Authorization` when left out.
    #[serde(default)]
    pub header: Option<String>,
}

/// Where a secret is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// A path prefix.
    pub path: Option<String>,
    /// A method.
    pub method: Option<String>,
    /// The header, in small letters.
    pub header: String,
}

/// A bound secret as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BoundView {
    /// The secret.
    pub name: String,
    /// Where it is bound to.
    #[serde(flatten)]
    pub binding: Binding,
}

/// The bound secrets of an [`App`].
pub struct BoundOf<'a> {
    app: &'a App,
}

/// The scope of bindings among the secrets: they are sealed like values, so that nobody who can write the database can lead
/// one to another host.
pub(crate) const SCOPE: &str = "bound";
/// Places that one secret may be bound to.
const BINDINGS_MAX: usize = 16;
/// The longest name of a variable.
const NAME_BYTES_MAX: usize = 64;
/// Secrets that one session may use.
pub(crate) const NAMED_MAX: usize = 32;
/// Variables that programs are steered by; no placeholder belongs there.
const STEERING: &[&str] = &["PATH", "HOME", "USER", "SHELL", "TERM", "LANG", "IFS", "PWD", "TMPDIR"];

impl Binding {
    /// What the proxy is told.
    pub(crate) fn bound(&self, name: &str, placeholder: &str) -> Bound {
        Bound {
            placeholder: placeholder.to_owned(),
            name: name.to_owned(),
            host: self.host.clone(),
            port: self.port,
            path: self.path.clone(),
            method: self.method.clone(),
            header: self.header.clone(),
        }
    }

    fn read(form: &BindForm) -> Result<Self, Failure> {
        let usage = |why: String, field: &str| Failure::new(Code::Usage, why).field(field);
        if form.host.contains(['/', ',']) {
            return Err(usage("a host is HOST or HOST:PORT".to_owned(), "host"));
        }
        if form.method.as_deref() == Some(model::WEBSOCKET) {
            return Err(usage("a method is one of HTTP, like GET".to_owned(), "method"));
        }
        let method = form.method.as_ref().map(|m| format!(",{m}")).unwrap_or_default();
        let text = format!("{}{}{method}", form.host, form.path.as_deref().unwrap_or(""));
        let rule: EgressRule = text.parse().map_err(|e: model::EgressRuleError| usage(e.to_string(), "host"))?;
        if rule.path != form.path || rule.method != form.method {
            return Err(usage("a path begins with `/` and has no `,`".to_owned(), "path"));
        }
        let header = form.header.as_deref().unwrap_or("authorization").to_ascii_lowercase();
        check_header(&header).map_err(|e| usage(e.to_string(), "header"))?;
        Ok(Self { host: rule.host, port: rule.port, path: rule.path, method: rule.method, header })
    }
}

impl App {
    /// The secrets that are bound to hosts.
    #[must_use]
    pub fn bound(&self) -> BoundOf<'_> {
        BoundOf { app: self }
    }

    /// Refuses names that are not bound.
    pub(crate) fn check_bound(&self, names: &[String]) -> Result<(), Failure> {
        if names.len() > NAMED_MAX {
            return Err(Failure::new(Code::Usage, format!("at most {NAMED_MAX} secrets")).field("secrets"));
        }
        let bindings = self.bindings();
        match names.iter().find(|name| !bindings.contains_key(*name)) {
            Some(name) => {
                let name = name.escape_debug();
                Err(Failure::new(Code::NotFound, format!("the secret {name} is bound to no host"))
                    .hint(format!("run: lazaret secret bind {name} --host HOST"))
                    .field("secrets"))
            }
            None => Ok(()),
        }
    }

    fn bindings(&self) -> Arc<BTreeMap<String, Vec<Binding>>> {
        Arc::clone(&self.egress_book().bindings.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl BoundOf<'_> {
    /// All of them, by name.
    #[must_use]
    pub fn list(&self) -> Vec<BoundView> {
        let bindings = self.app.bindings();
        let views = bindings.iter().flat_map(|(name, all)| all.iter().map(move |b| BoundView { name: name.clone(), binding: b.clone() }));
        views.collect()
    }

    /// Binds a secret to one more place.
    ///
    /// # Errors
    /// There is no such secret, its value or name cannot be bound, or hosts cannot be looked into.
    pub async fn bind(&self, form: BindForm) -> Result<BoundView, Failure> {
        let usage = |why: &str, field: &str| Failure::new(Code::Usage, why).field(field);
        check_variable(&form.name)?;
        let binding = Binding::read(&form)?;
        let value = self.app.secrets().key(&form.name).ok_or_else(|| {
            Failure::new(Code::NotFound, format!("there is no secret {}", form.name))
                .hint(format!("run: lazaret secret set {} -", form.name))
        })?;
        check_value(&value).map_err(|e| usage(&e.to_string(), "name"))?;
        self.app.inspection().await?;
        let book = self.app.egress_book();
        let _changing = book.changing.lock().await;
        let mut all = (*self.app.bindings()).clone();
        let of = all.entry(form.name.clone()).or_default();
        if !of.contains(&binding) {
            if of.len() >= BINDINGS_MAX {
                return Err(usage(&format!("a secret is bound to at most {BINDINGS_MAX} places"), "host"));
            }
            of.push(binding.clone());
            let text = serde_json::to_string(of).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
            book.secrets.set(&form.name, SCOPE, Zeroizing::new(text), crate::now()).await.map_err(|e| e.failure())?;
        }
        self.put(all);
        Ok(BoundView { name: form.name, binding })
    }

    /// Binds a secret no longer: to this host, or to none at all. It counts at once.
    ///
    /// # Errors
    /// It is not bound there, or the store cannot be written.
    pub async fn unbind(&self, name: &str, host: Option<&str>) -> Result<(), Failure> {
        let book = self.app.egress_book();
        let _changing = book.changing.lock().await;
        let mut all = (*self.app.bindings()).clone();
        let missing = || Failure::new(Code::NotFound, "no such secret is bound there").hint("`lazaret secret bound` names them");
        let of = all.get_mut(name).ok_or_else(missing)?;
        let before = of.len();
        of.retain(|b| host.is_some_and(|host| host != b.host && host != format!("{}:{}", b.host, b.port)));
        if of.len() == before {
            return Err(missing());
        }
        if of.is_empty() {
            all.remove(name);
            book.secrets.remove(name, SCOPE).await.map_err(|e| e.failure())?;
        } else {
            let text = serde_json::to_string(of).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
            book.secrets.set(name, SCOPE, Zeroizing::new(text), crate::now()).await.map_err(|e| e.failure())?;
        }
        self.put(all);
        Ok(())
    }

    fn put(&self, all: BTreeMap<String, Vec<Binding>>) {
        let book = self.app.egress_book();
        *book.bindings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
        book.rebind();
    }
}

/// Refuses a name that can be no variable, or steers programs.
pub(crate) fn check_variable(name: &str) -> Result<(), Failure> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.starts_with(|c: char| c.is_ascii_digit());
    let is_steering = STEERING.contains(&name) || name.starts_with("LD_") || name.to_ascii_uppercase().ends_with("_PROXY");
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !plain || is_steering {
        return Err(Failure::new(Code::Usage, "what is inside under this name must be one that a variable can have, like GITHUB_TOKEN")
            .field("name")
            .hint("store the value under another name: lazaret secret set NAME -"));
    }
    Ok(())
}

/// What is bound, as it is kept. What is not understood is bound to nothing.
pub(crate) async fn read_bindings(secrets: &Secrets) -> Result<BTreeMap<String, Vec<Binding>>, Failure> {
    let mut all = BTreeMap::new();
    for entry in secrets.list().await.map_err(|e| e.failure())?.into_iter().filter(|e| e.scope == SCOPE) {
        let text = secrets.get(&entry.name, SCOPE).await.map_err(|e| e.failure())?;
        match serde_json::from_str(&text) {
            Ok(bindings) => drop(all.insert(entry.name, bindings)),
            Err(error) => tracing::warn!(name = %entry.name, %error, "a secret is bound to no host any more: its record is not understood"),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_is_read_strictly() {
        let form = |host: &str, path: Option<&str>, method: Option<&str>, header: Option<&str>| BindForm {
            name: "X".to_owned(),
            host: host.to_owned(),
            path: path.map(str::to_owned),
            method: method.map(str::to_owned),
            header: header.map(str::to_owned),
        };
        let read = Binding::read(&form("API.example.com.", Some("/v1"), Some("GET"), Some("X-Key"))).unwrap();
        assert_eq!((read.host.as_str(), read.port, read.header.as_str()), ("api.example.com", 443, "x-key"));
        assert_eq!(Binding::read(&form("h.example:8443", None, None, None)).unwrap().header, "authorization");
        for bad in [
            form("h.example/x", None, None, None),
            form("*.example", None, None, None),
            form("h.example", Some("v1"), None, None),
            form("h.example", Some("/a,GET"), None, None),
            form("h.example", Some("/../x"), None, None),
            form("h.example", None, Some("get"), None),
            form("h.example", None, Some("WS"), None),
            form("h.example", None, None, Some("Host")),
        ] {
            assert_eq!(Binding::read(&bad).expect_err("it is wrong").code, Code::Usage, "{bad:?}");
        }
    }
}
