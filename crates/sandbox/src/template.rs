//! An empty btrfs file system as data, so that a machine without mkfs.btrfs can have one.
//!
//! The data holds every block of a fresh file system that is not empty, without its zeros. When it is written the
//! identity of the file system and of its device are replaced everywhere, and the checksums made anew: two homes never
//! have the same file system.

use std::os::unix::fs::FileExt;
use std::{fs, io};

/// What `examples/btrfs_template.rs` made; see data/README.md.
const DATA: &[u8] = include_bytes!("../data/btrfs.bin");
/// What the data begins with.
const MAGIC: &[u8] = b"LZBTRFS1";
/// The size of the file system as it was made; it grows to its device when it is first mounted.
pub(crate) const BYTES_MIN: u64 = 192 << 20;
const CHECKSUM_BYTES: usize = 32;
const FSID: std::ops::Range<usize> = 32..48;
/// The first copy of the superblock, and in it the identity of the device.
const SUPER_AT: u64 = 0x1_0000;
const SUPER_DEVICE: std::ops::Range<usize> = 267..283;
const LARGEST_BLOCK: usize = 64 << 10;

/// Writes an empty file system into `image`, which is all zeros and at least [`BYTES_MIN`] long.
pub(crate) fn write(image: &fs::File, fsid: [u8; 16], device: [u8; 16]) -> io::Result<()> {
    let blocks = blocks(DATA).ok_or(io::ErrorKind::InvalidData)?;
    let superblock = blocks.iter().find(|(at, _)| *at == SUPER_AT).ok_or(io::ErrorKind::InvalidData)?;
    let (old_fsid, old_device) = (superblock.1[FSID].to_vec(), superblock.1[SUPER_DEVICE].to_vec());
    for (at, mut block) in blocks {
        replace(&mut block, &old_fsid, &fsid);
        replace(&mut block, &old_device, &device);
        let checksum = crc32c(&block[CHECKSUM_BYTES..]).to_le_bytes();
        block[..4].copy_from_slice(&checksum);
        image.write_all_at(&block, at)?;
    }
    Ok(())
}

/// The blocks of the data: where they go, and their bytes.
fn blocks(data: &[u8]) -> Option<Vec<(u64, Vec<u8>)>> {
    let mut rest = data.strip_prefix(MAGIC)?;
    let word = |len: usize, rest: &mut &[u8]| -> Option<u64> {
        let (now, later) = rest.split_at_checked(len)?;
        *rest = later;
        Some(now.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    };
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let at = word(8, &mut rest)?;
        let len = usize::try_from(word(4, &mut rest)?).ok().filter(|len| *len <= LARGEST_BLOCK)?;
        let mut block = vec![0; len];
        for _ in 0..word(2, &mut rest)? {
            let start = usize::try_from(word(2, &mut rest)?).ok()?;
            let count = usize::try_from(word(2, &mut rest)?).ok()?;
            let (now, later) = rest.split_at_checked(count)?;
            block.get_mut(start..start + count)?.copy_from_slice(now);
            rest = later;
        }
        blocks.push((at, block));
    }
    Some(blocks)
}

fn replace(block: &mut [u8], old: &[u8], new: &[u8; 16]) {
    let mut at = 0;
    while let Some(found) = block[at..].windows(16).position(|w| w == old) {
        block[at + found..at + found + 16].copy_from_slice(new);
        at += found + 16;
    }
}

/// The checksum of btrfs (Castagnoli's polynomial, reflected).
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_of_the_data_carries_the_new_identity_and_a_right_checksum() {
        let file = tempfile::tempfile().expect("temp file");
        file.set_len(BYTES_MIN).expect("sparse");
        write(&file, [7; 16], [9; 16]).expect("written");
        let mut supers = 0;
        for (at, old) in blocks(DATA).expect("well formed") {
            let mut block = vec![0; old.len()];
            file.read_exact_at(&mut block, at).expect("there");
            assert_eq!(block[FSID], [7; 16], "block at {at:#x}");
            assert_eq!(u32::from_le_bytes([block[0], block[1], block[2], block[3]]), crc32c(&block[32..]));
            supers += usize::from(&block[64..72] == b"_BHRfS_M");
        }
        assert_eq!(supers, 2);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
