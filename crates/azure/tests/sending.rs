//! The rules of sending (`client.rs`), against a server that answers as it is told.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[expect(dead_code, reason = "each test file uses another part of the server")]
mod fake;

use std::time::{Duration, Instant};

use azslurm_azure::{Answer, AzureError, OperationState, SentMark, Started, VmBody};
use fake::{Do, Fake, answer, limits, place, refused, soon, spec, with};
use serde_json::json;

const VM: &str = "n1-0abcdefg";

fn vm_path() -> String {
    format!("/subscriptions/S-1/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/{VM}")
}

#[tokio::test]
async fn a_vm_is_made_with_one_put_that_says_who_we_are() {
    let azure = Fake::start().await;
    let operation = format!("{}/subscriptions/S-1/operations/1?p=%2F&t=x", azure.url);
    azure.next([with(
        201,
        &[
            ("Azure-AsyncOperation", &operation),
            ("Retry-After", "10"),
            ("x-ms-request-id", "r-1"),
            ("x-ms-correlation-request-id", "c-1"),
            ("x-ms-ratelimit-remaining-subscription-writes", "199"),
        ],
        json!({"properties": {"provisioningState": "Creating"}}),
    )]);
    let arm = azure.arm();
    let reply = arm.put_vm(&place(), &spec(VM), soon(9), &SentMark::default()).await.unwrap();
    let retry_after = Some(Duration::from_secs(10));
    assert_eq!(reply.answer, Answer::Done(Started::Operation { url: operation, retry_after }));
    assert_eq!(reply.request_id.as_deref(), Some("r-1"));
    assert_eq!(reply.correlation_id.as_deref(), Some("c-1"));
    assert_eq!(reply.limits.remaining["subscription-writes"], 199);

    let seen = azure.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].method, "PUT");
    assert_eq!(seen[0].path, format!("{}?api-version=2024-07-01", vm_path()));
    assert_eq!(seen[0].header("authorization"), format!("Bearer {}-1", fake::TOKEN));
    assert_eq!(seen[0].header("content-type"), "application/json");
    assert!(seen[0].header("user-agent").starts_with("azslurm/"));
    assert_eq!(seen[0].header("x-ms-client-request-id").len(), 36);
    assert_eq!(seen[0].body, VmBody::from(&spec(VM)).text());
    assert_eq!(arm.calls().put, 1);
    assert_eq!(arm.calls().total(), 1);
}

#[tokio::test]
async fn azures_fault_is_asked_again_with_the_same_body() {
    let azure = Fake::start().await;
    azure.next([refused(500, "InternalServerError"), answer(201, json!({}))]);
    let reply =
        azure.arm().put_vm(&place(), &spec(VM), soon(20), &SentMark::default()).await.unwrap();
    assert_eq!(reply.answer, Answer::Done(Started::Done));
    let seen = azure.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body, seen[1].body);
    assert!(seen[1].at - seen[0].at > Duration::from_millis(700), "without a pause");
    assert_ne!(seen[0].header("x-ms-client-request-id"), seen[1].header("x-ms-client-request-id"));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    for lost in [Do::Hang, Do::Cut] {
        let azure = Fake::start().await;
        azure.next([lost, answer(201, json!({}))]);
        let reply =
            azure.arm().put_vm(&place(), &spec(VM), soon(20), &SentMark::default()).await.unwrap();
        assert_eq!(reply.answer, Answer::Done(Started::Done));
        assert_eq!(azure.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_call_that_is_stopped_sends_nothing_after_the_try_under_way() {
    let azure = Fake::start().await;
    azure.next([Do::Hang, answer(201, json!({}))]);
    let (arm, place, spec, mark) = (azure.arm(), place(), spec(VM), SentMark::default());
    let sending = arm.put_vm(&place, &spec, soon(20), &mark);
    let stopping = async {
        while azure.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        mark.stop();
    };
    let (sent, ()) = tokio::join!(sending, stopping);
    assert!(matches!(sent, Err(AzureError::Lost { .. })), "{sent:?}");
    assert_eq!(azure.seen().len(), 1);
}

#[tokio::test]
async fn a_write_without_a_plain_answer_may_have_been_done() {
    for (script, code) in [
        (vec![Do::Hang, Do::Hang], None),
        (vec![refused(500, "A"), refused(503, "B")], Some("B")),
        (vec![Do::Hang, refused(409, "Conflict")], Some("Conflict")),
    ] {
        let azure = Fake::start().await;
        azure.next(script);
        let arm = azure.arm_with(azslurm_core::config::Limits { tries: 2, ..limits() });
        let error =
            arm.put_vm(&place(), &spec(VM), soon(20), &SentMark::default()).await.unwrap_err();
        let AzureError::Lost { says, doing, .. } = &error else { panic!("{error:?}") };
        assert_eq!(says.as_ref().map(|says| says.code.as_str()), code);
        assert!(doing.contains(VM));
        assert_eq!(azure.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_vm_that_is_gone_after_a_lost_answer_is_deleted() {
    let azure = Fake::start().await;
    azure.next([Do::Cut, refused(404, "ResourceNotFound")]);
    let reply = azure.arm().delete_vm(&place(), &VM.parse().unwrap(), true).await.unwrap();
    assert_eq!(reply.answer, Answer::Done(Started::Done));
}

#[tokio::test]
async fn a_no_is_an_answer_and_is_not_asked_again() {
    let azure = Fake::start().await;
    azure.next([refused(409, "SkuNotAvailable")]);
    let reply =
        azure.arm().put_vm(&place(), &spec(VM), soon(9), &SentMark::default()).await.unwrap();
    let Answer::Refused(refusal) = reply.answer else { panic!("{reply:?}") };
    assert_eq!((refusal.status, refusal.code.as_str()), (409, "SkuNotAvailable"));
    assert_eq!(azure.seen().len(), 1);
}

#[tokio::test]
async fn a_throttled_bucket_is_closed_for_everybody_until_azures_time() {
    let azure = Fake::start().await;
    azure.next([with(429, &[("Retry-After", "1")], json!({"code": "OperationNotAllowed"}))]);
    let arm = azure.arm_with(azslurm_core::config::Limits { requests_in_flight: 1, ..limits() });
    let put = |name: &'static str| {
        let arm = arm.clone();
        let mark = SentMark::default();
        async move { arm.put_vm(&place(), &spec(name), soon(20), &mark).await.unwrap() }
    };
    let get = async {
        while azure.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        arm.delete_vm(&place(), &"n9-0abcdefg".parse().unwrap(), false).await.unwrap();
        Instant::now()
    };
    let (_, _, _, deleted_at) =
        tokio::join!(put("n1-0abcdefg"), put("n2-0abcdefg"), put("n3-0abcdefg"), get);
    let puts: Vec<_> = azure.seen().into_iter().filter(|seen| seen.method == "PUT").collect();
    assert_eq!(puts.len(), 4);
    let reopened_at = puts[0].at + Duration::from_secs(1);
    assert!(puts[1..].iter().all(|put| put.at >= reopened_at));
    assert!(deleted_at < reopened_at, "another bucket was closed as well");
    assert_eq!(puts[0].path, puts[1].path, "who was throttled goes first");
}

#[tokio::test]
async fn who_cannot_wait_for_a_closed_bucket_sends_nothing() {
    let azure = Fake::start().await;
    azure.next([with(429, &[("Retry-After", "1200")], json!({"code": "OperationNotAllowed"}))]);
    let arm = azure.arm();
    for _ in 0..3 {
        let reply = arm.put_vm(&place(), &spec(VM), soon(60), &SentMark::default()).await.unwrap();
        let Answer::Refused(refusal) = reply.answer else { panic!("{reply:?}") };
        assert_eq!(refusal.status, 429);
        assert!(refusal.retry_after.unwrap() > Duration::from_secs(1100));
    }
    assert_eq!(azure.seen().len(), 1);
}

#[tokio::test]
async fn a_dependency_that_is_not_ready_closes_nothing() {
    let azure = Fake::start().await;
    azure.next([refused(429, "RetryableError"), answer(200, json!({}))]);
    let begun = Instant::now();
    let reply =
        azure.arm().put_vm(&place(), &spec(VM), soon(20), &SentMark::default()).await.unwrap();
    assert_eq!(reply.answer, Answer::Done(Started::Done));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let azure = Fake::start().await;
    azure.next([refused(401, "ExpiredAuthenticationToken"), answer(200, json!({}))]);
    let arm = azure.arm();
    arm.put_vm(&place(), &spec(VM), soon(9), &SentMark::default()).await.unwrap();
    let seen = azure.seen();
    assert_ne!(seen[0].header("authorization"), seen[1].header("authorization"));
    azure.next([refused(401, "A"), refused(401, "B"), answer(200, json!({}))]);
    let reply = arm.put_vm(&place(), &spec(VM), soon(9), &SentMark::default()).await.unwrap();
    assert!(matches!(reply.answer, Answer::Refused(refusal) if refusal.status == 401));
    assert_eq!(azure.tokens_asked().len(), 3);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let azure = Fake::start().await;
    let other = Fake::start().await;
    for status in [301, 302, 307, 308] {
        azure.next([with(status, &[("Location", &other.url)], json!({}))]);
        let reply = azure.arm().get_vm(&place(), &VM.parse().unwrap()).await.unwrap();
        assert!(matches!(reply.answer, Answer::Refused(refusal) if refusal.status == status));
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn no_connection_means_that_nothing_was_sent() {
    let azure = Fake::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut cloud = azure.cloud();
    cloud.endpoints.resource_manager = nobody;
    let limits = azslurm_core::config::Limits { tries: 2, ..limits() };
    let credential = azslurm_core::config::Credential::ManagedIdentity(
        azslurm_core::config::ManagedIdentity::System,
    );
    let arm = azslurm_azure::Arm::new(&cloud, &credential, &limits).unwrap();
    let error = arm.put_vm(&place(), &spec(VM), soon(20), &SentMark::default()).await.unwrap_err();
    assert!(matches!(error, AzureError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("nothing was sent"));
}

#[tokio::test]
async fn nothing_is_sent_after_its_time() {
    let azure = Fake::start().await;
    let error = azure
        .arm()
        .put_vm(&place(), &spec(VM), Instant::now(), &SentMark::default())
        .await
        .unwrap_err();
    assert!(matches!(error, AzureError::Token { .. } | AzureError::Unreachable { .. }));
    assert!(azure.seen().is_empty());
}

#[tokio::test]
async fn no_more_requests_are_open_than_allowed() {
    let azure = Fake::start().await;
    azure.next((0..20).map(|_| Do::Slow(Duration::from_millis(20))));
    let arm = azure.arm_with(azslurm_core::config::Limits { requests_in_flight: 4, ..limits() });
    let puts = (0..20).map(|number| {
        let arm = arm.clone();
        async move {
            arm.put_vm(
                &place(),
                &spec(&format!("n{number}-0abcdefg")),
                soon(20),
                &SentMark::default(),
            )
            .await
        }
    });
    for reply in futures::future::join_all(puts).await {
        assert_eq!(reply.unwrap().answer, Answer::Done(Started::Done));
    }
    assert_eq!(azure.open_max(), 4);
    assert_eq!(azure.tokens_asked().len(), 1, "twenty calls need one token");
}

#[tokio::test]
async fn what_is_gone_is_none_and_a_group_that_is_gone_is_a_no() {
    let azure = Fake::start().await;
    let arm = azure.arm();
    let vm = VM.parse().unwrap();
    for code in ["ResourceNotFound", "NotFound"] {
        azure.next([refused(404, code), refused(404, code)]);
        let reply = arm.get_vm(&place(), &vm).await.unwrap();
        assert_eq!(reply.answer, Answer::Done(None));
        let reply = arm.delete_vm(&place(), &vm, true).await.unwrap();
        assert_eq!(reply.answer, Answer::Done(Started::Done));
    }
    for code in ["ResourceGroupNotFound", "SubscriptionNotFound"] {
        azure.next([refused(404, code)]);
        let reply = arm.get_vm(&place(), &vm).await.unwrap();
        assert!(matches!(reply.answer, Answer::Refused(refusal) if refusal.code == code));
    }
    azure.next([refused(404, "SubscriptionNotFound"), Do::Answer(204, vec![], String::new())]);
    let reply = arm.delete_vm(&place(), &vm, true).await.unwrap();
    assert!(matches!(reply.answer, Answer::Refused(_)));
    let reply = arm.delete_vm(&place(), &vm, true).await.unwrap();
    assert_eq!(reply.answer, Answer::Done(Started::Done));
    let last = azure.seen().pop().unwrap();
    assert_eq!(last.path, format!("{}?api-version=2024-07-01&forceDeletion=true", vm_path()));
}

#[tokio::test]
async fn a_vm_is_read_with_its_instance_view() {
    let azure = Fake::start().await;
    azure.next([answer(
        200,
        json!({"id": vm_path(), "properties": {"provisioningState": "Succeeded",
            "instanceView": {"statuses": [{"code": "PowerState/running"}]}}}),
    )]);
    let reply = azure.arm().get_vm(&place(), &VM.parse().unwrap()).await.unwrap();
    let Answer::Done(Some(vm)) = reply.answer else { panic!("{reply:?}") };
    assert_eq!(vm.power, Some(azslurm_azure::VmPower::Running));
    assert!(azure.seen()[0].path.ends_with("?api-version=2024-07-01&%24expand=instanceView"));
}

#[tokio::test]
async fn an_operation_ends_only_with_its_own_word() {
    let azure = Fake::start().await;
    let arm = azure.arm();
    let url = format!("{}/subscriptions/S-1/operations/1?p=a%2Fb&t=x", azure.url);
    let running = |seconds: Option<u64>| OperationState::Running {
        retry_after: seconds.map(Duration::from_secs),
    };
    let failed = json!({"status": "Failed", "error": {"code": "AllocationFailed", "message": "m"}});
    let says = azslurm_core::attempt::AzureSays {
        code: "AllocationFailed".into(),
        text: "m".into(),
        request_id: Some("r".into()),
    };
    for (script, state) in [
        (with(200, &[("Retry-After", "35")], json!({"status": "InProgress"})), running(Some(35))),
        (Do::Answer(202, vec![], String::new()), running(None)),
        (refused(500, "MultipleErrorsOccurred"), running(None)),
        (Do::Answer(200, vec![], "<html>".into()), running(None)),
        (answer(200, json!({"status": "Succeeded"})), OperationState::Succeeded),
        (Do::Answer(204, vec![], String::new()), OperationState::Succeeded),
        (answer(200, json!({"status": "Canceled"})), OperationState::Canceled),
        (with(200, &[("x-ms-request-id", "r")], failed), OperationState::Failed(says)),
        (refused(404, "NotFound"), OperationState::Lost),
        (with(429, &[("Retry-After", "900")], json!({})), running(Some(900))),
    ] {
        azure.next([script.clone()]);
        let reply = arm.poll(&url).await.unwrap();
        assert_eq!(reply.answer, Answer::Done(state), "{script:?}");
    }
    assert_eq!(azure.seen().len(), 10, "a poll is not repeated by itself");
    assert!(azure.seen().iter().all(|seen| url.ends_with(&seen.path)));
    let reply = arm.poll(&url).await.unwrap();
    assert!(matches!(reply.answer, Answer::Done(OperationState::Running { .. })));
    assert_eq!(azure.seen().len(), 10, "polls are throttled now");
}

#[tokio::test]
async fn a_token_goes_to_no_other_host() {
    let azure = Fake::start().await;
    let other = Fake::start().await;
    let arm = azure.arm();
    let error = arm.poll(&format!("{}/operations/1", other.url)).await.unwrap_err();
    assert!(error.to_string().contains("no token is sent there"), "{error}");
    // The PUT was taken all the same: its VM is followed instead.
    let foreign = format!("{}/operations/1", other.url);
    azure.next([with(
        201,
        &[("Azure-AsyncOperation", &foreign)],
        json!({"properties": {"provisioningState": "Creating"}}),
    )]);
    let reply = arm.put_vm(&place(), &spec(VM), soon(9), &SentMark::default()).await.unwrap();
    let Answer::Done(Started::Operation { url, .. }) = reply.answer else { panic!("{reply:?}") };
    assert_eq!(url, format!("{}{}?api-version=2024-07-01", azure.url, vm_path()));
    azure.next([answer(
        200,
        json!({"id": vm_path(), "properties": {"provisioningState": "Succeeded"}}),
    )]);
    let reply = arm.poll(&url).await.unwrap();
    assert_eq!(reply.answer, Answer::Done(OperationState::Succeeded));
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_call_that_was_throttled_cannot_have_been_carried_out() {
    let azure = Fake::start().await;
    azure.next([with(429, &[("Retry-After", "60")], json!({"code": "OperationNotAllowed"}))]);
    let (arm, mark) = (azure.arm(), SentMark::default());
    let sent = mark.clone();
    let sending =
        tokio::spawn(async move { arm.put_vm(&place(), &spec(VM), soon(300), &sent).await });
    while azure.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::timeout(Duration::from_secs(30), mark.is_clear()).await.unwrap();
    sending.abort();
    assert_eq!(azure.seen().len(), 1);
}
