//! Networks whose platforms post signed requests, each through the real program and an emulator of its platform.

mod bridge;
mod contract;
mod github;
mod googlechat;
mod imessage;
mod linear;
mod resend;
mod signal;
mod teams;
mod webex;
mod wechat;
mod whatsapp;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_lazaret-channels");
