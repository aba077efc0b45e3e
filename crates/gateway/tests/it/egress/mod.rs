//! The egress proxy with hosts that speak TLS and HTTP, over loopback.

mod bound;
mod plain;
mod read;
mod world;
