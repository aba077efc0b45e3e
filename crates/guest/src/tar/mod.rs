//! File trees as tar streams, packed and unpacked piece by piece.

mod header;
mod pack;
mod unpack;

pub use pack::{Pack, PackError};
pub use unpack::{Unpack, UnpackError};
