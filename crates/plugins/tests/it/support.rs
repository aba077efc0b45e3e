//! A plugin as its host sees it.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lazaret_plugins::{Talk, serve_on};
use serde_json::{Value, json};
use testkit::servers::Proxy;

/// A directory with a plugin's configuration and credentials, and authorities that it trusts.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
    variables: BTreeMap<String, String>,
    /// Certificate and key of `*.test` and of loopback, in files.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    tls: Arc<rustls::ServerConfig>,
}

impl Lab {
    pub(crate) fn new(config: &Value, credentials: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("make a directory");
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("config.json"), config.to_string()).expect("write");
        std::fs::create_dir(path("credentials")).expect("make");
        for (name, value) in credentials {
            std::fs::write(path("credentials").join(name), value).expect("write");
        }
        let names = ["mail.test", "example.test", "other.test", "localhost", "127.0.0.1"].map(str::to_owned).to_vec();
        let made = rcgen::generate_simple_self_signed(names).expect("make a certificate");
        std::fs::write(path("cert.pem"), made.cert.pem()).expect("write");
        std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).expect("write");
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let variables = BTreeMap::from([
            ("LAZARET_PLUGIN_CONFIG".to_owned(), text(path("config.json"))),
            ("LAZARET_CREDENTIALS".to_owned(), text(path("credentials"))),
            ("SSL_CERT_FILE".to_owned(), text(path("cert.pem"))),
        ]);
        let (certificate, key) = (path("cert.pem"), path("key.pem"));
        Self { dir, variables, certificate, key, tls: Arc::new(tls.expect("a usable certificate")) }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn tls(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.tls)
    }

    /// From now on the plugin's connections go through this proxy.
    pub(crate) fn through(mut self, proxy: &Proxy) -> Self {
        self.variables.insert("HTTPS_PROXY".to_owned(), format!("http://127.0.0.1:{}", proxy.port));
        self
    }

    /// Replaces the configuration.
    pub(crate) fn configure(&self, config: &Value) {
        std::fs::write(self.dir.path().join("config.json"), config.to_string()).expect("write");
    }

    /// Calls tools of one process of the plugin, all at once, and gives the results in order.
    pub(crate) fn call_all(&self, plugin: &str, calls: &[(&str, Value, Option<&str>)]) -> Vec<Result<Value, String>> {
        let mut lines = String::new();
        for (id, (tool, arguments, key)) in calls.iter().enumerate() {
            let mut params = json!({"name": tool, "arguments": arguments});
            if let Some(key) = key {
                params["_meta"] = json!({ "lazaret/idempotency-key": key });
            }
            let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
            lines += &format!("{call}\n");
        }
        let answers = self.talk(plugin, &lines, calls.len());
        let of = |id: usize| answers.iter().find(|a| a["id"] == id).unwrap_or_else(|| panic!("no answer to {id}: {answers:?}"));
        (0..calls.len()).map(|id| result(of(id))).collect()
    }

    /// Calls one tool.
    pub(crate) fn call(&self, plugin: &str, tool: &str, arguments: Value) -> Result<Value, String> {
        self.call_all(plugin, &[(tool, arguments, None)]).remove(0)
    }

    /// Calls one tool for an effect that has a name.
    pub(crate) fn call_as(&self, plugin: &str, key: &str, tool: &str, arguments: Value) -> Result<Value, String> {
        self.call_all(plugin, &[(tool, arguments, Some(key))]).remove(0)
    }

    /// The tools that a plugin lists.
    pub(crate) fn tools(&self, plugin: &str) -> Result<Vec<Value>, String> {
        let answer = self.talk(plugin, "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"tools/list\"}\n", 1).remove(0);
        match answer["result"]["tools"].as_array() {
            Some(tools) => Ok(tools.clone()),
            None => Err(answer["error"]["message"].as_str().unwrap_or("no answer").to_owned()),
        }
    }

    /// Says these lines to a plugin, keeps its input open until so many answers came, and gives them.
    fn talk(&self, plugin: &str, lines: &str, answers: usize) -> Vec<Value> {
        let (input, mut say) = std::io::pipe().expect("a pipe");
        let (hear, output) = std::io::pipe().expect("a pipe");
        let variables = self.variables.clone();
        let name = plugin.to_owned();
        let plugin = std::thread::spawn(move || {
            let talk = Talk { input: input.into(), output: output.into() };
            serve_on(&name, &|variable| variables.get(variable).cloned(), talk)
        });
        std::io::Write::write_all(&mut say, lines.as_bytes()).expect("say");
        let mut found = Vec::new();
        for line in std::io::BufRead::lines(BufReader::new(hear)).take(answers) {
            found.push(serde_json::from_str(&line.expect("a line")).expect("JSON"));
        }
        drop(say);
        let status = plugin.join().expect("the plugin ends");
        assert!(status == 0 || found.is_empty(), "it ended with {status}");
        found
    }

    /// The status with which a plugin that cannot begin ends.
    pub(crate) fn refused(&self, plugin: &str) -> i32 {
        let (mut hear, output) = std::io::pipe().expect("a pipe");
        let (input, _say) = std::io::pipe().expect("a pipe");
        let talk = Talk { input: input.into(), output: output.into() };
        let status = serve_on(plugin, &|variable| self.variables.get(variable).cloned(), talk);
        let mut said = String::new();
        hear.read_to_string(&mut said).expect("read");
        assert_eq!(said, "");
        status
    }
}

fn result(answer: &Value) -> Result<Value, String> {
    let result = &answer["result"];
    let text = || result["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    match (&answer["error"], result["isError"].as_bool()) {
        (Value::Null, Some(true)) => Err(text()),
        (Value::Null, _) if result["structuredContent"].is_object() => Ok(result["structuredContent"].clone()),
        (Value::Null, _) => Ok(result.clone()),
        (error, _) => Err(error["message"].as_str().unwrap_or_default().to_owned()),
    }
}
