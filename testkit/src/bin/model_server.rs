//! The scripted model server by hand: `model-server [--port N] [--key KEY] [--command CMD] [--fault STATUS]` prints its address and
//! serves until it is interrupted.

use std::io::Write as _;

use lazaret_testkit::model_server::{Fault, ModelServer, Script};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut script = Script::default();
    let (mut port, mut fault) = (0, None);
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| std::io::Error::other(format!("{name} needs a value")))?;
        let number = || value.parse::<u16>().map_err(std::io::Error::other);
        match name.as_str() {
            "--port" => port = number()?,
            "--key" => script.key = Some(value),
            "--command" => script.command = value,
            "--fault" => fault = Some(Fault::Status(number()?)),
            _ => return Err(std::io::Error::other(format!("{name} is not an option"))),
        }
    }
    let server = ModelServer::start_on(port, script).await;
    if let Some(fault) = fault {
        server.fail(fault);
    }
    writeln!(std::io::stdout(), "{}", server.url())?;
    tokio::signal::ctrl_c().await?;
    for request in server.requests() {
        writeln!(std::io::stdout(), "{} {} {} bytes", request.method, request.target, request.body.len())?;
    }
    server.shutdown().await;
    Ok(())
}
