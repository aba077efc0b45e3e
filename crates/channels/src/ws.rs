//! WebSockets to platforms, over our own connections.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::Uri;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::dial::BoxStream;
use crate::http::{Http, HttpError};

/// The longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// How long the upgrade may take.
const UPGRADE: Duration = Duration::from_secs(20);
/// How long a message may take to leave.
const SEND: Duration = Duration::from_secs(20);

/// What came over a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// A message.
    Text(String),
    /// The other side ended it.
    Closed {
        /// The code of the close, where there was one.
        code: Option<u16>,
    },
}

/// Why a WebSocket cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum WsError {
    /// No connection.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server did not want it, with its status.
    #[error("the platform refused the connection with {0}")]
    Refused(u16),
    /// It broke.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// A WebSocket. Pings of the other side are answered while it is read.
pub(crate) struct WebSocket {
    stream: WebSocketStream<BoxStream>,
}

impl WebSocket {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub(crate) async fn connect(http: &Http, uri: &Uri) -> Result<Self, WsError> {
        let slow = || WsError::Broken("it took too long".to_owned());
        let request = uri.clone().into_client_request().map_err(|e| WsError::Broken(e.to_string()))?;
        let stream = http.dial().uri(uri).await?;
        let limits = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
        let upgraded = timeout(UPGRADE, tokio_tungstenite::client_async_with_config(request, stream, Some(limits))).await;
        match upgraded.map_err(|_| slow())? {
            Ok((stream, _)) => Ok(Self { stream }),
            Err(Error::Http(reply)) => Err(WsError::Refused(reply.status().as_u16())),
            Err(error) => Err(WsError::Broken(error.to_string())),
        }
    }

    /// The next message. May be dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn next(&mut self) -> Result<Said, WsError> {
        loop {
            match self.stream.next().await {
                None => return Ok(Said::Closed { code: None }),
                Some(Err(Error::ConnectionClosed)) => return Ok(Said::Closed { code: None }),
                Some(Err(error)) => return Err(WsError::Broken(error.to_string())),
                Some(Ok(Message::Text(text))) => return Ok(Said::Text(text.as_str().to_owned())),
                Some(Ok(Message::Close(frame))) => return Ok(Said::Closed { code: frame.map(|frame| frame.code.into()) }),
                Some(Ok(_)) => {}
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn send(&mut self, text: String) -> Result<(), WsError> {
        let sent = timeout(SEND, self.stream.send(Message::text(text))).await;
        sent.map_err(|_| WsError::Broken("it took too long".to_owned()))?.map_err(|e| WsError::Broken(e.to_string()))
    }

    /// Ends it with a code, as well as can be.
    pub(crate) async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
        let _ = timeout(SEND, self.stream.close(Some(frame))).await;
    }
}
