//! The Linux layer against the real kernel. Run as root: each wall is tested as root and, through an ordinary user, without.

use lazaret_jail as jail;

mod cgroups;
mod places;
mod support;
mod walls;
