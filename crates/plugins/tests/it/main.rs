//! The plugins that ship against real servers: each is served in a thread of its own and talked to in MCP, as its host does.

mod calendar;
mod github;
mod http;
mod mail;
mod remote;
mod support;
mod web;
