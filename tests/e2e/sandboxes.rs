//! Sandboxes that are made by hand and stay.

use crate::support::{Lab, bounded};

#[test]
fn create_exec_copy_list_remove() {
    let lab = Lab::new();
    let id = lab.run(&["sandbox", "create"]).succeeds().out.trim().to_owned();
    assert!(id.starts_with("sbx_"), "{id}");
    assert!(lab.run(&["sandbox", "list"]).succeeds().out.contains(&id));
    let exec = |command: &[&str]| {
        let mut args = vec!["sandbox", "exec", &id, "--"];
        args.extend(command);
        lab.run(&args)
    };
    assert_eq!(exec(&["sh", "-c", "echo kept > note; pwd"]).succeeds().out, "/workspace\n");
    assert_eq!(exec(&["cat", "note"]).succeeds().out, "kept\n");
    assert_eq!(exec(&["sh", "-c", "exit 9"]).status, 9);
    let echoed = lab.run_with(&["sandbox", "exec", &id, "--", "cat"], &vec![b'z'; 3 << 20]).succeeds();
    assert_eq!(echoed.out.len(), 3 << 20);

    std::fs::create_dir_all(lab.path("tree/sub")).expect("make");
    std::fs::write(lab.path("tree/sub/leaf"), "green").expect("write");
    lab.run(&["sandbox", "cp", lab.path("tree").to_str().expect("utf-8"), &format!("{id}:/workspace")]).succeeds();
    assert_eq!(exec(&["cat", "tree/sub/leaf"]).succeeds().out, "green");
    exec(&["sh", "-c", "echo red > tree/sub/leaf"]).succeeds();
    let back = lab.path("back");
    lab.run(&["sandbox", "cp", &format!("{id}:/workspace/tree"), back.to_str().expect("utf-8")]).succeeds();
    assert_eq!(std::fs::read_to_string(back.join("tree/sub/leaf")).expect("read"), "red\n");

    lab.run(&["sandbox", "rm", &id]).succeeds();
    assert!(!lab.run(&["sandbox", "list"]).succeeds().out.contains(&id));
    lab.assert_nothing_left();
}

#[test]
fn a_shell_without_a_terminal_reads_its_commands() {
    let lab = Lab::new();
    let ran = lab.run_with(&["shell"], b"echo in $(pwd)\nexit 3\n").ends_with(3);
    assert_eq!(ran.out, "in /workspace\n");
    lab.assert_nothing_left();
}

#[test]
fn a_shell_on_a_terminal() {
    let lab = Lab::new();
    // `script` gives the command a terminal of its own.
    let shell = format!("{} shell", env!("CARGO_BIN_EXE_lazaret"));
    let mut command = lab.command(&[]);
    let environment: Vec<_> = command.get_envs().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
    command = std::process::Command::new("script");
    command.env_clear().envs(environment).args(["-qec", &shell, "/dev/null"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("script is part of util-linux: apt-get install bsdutils");
    let _bound = bounded(&child);
    let mut input = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, b"tty; stty size; echo mark$((40+2)); exit 5\n").expect("write");
    let output = child.wait_with_output().expect("wait");
    drop(input);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("/dev/pts/") && out.contains("mark42"), "{out}");
    assert_eq!(output.status.code(), Some(5), "{out}");
    lab.assert_nothing_left();
}

#[test]
fn a_host_that_is_not_allowed_is_not_reached() {
    let lab = Lab::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = std::io::Read::read(&mut stream, &mut [0; 512]);
            let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nreached");
        }
    });
    let fetch = format!(
        "import http.client; c = http.client.HTTPConnection('127.0.0.1', 4101); c.set_tunnel('127.0.0.1', {port}); c.request('GET', '/'); print(c.getresponse().read())"
    );
    lab.run(&["config", "set", "egress.max", &format!("[\"127.0.0.1:{port}\"]")]).succeeds();
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    let try_it = |allow: bool| {
        let rule = format!("127.0.0.1:{port}");
        let mut args = vec!["sandbox", "create"];
        if allow {
            args.extend(["--allow", &rule]);
        }
        let id = lab.run(&args).succeeds().out.trim().to_owned();
        let ran = lab.run(&["sandbox", "exec", &id, "--", "python3", "-c", &fetch]);
        lab.run(&["sandbox", "rm", &id]).succeeds();
        ran
    };
    let denied = try_it(false);
    assert!(denied.status != 0 && !denied.out.contains("reached"), "{}", denied.out);
    // The control: with the owner's word, the same program reaches the same place.
    assert!(try_it(true).succeeds().out.contains("reache"));
}
