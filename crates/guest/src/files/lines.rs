//! The shortest way from some lines to others.

/// The longest way that is looked for, in lines taken out and put in. Beyond it all lines count as changed.
const STEPS_MAX: usize = 2_000;

/// A run of lines: kept, taken out or put in. Positions count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Line `old` is line `new`.
    Keep { old: usize, new: usize },
    /// Line `old` goes.
    Out { old: usize },
    /// Line `new` comes.
    In { new: usize },
}

/// The steps from `old` to `new`, in order.
pub(super) fn steps<T: PartialEq>(old: &[T], new: &[T]) -> Vec<Step> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_middle, new_middle) = (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);
    let mut all: Vec<Step> = (0..head).map(|n| Step::Keep { old: n, new: n }).collect();
    all.extend(middle(old_middle, new_middle).into_iter().map(|step| match step {
        Step::Keep { old, new } => Step::Keep { old: old + head, new: new + head },
        Step::Out { old } => Step::Out { old: old + head },
        Step::In { new } => Step::In { new: new + head },
    }));
    let (old_at, new_at) = (head + old_middle.len(), head + new_middle.len());
    all.extend((0..tail).map(|n| Step::Keep { old: old_at + n, new: new_at + n }));
    // In one run of changes, what goes stands before what comes.
    for run in all.chunk_by_mut(|a, b| is_change(a) && is_change(b)) {
        run.sort_by_key(|step| matches!(step, Step::In { .. }));
    }
    all
}

fn is_change(step: &Step) -> bool {
    !matches!(step, Step::Keep { .. })
}

/// Follows, for each number of changes, how far each diagonal can be reached, until the end is; then goes back.
fn middle<T: PartialEq>(old: &[T], new: &[T]) -> Vec<Step> {
    let reaches = forward(old, new);
    let Some(reaches) = reaches else {
        let out = (0..old.len()).map(|old| Step::Out { old });
        return out.chain((0..new.len()).map(|new| Step::In { new })).collect();
    };
    let mut steps = Vec::new();
    let (mut x, mut y) = (old.len(), new.len());
    for changes in (0..reaches.len()).rev() {
        let (from_x, from_y) = if changes == 0 { (0, 0) } else { before(&reaches[changes - 1], changes, x, y) };
        // The last part of each leg is along a diagonal; its first step, if there is one, is the change.
        while x > from_x && y > from_y {
            (x, y) = (x - 1, y - 1);
            steps.push(Step::Keep { old: x, new: y });
        }
        if changes == 0 {
            break;
        }
        if x > from_x {
            x -= 1;
            steps.push(Step::Out { old: x });
        } else {
            y -= 1;
            steps.push(Step::In { new: y });
        }
    }
    steps.reverse();
    steps
}

/// How far into `old` each diagonal reaches with so many changes. The diagonal `k` (lines taken out less lines put in) of
/// `d` changes stands at `(k + d) / 2` of the list `d`. `None` when it takes too many.
fn forward<T: PartialEq>(old: &[T], new: &[T]) -> Option<Vec<Vec<usize>>> {
    let mut reaches: Vec<Vec<usize>> = Vec::new();
    for changes in 0..=STEPS_MAX {
        let mut reach = Vec::with_capacity(changes + 1);
        for at in 0..=changes {
            // Lines taken out on this diagonal; the others were put in.
            let mut x = match reaches.last() {
                None => 0,
                Some(last) => start(last, at, changes),
            };
            // In lists of so many changes the diagonal is `2 * at - changes`, and y = x - diagonal.
            let mut y = (x + changes).wrapping_sub(2 * at);
            if x > old.len() || y > new.len() {
                reach.push(x);
                continue;
            }
            while x < old.len() && y < new.len() && old[x] == new[y] {
                (x, y) = (x + 1, y + 1);
            }
            reach.push(x);
            if x == old.len() && y == new.len() {
                reaches.push(reach);
                return Some(reaches);
            }
        }
        reaches.push(reach);
    }
    None
}

/// Where a diagonal begins: from the one below with a line taken out, or from the one above with a line put in.
fn start(last: &[usize], at: usize, changes: usize) -> usize {
    let out = at.checked_sub(1).map(|below| last[below] + 1);
    let put = (at < changes).then(|| last[at]);
    out.unwrap_or(0).max(put.unwrap_or(0))
}

/// The end of the leg before, from which `(x, y)` was reached.
fn before(last: &[usize], changes: usize, x: usize, y: usize) -> (usize, usize) {
    let at = (x + changes - y) / 2;
    let out = at.checked_sub(1).map(|below| last[below] + 1);
    let put = (at < changes).then(|| last[at]);
    let is_out = out.is_some_and(|out| put.is_none_or(|put| out >= put));
    if is_out {
        let from_x = last[at - 1];
        (from_x, (from_x + changes - 1) - 2 * (at - 1))
    } else {
        let from_x = last[at];
        (from_x, (from_x + changes - 1) - 2 * at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines that are the same in both, by the slow way.
    fn kept_at_best(old: &[u8], new: &[u8]) -> usize {
        let mut row = vec![0; new.len() + 1];
        for a in old {
            let mut corner = 0;
            for (at, b) in new.iter().enumerate() {
                let best = if a == b { corner + 1 } else { row[at].max(row[at + 1]) };
                corner = std::mem::replace(&mut row[at + 1], best);
            }
        }
        row[new.len()]
    }

    #[test]
    fn the_way_is_right_and_the_shortest() {
        let mut seed = 1u32;
        let mut next = |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % below
        };
        for _ in 0..3_000 {
            let letters = 1 + next(4);
            let mut text = || (0..next(14)).map(|_| u8::try_from(next(letters)).expect("small")).collect::<Vec<u8>>();
            let (old, new) = (text(), text());
            let (mut o, mut n, mut kept) = (0, 0, 0);
            for step in steps(&old, &new) {
                match step {
                    Step::Keep { old: a, new: b } => {
                        assert!((a, b) == (o, n) && old[a] == new[b], "{old:?} {new:?}");
                        (o, n, kept) = (o + 1, n + 1, kept + 1);
                    }
                    Step::Out { old: a } => {
                        assert_eq!(a, o, "{old:?} {new:?}");
                        o += 1;
                    }
                    Step::In { new: b } => {
                        assert_eq!(b, n, "{old:?} {new:?}");
                        n += 1;
                    }
                }
            }
            assert_eq!((o, n), (old.len(), new.len()), "{old:?} {new:?}");
            assert_eq!(kept, kept_at_best(&old, &new), "{old:?} {new:?}");
        }
    }

    #[test]
    fn what_differs_too_much_is_changed_as_a_whole() {
        let old: Vec<usize> = (0..3_000).collect();
        let new: Vec<usize> = (3_000..6_000).collect();
        let steps = steps(&old, &new);
        assert_eq!((steps.len(), steps[0], steps[3_000]), (6_000, Step::Out { old: 0 }, Step::In { new: 0 }));
    }
}
