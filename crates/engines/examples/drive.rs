//! Does on this machine, without a sandbox, exactly what an engine's plan says: for looking at an engine by hand and
//! for recording transcripts. `drive ENGINE PROGRAM[:RUNTIME] GATEWAY_PORT HOME WORKDIR [--model M] [--resume ID]
//! [--wire anthropic|chat|responses|gemini] [--egress PORT] [--raw FILE] [--instructions TEXT] < PROMPT`

use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};

use lazaret_engines as engines;

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<ExitCode, AnyError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [engine, program, port, home, workdir, options @ ..] = args.as_slice() else {
        return Err("the arguments are ENGINE PROGRAM[:RUNTIME] GATEWAY_PORT HOME WORKDIR".into());
    };
    let option = |name: &str| options.iter().position(|o| o == name).and_then(|at| options.get(at + 1)).map(String::as_str);
    let engine = engines::find(engine)?;
    let program = match program.split_once(':') {
        Some((path, runtime)) => engines::ProgramPath { path: path.into(), runtime: Some(runtime.into()) },
        None => engines::ProgramPath::native(program),
    };
    let wire = match option("--wire") {
        Some("chat") => engines::Wire::OpenAiChat,
        Some("responses") => engines::Wire::OpenAiResponses,
        Some("gemini") => engines::Wire::Gemini,
        Some(_) => engines::Wire::Anthropic,
        None => engine.wires().first().copied().unwrap_or(engines::Wire::Anthropic),
    };
    let mut prompt = String::new();
    std::io::stdin().read_to_string(&mut prompt)?;
    let launch = engine.plan(&engines::Plan {
        prompt: &prompt,
        model: option("--model"),
        resume: option("--resume"),
        wire,
        gateway_port: port.parse()?,
        egress_port: option("--egress").map(str::parse).transpose()?,
        workdir,
        home,
        program: &program,
        memory_bytes: 2 << 30,
        has_instructions: option("--instructions").is_some(),
        live: false,
        turn: 1,
        history: None,
        options: engines::Options::default(),
    })?;
    if let (Some(path), Some(text)) = (engine.instructions_path(home), option("--instructions")) {
        write(&path, text.as_bytes())?;
    }
    run(&*engine, &launch, workdir, option("--raw"))
}

fn run(engine: &dyn engines::Engine, launch: &engines::Launch, workdir: &str, raw: Option<&str>) -> Result<ExitCode, AnyError> {
    for file in &launch.files {
        write(&file.path, &file.bytes)?;
    }
    let [program, arguments @ ..] = launch.argv.as_slice() else { return Err("there is nothing to start".into()) };
    let started = std::time::Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(launch.env.iter().map(|(key, value)| (key, value)))
        .current_dir(workdir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdin, bytes) = (child.stdin.take(), launch.stdin.clone().unwrap_or_default());
    let writer = std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&bytes)));
    let stderr = child.stderr.take();
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = stderr.map(|mut stderr| stderr.read_to_end(&mut text));
        drop(read);
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut feed = engines::Feed::new(engine.parser(engines::Carried::default()));
    let mut raw = raw.map(std::fs::File::create).transpose()?;
    let mut show = std::io::stdout().lock();
    let mut stdout = child.stdout.take().ok_or("there is no output")?;
    let mut piece = vec![0; 64 << 10];
    loop {
        let count = stdout.read(&mut piece)?;
        if count == 0 {
            break;
        }
        if let Some(raw) = &mut raw {
            raw.write_all(&piece[..count])?;
        }
        for parsed in feed.push(&piece[..count]) {
            writeln!(show, "{parsed:?}")?;
        }
        if feed.must_end() {
            child.kill()?;
        }
    }
    let status = child.wait()?;
    drop(writer.join());
    let stderr = errors.join().unwrap_or_default();
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let (rest, end) = feed.finish(engines::Exit { code: status.code(), signal }, &stderr);
    for parsed in rest {
        writeln!(show, "{parsed:?}")?;
    }
    writeln!(show, "{end:#?}\nexit {status}, {} ms\nstandard error:\n{stderr}", started.elapsed().as_millis())?;
    Ok(if end.code.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes a file, its directories first.
fn write(path: &str, bytes: &[u8]) -> Result<(), AnyError> {
    if let Some(parent) = std::path::Path::new(path).parent() {
        std::fs::create_dir_all(parent)?;
    }
    Ok(std::fs::write(path, bytes)?)
}
