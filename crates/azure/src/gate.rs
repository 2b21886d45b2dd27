//! Who may send now. Azure counts a call in two buckets (FACTS §3); a 429 closes the one that it is
//! about for everybody who shares these gates until Azure's own time, because whoever goes on
//! calling makes it last longer.
//!
//! ```text
//! lane (a pair of buckets)
//! newcomers ──► line ──┐    both gates at once: open, fewer in flight than the
//!                      ├──► window and than is left, and a token if they are ──► pass ──► send
//! throttled ──► line ──┘    metered
//! ```
//!
//! Both gates are passed in one step and none is held while the other is waited for, so that a
//! closed one keeps nobody from passing the other, and nobody waits in a circle.
//!
//! Azure tells with each answer how much is left in the buckets; what is not there is not asked
//! for. After a 429 all the same (others use the bucket too) the window of the bucket halves, and
//! grows again with what is let through, so that the end of a closure does not let everybody in at
//! once. Those who were throttled go first, so that nobody is throttled many times.
//!
//! Metered gates let a call through only against a token that somebody has granted: the caller
//! knows how much all processes of the machine may send together. They say what they lack
//! ([`Gates::hungry`]) and ring a bell. Must never know where the tokens come from.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, futures::Notified};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::bucket::{Bucket, Buckets, Limited};
use crate::{RateLimits, Refusal};

/// A bucket that Azure says is empty is left alone for this long: Resource Manager's refill by 10 a
/// second and more (FACTS §3.1), compute's by 8 (§3.2).
const REFILL_PAUSE: Duration = Duration::from_secs(1);

/// A bucket that Azure has closed, for the other programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closure {
    /// Which.
    pub bucket: Bucket,
    /// How long nothing may be sent.
    pub left: Duration,
}

/// A bucket for whose tokens calls wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunger {
    /// Which.
    pub bucket: Bucket,
    /// How many calls wait and have no token.
    pub waiting: u64,
    /// Tokens that were granted and not used yet: others of its calls wait for something else.
    pub held: u64,
    /// Calls left in the bucket as the last answer said, and how long ago.
    pub left: Option<(i64, Duration)>,
}

/// All gates of one [`crate::Arm`].
#[derive(Debug)]
pub struct Gates {
    window_max: f64,
    state: Mutex<State>,
    /// Something that may let somebody pass.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    gates: BTreeMap<Bucket, Gate>,
    lanes: BTreeMap<Buckets, Lane>,
    /// Rung when a call lacks a token; `None`: nothing is metered.
    bell: Option<Arc<Notify>>,
}

/// The calls that drain the same two buckets.
#[derive(Debug, Default)]
struct Lane {
    lines: Arc<Lines>,
    waiting: usize,
    throttled_waiting: usize,
}

/// One waits at the head of each line, the rest behind it, in order.
#[derive(Debug, Default)]
struct Lines {
    newcomers: tokio::sync::Mutex<()>,
    throttled: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Gate {
    closed: Option<Closed>,
    in_flight: usize,
    window: f64,
    window_max: f64,
    /// Calls left in the bucket, as the last answer said.
    left: Option<i64>,
    left_at: Instant,
    /// When an empty bucket may be tried again.
    refilled_at: Option<Instant>,
    /// Tokens granted and not used.
    tokens: u64,
}

#[derive(Debug, Clone)]
struct Closed {
    until: Instant,
    refusal: Refusal,
}

/// The right to send one request. Dropping it frees its place.
#[derive(Debug)]
pub struct Pass<'a> {
    gates: &'a Gates,
    buckets: &'a Buckets,
}

/// Why there is no pass.
#[derive(Debug)]
pub enum Shut {
    /// Azure's time of closure ends after the caller's own: what Azure said when it closed, with
    /// the time that is left.
    Throttled(Refusal),
    /// The caller's time was over while others were before it.
    Late,
}

enum Look {
    Open,
    Closed(Instant),
    /// No place, or no token.
    Full,
}

impl Gates {
    /// Gates that let `window_max` requests in flight per bucket as long as Azure throttles none.
    pub fn new(window_max: usize) -> Gates {
        Gates {
            window_max: window_max.max(1) as f64,
            state: Mutex::new(State::default()),
            changed: Notify::new(),
        }
    }

    /// Waits until both buckets let one through, at most until `deadline`. `was_throttled`: this
    /// call had a 429 before.
    pub async fn enter<'a>(
        &'a self,
        buckets: &'a Buckets,
        was_throttled: bool,
        deadline: Instant,
    ) -> Result<Pass<'a>, Shut> {
        let (_waits, lines) = Waits::new(self, buckets, was_throttled);
        self.refuse_if_shut_beyond(buckets, deadline)?;
        let line = if was_throttled { &lines.throttled } else { &lines.newcomers };
        let Ok(_at_the_head) = timeout_at(deadline, line.lock()).await else {
            return Err(self.shut(buckets));
        };
        loop {
            // Before looking, so that a change between looking and waiting is not missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            self.refuse_if_shut_beyond(buckets, deadline)?;
            match self.look(buckets, was_throttled) {
                Look::Open => return Ok(Pass { gates: self, buckets }),
                Look::Closed(until) => wait(changed, until.min(deadline)).await,
                Look::Full => wait(changed, deadline).await,
            }
            if Instant::now() >= deadline {
                return Err(self.shut(buckets));
            }
        }
    }

    /// The buckets that Azure has closed, and for how long still.
    pub fn closures(&self) -> Vec<Closure> {
        let now = Instant::now();
        let closed = |(bucket, gate): (&Bucket, &Gate)| {
            let left = gate.closed_at(now)?.until.saturating_duration_since(now);
            Some(Closure { bucket: bucket.clone(), left })
        };
        self.lock().gates.iter().filter_map(closed).collect()
    }

    /// Another program was told to wait: so do we.
    pub fn close(&self, closure: &Closure) {
        let refusal = Refusal {
            status: 429,
            code: "TooManyRequests".to_owned(),
            outer_code: "TooManyRequests".to_owned(),
            text: "Azure has told another program of ours to wait".to_owned(),
            target: None,
            retry_after: None,
        };
        self.close_for(&closure.bucket, &refusal, closure.left);
    }

    /// From now on calls need tokens, and `bell` is rung when one lacks them.
    pub fn meter(&self, bell: &Arc<Notify>) {
        self.lock().bell = Some(Arc::clone(bell));
    }

    /// Ends the metering by this bell; that by another one goes on.
    pub fn unmeter(&self, bell: &Arc<Notify>) {
        let mut state = self.lock();
        if state.bell.as_ref().is_some_and(|known| Arc::ptr_eq(known, bell)) {
            state.bell = None;
            state.gates.values_mut().for_each(|gate| gate.tokens = 0);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The metered buckets for whose tokens calls wait. Those whose other bucket is closed do not
    /// count: they could not use a token.
    pub fn hungry(&self) -> Vec<Hunger> {
        let now = Instant::now();
        let state = self.lock();
        let mut waiting: BTreeMap<&Bucket, usize> = BTreeMap::new();
        for (buckets, lane) in &state.lanes {
            if buckets.each().iter().any(|bucket| state.is_closed(bucket, now)) {
                continue;
            }
            for bucket in buckets.each().into_iter().filter(|bucket| state.is_metered(bucket)) {
                *waiting.entry(bucket).or_default() += lane.waiting;
            }
        }
        let hunger = |(bucket, waiting): (&Bucket, usize)| {
            let gate = state.gates.get(bucket)?;
            let waiting = (waiting as u64).saturating_sub(gate.tokens);
            let left = gate.left.map(|left| (left, now.saturating_duration_since(gate.left_at)));
            let hunger = Hunger { bucket: bucket.clone(), waiting, held: gate.tokens, left };
            (waiting > 0).then_some(hunger)
        };
        waiting.into_iter().filter_map(hunger).collect()
    }

    /// Gives tokens.
    pub fn grant(&self, bucket: &Bucket, tokens: u64) {
        let mut state = self.lock();
        let gate = state.gate(bucket, self.window_max);
        gate.tokens = gate.tokens.saturating_add(tokens);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes back the tokens that were not used.
    pub fn unused(&self) -> Vec<(Bucket, u64)> {
        let mut state = self.lock();
        let held = state.gates.iter_mut().filter(|(_, gate)| gate.tokens > 0);
        held.map(|(bucket, gate)| (bucket.clone(), std::mem::take(&mut gate.tokens))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    fn look(&self, buckets: &Buckets, was_throttled: bool) -> Look {
        let now = Instant::now();
        let mut state = self.lock();
        let is_my_turn = was_throttled
            || state.lanes.get(buckets).is_none_or(|lane| lane.throttled_waiting == 0);
        let mut until: Option<Instant> = None;
        let mut is_full = !is_my_turn;
        for bucket in buckets.each() {
            let is_metered = state.is_metered(bucket);
            let gate = state.gate(bucket, self.window_max);
            match gate.look(is_metered, now) {
                Look::Open => {}
                Look::Closed(at) => until = until.max(Some(at)),
                Look::Full => is_full = true,
            }
            if is_metered && gate.tokens == 0 {
                state.ring();
            }
        }
        match until {
            Some(until) => Look::Closed(until),
            None if is_full => Look::Full,
            None => {
                buckets.each().iter().for_each(|bucket| state.take(bucket));
                Look::Open
            }
        }
    }

    fn close_for(&self, bucket: &Bucket, refusal: &Refusal, wait: Duration) {
        let mut state = self.lock();
        state.gate(bucket, self.window_max).close(refusal, Instant::now() + wait);
        drop(state);
        self.changed.notify_waiters();
    }

    fn refuse_if_shut_beyond(&self, buckets: &Buckets, deadline: Instant) -> Result<(), Shut> {
        match self.lock().closed(buckets) {
            Some(closed) if closed.until >= deadline => Err(Shut::Throttled(closed.now())),
            Some(_) | None => Ok(()),
        }
    }

    fn shut(&self, buckets: &Buckets) -> Shut {
        match self.lock().closed(buckets) {
            Some(closed) => Shut::Throttled(closed.now()),
            None => Shut::Late,
        }
    }
}

async fn wait(changed: Pin<&mut Notified<'_>>, until: Instant) {
    tokio::select! {
        () = changed => {}
        () = sleep_until(until) => {}
    }
}

/// Counts a caller as waiting for as long as it lives; a throttled one holds newcomers back.
struct Waits<'a> {
    gates: &'a Gates,
    buckets: &'a Buckets,
    was_throttled: bool,
}

impl<'a> Waits<'a> {
    fn new(gates: &'a Gates, buckets: &'a Buckets, was_throttled: bool) -> (Waits<'a>, Arc<Lines>) {
        let mut state = gates.lock();
        buckets.each().iter().for_each(|bucket| {
            state.gate(bucket, gates.window_max);
        });
        let lane = state.lanes.entry(buckets.clone()).or_default();
        lane.waiting += 1;
        lane.throttled_waiting += usize::from(was_throttled);
        (Waits { gates, buckets, was_throttled }, Arc::clone(&lane.lines))
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut state = self.gates.lock();
        if let Some(lane) = state.lanes.get_mut(self.buckets) {
            lane.waiting -= 1;
            lane.throttled_waiting -= usize::from(self.was_throttled);
        }
        drop(state);
        if self.was_throttled {
            self.gates.changed.notify_waiters();
        }
    }
}

impl State {
    fn gate(&mut self, bucket: &Bucket, window_max: f64) -> &mut Gate {
        self.gates.entry(bucket.clone()).or_insert_with(|| Gate::new(window_max))
    }

    fn is_metered(&self, bucket: &Bucket) -> bool {
        self.bell.is_some() && bucket.is_metered()
    }

    fn is_closed(&self, bucket: &Bucket, now: Instant) -> bool {
        self.gates.get(bucket).is_some_and(|gate| gate.closed_at(now).is_some())
    }

    /// Whichever of the two is closed for longer.
    fn closed(&self, buckets: &Buckets) -> Option<&Closed> {
        let now = Instant::now();
        let gates = buckets.each().into_iter().filter_map(|bucket| self.gates.get(bucket));
        gates.filter_map(|gate| gate.closed_at(now)).max_by_key(|closed| closed.until)
    }

    fn take(&mut self, bucket: &Bucket) {
        let is_metered = self.is_metered(bucket);
        if let Some(gate) = self.gates.get_mut(bucket) {
            gate.in_flight += 1;
            gate.tokens -= u64::from(is_metered);
        }
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
    }
}

impl Gate {
    fn new(window_max: f64) -> Gate {
        Gate {
            closed: None,
            in_flight: 0,
            window: window_max,
            window_max,
            left: None,
            left_at: Instant::now(),
            refilled_at: None,
            tokens: 0,
        }
    }

    fn closed_at(&self, now: Instant) -> Option<&Closed> {
        self.closed.as_ref().filter(|closed| now < closed.until)
    }

    fn look(&mut self, is_metered: bool, now: Instant) -> Look {
        match &self.closed {
            Some(closed) if now < closed.until => return Look::Closed(closed.until),
            Some(_) => self.closed = None,
            None => {}
        }
        if let Some(at) = self.refilled_at {
            if now < at {
                return Look::Closed(at);
            }
            // One tries how much there is.
            self.refilled_at = None;
            self.left = Some(1);
            self.left_at = now;
        }
        let has_token = !is_metered || self.tokens > 0;
        if has_token && self.has_room() { Look::Open } else { Look::Full }
    }

    /// Those in flight may not be counted in what is left.
    fn has_room(&self) -> bool {
        let wanted = self.in_flight + 1;
        let left = self.left.map_or(usize::MAX, |left| usize::try_from(left.max(1)).unwrap_or(1));
        wanted as f64 <= self.window && wanted <= left
    }

    fn close(&mut self, refusal: &Refusal, until: Instant) {
        // Azure says that they are not there.
        self.tokens = 0;
        match &mut self.closed {
            // One of many that were in flight when the bucket ran dry: it halves the window once.
            Some(closed) => closed.until = closed.until.max(until),
            None => {
                self.closed = Some(Closed { until, refusal: refusal.clone() });
                self.window = (self.window / 2.0).max(1.0);
            }
        }
    }

    fn let_through(&mut self, left: Option<i64>) {
        self.window = (self.window + 1.0 / self.window).min(self.window_max);
        self.left = left;
        self.left_at = Instant::now();
        let Some(left) = left else { return };
        // Tokens that Azure does not have are none.
        self.tokens = self.tokens.min(u64::try_from(left).unwrap_or(0));
        if left <= 0 {
            self.refilled_at = Some(Instant::now() + REFILL_PAUSE);
        }
    }
}

impl Closed {
    /// What Azure said, with the time that is left of it.
    fn now(&self) -> Refusal {
        let left = self.until.saturating_duration_since(Instant::now());
        Refusal { retry_after: Some(left), ..self.refusal.clone() }
    }
}

impl Pass<'_> {
    /// Azure answered 429: nobody sends in the bucket that it is about before `wait` is over.
    pub fn throttled(&self, refusal: &Refusal, wait: Duration) -> Limited {
        let limited = self.buckets.limited(refusal);
        match limited {
            Limited::Door => self.gates.close_for(&self.buckets.door, refusal, wait),
            Limited::Provider => self.gates.close_for(&self.buckets.provider, refusal, wait),
            Limited::Vm => {}
        }
        limited
    }

    /// Azure answered anything else: the windows grow by one for each windowful. `limits`: how many
    /// calls Azure says are left. An empty bucket is not asked, because the refused call costs too.
    pub fn let_through(&self, limits: &RateLimits) {
        let mut state = self.gates.lock();
        for bucket in self.buckets.each() {
            state.gate(bucket, self.gates.window_max).let_through(bucket.left(limits));
        }
    }

    /// Whether neither bucket was closed since.
    pub fn is_open(&self) -> bool {
        self.gates.lock().closed(self.buckets).is_none()
    }

    /// Nothing was sent: the tokens are free again.
    pub fn unused(self) {
        let now = Instant::now();
        let mut state = self.gates.lock();
        for bucket in self.buckets.each() {
            // Those of a closed bucket are void.
            let is_back = state.is_metered(bucket) && !state.is_closed(bucket, now);
            state.gate(bucket, self.gates.window_max).tokens += u64::from(is_back);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.gates.lock();
        for bucket in self.buckets.each() {
            state.gate(bucket, self.gates.window_max).in_flight -= 1;
        }
        drop(state);
        self.gates.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
