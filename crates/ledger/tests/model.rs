//! The ledger against a model of it: two maps in memory. Random transactions of several holders,
//! with leases that expired, were seized, released or never committed, with time that moves and
//! transactions that are rolled back, must always leave what the model says. The model knows
//! nothing of SQL; which change makes sense it asks core, as the ledger must.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeMap;
use std::time::Duration;

use azslurm_core::attempt::{
    Attempt, AttemptPlace, AttemptState, AzureSays, Change, EndReason, NewAttempt,
};
use azslurm_core::config::{Region, Sku};
use azslurm_core::{AttemptId, NodeName, Timestamp, VmName};
use azslurm_ledger::{
    EventFilter, Holder, Lease, LeaseAnswer, LeaseAsk, LeaseRow, Ledger, LedgerError, Recorded,
    Take, Writer,
};
use proptest::prelude::*;

/// A lease as the model has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    holder: Option<Holder>,
    generation: i64,
    until: Timestamp,
}

/// What the ledger should hold.
#[derive(Debug, Clone, Default)]
struct Model {
    leases: BTreeMap<NodeName, Row>,
    /// State and the generation of the last change, by node and number.
    attempts: BTreeMap<(NodeName, i64), (AttemptState, i64)>,
    /// Changes of state, in the order of their happening.
    story: Vec<(VmName, AttemptState)>,
}

#[derive(Debug, Clone)]
enum Step {
    Lease { node: usize, holder: usize, take: Take, lasts: u64 },
    Renew { token: usize, lasts: u64 },
    Release { token: usize },
    ReleaseAll { holder: usize },
    Intend { token: usize, number: i64 },
    Record { token: usize, number: i64, change: Change },
    Adopt { token: usize, number: i64 },
    Wait { millis: u64 },
}

/// Everything that one run of the test has.
struct Run {
    now: Timestamp,
    /// Every lease that was ever granted, also those that are worth nothing any more.
    tokens: Vec<Lease>,
    model: Model,
}

struct Abort;

impl From<LedgerError> for Abort {
    fn from(error: LedgerError) -> Abort {
        panic!("{error}")
    }
}

fn steps() -> impl Strategy<Value = Step> {
    let take = prop_oneof![3 => Just(Take::IfFree), 1 => Just(Take::Seize)];
    prop_oneof![
        6 => (0..3usize, 0..3usize, take, 1..200u64)
            .prop_map(|(node, holder, take, lasts)| Step::Lease { node, holder, take, lasts }),
        2 => (any::<prop::sample::Index>(), 1..200u64)
            .prop_map(|(token, lasts)| Step::Renew { token: token.index(1 << 20), lasts }),
        2 => any::<prop::sample::Index>()
            .prop_map(|token| Step::Release { token: token.index(1 << 20) }),
        1 => (0..3usize).prop_map(|holder| Step::ReleaseAll { holder }),
        6 => (any::<prop::sample::Index>(), 1..5i64)
            .prop_map(|(token, number)| Step::Intend { token: token.index(1 << 20), number }),
        12 => (any::<prop::sample::Index>(), 1..5i64, changes()).prop_map(
            |(token, number, change)| Step::Record { token: token.index(1 << 20), number, change }
        ),
        3 => (any::<prop::sample::Index>(), 1..5i64)
            .prop_map(|(token, number)| Step::Adopt { token: token.index(1 << 20), number }),
        3 => (0..150u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

fn changes() -> impl Strategy<Value = Change> {
    let says = AzureSays { code: "Failed".into(), text: "no".into(), request_id: None };
    let operation = Some("https://management.example/operation".to_owned());
    prop::sample::select(vec![
        Change::Accepted { operation: operation.clone(), request_id: Some("r".into()) },
        Change::Accepted { operation: None, request_id: None },
        Change::Running,
        Change::Registered,
        Change::Refused(says.clone()),
        Change::DeleteIntended { why: EndReason::Suspended, says: None },
        Change::DeleteIntended { why: EndReason::CreateFailed, says: Some(says.clone()) },
        Change::DeleteAccepted { operation, request_id: None },
        Change::DeleteFailed(says),
        Change::Gone,
    ])
}

fn node(index: usize) -> NodeName {
    format!("n{index}").parse().unwrap()
}

fn holder(index: usize) -> Holder {
    ["resume", "suspend", "sync"][index].parse().unwrap()
}

fn new_attempt(node: &NodeName, number: i64) -> NewAttempt {
    let attempt = AttemptId::from_number(number).unwrap();
    NewAttempt {
        vm: VmName::of(node, attempt),
        node: node.clone(),
        attempt,
        nodeset: "hpc".parse().unwrap(),
        place: AttemptPlace {
            site: "west".parse().unwrap(),
            subscription: "s".into(),
            resource_group: "g".into(),
            region: Region::new("westeurope").unwrap(),
            zone: None,
            block: None,
        },
        sku: Sku::new("Standard_D4s_v5").unwrap(),
        is_spot: false,
        image: "p:o:s:v".to_owned(),
        body_hash: "00".into(),
        jobs: vec![],
    }
}

/// A VM that was seen in Azure, as the attempt that it is adopted as.
fn seen(node: &NodeName, number: i64, now: Timestamp) -> Attempt {
    Attempt {
        is: new_attempt(node, number),
        state: AttemptState::DeleteIntended,
        why: Some(EndReason::Orphaned),
        says: None,
        operation: None,
        request_id: None,
        generation: 0,
        intended_at: now,
        settles_at: now,
        accepted_at: Some(now),
        running_at: None,
        registered_at: None,
        delete_intended_at: Some(now),
        ended_at: None,
        changed_at: now,
    }
}

impl Model {
    fn allows(&self, token: &Lease, now: Timestamp) -> bool {
        self.leases.get(token.node()).is_some_and(|row| {
            row.holder.as_ref() == Some(token.holder())
                && row.generation == token.generation()
                && now < row.until
        })
    }

    fn lease(&mut self, node: &NodeName, ask: &LeaseAsk<'_>) -> Result<(i64, Timestamp), Holder> {
        let free = Row { holder: None, generation: 0, until: ask.until };
        let row = self.leases.entry(node.clone()).or_insert(free);
        if row.holder.as_ref() == Some(ask.holder) {
            row.until = row.until.max(ask.until);
            return Ok((row.generation, row.until));
        }
        match &row.holder {
            Some(other) if ask.now < row.until && ask.take == Take::IfFree => Err(other.clone()),
            Some(_) | None => {
                let holder = Some(ask.holder.clone());
                *row = Row { holder, generation: row.generation + 1, until: ask.until };
                Ok((row.generation, row.until))
            }
        }
    }

    fn is_current(&mut self, token: &Lease) -> Option<&mut Row> {
        let row = self.leases.get_mut(token.node())?;
        let is_ours =
            row.holder.as_ref() == Some(token.holder()) && row.generation == token.generation();
        is_ours.then_some(row)
    }

    fn intend(&mut self, token: &Lease, number: i64, now: Timestamp) -> Recorded {
        if !self.allows(token, now) {
            return Recorded::LeaseLost;
        }
        let key = (token.node().clone(), number);
        if let Some((state, _)) = self.attempts.get(&key) {
            let is_it = *state == AttemptState::Intended;
            return if is_it { Recorded::Done(*state) } else { Recorded::Superseded(*state) };
        }
        let newest = self.attempts.iter().rfind(|((node, _), _)| node == token.node());
        if let Some(((_, newest), (state, _))) = newest
            && *newest > number
        {
            return Recorded::Superseded(*state);
        }
        self.story.push((new_attempt(&key.0, number).vm, AttemptState::Intended));
        self.attempts.insert(key, (AttemptState::Intended, token.generation()));
        Recorded::Done(AttemptState::Intended)
    }

    fn record(&mut self, token: &Lease, number: i64, change: &Change, now: Timestamp) -> Recorded {
        if !self.allows(token, now) {
            return Recorded::LeaseLost;
        }
        let key = (token.node().clone(), number);
        let Some((state, generation)) = self.attempts.get_mut(&key) else {
            return Recorded::NoSuchAttempt;
        };
        let Some(after) = state.after(change) else { return Recorded::Superseded(*state) };
        if *state != after {
            self.story.push((new_attempt(&key.0, number).vm, after));
            *generation = token.generation();
        }
        *state = after;
        Recorded::Done(after)
    }

    /// What is unknown or has ended is to be deleted; all else stays as it is.
    fn adopt(&mut self, token: &Lease, number: i64, now: Timestamp) -> Recorded {
        if !self.allows(token, now) {
            return Recorded::LeaseLost;
        }
        let key = (token.node().clone(), number);
        match self.attempts.get(&key) {
            Some((state, _)) if !state.is_ended() => Recorded::Superseded(*state),
            Some(_) | None => {
                let state = AttemptState::DeleteIntended;
                self.story.push((new_attempt(&key.0, number).vm, state));
                self.attempts.insert(key, (state, token.generation()));
                Recorded::Done(state)
            }
        }
    }
}

impl Run {
    fn token(&self, index: usize) -> Option<Lease> {
        (!self.tokens.is_empty()).then(|| self.tokens[index % self.tokens.len()].clone())
    }

    fn step(&mut self, writer: &mut Writer<'_>, step: &Step) -> Result<(), LedgerError> {
        let now = self.now;
        match step {
            Step::Wait { millis } => self.now = now.plus(Duration::from_millis(*millis)),
            Step::Lease { node: index, holder: by, take, lasts } => {
                let holder = holder(*by);
                let until = now.plus(Duration::from_millis(*lasts));
                let ask = LeaseAsk { holder: &holder, take: *take, now, until };
                let answer = writer.lease(&node(*index), &ask)?;
                self.compare_answer(answer, &node(*index), &ask);
            }
            Step::Renew { token, lasts } => {
                let Some(token) = self.token(*token) else { return Ok(()) };
                let until = now.plus(Duration::from_millis(*lasts));
                let row = self.model.is_current(&token);
                let expected = row.is_some();
                if let Some(row) = row {
                    row.until = row.until.max(until);
                }
                assert_eq!(writer.renew(&token, until)?, expected);
            }
            Step::Release { token } => {
                let Some(token) = self.token(*token) else { return Ok(()) };
                if let Some(row) = self.model.is_current(&token) {
                    row.holder = None;
                }
                writer.release(&token)?;
            }
            Step::ReleaseAll { holder: by } => {
                let holder = holder(*by);
                let rows = self.model.leases.values_mut();
                let mine = rows.filter(|row| row.holder.as_ref() == Some(&holder));
                let expected = mine.map(|row| row.holder = None).count();
                assert_eq!(writer.release_holder(&holder)?, expected);
            }
            Step::Intend { token, number } => {
                let Some(token) = self.token(*token) else { return Ok(()) };
                let expected = self.model.intend(&token, *number, now);
                let new = new_attempt(token.node(), *number);
                assert_eq!(writer.intend(&token, &new, now, now)?, expected);
            }
            Step::Record { token, number, change } => {
                let Some(token) = self.token(*token) else { return Ok(()) };
                let expected = self.model.record(&token, *number, change, now);
                let vm = new_attempt(token.node(), *number).vm;
                assert_eq!(writer.record(&token, &vm, change, now)?, expected);
            }
            Step::Adopt { token, number } => {
                let Some(token) = self.token(*token) else { return Ok(()) };
                let expected = self.model.adopt(&token, *number, now);
                let seen = seen(token.node(), *number, now);
                assert_eq!(writer.adopt(&token, &seen, now)?, expected);
            }
        }
        Ok(())
    }

    fn compare_answer(&mut self, answer: LeaseAnswer, node: &NodeName, ask: &LeaseAsk<'_>) {
        let expected = self.model.lease(node, ask);
        match answer {
            LeaseAnswer::Granted(lease) => {
                assert_eq!(Ok((lease.generation(), lease.until())), expected);
                self.tokens.push(lease);
            }
            LeaseAnswer::HeldBy { holder, .. } => assert_eq!(Err(holder), expected),
        }
    }

    fn compare(&self, ledger: &Ledger) {
        let leases: BTreeMap<NodeName, Row> = ledger
            .leases()
            .unwrap()
            .into_iter()
            .map(|row| {
                let LeaseRow { node, holder, generation, until } = row;
                (node, Row { holder: Some(holder), generation, until })
            })
            .collect();
        let mut expected = self.model.leases.clone();
        expected.retain(|_, row| row.holder.is_some());
        assert_eq!(leases, expected);

        let unfinished: Vec<_> = ledger
            .attempts_unfinished()
            .unwrap()
            .into_iter()
            .map(|it| ((it.is.node, it.is.attempt.number()), it.state))
            .collect();
        let attempts = self.model.attempts.iter().map(|(key, (state, _))| (key.clone(), *state));
        let expected: Vec<_> = attempts.filter(|(_, state)| !state.is_ended()).collect();
        assert_eq!(unfinished, expected);

        for ((node, number), (state, generation)) in &self.model.attempts {
            let found = ledger.attempt(&new_attempt(node, *number).vm).unwrap().unwrap();
            assert_eq!(found.state, *state);
            assert!(found.generation >= *generation, "generations only grow");
            assert!(found.generation <= self.model.leases[node].generation);
        }
        self.compare_story(ledger);
    }

    /// History tells every change of state, in order (and more: a deletion that failed twice).
    fn compare_story(&self, ledger: &Ledger) {
        let mut told = ledger.events(&EventFilter::default()).unwrap().into_iter();
        for (vm, state) in &self.model.story {
            let is_it =
                told.any(|event| event.vm.as_ref() == Some(vm) && event.kind == state.word());
            assert!(is_it, "{vm} {state:?} is not told");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_ledger_is_two_maps(
        transactions in prop::collection::vec(
            (prop::collection::vec(steps(), 1..6), prop::bool::weighted(0.85)),
            1..40,
        )
    ) {
        let mut ledger = Ledger::in_memory().unwrap();
        let now = Timestamp::from_millis(1_795_225_985_000);
        let mut run = Run { now, tokens: Vec::new(), model: Model::default() };
        for (steps, commits) in transactions {
            let before = run.model.clone();
            let done: Result<(), Abort> = ledger.write(|writer| {
                steps.iter().try_for_each(|step| run.step(writer, step))?;
                if commits { Ok(()) } else { Err(Abort) }
            });
            prop_assert_eq!(done.is_ok(), commits);
            if !commits {
                run.model = before;
            }
            run.compare(&ledger);
        }
    }
}
