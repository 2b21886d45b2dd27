//! Budgets: the token buckets in which Azure counts our calls, as all our programs together believe
//! them to be. The arithmetic only: who keeps the buckets and who sends is not known here.
//!
//! ```text
//! refill ──► tokens ──reserve──► one process sends them
//!              ▲ │                    │
//!  give_back ──┘ └── correct, close ◄─┘ what Azure says is left, or its 429
//! ```
//!
//! What is reserved is counted as sent. A process that dies with tokens in hand loses them, and the
//! refill makes that good; no mistake here can send more than Azure's refill allows, because every
//! grant is taken from the bucket first.

use std::time::Duration;

use crate::Timestamp;

/// The most that one process takes at once from a bucket of Azure's usual size: of the front door's
/// 200 writes (FACTS §3.1) a quarter, so that three more that come within the same second find some
/// as well.
pub const BATCH_MAX: u64 = 50;

/// Nobody else waits: then the batch may be this part of what is there, if that is more than
/// [`BATCH_MAX`]. Large buckets (a subscription with 12,000 writes was seen, FACTS §3.1) are not
/// worth a transaction per 50 calls.
const PART_OF_LARGE: u64 = 4;

/// Who waits asks again every second; who has not for this long is dead, or does not wait any more.
pub const WAITS_FOR: Duration = Duration::from_secs(5);

/// A bucket of which something was known this much later than now: the clock was set back. Its
/// refill counts from now on, instead of standing still until the clock is there again.
const CLOCK_STEP: Duration = Duration::from_secs(10);

/// How much a bucket holds, and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// The most that can be saved up.
    pub max: f64,
    /// What comes back per second.
    pub refill: f64,
}

impl Size {
    /// Front door, per principal and subscription (FACTS §3.1).
    pub const READS: Size = Size { max: 250.0, refill: 25.0 };
    /// Front door, per principal and subscription (FACTS §3.1).
    pub const WRITES: Size = Size { max: 200.0, refill: 10.0 };
    /// Front door, per principal and subscription (FACTS §3.1).
    pub const DELETES: Size = Size { max: 200.0, refill: 10.0 };
    /// Compute, per subscription and region (FACTS §3.2).
    pub const PUT_VM: Size = Size::per_minute(500.0, 1500.0);
    /// Compute, per subscription and region (FACTS §3.2).
    pub const DELETE_VM: Size = Size::per_minute(500.0, 1500.0);
    /// Compute, per subscription and region (FACTS §3.2).
    pub const LOW_COST_GET: Size = Size::per_minute(8000.0, 24_000.0);
    /// Compute, per subscription and region (FACTS §3.2).
    pub const HIGH_COST_GET: Size = Size::per_minute(300.0, 900.0);
    /// Compute, per subscription and region (FACTS §3.2).
    pub const GET_OPERATION: Size = Size::per_minute(5000.0, 15_000.0);
    /// Compute, placement groups: 100 per 3 min, 500 per 30 min (FACTS §3.2), of which the slower
    /// rules the refill.
    pub const PUT_DELETE_PPG: Size = Size::per_minute(500.0 / 30.0, 100.0);
    /// Network, per subscription and region: 10,000 per 5 min (FACTS §3.2).
    pub const NETWORK_READS: Size = Size::per_minute(2000.0, 10_000.0);
    /// Resource Graph, per principal: 15 per 5 s (FACTS §8).
    pub const GRAPH: Size = Size { max: 15.0, refill: 3.0 };

    const fn per_minute(refill: f64, max: f64) -> Size {
        Size { max, refill: refill / 60.0 }
    }
}

/// What is believed of one bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Calls that nobody has reserved yet, as of `at`.
    pub tokens: f64,
    /// When `tokens` was known.
    pub at: Timestamp,
    /// The documented size, or a larger one that Azure has shown.
    pub size: Size,
    /// Nothing may be sent before then (`Retry-After` of a 429).
    pub closed_until: Option<Timestamp>,
}

/// What one process wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Calls that wait now and have no token.
    pub waiting: u64,
    /// Calls that are sure to come soon, those that wait included: taken along while nobody else
    /// waits.
    pub soon: u64,
}

/// A process that waits for a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// Who.
    pub holder: String,
    /// Since when it waits.
    pub since: Timestamp,
    /// When it asked last.
    pub asked_at: Timestamp,
    /// When it got a token last, while it waited.
    pub served_at: Option<Timestamp>,
}

impl Waiter {
    /// Who has waited longest for its next token comes first; by name where two are even.
    fn turn(&self) -> (Timestamp, &str) {
        (self.served_at.map_or(self.since, |served| served.max(self.since)), &self.holder)
    }

    fn waits(&self, now: Timestamp) -> bool {
        now.since(self.asked_at) < WAITS_FOR
    }
}

/// What an answer of Azure said about a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Calls left.
    pub left: f64,
    /// Tokens that the process which saw it has reserved and not sent: Azure counts them as left.
    pub held: f64,
    /// When.
    pub at: Timestamp,
}

impl Bucket {
    /// A bucket of which nothing is known yet.
    pub fn full(size: Size, now: Timestamp) -> Bucket {
        Bucket { tokens: size.max, at: now, size, closed_until: None }
    }

    /// Whether nothing may be sent now.
    pub fn is_closed(&self, now: Timestamp) -> bool {
        self.closed_until.is_some_and(|until| now < until)
    }
}

/// The bucket as it is `now`. A closed one does not fill: Azure's time for the end of a closure is
/// when the first call may be sent, not when it has saved up.
pub fn refilled(bucket: &Bucket, now: Timestamp) -> Bucket {
    let is_of_the_past = bucket.at <= now.plus(CLOCK_STEP);
    let at = if is_of_the_past { bucket.at.max(now) } else { now };
    let from = bucket.at.max(bucket.closed_until.unwrap_or(bucket.at));
    let gained = now.since(from).as_secs_f64() * bucket.size.refill;
    let tokens = (bucket.tokens + gained).min(bucket.size.max);
    Bucket { tokens, at, ..*bucket }
}

/// How many tokens the process `holder` gets, and the bucket without them. `waiters` are those who
/// wait for this bucket, `holder` or not; the dead among them do not count.
///
/// While several wait, each gets at most its equal share of what is there, so that one call finds
/// its token beside a thousand. Where that share is less than one, the first in turn gets one.
pub fn reserve(
    bucket: &Bucket,
    ask: Ask,
    (holder, waiters): (&str, &[Waiter]),
    now: Timestamp,
) -> (u64, Bucket) {
    let mut bucket = refilled(bucket, now);
    if bucket.is_closed(now) {
        return (0, bucket);
    }
    let there = bucket.tokens.max(0.0) as u64;
    let others = || waiters.iter().filter(|waiter| waiter.holder != holder && waiter.waits(now));
    let count = others().count() as u64 + 1;
    let granted = if count == 1 {
        let wanted = ask.soon.max(ask.waiting);
        wanted.min(there).min(BATCH_MAX.max(there / PART_OF_LARGE))
    } else {
        let own = waiters.iter().find(|waiter| waiter.holder == holder).cloned();
        let own = own.unwrap_or_else(|| Waiter {
            holder: holder.to_owned(),
            since: now,
            asked_at: now,
            served_at: None,
        });
        let is_next = others().all(|other| own.turn() < other.turn());
        let share = if is_next { (there / count).max(there.min(1)) } else { there / count };
        ask.waiting.min(share).min(BATCH_MAX)
    };
    bucket.tokens -= granted as f64;
    (granted, bucket)
}

/// The bucket after an answer. Azure knows of calls that we do not count (others have the same
/// subscription), so less is believed. More than we believe is mostly what others of us have
/// reserved and not sent, so our own count stays; more than the bucket's size says that the bucket
/// is larger, and all larger buckets need the same time to fill (FACTS §3.1: the set of all
/// principals has 15 times the size and 15 times the refill).
pub fn correct(bucket: &Bucket, seen: Seen, now: Timestamp) -> Bucket {
    let mut bucket = refilled(bucket, now);
    if bucket.closed_until.is_some_and(|until| seen.at < until) {
        // It was said before the closure, and the closure says more.
        return bucket;
    }
    if seen.left > bucket.size.max {
        bucket.tokens += seen.left - bucket.size.max;
        let factor = seen.left / bucket.size.max;
        bucket.size = Size { max: seen.left, refill: bucket.size.refill * factor };
    }
    let since = now.since(seen.at).as_secs_f64() * bucket.size.refill;
    bucket.tokens = bucket.tokens.min((seen.left - seen.held).max(0.0) + since);
    bucket
}

/// The bucket after a 429: empty, and closed until Azure's time. A closure that is known already
/// only grows.
pub fn close(bucket: &Bucket, until: Timestamp, now: Timestamp) -> Bucket {
    let bucket = refilled(bucket, now);
    let until = bucket.closed_until.map_or(until, |known| known.max(until));
    Bucket { tokens: 0.0, closed_until: Some(until), ..bucket }
}

/// The bucket with tokens that were reserved and will not be sent. Into a closed one nothing comes
/// back: Azure says that it is empty.
pub fn give_back(bucket: &Bucket, tokens: u64, now: Timestamp) -> Bucket {
    let mut bucket = refilled(bucket, now);
    if !bucket.is_closed(now) {
        bucket.tokens = (bucket.tokens + tokens as f64).min(bucket.size.max);
    }
    bucket
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const SMALL: Size = Size { max: 40.0, refill: 10.0 };

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    fn with(tokens: f64) -> Bucket {
        Bucket { tokens, ..Bucket::full(Size::WRITES, at(0)) }
    }

    fn waiting(calls: u64) -> Ask {
        Ask { waiting: calls, soon: 0 }
    }

    fn waiter(holder: &str, since: i64, served: Option<i64>) -> Waiter {
        let holder = holder.to_owned();
        Waiter { holder, since: at(since), asked_at: at(0), served_at: served.map(at) }
    }

    #[test]
    fn a_bucket_fills_up_to_its_size_and_not_while_it_is_closed() {
        let bucket = with(10.0);
        assert_eq!(refilled(&bucket, at(2000)).tokens, 30.0);
        assert_eq!(refilled(&bucket, at(60_000)).tokens, 200.0);
        let closed = close(&bucket, at(12_000), at(1000));
        assert_eq!(refilled(&closed, at(12_000)).tokens, 0.0);
        assert_eq!(refilled(&closed, at(13_000)).tokens, 10.0);
    }

    #[test]
    fn a_clock_that_was_set_back_neither_gives_tokens_nor_stops_the_refill() {
        let before = refilled(&with(10.0), at(-3_600_000));
        assert_eq!(before.tokens, 10.0);
        assert_eq!(refilled(&before, at(-3_599_000)).tokens, 20.0);
        // Two processes that read their clocks in another order than they write.
        let a_little = refilled(&with(10.0), at(-5));
        assert_eq!((a_little.tokens, a_little.at), (10.0, at(0)));
    }

    #[test]
    fn a_process_alone_gets_a_batch_and_of_a_large_bucket_a_quarter() {
        let get = |bucket: &Bucket, ask| reserve(bucket, ask, ("a", &[]), at(0)).0;
        assert_eq!(get(&with(200.0), waiting(1000)), 50);
        assert_eq!(get(&with(7.9), waiting(1000)), 7);
        assert_eq!(get(&with(200.0), waiting(3)), 3);
        let large = Bucket::full(Size { max: 12_000.0, refill: 600.0 }, at(0));
        assert_eq!(get(&large, waiting(1000)), 1000);
        assert_eq!(get(&large, waiting(10_000)), 3000);
        assert_eq!(get(&with(200.0), Ask { waiting: 1, soon: 20 }), 20);
    }

    #[test]
    fn one_call_finds_its_token_beside_a_thousand() {
        let line = [waiter("big", -9000, Some(-900)), waiter("small", 0, None)];
        let (granted, left) = reserve(&with(10.0), waiting(1000), ("big", &line), at(0));
        assert_eq!(granted, 5);
        let (granted, _) = reserve(&left, waiting(1), ("small", &line), at(0));
        assert_eq!(granted, 1);
    }

    #[test]
    fn the_last_token_goes_to_who_was_served_longest_ago() {
        let line = [waiter("a", -9000, Some(-10)), waiter("b", -500, None)];
        assert_eq!(reserve(&with(1.0), waiting(9), ("a", &line), at(0)).0, 0);
        assert_eq!(reserve(&with(1.0), waiting(9), ("b", &line), at(0)).0, 1);
        assert_eq!(reserve(&with(1.0), waiting(9), ("new", &line), at(0)).0, 0);
        assert_eq!(reserve(&with(0.9), waiting(9), ("b", &line), at(0)).0, 0);
        // Who does not ask any more does not wait.
        let later = at(5000);
        let line = [waiter("b", -500, None), Waiter { asked_at: later, ..waiter("a", 0, None) }];
        assert_eq!(reserve(&with(1.0), waiting(9), ("a", &line), later).0, 9);
    }

    #[test]
    fn while_others_wait_nothing_is_taken_along() {
        let line = [waiter("a", -9000, None)];
        let ask = Ask { waiting: 2, soon: 40 };
        assert_eq!(reserve(&with(100.0), ask, ("b", &line), at(0)).0, 2);
    }

    #[test]
    fn less_is_believed_and_more_only_beyond_the_size() {
        let seen = |left, held| Seen { left, held, at: at(0) };
        let after = |bucket: &Bucket, seen| correct(bucket, seen, at(0));
        assert_eq!(after(&with(100.0), seen(20.0, 0.0)).tokens, 20.0);
        assert_eq!(after(&with(100.0), seen(120.0, 40.0)).tokens, 80.0);
        assert_eq!(after(&with(100.0), seen(199.0, 0.0)), with(100.0));
        let larger = after(&with(150.0), seen(12_000.0, 0.0));
        assert_eq!(larger.size, Size { max: 12_000.0, refill: 600.0 });
        assert_eq!(larger.tokens, 11_950.0, "50 are reserved by others");
        // What was left a second ago has grown by the refill.
        assert_eq!(correct(&with(200.0), seen(0.0, 0.0), at(1000)).tokens, 10.0);
    }

    #[test]
    fn closed_means_nothing_until_its_end() {
        let closed = close(&with(100.0), at(30_000), at(0));
        let line: [Waiter; 0] = [];
        for millis in [0, 1, 29_999] {
            assert_eq!(reserve(&closed, waiting(5), ("a", &line), at(millis)).0, 0);
        }
        assert_eq!(reserve(&closed, waiting(5), ("a", &line), at(31_000)).0, 5);
        assert_eq!(close(&closed, at(10_000), at(1)).closed_until, Some(at(30_000)));
        let seen = Seen { left: 150.0, held: 0.0, at: at(10) };
        assert_eq!(correct(&closed, seen, at(20)).tokens, 0.0);
        assert_eq!(give_back(&closed, 50, at(20)).tokens, 0.0);
        assert_eq!(give_back(&with(100.0), 500, at(0)).tokens, 200.0);
    }

    /// One step of a process: how long after the last one, who, how much it wants.
    fn step() -> impl Strategy<Value = (i64, u8, u64)> {
        (0i64..800, 0u8..4, 1u64..200)
    }

    /// Lets processes reserve in this order; what each step got, and when.
    fn run(steps: &[(i64, u8, u64)]) -> Vec<(i64, u8, u64)> {
        let mut bucket = Bucket::full(SMALL, at(0));
        let mut line: Vec<Waiter> = Vec::new();
        let mut millis = 0;
        let mut got = Vec::new();
        for (pause, who, wanted) in steps {
            millis += pause;
            let (name, now) = (format!("p{who}"), at(millis));
            let (granted, after) = reserve(&bucket, waiting(*wanted), (&name, &line), now);
            bucket = after;
            let old = line.iter().position(|waiter| waiter.holder == name);
            let old = old.map(|index| line.remove(index));
            if granted < *wanted {
                let served_at = if granted > 0 { Some(now) } else { None };
                line.push(Waiter {
                    holder: name,
                    since: old.as_ref().map_or(now, |old| old.since),
                    asked_at: now,
                    served_at: served_at.or(old.and_then(|old| old.served_at)),
                });
            }
            got.push((millis, *who, granted));
        }
        got
    }

    proptest! {
        #[test]
        fn no_window_gets_more_than_the_bucket_and_its_refill(steps in vec(step(), 1..80)) {
            let got = run(&steps);
            for begin in 0..got.len() {
                let mut sum = 0;
                for end in begin..got.len() {
                    sum += got[end].2;
                    let seconds = (got[end].0 - got[begin].0) as f64 / 1000.0;
                    prop_assert!(sum as f64 <= SMALL.max + seconds * SMALL.refill + 1e-6);
                }
            }
        }

        #[test]
        fn nobody_gets_more_than_it_wants_or_than_its_share(
            tokens in 0.0f64..200.0, wanted in 0u64..300, rivals in 0usize..6,
        ) {
            let line: Vec<Waiter> =
                (0..rivals).map(|n| waiter(&format!("r{n}"), -100, None)).collect();
            let (granted, after) = reserve(&with(tokens), waiting(wanted), ("me", &line), at(0));
            prop_assert!(granted <= wanted);
            prop_assert!(after.tokens >= 0.0);
            if rivals > 0 {
                let share = (tokens as u64) / (rivals as u64 + 1);
                prop_assert!(granted <= share.max(1));
            }
        }

        /// Four that never stop asking: each gets its token within as many turns as there are.
        #[test]
        fn nobody_starves(wanted in vec(1u64..500, 4), offset in 0i64..100) {
            let round = |n: i64| (0u8..4).map(move |who| {
                (if who == 0 && n == 0 { offset } else { 25 }, who, 0u64)
            });
            let steps: Vec<(i64, u8, u64)> = (0..400).flat_map(round)
                .map(|(pause, who, _)| (pause, who, wanted[who as usize])).collect();
            let got = run(&steps);
            for who in 0u8..4 {
                let served: Vec<i64> = got.iter()
                    .filter(|(_, w, granted)| *w == who && *granted > 0)
                    .map(|(at, ..)| *at).collect();
                let gaps = served.windows(2).map(|pair| pair[1] - pair[0]);
                prop_assert!(gaps.max().unwrap_or(i64::MAX) <= 1000, "{served:?}");
            }
        }

        #[test]
        fn more_left_never_means_less_believed(
            tokens in 0.0f64..200.0, one in 0.0f64..5000.0, more in 0.0f64..5000.0,
        ) {
            let after = |left| correct(&with(tokens), Seen { left, held: 3.0, at: at(0) }, at(50));
            prop_assert!(after(one).tokens <= after(one + more).tokens + 1e-9);
        }
    }
}
