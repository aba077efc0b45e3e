//! Emulators of the platforms of chat networks, and a driver for the program that speaks with them.
//!
//! An emulator follows the platform's public documentation: it refuses what the platform refuses and keeps what it took.
//! [`Web`] is what they stand on: a server on loopback that can also fail in the ways that servers do ([`Fault`]). [`Channel`]
//! is the host's side of the channel protocol around the real program. A [`Party`] is an emulator with somebody to talk with.

pub mod bluebubbles;
pub mod bridge;
pub mod courier;
pub mod discord;
mod driver;
pub mod github;
pub mod googlechat;
pub mod linear;
pub mod mailbox;
mod matrix;
pub mod party;
pub mod resend;
pub mod signal;
pub mod signed;
pub mod slack;
pub mod teams;
pub mod telegram;
mod web;
pub mod webex;
pub mod wechat;
pub mod whatsapp;

pub use discord::Discord;
pub use driver::{Account, Channel, buttons_of, text_of, until};
pub use matrix::{Matrix, Room};
pub use party::{Party, SentFile, Standing};
pub use slack::Slack;
pub use telegram::Telegram;
pub use web::{Call, Fault, Kept, Reply, Socket, Web};
