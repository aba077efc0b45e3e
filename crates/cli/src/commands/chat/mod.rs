//! `lazaret chat`: a conversation, turn by turn.

pub(super) mod attach;
mod channel;
mod command;
mod conversation;
mod editor;
mod plain;
mod start;
mod terminal;

pub(super) use start::run;
