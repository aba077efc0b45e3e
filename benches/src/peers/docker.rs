//! The Docker Engine through its API, with an engine of its own: own data, own socket, no bridge, no firewall rule.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::{Skeleton, quiet};
use crate::sample::Contender;

/// How long the engine may take to answer.
const READY_MAX: Duration = Duration::from_secs(20);
/// How long it may take to end before it is killed.
const STOP_MAX: Duration = Duration::from_secs(20);
/// How long the kernel takes namespaces and control groups of a container apart after the engine has answered.
const SETTLES: Duration = Duration::from_millis(100);

pub(crate) struct Docker {
    engine: Child,
    socket: PathBuf,
    /// Control groups that the engine makes and leaves.
    groups: Vec<PathBuf>,
}

impl Docker {
    /// Starts an engine and gives it an image of the skeleton.
    pub(crate) fn prepare(dir: &Path) -> Result<Self> {
        let dir = dir.join("docker");
        std::fs::create_dir(&dir)?;
        std::fs::write(dir.join("config.json"), b"{}")?;
        let socket = dir.join("docker.sock");
        let groups = groups().into_iter().filter(|group| !group.exists()).collect();
        let log = std::fs::File::create(dir.join("log"))?;
        let place = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let engine = Command::new("dockerd")
            .args(["--config-file", &place("config.json"), "--data-root", &place("data"), "--exec-root", &place("exec")])
            .args(["-H", &format!("unix://{}", socket.display()), "-p", &place("pid")])
            .args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("failed to start dockerd")?;
        let docker = Self { engine, socket, groups };
        docker.wait_until_ready().with_context(|| std::fs::read_to_string(dir.join("log")).unwrap_or_default())?;
        let skeleton = Skeleton::make(&dir.join("image"))?;
        let archive = dir.join("image.tar");
        quiet(Command::new("tar").arg("-C").arg(skeleton.path()).arg("-cf").arg(&archive).arg("."))?;
        docker.call("POST", "/images/create?fromSrc=-&repo=bench", "application/x-tar", &std::fs::read(archive)?)?;
        Ok(docker)
    }

    fn wait_until_ready(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            match self.call("GET", "/_ping", "text/plain", b"") {
                Ok(_) => return Ok(()),
                Err(error) if began.elapsed() > READY_MAX => return Err(error.context("dockerd does not answer")),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// One request on a connection of its own; gives the body as it came.
    fn call(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").context("dockerd's answer has no head")?;
        match head.split(' ').nth(1) {
            Some(status) if status.starts_with('2') => Ok(body.to_owned()),
            _ => bail!("{method} {path}: {answer}"),
        }
    }
}

/// The engine's parent group in every hierarchy.
fn groups() -> Vec<PathBuf> {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().filter_map(Result::ok);
    hierarchies.map(|hierarchy| hierarchy.path().join("docker")).collect()
}

impl Contender for Docker {
    fn name(&self) -> String {
        "Docker API, no network".to_owned()
    }

    fn lacks(&self) -> String {
        "no user namespace, landlock or disk limit".to_owned()
    }

    fn once(&mut self) -> Result<()> {
        let config = json!({
            "Image": "bench", "Cmd": ["true"], "User": "1000:1000", "WorkingDir": "/workspace", "Env": ["PATH=/usr/bin:/bin"],
            "HostConfig": {
                "NetworkMode": "none", "ReadonlyRootfs": true, "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"],
                "Memory": 2_147_483_648u64, "PidsLimit": 256, "NanoCpus": 1_000_000_000u64, "Binds": ["/usr:/usr:ro"],
                "Tmpfs": {"/tmp": "size=64m", "/workspace": "size=64m"}
            }
        });
        let made = self.call("POST", "/containers/create", "application/json", config.to_string().as_bytes())?;
        let id = made.split("\"Id\":\"").nth(1).and_then(|rest| rest.split('"').next()).context("dockerd names no container")?;
        let path = format!("/containers/{id}");
        self.call("POST", &format!("{path}/start"), "application/json", b"")?;
        let ended = self.call("POST", &format!("{path}/wait"), "application/json", b"")?;
        if !ended.contains("\"StatusCode\":0") {
            bail!("the container failed: {ended}");
        }
        self.call("DELETE", &path, "application/json", b"").map(drop)
    }

    fn settles(&self) -> Duration {
        SETTLES
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Asked first, so that it takes its own mounts and control groups along.
        let _ = quiet(Command::new("kill").arg(self.engine.id().to_string()));
        let began = Instant::now();
        while matches!(self.engine.try_wait(), Ok(None)) && began.elapsed() < STOP_MAX {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.engine.kill();
        let _ = self.engine.wait();
        for group in &self.groups {
            // Fails when something is still in it, and then it is not ours to remove.
            let _ = std::fs::remove_dir(group);
        }
    }
}
