//! Real sandboxes, as root and as an ordinary user. These tests need root: they make users, control groups and mounts.

mod adopt;
mod commands;
mod crash;
mod direct;
mod doors;
mod files;
mod limits;
mod rootless;
mod support;
mod trees;
