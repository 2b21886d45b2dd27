//! What follows for a block when Azure refuses some of its VMs. Nodes that one job wants are a
//! gang: it moves as a whole, or it does not move.
//!
//! ```text
//! some of a block's VMs are refused
//!   ├─ another gang has VMs in it that are not refused ─► it stays: the refused nodes fail
//!   │     └─ of which nothing is known yet              ─► wait for Azure's answers
//!   ├─ a job runs in it                                  ─► it stays: the refused nodes fail
//!   ├─ slurmd has registered on some, no job runs yet    ─► requeue: Slurm gives all of them back
//!   └─ nothing of it is in use                           ─► move: all of it begins elsewhere
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::{JobId, NodeName};

/// A node of a block with a VM, or one that Azure has just refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node: NodeName,
    /// The jobs that wait for it, as far as slurmctld said. Nodes without any are one gang.
    pub jobs: Vec<JobId>,
    /// How it stands.
    pub standing: MemberStanding,
}

/// How a member of a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberStanding {
    /// Azure refused its VM, at the PUT or later.
    Refused,
    /// Its PUT has not been answered.
    Unanswered,
    /// Azure makes its VM or has made it; slurmd has not registered.
    Made,
    /// slurmd has registered, and the job that wants it has not begun.
    Waiting,
    /// It is in use, or nobody can tell.
    InUse,
}

impl MemberStanding {
    /// Every standing.
    pub const ALL: [MemberStanding; 5] = [
        MemberStanding::Refused,
        MemberStanding::Unanswered,
        MemberStanding::Made,
        MemberStanding::Waiting,
        MemberStanding::InUse,
    ];
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet: Azure has not answered for all of them.
    Wait,
    /// These nodes begin elsewhere, together; what was made of them here is deleted.
    Move(BTreeSet<NodeName>),
    /// Slurm is told to give these nodes back: their jobs are requeued, and what was made of them
    /// is deleted by SuspendProgram.
    Requeue(BTreeSet<NodeName>),
    /// The block stays where it is, and these nodes fail.
    Fail(BTreeSet<NodeName>),
}

/// Decides about one life of a block, of which at least one member is refused. `may_wait`: there is
/// still time for answers.
pub fn judge(members: &[Member], may_wait: bool) -> Verdict {
    let refused = nodes(members, |standing| standing == MemberStanding::Refused);
    let hit = gangs_with(members, &refused);
    let others: Vec<MemberStanding> = members
        .iter()
        .filter(|member| !hit.contains(&member.node))
        .map(|member| member.standing)
        .collect();
    if !others.is_empty() {
        let is_open = |standing: &MemberStanding| match standing {
            MemberStanding::Unanswered => true,
            MemberStanding::Refused
            | MemberStanding::Made
            | MemberStanding::Waiting
            | MemberStanding::InUse => false,
        };
        let wait = may_wait && others.iter().all(is_open);
        return if wait { Verdict::Wait } else { Verdict::Fail(refused) };
    }
    let has = |wanted: MemberStanding| members.iter().any(|member| member.standing == wanted);
    if has(MemberStanding::InUse) {
        Verdict::Fail(refused)
    } else if has(MemberStanding::Waiting) {
        Verdict::Requeue(hit)
    } else {
        Verdict::Move(hit)
    }
}

fn nodes(members: &[Member], is_it: impl Fn(MemberStanding) -> bool) -> BTreeSet<NodeName> {
    let wanted = members.iter().filter(|member| is_it(member.standing));
    wanted.map(|member| member.node.clone()).collect()
}

/// All nodes of the gangs that some of `nodes` are in.
fn gangs_with(members: &[Member], nodes: &BTreeSet<NodeName>) -> BTreeSet<NodeName> {
    let mut of_job: BTreeMap<Option<JobId>, Vec<&Member>> = BTreeMap::new();
    for member in members {
        match member.jobs.as_slice() {
            [] => of_job.entry(None).or_default().push(member),
            jobs => {
                for job in jobs {
                    of_job.entry(Some(*job)).or_default().push(member);
                }
            }
        }
    }
    let mut reached = nodes.clone();
    loop {
        let before = reached.len();
        for gang in of_job.values() {
            if gang.iter().any(|member| reached.contains(&member.node)) {
                reached.extend(gang.iter().map(|member| member.node.clone()));
            }
        }
        if reached.len() == before {
            return reached;
        }
    }
}

#[cfg(test)]
mod tests {
    use MemberStanding as M;

    use super::*;

    fn member(node: u32, jobs: &[u32], standing: M) -> Member {
        let jobs = jobs.iter().map(|job| JobId(*job)).collect();
        Member { node: format!("hb-{node}").parse().unwrap(), jobs, standing }
    }

    fn set(numbers: &[u32]) -> BTreeSet<NodeName> {
        numbers.iter().map(|number| format!("hb-{number}").parse().unwrap()).collect()
    }

    /// A gang of nodes 1 and 2, of which 1 is refused.
    fn beside(standing: M) -> Verdict {
        judge(&[member(1, &[7], M::Refused), member(2, &[7], standing)], true)
    }

    #[test]
    fn a_gang_of_which_nothing_is_in_use_moves_as_a_whole() {
        for standing in [M::Refused, M::Unanswered, M::Made] {
            assert_eq!(beside(standing), Verdict::Move(set(&[1, 2])), "{standing:?}");
        }
    }

    #[test]
    fn a_gang_whose_job_has_begun_fails_by_node_and_one_that_waits_is_requeued() {
        assert_eq!(beside(M::InUse), Verdict::Fail(set(&[1])));
        assert_eq!(beside(M::Waiting), Verdict::Requeue(set(&[1, 2])));
    }

    /// Node 1 of job 7 is refused; node 3 is job 8's.
    fn with_another_gang(standing: M, may_wait: bool) -> Verdict {
        let members =
            [member(1, &[7], M::Refused), member(2, &[7], M::Made), member(3, &[8], standing)];
        judge(&members, may_wait)
    }

    #[test]
    fn one_gangs_refusal_costs_another_gang_of_the_block_nothing() {
        for standing in [M::Made, M::Waiting, M::InUse] {
            assert_eq!(with_another_gang(standing, true), Verdict::Fail(set(&[1])));
        }
        assert_eq!(with_another_gang(M::Unanswered, true), Verdict::Wait);
        assert_eq!(with_another_gang(M::Unanswered, false), Verdict::Fail(set(&[1])));
    }

    #[test]
    fn gangs_that_are_all_refused_move_together() {
        assert_eq!(with_another_gang(M::Refused, true), Verdict::Move(set(&[1, 2, 3])));
    }

    #[test]
    fn jobs_that_share_a_node_are_one_gang_and_nodes_without_a_job_are_one_too() {
        let shared =
            [member(1, &[7], M::Refused), member(2, &[7, 8], M::Made), member(3, &[8], M::Made)];
        assert_eq!(judge(&shared, true), Verdict::Move(set(&[1, 2, 3])));
        let by_hand = [member(1, &[], M::Refused), member(2, &[], M::Made)];
        assert_eq!(judge(&by_hand, true), Verdict::Move(set(&[1, 2])));
    }

    /// Every case of three members: how the second and third stand, the job of the third, and
    /// whether there is time.
    fn all_cases() -> Vec<(Vec<Member>, u32, bool)> {
        let mut cases = Vec::new();
        for (first, second) in M::ALL.into_iter().flat_map(|one| M::ALL.map(|two| (one, two))) {
            for (job, may_wait) in [(7, true), (7, false), (8, true), (8, false)] {
                let members = vec![
                    member(1, &[7], M::Refused),
                    member(2, &[7], first),
                    member(3, &[job], second),
                ];
                cases.push((members, job, may_wait));
            }
        }
        cases
    }

    #[test]
    fn what_is_in_use_never_moves_and_no_gang_moves_by_half_in_any_case() {
        for (members, job, may_wait) in all_cases() {
            let moved = match judge(&members, may_wait) {
                Verdict::Move(nodes) | Verdict::Requeue(nodes) => nodes,
                Verdict::Wait | Verdict::Fail(_) => BTreeSet::new(),
            };
            let moved: Vec<&Member> =
                members.iter().filter(|member| moved.contains(&member.node)).collect();
            assert!(moved.iter().all(|member| member.standing != M::InUse), "{members:?}");
            let count = moved.len();
            assert!(count == 0 || count == 3 || (job == 8 && count == 2), "{members:?}");
        }
    }
}
