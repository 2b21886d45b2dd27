//! The rules of `gate.rs`, in paused time. Sends nothing.

use super::*;
use crate::bucket::Operation;

fn buckets(operation: Operation) -> Buckets {
    Buckets::of(operation, "s", "west")
}

fn north(operation: Operation) -> Buckets {
    Buckets::of(operation, "s", "north")
}

/// Compute's 429.
fn refusal() -> Refusal {
    Refusal {
        status: 429,
        code: "TooManyRequests".into(),
        outer_code: "OperationNotAllowed".into(),
        text: String::new(),
        target: Some("PutVMSubscriptionMaximum".into()),
        retry_after: None,
    }
}

/// The front door's 429.
fn refusal_of_door() -> Refusal {
    let code = "SubscriptionRequestsThrottled".to_owned();
    Refusal { outer_code: code.clone(), code, target: None, ..refusal() }
}

fn left(name: &str, left: i64) -> RateLimits {
    RateLimits { remaining: [(name.to_owned(), left)].into(), charge: None }
}

fn none() -> RateLimits {
    RateLimits::default()
}

fn in_seconds(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// Whether a call passes without waiting.
async fn passes(gates: &Gates, buckets: &Buckets) -> bool {
    gates.enter(buckets, false, in_seconds(0) + Duration::from_millis(1)).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_closed_bucket_lets_nobody_through_before_its_time() {
    let gates = Gates::new(64);
    let start = Instant::now();
    let put = buckets(Operation::Put);
    let pass = gates.enter(&put, false, in_seconds(1000)).await.unwrap();
    assert_eq!(pass.throttled(&refusal(), Duration::from_secs(30)), Limited::Provider);
    drop(pass);
    let entered = futures::future::join_all((0..10).map(|number| {
        let (gates, put) = (&gates, &put);
        async move {
            let was_throttled = number % 2 == 0;
            let pass = gates.enter(put, was_throttled, in_seconds(1000)).await.unwrap();
            pass.let_through(&none());
            Instant::now()
        }
    }))
    .await;
    assert!(entered.iter().all(|at| *at >= start + Duration::from_secs(30)));
}

#[tokio::test(start_paused = true)]
async fn a_429_of_compute_closes_one_bucket_of_one_region() {
    let gates = Gates::new(64);
    let put = buckets(Operation::Put);
    let pass = gates.enter(&put, false, in_seconds(9)).await.unwrap();
    pass.throttled(&refusal(), Duration::from_secs(30));
    drop(pass);
    assert!(!passes(&gates, &put).await);
    // A thousand that wait for it take nothing away from the others.
    let waiting =
        futures::future::join_all((0..1000).map(|_| gates.enter(&put, false, in_seconds(20))));
    let others = async {
        let before = Instant::now();
        let other = Buckets::of(Operation::Put, "t", "west");
        for open in [north(Operation::Put), buckets(Operation::Delete), other] {
            gates.enter(&open, false, in_seconds(9)).await.unwrap();
        }
        assert_eq!(Instant::now(), before);
    };
    tokio::join!(waiting, others);
}

#[tokio::test(start_paused = true)]
async fn a_429_of_the_front_door_closes_it_for_every_region() {
    let gates = Gates::new(64);
    let put = buckets(Operation::Put);
    let pass = gates.enter(&put, false, in_seconds(9)).await.unwrap();
    assert_eq!(pass.throttled(&refusal_of_door(), Duration::from_secs(30)), Limited::Door);
    drop(pass);
    assert!(!passes(&gates, &put).await);
    assert!(!passes(&gates, &north(Operation::Put)).await);
    assert!(passes(&gates, &north(Operation::Delete)).await);
    assert!(passes(&gates, &Buckets::of(Operation::Put, "t", "west")).await);
    let closures = gates.closures();
    assert_eq!(closures.len(), 1);
    assert_eq!(closures[0].bucket, put.door);
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_one_vm_closes_nothing() {
    let gates = Gates::new(64);
    let put = buckets(Operation::Put);
    let pass = gates.enter(&put, false, in_seconds(9)).await.unwrap();
    let of_one_vm = Refusal { target: Some("PutVMResource".into()), ..refusal() };
    assert_eq!(pass.throttled(&of_one_vm, Duration::from_secs(30)), Limited::Vm);
    drop(pass);
    assert!(passes(&gates, &put).await);
}

#[tokio::test(start_paused = true)]
async fn who_has_less_time_than_the_closure_is_told_at_once_and_sends_nothing() {
    let gates = Gates::new(64);
    let put = buckets(Operation::Put);
    let pass = gates.enter(&put, false, in_seconds(9)).await.unwrap();
    pass.throttled(&refusal(), Duration::from_secs(1200));
    drop(pass);
    let before = Instant::now();
    let shut = gates.enter(&put, false, in_seconds(60)).await.unwrap_err();
    assert_eq!(Instant::now(), before);
    let Shut::Throttled(refusal) = shut else { panic!("{shut:?}") };
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(1200)));
    assert_eq!(refusal.code, "TooManyRequests");
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_grows_is_told_to_those_who_wait() {
    let gates = Gates::new(2);
    let put = buckets(Operation::Put);
    let first = gates.enter(&put, false, in_seconds(900)).await.unwrap();
    let second = gates.enter(&put, false, in_seconds(900)).await.unwrap();
    first.throttled(&refusal(), Duration::from_secs(5));
    let (waited, ()) = tokio::join!(gates.enter(&put, false, in_seconds(60)), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        second.throttled(&refusal(), Duration::from_secs(600));
    });
    assert!(matches!(waited, Err(Shut::Throttled(_))));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_window_are_in_flight() {
    let gates = Gates::new(2);
    let get = buckets(Operation::Get);
    let first = gates.enter(&get, false, in_seconds(9)).await.unwrap();
    let _second = gates.enter(&get, false, in_seconds(9)).await.unwrap();
    let late = gates.enter(&get, false, in_seconds(9)).await;
    assert!(matches!(late, Err(Shut::Late)));
    drop(first);
    assert!(gates.enter(&get, false, in_seconds(9)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_pass_knows_of_a_closure_that_came_after_it() {
    let gates = Gates::new(2);
    let put = buckets(Operation::Put);
    let pass = gates.enter(&put, false, in_seconds(9)).await.unwrap();
    assert!(pass.is_open());
    gates.close(&Closure { bucket: put.door.clone(), left: Duration::from_secs(5) });
    assert!(!pass.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_metered_call_waits_for_its_tokens_and_says_so() {
    let gates = Gates::new(64);
    let bell = Arc::new(Notify::new());
    gates.meter(&bell);
    let put = buckets(Operation::Put);
    let calls = futures::future::join_all(
        (0..10).map(|_| async { gates.enter(&put, false, in_seconds(60)).await.map(drop) }),
    );
    let granting = async {
        bell.notified().await;
        let wanted: Vec<(Bucket, u64)> =
            gates.hungry().into_iter().map(|hunger| (hunger.bucket, hunger.waiting)).collect();
        assert_eq!(wanted, [(put.door.clone(), 10), (put.provider.clone(), 10)]);
        gates.grant(&put.door, 10);
        gates.grant(&put.provider, 4);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let hungry = gates.hungry();
        assert_eq!(hungry.len(), 1);
        assert_eq!((hungry[0].waiting, hungry[0].held), (6, 0));
        assert_eq!(hungry[0].bucket, put.provider);
        gates.grant(&put.provider, 9);
    };
    let (entered, ()) = tokio::join!(calls, granting);
    assert!(entered.iter().all(Result::is_ok));
    assert_eq!(gates.hungry(), []);
    assert_eq!(gates.unused(), [(put.provider.clone(), 3)]);
    assert_eq!(gates.unused(), []);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_a_metered_call_is_late_and_an_unmetered_one_passes() {
    let gates = Gates::new(64);
    let (bell, other) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let put = buckets(Operation::Put);
    assert!(passes(&gates, &put).await, "nothing is metered yet");
    gates.meter(&bell);
    assert!(!passes(&gates, &put).await);
    gates.unmeter(&other);
    assert!(!passes(&gates, &put).await, "metered by another bell");
    gates.grant(&put.door, 1);
    gates.grant(&put.provider, 1);
    let pass = gates.enter(&put, false, in_seconds(9)).await.unwrap();
    pass.unused();
    assert!(passes(&gates, &put).await, "its tokens are free again");
    assert!(!passes(&gates, &put).await);
    gates.unmeter(&bell);
    assert!(passes(&gates, &put).await);
}

#[tokio::test(start_paused = true)]
async fn polls_need_tokens_of_the_front_door_alone() {
    let gates = Gates::new(64);
    gates.meter(&Arc::new(Notify::new()));
    let poll = buckets(Operation::Poll);
    gates.grant(&poll.door, 1);
    assert!(passes(&gates, &poll).await);
    assert!(passes(&gates, &Buckets::of(Operation::Query, "", "")).await);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_azure_does_not_have_are_void() {
    let gates = Gates::new(64);
    gates.meter(&Arc::new(Notify::new()));
    let put = buckets(Operation::Put);
    gates.grant(&put.door, 50);
    gates.grant(&put.provider, 50);
    let pass = gates.enter(&put, false, in_seconds(9)).await.unwrap();
    pass.let_through(&left("subscription-writes", 7));
    pass.throttled(&refusal(), Duration::from_secs(5));
    drop(pass);
    assert_eq!(gates.unused(), [(put.door.clone(), 7)]);
}

#[tokio::test(start_paused = true)]
async fn nobody_hungers_for_tokens_that_a_closure_keeps_it_from_using() {
    let gates = Gates::new(64);
    gates.meter(&Arc::new(Notify::new()));
    let (put, other) = (buckets(Operation::Put), north(Operation::Put));
    gates.close(&Closure { bucket: put.provider.clone(), left: Duration::from_secs(30) });
    let waiting = async {
        let closed = gates.enter(&put, false, in_seconds(60));
        let open = gates.enter(&other, false, in_seconds(20));
        let _both = tokio::join!(closed, open);
    };
    let looking = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let wanted: Vec<(Bucket, u64)> =
            gates.hungry().into_iter().map(|hunger| (hunger.bucket, hunger.waiting)).collect();
        assert_eq!(wanted, [(put.door.clone(), 1), (other.provider.clone(), 1)]);
    };
    tokio::join!(waiting, looking);
}

/// A bucket as Resource Manager's (FACTS §3.1): 200 calls, 10 more per second; refused calls
/// count too. 500 callers go through it. Returns how often the unluckiest had to send.
async fn tries_of_the_unluckiest(latency: Duration, is_told: bool) -> u32 {
    let gates = Gates::new(64);
    let tokens = Mutex::new((200.0, Instant::now()));
    let in_flight = tokio::sync::Semaphore::new(64);
    let put = buckets(Operation::Put);
    let send = |tries: u32| {
        let (gates, put, tokens, in_flight) = (&gates, &put, &tokens, &in_flight);
        async move {
            let pass = gates.enter(put, tries > 0, in_seconds(3600)).await.unwrap();
            let _permit = in_flight.acquire().await.unwrap();
            tokio::time::sleep(latency).await;
            let there = take(&mut tokens.lock().unwrap());
            if there < 0.0 {
                pass.throttled(&refusal_of_door(), Duration::from_secs(1));
                return false;
            }
            let told = left("subscription-writes", there as i64);
            pass.let_through(&if is_told { told } else { none() });
            true
        }
    };
    let call = |_: usize| async {
        let mut tries = 0;
        while !send(tries).await {
            tries += 1;
        }
        tries + 1
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
