//! Runs an installer inside a sandbox with a way to its registry.
//!
//! The egress proxy tunnels and does nothing else. For a registry that speaks plain HTTP installers send whole requests to a
//! proxy; this carries each of them through a tunnel, and hands on those that ask for a tunnel themselves.

use std::process::Stdio;

use app::FetchOrder;
use model::{Code, Failure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::fetch::{Address, address, connect};
use crate::exit::Done;

/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Runs the order's command; its end is ours.
pub(crate) async fn run(order: &FetchOrder) -> Done {
    let fail = |what: &str, e: &dyn std::error::Error| Failure::new(Code::Internal, format!("{what}: {e}"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|e| fail("listen", &e))?;
    let proxy = format!("http://{}", listener.local_addr().map_err(|e| fail("listen", &e))?);
    let (program, args) = order.command.split_first().ok_or_else(|| Failure::new(Code::Usage, "there is no command"))?;
    let mut command = tokio::process::Command::new(program);
    command.args(args).stdin(Stdio::null());
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"] {
        command.env(name, &proxy);
    }
    // A registry on loopback is another machine's loopback from here.
    command.env_remove("NO_PROXY").env_remove("no_proxy").env("npm_config_noproxy", "");
    let mut child = command.spawn().map_err(|e| Failure::new(Code::EngineMissing, format!("{program} cannot be run here: {e}")))?;
    let tasks = tokio_util::task::TaskTracker::new();
    let status = loop {
        tokio::select! {
            ended = child.wait() => break ended.map_err(|e| fail("wait for the installer", &e))?,
            taken = listener.accept() => if let Ok((client, _)) = taken {
                let port = order.proxy_port;
                tasks.spawn(async move { drop(carry(client, port).await) });
            },
        }
    };
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Carries one request; the connection ends with its answer.
async fn carry(mut client: TcpStream, proxy: u16) -> Result<(), Failure> {
    let broken = |e: std::io::Error| Failure::new(Code::Usage, e.to_string());
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            return Err(Failure::new(Code::Usage, "the head of a request is too long"));
        }
        head.push(client.read_u8().await.map_err(broken)?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let tunnel = text.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).map(|to| format!("https://{to}"));
    let plain = parts(&text);
    let url = tunnel.as_deref().or_else(|| plain.map(|(_, url, _)| url));
    let to: Address<'_> = address(url.ok_or_else(|| Failure::new(Code::Usage, "a request is not understood"))?)?;
    let mut server = match connect(proxy, &to).await {
        Ok(server) => server,
        Err(failure) => {
            let body = failure.message;
            let answer = format!("HTTP/1.1 502 Bad Gateway\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            return client.write_all(answer.as_bytes()).await.map_err(broken);
        }
    };
    let Some((method, _, rest)) = plain else {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.map_err(broken)?;
        return tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop).map_err(broken);
    };
    let path = if to.base.is_empty() { "/" } else { to.base };
    let kept = rest.lines().filter(|line| !is_of_the_way(line) && !line.is_empty());
    let headers = kept.map(|line| format!("{line}\r\n")).collect::<String>();
    server.write_all(format!("{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").as_bytes()).await.map_err(broken)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop).map_err(broken)
}

/// Method, absolute address and headers of a request to a proxy.
fn parts(head: &str) -> Option<(&str, &str, &str)> {
    let (line, rest) = head.split_once("\r\n")?;
    let mut words = line.split(' ');
    let (method, url, version) = (words.next()?, words.next()?, words.next()?);
    (version.starts_with("HTTP/1.") && url.starts_with("http://")).then_some((method, url, rest))
}

/// Whether a header is meant for the next hop alone.
fn is_of_the_way(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or("").trim().to_ascii_lowercase();
    matches!(name.as_str(), "connection" | "proxy-connection" | "keep-alive" | "proxy-authorization")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_requests_to_plain_addresses_are_carried() {
        assert_eq!(parts("GET http://a:8/x HTTP/1.1\r\nHost: a\r\n\r\n"), Some(("GET", "http://a:8/x", "Host: a\r\n\r\n")));
        for bad in ["GET /x HTTP/1.1\r\n\r\n", "GET https://a/ HTTP/1.1\r\n\r\n", "CONNECT a:8 HTTP/1.1\r\n\r\n", "", "GET http://a"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
        assert!(is_of_the_way("Proxy-Connection: keep-alive") && !is_of_the_way("Host: a"));
    }
}
