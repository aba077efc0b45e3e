//! Makes `data/btrfs.bin` from an empty file system: `btrfs_template IMAGE OUT`. See data/README.md.

use std::io::{Error, Result};

const NODE: usize = 16 << 10;
const SUPER: usize = 4 << 10;
const SUPERS: [usize; 2] = [0x1_0000, 0x400_0000];
const BYTENR: std::ops::Range<usize> = 48..56;
const GAP: usize = 4;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(image), Some(out)) = (args.next(), args.next()) else { return Err(Error::other("usage: btrfs_template IMAGE OUT")) };
    let image = std::fs::read(image)?;
    let mut data = b"LZBTRFS1".to_vec();
    let mut at = 0;
    while at < image.len() {
        let len = if SUPERS.contains(&at) { SUPER } else { NODE };
        let block = &image[at..(at + len).min(image.len())];
        if SUPERS.contains(&at) {
            add(&mut data, at, block)?;
            at += NODE;
            continue;
        }
        if block.iter().any(|b| *b != 0) {
            if block[BYTENR] != (at as u64).to_le_bytes() {
                return Err(Error::other(format!("the block at {at:#x} is no node of a tree")));
            }
            add(&mut data, at, block)?;
        }
        at += NODE;
    }
    std::fs::write(out, data)
}

/// A block: where, how long, and its runs of bytes that are not zero.
fn add(data: &mut Vec<u8>, at: usize, block: &[u8]) -> Result<()> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (place, _) in block.iter().enumerate().filter(|(_, b)| **b != 0) {
        match runs.last_mut() {
            Some((_, end)) if place <= *end + GAP => *end = place + 1,
            _ => runs.push((place, place + 1)),
        }
    }
    let small = |n: usize| u16::try_from(n).map_err(Error::other);
    data.extend((at as u64).to_le_bytes());
    data.extend(u32::try_from(block.len()).map_err(Error::other)?.to_le_bytes());
    data.extend(small(runs.len())?.to_le_bytes());
    for (start, end) in runs {
        data.extend(small(start)?.to_le_bytes());
        data.extend(small(end - start)?.to_le_bytes());
        data.extend(&block[start..end]);
    }
    Ok(())
}
