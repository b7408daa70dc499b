//! The kinds of faults, and their order.

use clap::ValueEnum;
use rand::{rngs::StdRng, seq::SliceRandom};

use crate::machine::Machine;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Fault {
    KillServer,
    KillPostgres,
    KillBoth,
    KillSession,
    StopServer,
    StopPostgres,
    CutConnections,
    FillDisk,
    TakeConnections,
    OpenTransaction,
    LockTable,
    ServerClock,
    MachineClock,
    CloseSockets,
    TakePrograms,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Self::KillServer => "the server is killed",
            Self::KillPostgres => "PostgreSQL is killed",
            Self::KillBoth => "both are killed",
            Self::KillSession => "one session of PostgreSQL is killed",
            Self::StopServer => "the server stands still",
            Self::StopPostgres => "PostgreSQL stands still",
            Self::CutConnections => "all sessions are ended",
            Self::FillDisk => "the disk is full",
            Self::TakeConnections => "all connections are taken",
            Self::OpenTransaction => "a transaction stays open",
            Self::LockTable => "a table is locked",
            Self::ServerClock => "the server's clock is wrong",
            Self::MachineClock => "the machine's clock is wrong",
            Self::CloseSockets => "clients close their sockets",
            Self::TakePrograms => "PostgreSQL's programs are away",
        }
    }

    /// Why this fault can't be made here, if so.
    pub fn lacking(self, machine: &Machine) -> Option<Lack> {
        match self {
            Self::FillDisk if !machine.disk.can_be_filled() => Some(Lack::Right),
            Self::ServerClock | Self::MachineClock if machine.programs.faketime.is_none() => Some(Lack::Program),
            _ => None,
        }
    }
}

/// What a machine lacks for a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// The right to mount the small file system that is filled.
    Right,
    /// A program that can be installed.
    Program,
}

impl Lack {
    pub fn said(self) -> &'static str {
        match self {
            Self::Right => "only root can mount the small file system that is filled",
            Self::Program => "libfaketime is not installed (Debian, Ubuntu: `apt-get install faketime`)",
        }
    }
}

/// The faults of all rounds: each kind once, in random order, again and again.
pub fn plan(kinds: &[Fault], rounds: usize, dice: &mut StdRng) -> Vec<Fault> {
    let mut plan = Vec::new();
    while plan.len() < rounds && !kinds.is_empty() {
        let mut next = kinds.to_vec();
        next.shuffle(dice);
        plan.extend(next);
    }
    plan.truncate(rounds);
    plan
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn each_kind_comes_equally_often_and_the_seed_decides_the_order() {
        let of = |seed| plan(Fault::value_variants(), 45, &mut StdRng::seed_from_u64(seed));
        for cycle in of(1).chunks(15) {
            assert_eq!(cycle.iter().collect::<BTreeSet<_>>().len(), 15);
        }
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert_eq!(plan(Fault::value_variants(), 7, &mut StdRng::seed_from_u64(1)).len(), 7);
    }
}
