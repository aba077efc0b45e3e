//! A small internet of this test's own: two network namespaces joined by a cable. In one of them the daemon runs, with a
//! server of names that answers as an attacker likes; in the other a service answers on public, private and metadata
//! addresses. Whatever is denied here is denied although somebody answers there.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{Caller, finish, program};

/// Addresses of the service outside: open, another open one, private, metadata; and one of the daemon's own machine.
const SETUP: &str = r"
set -e
ip link set lo up
ip link add out0 type veth peer name in0 netns $OUTSIDE
ip addr add 45.33.32.1/24 dev out0
ip -6 addr add 2606:4700::1/64 dev out0 nodad
ip link set out0 up
ip route add default via 45.33.32.10
ip -6 route add default via 2606:4700::10
mount --bind $FILES/hosts /etc/hosts
mount --bind $FILES/resolv.conf $(readlink -f /etc/resolv.conf)
mount --bind $FILES/nsswitch.conf /etc/nsswitch.conf
";
const SETUP_OUTSIDE: &str = r"
set -e
ip link set lo up
ip addr add 45.33.32.10/24 dev in0
ip -6 addr add 2606:4700::10/64 dev in0 nodad
ip link set in0 up
for address in 45.33.32.11 10.9.8.7 169.254.169.254 192.168.7.7; do ip addr add $address/32 dev lo; done
ip -6 addr add fd00:ec2::254/128 dev lo nodad
ip route add 45.33.32.1/32 dev in0 2>/dev/null || true
";
/// Sends each request of its argument, a list, through the loopback port that leads to the egress door, and prints all that
/// came back, a list as well.
const KNOCK: &str = r#"
import json, socket, sys
def knock(raw):
    s = socket.create_connection(("127.0.0.1", 4101), 20); s.settimeout(20)
    got = b""
    try:
        s.sendall(raw.encode())
        while len(got) < 65536:
            piece = s.recv(65536)
            if not piece: break
            got += piece
    except OSError as e: got += b" [" + type(e).__name__.encode() + b"]"
    return got.decode("latin-1")
print(json.dumps([knock(raw) for raw in json.load(sys.stdin)]))
"#;

/// A daemon on a machine of this internet. Dropping it takes the cable away.
pub(crate) struct Internet<'a> {
    caller: &'a Caller,
    files: PathBuf,
    inside: Space,
    outside: Space,
    _servers: Vec<Child>,
}

/// A namespace, and the process that holds it.
struct Space(Child);

impl Space {
    fn new(kinds: &[&str]) -> Self {
        let mut command = Command::new("unshare");
        command.args(kinds).args(["--", "sh", "-c", "echo ready; exec cat >/dev/null"]);
        Self(ready(command))
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// A command of the tester in it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid(), "--net", "--mount", "--", program]);
        command
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program that says when it is ready, and ends with its standard input.
fn ready(mut command: Command) -> Child {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut line = String::new();
    let out = child.stdout.take().expect("a pipe");
    BufReader::new(out).read_line(&mut line).expect("read");
    assert_eq!(line.trim(), "ready", "{command:?}");
    child
}

fn run(mut command: Command) {
    let ran = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

impl<'a> Internet<'a> {
    /// Lays the cable, starts the services, and writes what the daemon may reach at most; `egress` is more of that table.
    pub(crate) fn new(caller: &'a Caller, max: &[&str], egress: &str) -> Self {
        let files = std::env::temp_dir().join(format!("{}-internet", caller.home.file_name().expect("a name").to_string_lossy()));
        fs::create_dir(&files).expect("make a directory");
        let write = |name: &str, text: &str| fs::write(files.join(name), text).expect("write");
        write("hosts", "127.0.0.1 localhost\n::1 localhost\n");
        write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n");
        write("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
        write("internet.py", include_str!("internet.py"));
        let (inside, outside) = (Space::new(&["--net", "--mount"]), Space::new(&["--net", "--mount"]));
        let mut setup = inside.command("sh");
        run({
            setup.args(["-c", SETUP]).env("OUTSIDE", outside.pid()).env("FILES", &files);
            setup
        });
        let mut setup = outside.command("sh");
        run({
            setup.args(["-c", SETUP_OUTSIDE]);
            setup
        });
        let server = |space: &Space, what: &str, log: &str| {
            let mut command = space.command("/usr/bin/python3");
            command.arg(files.join("internet.py")).arg(what).arg(files.join(log));
            ready(command)
        };
        let servers = vec![server(&outside, "serve", "outside"), server(&inside, "serve", "inside"), server(&inside, "names", "names")];
        caller.dir(".lazaret");
        let max: Vec<String> = max.iter().map(|rule| format!("{rule:?}")).collect();
        caller.file(".lazaret/config.toml", &format!("[egress]\nmax = [{}]\n{egress}", max.join(", ")));
        let internet = Self { caller, files, inside, outside, _servers: servers };
        internet.lazaret_ok(&["start", "--listen", "127.0.0.1:0"]);
        internet
    }

    /// The shipped binary as the caller, on the machine of this internet.
    pub(crate) fn lazaret(&self, args: &[&str]) -> Command {
        let mut command = self.inside.command("setpriv");
        let uid = self.caller.uid.to_string();
        command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"]).arg(program()).args(args);
        command
            .env_clear()
            .env("HOME", &self.caller.home)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("LAZARET_HOME", self.caller.home.join(".lazaret"));
        command
    }

    #[track_caller]
    pub(crate) fn lazaret_ok(&self, args: &[&str]) -> String {
        let ran = finish(self.lazaret(args), Stdio::null());
        assert!(ran.status.success(), "{args:?}: {ran:?}");
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    /// A sandbox that may reach these.
    pub(crate) fn sandbox(&self, allow: &[&str]) -> String {
        let mut args = vec!["sandbox", "create"];
        allow.iter().for_each(|rule| args.extend(["--allow", rule]));
        self.lazaret_ok(&args)
    }

    /// Runs a command in a sandbox.
    pub(crate) fn exec(&self, sandbox: &str, argv: &[&str]) -> std::process::Output {
        let mut args = vec!["sandbox", "exec", sandbox, "--"];
        args.extend(argv);
        finish(self.lazaret(&args), Stdio::null())
    }

    /// What the egress door of a sandbox answers to these bytes, each on a connection of its own.
    #[track_caller]
    pub(crate) fn knock<S: AsRef<str>>(&self, sandbox: &str, requests: &[S]) -> Vec<String> {
        let list: Vec<&str> = requests.iter().map(AsRef::as_ref).collect();
        let file = self.caller.file("requests", &serde_json::json!(list).to_string());
        let ran =
            finish(self.lazaret(&["sandbox", "exec", sandbox, "--", "python3", "-c", KNOCK]), fs::File::open(file).expect("open").into());
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
    }

    /// What a program of the host reaches without any door: the control of everything that is denied.
    pub(crate) fn at_the_host(&self, address: &str) -> String {
        let program = "import sys, urllib.request as u\n\
                       print(u.build_opener(u.ProxyHandler({})).open('http://%s/' % sys.argv[1], timeout=20).read().decode())";
        let mut command = self.inside.command("/usr/bin/python3");
        command.args(["-c", program, address]);
        let ran = finish(command, Stdio::null());
        assert!(ran.status.success(), "{address}: {ran:?}");
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    /// Asks for a name on the host, where nobody minds.
    pub(crate) fn look_up(&self, name: &str) {
        let mut command = self.inside.command("getent");
        command.args(["ahosts", name]);
        finish(command, Stdio::null());
    }

    /// What the services heard, outside and on the daemon's machine.
    pub(crate) fn heard(&self) -> Vec<Value> {
        ["outside", "inside"].iter().flat_map(|log| self.log(log)).filter(|line| line["head"] != "").collect()
    }

    /// The names that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.log("names").iter().filter_map(|line| line["name"].as_str().map(str::to_owned)).collect()
    }

    fn log(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.files.join(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

impl Drop for Internet<'_> {
    fn drop(&mut self) {
        // The daemon first: its sandboxes would go on with their names gone.
        let _ = self.lazaret(&["stop", "--grace", "0s"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        for server in &mut self._servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        let _ = fs::remove_dir_all(&self.files);
        let _ = &self.outside;
    }
}

/// A tunnel to a target, and a request through it.
pub(crate) fn connect(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nGET / HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// A request in the form for proxies.
pub(crate) fn get(authority: &str, path: &str) -> String {
    format!("GET http://{authority}{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")
}

/// The status of an answer; empty when there was none.
pub(crate) fn status(answer: &str) -> &str {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or("")
}
