//! Sends a form to a service that gives tokens, inside a sandbox and through the egress proxy; see [`super::fetch`].

use std::sync::Arc;

use app::TokenOrder;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use model::{Code, Failure};
use rustls::pki_types::ServerName;
use serde_json::json;

use super::fetch::{Stream, address, connect, tls};
use crate::exit::Done;
use crate::out;

/// The longest answer.
const ANSWER_BYTES_MAX: usize = 48 << 10;

pub(super) async fn run(order: &TokenOrder) -> Done {
    let to = address(&order.token_url)?;
    let fail =
        |what: &str, e: &dyn std::error::Error| Failure::new(Code::ProviderDown, format!("{}: {what}: {}", to.host, model::chain(e)));
    let tunnel = connect(order.proxy_port, &to).await?;
    let stream: Box<dyn Stream> = if to.is_tls {
        let name = ServerName::try_from(to.host.to_owned()).map_err(|e| fail("its name", &e))?;
        Box::new(tokio_rustls::TlsConnector::from(Arc::clone(&tls()?)).connect(name, tunnel).await.map_err(|e| fail("TLS", &e))?)
    } else {
        Box::new(tunnel)
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| fail("HTTP", &e))?;
    let request = http::Request::post(if to.base.is_empty() { "/" } else { to.base })
        .header("host", format!("{}:{}", to.host, to.port))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .header("user-agent", concat!("lazaret/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(bytes::Bytes::from(order.form.clone())))
        .map_err(|e| fail("the request", &e))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| fail("HTTP", &e))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|e| Failure::new(Code::ProviderDown, format!("{}: {e}", to.host)))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::pin!(answer);
    let (status, body) = tokio::select! {
        answer = &mut answer => answer?,
        ended = connection => match ended {
            Ok(()) => answer.await?,
            Err(e) => return Err(fail("HTTP", &e)),
        },
    };
    out::json(&json!({ "status": status, "body": body }))?;
    Ok(0)
}
