//! The first line of a connection: `lazaret/1 gateway\n`.

/// Where a connection from a sandbox wants to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// Models: HTTP to the model gateway.
    Gateway,
    /// Tools: frames to the broker.
    Broker,
    /// Hosts: an HTTP proxy.
    Egress,
    /// The guest itself, coming back after the daemon was away.
    Control,
}

/// The longest door line, its newline included.
pub const DOOR_LINE_BYTES_MAX: usize = 32;

/// Why a first line is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DoorError {
    /// No newline within [`DOOR_LINE_BYTES_MAX`] bytes.
    #[error("the first line is too long")]
    TooLong,
    /// A complete line that names no door of this version.
    #[error("the first line names no door")]
    Unknown,
}

impl Door {
    /// Every door.
    pub const ALL: [Door; 4] = [Door::Gateway, Door::Broker, Door::Egress, Door::Control];

    /// What a client writes first.
    #[must_use]
    pub fn line(self) -> &'static [u8] {
        match self {
            Door::Gateway => b"lazaret/1 gateway\n",
            Door::Broker => b"lazaret/1 broker\n",
            Door::Egress => b"lazaret/1 egress\n",
            Door::Control => b"lazaret/1 control\n",
        }
    }

    /// Reads a door line from the start of `bytes`: the door and the length of the line, or `None` while it is not whole.
    ///
    /// # Errors
    /// [`DoorError`] when no further byte can make it right.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Door, usize)>, DoorError> {
        let head = &bytes[..bytes.len().min(DOOR_LINE_BYTES_MAX)];
        match head.iter().position(|b| *b == b'\n') {
            Some(at) => {
                let line = &head[..=at];
                let door = Self::ALL.into_iter().find(|d| d.line() == line).ok_or(DoorError::Unknown)?;
                Ok(Some((door, at + 1)))
            }
            None if head.len() == DOOR_LINE_BYTES_MAX => Err(DoorError::TooLong),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_read_from_any_split() {
        for door in Door::ALL {
            let mut bytes = door.line().to_vec();
            for cut in 0..bytes.len() {
                assert_eq!(Door::parse(&bytes[..cut]), Ok(None));
            }
            bytes.extend_from_slice(b"GET /");
            assert_eq!(Door::parse(&bytes), Ok(Some((door, door.line().len()))));
        }
        assert_eq!(Door::parse(b"lazaret/2 gateway\n"), Err(DoorError::Unknown));
        assert_eq!(Door::parse(&[b'x'; 64]), Err(DoorError::TooLong));
    }
}
