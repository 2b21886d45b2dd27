//! Who may send now. Azure counts calls in buckets (FACTS §3); a 429 closes its bucket for
//! everybody who shares these gates until Azure's own time, because whoever goes on calling makes
//! it last longer.
//!
//! ```text
//! newcomers ──► door ──┐
//!                      ├─ open, and fewer in flight than the window? ──► pass ──► send
//! throttled ──► door ──┘
//! ```
//!
//! Azure tells with each answer how much is left in the bucket; what is not there is not asked
//! for. After a 429 all the same (others use the bucket too) the window of the bucket halves, and
//! grows again with what is let through, so that the end of a closure does not let everybody in at
//! once. Those who were throttled go first, so that nobody is throttled many times.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, futures::Notified};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::Refusal;

/// A bucket that Azure says is empty is left alone for this long: Resource Manager's refill by 10 a
/// second and more (FACTS §3.1), compute's by 8 (§3.2).
const REFILL_PAUSE: Duration = Duration::from_secs(1);

/// What a call is to Azure's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Makes a VM.
    Put,
    /// Deletes a VM.
    Delete,
    /// Reads one VM.
    Get,
    /// Reads a page of a list.
    List,
    /// Polls an operation.
    Poll,
    /// Queries Resource Graph.
    Query,
}

/// A bucket: the kind of call, and the subscription (Azure's buckets are finer, by region too; a
/// wait too much in another region of one subscription costs seconds).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    /// Kind of call.
    pub operation: Operation,
    /// Subscription id in lower case; empty where a call has none.
    pub subscription: String,
}

/// A bucket that Azure has closed, by the name under which programs tell each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closure {
    /// `put/<subscription>`.
    pub bucket: String,
    /// How long nothing may be sent.
    pub left: Duration,
}

/// All gates of one [`crate::Arm`].
#[derive(Debug)]
pub struct Gates {
    window_max: usize,
    gates: Mutex<BTreeMap<Bucket, Arc<Gate>>>,
}

#[derive(Debug)]
struct Gate {
    /// One waits at each door, the rest in line behind it, in order.
    door: tokio::sync::Mutex<()>,
    door_of_throttled: tokio::sync::Mutex<()>,
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    closed: Option<Closed>,
    in_flight: usize,
    window: f64,
    window_max: f64,
    throttled_waiting: usize,
    /// Calls left in the bucket, as the last answer said.
    left: Option<i64>,
    /// When an empty bucket may be tried again.
    refilled_at: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Closed {
    until: Instant,
    refusal: Refusal,
}

/// The right to send one request. Dropping it frees its place.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
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

impl Operation {
    const ALL: [Operation; 6] = [
        Operation::Put,
        Operation::Delete,
        Operation::Get,
        Operation::List,
        Operation::Poll,
        Operation::Query,
    ];

    fn word(self) -> &'static str {
        match self {
            Operation::Put => "put",
            Operation::Delete => "delete",
            Operation::Get => "get",
            Operation::List => "list",
            Operation::Poll => "poll",
            Operation::Query => "query",
        }
    }
}

impl Bucket {
    /// `put/<subscription>`: how other programs know it.
    fn name(&self) -> String {
        format!("{}/{}", self.operation.word(), self.subscription)
    }

    fn from_name(name: &str) -> Option<Bucket> {
        let (word, subscription) = name.split_once('/')?;
        let operation = Operation::ALL.into_iter().find(|operation| operation.word() == word)?;
        Some(Bucket { operation, subscription: subscription.to_owned() })
    }
}

impl Gates {
    /// The buckets that Azure has closed, and for how long still.
    pub fn closures(&self) -> Vec<Closure> {
        let gates = lock(&self.gates);
        let closed = |(bucket, gate): (&Bucket, &Arc<Gate>)| {
            let until = gate.lock().closed.as_ref()?.until;
            let left = until.saturating_duration_since(Instant::now());
            (!left.is_zero()).then(|| Closure { bucket: bucket.name(), left })
        };
        gates.iter().filter_map(closed).collect()
    }

    /// Another program was told to wait: so do we. A bucket that is not known is passed over.
    pub fn close(&self, closure: &Closure) {
        let Some(bucket) = Bucket::from_name(&closure.bucket) else { return };
        let refusal = Refusal {
            status: 429,
            code: "TooManyRequests".to_owned(),
            outer_code: "TooManyRequests".to_owned(),
            text: "Azure has told another program of ours to wait".to_owned(),
            target: None,
            retry_after: None,
        };
        self.gate(&bucket).close(&refusal, closure.left);
    }

    /// Gates that let `window_max` requests in flight per bucket as long as Azure throttles none.
    pub fn new(window_max: usize) -> Gates {
        Gates { window_max: window_max.max(1), gates: Mutex::new(BTreeMap::new()) }
    }

    /// Waits until `bucket` lets one through, at most until `deadline`. `was_throttled`: this call
    /// had a 429 before.
    pub async fn enter(
        &self,
        bucket: &Bucket,
        was_throttled: bool,
        deadline: Instant,
    ) -> Result<Pass, Shut> {
        let gate = self.gate(bucket);
        if was_throttled {
            let _goes_first = GoesFirst::new(&gate);
            gate.enter(&gate.door_of_throttled, true, deadline).await
        } else {
            gate.enter(&gate.door, false, deadline).await
        }
    }

    fn gate(&self, bucket: &Bucket) -> Arc<Gate> {
        let mut gates = lock(&self.gates);
        let gate =
            gates.entry(bucket.clone()).or_insert_with(|| Arc::new(Gate::new(self.window_max)));
        Arc::clone(gate)
    }
}

impl Gate {
    fn new(window_max: usize) -> Gate {
        let window_max = window_max as f64;
        Gate {
            door: tokio::sync::Mutex::new(()),
            door_of_throttled: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
            state: Mutex::new(State {
                closed: None,
                in_flight: 0,
                window: window_max,
                window_max,
                throttled_waiting: 0,
                left: None,
                refilled_at: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    async fn enter(
        self: &Arc<Self>,
        door: &tokio::sync::Mutex<()>,
        is_first: bool,
        deadline: Instant,
    ) -> Result<Pass, Shut> {
        self.refuse_if_shut_beyond(deadline)?;
        let Ok(_at_the_door) = timeout_at(deadline, door.lock()).await else {
            return Err(self.shut());
        };
        loop {
            // Before looking, so that a change between looking and waiting is not missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            self.refuse_if_shut_beyond(deadline)?;
            match self.look(is_first) {
                Look::Open => return Ok(Pass { gate: Arc::clone(self) }),
                Look::Closed(until) => self.wait(changed, until.min(deadline)).await,
                Look::Full => self.wait(changed, deadline).await,
            }
            if Instant::now() >= deadline {
                return Err(self.shut());
            }
        }
    }

    async fn wait(&self, changed: std::pin::Pin<&mut Notified<'_>>, until: Instant) {
        tokio::select! {
            () = changed => {}
            () = sleep_until(until) => {}
        }
    }

    fn look(&self, is_first: bool) -> Look {
        let mut state = self.lock();
        match &state.closed {
            Some(closed) if closed.until > Instant::now() => return Look::Closed(closed.until),
            Some(_) => state.closed = None,
            None => {}
        }
        if let Some(at) = state.refilled_at {
            if at > Instant::now() {
                return Look::Closed(at);
            }
            // One tries how much there is.
            state.refilled_at = None;
            state.left = Some(1);
        }
        let is_my_turn = is_first || state.throttled_waiting == 0;
        if !is_my_turn || !state.has_room() {
            return Look::Full;
        }
        state.in_flight += 1;
        Look::Open
    }

    fn close(&self, refusal: &Refusal, wait: Duration) {
        let mut state = self.lock();
        let until = Instant::now() + wait;
        match &mut state.closed {
            // One of many that were in flight when the bucket ran dry: it halves the window once.
            Some(closed) => closed.until = closed.until.max(until),
            None => {
                state.closed = Some(Closed { until, refusal: refusal.clone() });
                state.window = (state.window / 2.0).max(1.0);
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn refuse_if_shut_beyond(&self, deadline: Instant) -> Result<(), Shut> {
        match &self.lock().closed {
            Some(closed) if closed.until >= deadline => Err(Shut::Throttled(closed.now())),
            Some(_) | None => Ok(()),
        }
    }

    fn shut(&self) -> Shut {
        match &self.lock().closed {
            Some(closed) => Shut::Throttled(closed.now()),
            None => Shut::Late,
        }
    }
}

/// Holds newcomers back as long as it lives.
struct GoesFirst<'a>(&'a Gate);

impl<'a> GoesFirst<'a> {
    fn new(gate: &'a Gate) -> GoesFirst<'a> {
        gate.lock().throttled_waiting += 1;
        GoesFirst(gate)
    }
}

impl Drop for GoesFirst<'_> {
    fn drop(&mut self) {
        self.0.lock().throttled_waiting -= 1;
        self.0.changed.notify_waiters();
    }
}

impl State {
    /// Those in flight may not be counted in what is left.
    fn has_room(&self) -> bool {
        let wanted = self.in_flight + 1;
        let left = self.left.map_or(usize::MAX, |left| usize::try_from(left.max(1)).unwrap_or(1));
        wanted as f64 <= self.window && wanted <= left
    }
}

enum Look {
    Open,
    Closed(Instant),
    Full,
}

impl Closed {
    /// What Azure said, with the time that is left of it.
    fn now(&self) -> Refusal {
        let left = self.until.saturating_duration_since(Instant::now());
        Refusal { retry_after: Some(left), ..self.refusal.clone() }
    }
}

impl Pass {
    /// Azure answered 429: nobody sends in this bucket before `wait` is over.
    pub fn throttled(&self, refusal: &Refusal, wait: Duration) {
        self.gate.close(refusal, wait);
    }

    /// Azure answered anything else: the window grows by one for each windowful. `left`: how many
    /// calls Azure says are left. An empty bucket is not asked, because the refused call costs too.
    pub fn let_through(&self, left: Option<i64>) {
        let mut state = self.gate.lock();
        state.window = (state.window + 1.0 / state.window).min(state.window_max);
        state.left = left;
        if left.is_some_and(|left| left <= 0) {
            state.refilled_at = Some(Instant::now() + REFILL_PAUSE);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.lock().in_flight -= 1;
        self.gate.changed.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(operation: Operation) -> Bucket {
        Bucket { operation, subscription: "s".into() }
    }

    fn refusal() -> Refusal {
        Refusal {
            status: 429,
            code: "TooManyRequests".into(),
            outer_code: "OperationNotAllowed".into(),
            text: String::new(),
            target: None,
            retry_after: None,
        }
    }

    fn in_seconds(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_bucket_lets_nobody_through_before_its_time() {
        let gates = Gates::new(64);
        let start = Instant::now();
        let pass = gates.enter(&bucket(Operation::Put), false, in_seconds(1000)).await.unwrap();
        pass.throttled(&refusal(), Duration::from_secs(30));
        drop(pass);
        let entered = futures::future::join_all((0..10).map(|number| {
            let gates = &gates;
            async move {
                let was_throttled = number % 2 == 0;
                let bucket = bucket(Operation::Put);
                let pass = gates.enter(&bucket, was_throttled, in_seconds(1000)).await.unwrap();
                pass.let_through(None);
                Instant::now()
            }
        }))
        .await;
        assert!(entered.iter().all(|at| *at >= start + Duration::from_secs(30)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_bucket_closes_no_other() {
        let gates = Gates::new(64);
        let pass = gates.enter(&bucket(Operation::Put), false, in_seconds(9)).await.unwrap();
        pass.throttled(&refusal(), Duration::from_secs(30));
        let before = Instant::now();
        gates.enter(&bucket(Operation::Delete), false, in_seconds(9)).await.unwrap();
        let other = Bucket { operation: Operation::Put, subscription: "t".into() };
        gates.enter(&other, false, in_seconds(9)).await.unwrap();
        assert_eq!(Instant::now(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_less_time_than_the_closure_is_told_at_once_and_sends_nothing() {
        let gates = Gates::new(64);
        let pass = gates.enter(&bucket(Operation::Put), false, in_seconds(9)).await.unwrap();
        pass.throttled(&refusal(), Duration::from_secs(1200));
        drop(pass);
        let before = Instant::now();
        let shut = gates.enter(&bucket(Operation::Put), false, in_seconds(60)).await.unwrap_err();
        assert_eq!(Instant::now(), before);
        let Shut::Throttled(refusal) = shut else { panic!("{shut:?}") };
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(1200)));
        assert_eq!(refusal.code, "TooManyRequests");
    }

    #[tokio::test(start_paused = true)]
    async fn a_closure_that_grows_is_told_to_those_who_wait() {
        let gates = Gates::new(2);
        let first = gates.enter(&bucket(Operation::Put), false, in_seconds(900)).await.unwrap();
        let second = gates.enter(&bucket(Operation::Put), false, in_seconds(900)).await.unwrap();
        first.throttled(&refusal(), Duration::from_secs(5));
        let bucket = bucket(Operation::Put);
        let (waited, ()) = tokio::join!(gates.enter(&bucket, false, in_seconds(60)), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            second.throttled(&refusal(), Duration::from_secs(600));
        });
        assert!(matches!(waited, Err(Shut::Throttled(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_window_are_in_flight() {
        let gates = Gates::new(2);
        let first = gates.enter(&bucket(Operation::Get), false, in_seconds(9)).await.unwrap();
        let _second = gates.enter(&bucket(Operation::Get), false, in_seconds(9)).await.unwrap();
        let late = gates.enter(&bucket(Operation::Get), false, in_seconds(9)).await;
        assert!(matches!(late, Err(Shut::Late)));
        drop(first);
        assert!(gates.enter(&bucket(Operation::Get), false, in_seconds(9)).await.is_ok());
    }

    /// A bucket as Resource Manager's (FACTS §3.1): 200 calls, 10 more per second; refused calls
    /// count too. 500 callers go through it. Returns how often the unluckiest had to send.
    async fn tries_of_the_unluckiest(latency: Duration, is_told: bool) -> u32 {
        let gates = Gates::new(64);
        let tokens = Mutex::new((200.0, Instant::now()));
        let in_flight = tokio::sync::Semaphore::new(64);
        let call = |_: usize| async {
            let mut tries = 0;
            loop {
                let bucket = bucket(Operation::Put);
                let pass = gates.enter(&bucket, tries > 0, in_seconds(3600)).await.unwrap();
                let _permit = in_flight.acquire().await.unwrap();
                tokio::time::sleep(latency).await;
                tries += 1;
                let left = take(&mut tokens.lock().unwrap());
                if left < 0.0 {
                    pass.throttled(&refusal(), Duration::from_secs(1));
                } else {
                    pass.let_through(is_told.then_some(left as i64));
                    return tries;
                }
            }
        };
        futures::future::join_all((0..500).map(call)).await.into_iter().max().unwrap()
    }

    /// What is left after a call; negative if it was refused.
    fn take((left, at): &mut (f64, Instant)) -> f64 {
        *left = (*left + at.elapsed().as_secs_f64() * 10.0).min(200.0);
        *at = Instant::now();
        *left -= 1.0;
        let is_refused = *left < 0.0;
        let told = *left;
        *left = left.max(0.0);
        if is_refused { -1.0 } else { told }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_throttled_many_times() {
        for millis in [1, 50, 400, 2000] {
            let tries = tries_of_the_unluckiest(Duration::from_millis(millis), false).await;
            assert!(tries <= 8, "{tries} tries at {millis} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_throttled_where_azure_tells_what_is_left() {
        for millis in [1, 50, 400, 2000] {
            let begun = Instant::now();
            let tries = tries_of_the_unluckiest(Duration::from_millis(millis), true).await;
            assert_eq!(tries, 1, "at {millis} ms");
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
        }
    }
}
