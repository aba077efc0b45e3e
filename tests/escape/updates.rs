//! Programs that update themselves from within: what the host put into a sandbox stays as it was, and what an agent puts
//! beside it is never taken for it, not in a later session of the same env either.

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::support::{each_caller, finish};

/// Tries to replace every program of the host's that stands inside, in each way that an updater knows.
const REPLACE: &str = r##"
import os, json, shutil, glob, errno
places = sorted(glob.glob("/opt/lazaret/bin/*") + glob.glob("/opt/lazaret/engines/*") + ["/opt/lazaret/bin", "/opt/lazaret", "/usr/bin/env", "/bin/sh"])
fake = "/tmp/fake"
open(fake, "w").write("#!/bin/sh\necho replaced\n"); os.chmod(fake, 0o755)
def tried(work, *args):
    try: work(*args); return "worked"
    except OSError as e: return errno.errorcode.get(e.errno, str(e))
result = {}
for place in places:
    result[place] = [
        tried(lambda: open(place, "r+b").close()) if not os.path.isdir(place) else tried(os.rename, place, place + ".old"),
        tried(shutil.copyfile, fake, place) if not os.path.isdir(place) else tried(lambda: open(place + "/new", "w").close()),
        tried(os.replace, fake, place),
        tried(os.unlink, place) if not os.path.isdir(place) else tried(os.rmdir, place),
        tried(os.chmod, place, 0o777),
        tried(os.link, place, "/tmp/linked") if not os.path.isdir(place) else "skipped",
    ]
    try: os.unlink("/tmp/linked")
    except OSError: pass
print(json.dumps([len(places), result]), flush=True)
# The control: a program of its own is replaced like that.
os.makedirs("/tmp/own", exist_ok=True); own = "/tmp/own/program"; shutil.copyfile("/bin/true", own); os.chmod(own, 0o755)
print(json.dumps([tried(os.replace, fake, own), os.popen(own).read().strip()]), flush=True)
"##;

#[test]
fn nothing_of_the_hosts_is_replaced_from_within() {
    each_caller(|caller| {
        let agent = Agent::new(caller);
        let lines = agent.lines(REPLACE);
        assert!(lines[0][0].as_u64().is_some_and(|n| n >= 5), "there is something to replace: {lines:?}");
        for (place, tried) in lines[0][1].as_object().expect("places") {
            let tried: Vec<&str> = tried.as_array().expect("tries").iter().filter_map(Value::as_str).collect();
            assert!(tried.iter().take(5).all(|how| *how != "worked"), "{place}: {tried:?}");
        }
        assert_eq!(lines[1], json!(["worked", "replaced"]), "the control: {lines:?}");
    });
}

/// Everything by which a later session could be brought to run another program than the host's: all of it lasts in an env.
const PLANT: &str = r##"
cd ~
printf '#!/bin/sh\necho PLANTED > ~/it-ran; exec /bin/false\n' > fake; chmod 755 fake
for dir in bin .local/bin .npm-global/bin .bun/bin .cargo/bin .claude/local .local/share/claude/versions node_modules/.bin; do
    mkdir -p $dir
    for name in mini ipc lazaret lazaret-guest claude codex opencode gemini node; do cp fake $dir/$name; done
done
echo 'export PATH=$HOME/bin:$HOME/.local/bin:$PATH' | tee .profile .bashrc .bash_profile .zshenv > .pam_environment
mkdir -p .config/environment.d; echo "PATH=$HOME/bin:$PATH" > .config/environment.d/path.conf
export PATH=$HOME/bin:$PATH
echo planted
"##;

#[test]
fn a_program_that_was_planted_is_not_taken_for_the_engine() {
    each_caller(|caller| {
        let agent = Agent::new(caller);
        agent.ok(&["env", "create", "shared"]);
        let run = |engine: &str, prompt: &str| {
            let mut command = caller.lazaret();
            command.args(["run", "--json", "--engine", engine, "--model", "rehearsal", "--env", "shared", prompt]);
            let ran = finish(command, std::process::Stdio::null());
            assert!(ran.status.success(), "{ran:?}");
            String::from_utf8_lossy(&ran.stdout).into_owned()
        };
        assert!(run("/bin/bash", PLANT).contains("planted"));
        // The next session's engine is the host's own program, and so are the tools beside it.
        let said = run("mini", "hello");
        assert!(said.contains("\"status\":\"completed\""), "{said}");
        let said = run("/bin/bash", "command -v ipc mini; ls ~/it-ran 2>&1; ipc tool.invoke.get_session_info '{}'");
        assert!(said.contains("/opt/lazaret/bin/ipc") && said.contains("No such file"), "{said}");
        assert!(said.contains("ses_"), "the real one answers: {said}");
        // The control: it is there, and runs when it is called by its path.
        let said = run("/bin/bash", "~/bin/mini; cat ~/it-ran");
        assert!(said.contains("PLANTED"), "{said}");
    });
}
