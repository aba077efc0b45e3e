//! `lazaret-guest ask-proxy PORT REQUESTS`: sends each request of a JSON list of texts to a loopback port, on a connection of
//! its own, and prints what came back, one JSON text a line. The host, which chose the requests, judges the answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::json;

/// How long one answer may take.
const WAIT: Duration = Duration::from_secs(20);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// Asks. Returns the exit status: 0 all were sent, 1 the output is gone, 2 wrong arguments.
pub(crate) fn ask_proxy(args: &[String]) -> i32 {
    let [port, requests] = args else { return 2 };
    let (Ok(port), Ok(requests)) = (port.parse::<u16>(), serde_json::from_str::<Vec<String>>(requests)) else { return 2 };
    for request in requests {
        let answer = ask(port, request.as_bytes()).unwrap_or_else(|error| format!("no connection: {error}"));
        if writeln!(std::io::stdout(), "{}", json!(answer)).is_err() {
            return 1;
        }
    }
    0
}

/// Everything that comes back until the other side closes; what came before an error counts.
fn ask(port: u16, request: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let _ = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
