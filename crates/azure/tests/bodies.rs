//! Whole bodies of errors, in the shapes that Azure publishes and that users have reported: what we
//! read of them, and what it means (`core::failure`). The wording is our own but for the words that
//! decide; each row names where its shape is from.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[expect(dead_code, reason = "each test file uses another part of the server")]
mod fake;

use azslurm_azure::{Answer, AzureError, OperationState, SentMark};
use azslurm_core::attempt::AzureSays;
use azslurm_core::config::Limits;
use azslurm_core::failure::{FailureKind as Kind, Moment, Reach, Retry, understand};
use fake::{Do, Fake, answer, limits, place, soon, spec};
use serde_json::{Value, json};

/// What a PUT that is answered so was refused with.
async fn put(status: u16, body: Value) -> AzureSays {
    let azure = Fake::start().await;
    azure.next([answer(status, body)]);
    let arm = azure.arm_with(Limits { tries: 1, ..limits() });
    match arm.put_vm(&place(), &spec("n1-0abcdefg"), soon(9), &SentMark::default()).await {
        Ok(reply) => match reply.answer {
            Answer::Refused(refusal) => {
                assert_eq!(refusal.status, status);
                refusal.says(reply.request_id)
            }
            Answer::Done(started) => panic!("{status} was taken as {started:?}"),
        },
        Err(AzureError::Lost { says, .. }) => says.unwrap().says(None),
        Err(error) => panic!("{status}: {error:?}"),
    }
}

/// What an operation that is answered so ended with.
async fn ended(error: Value) -> AzureSays {
    let azure = Fake::start().await;
    azure.next([answer(200, json!({"status": "Failed", "name": "1", "error": error}))]);
    let operation = format!("{}/subscriptions/S-1/operations/1", azure.url);
    let answer = azure.arm().poll(&operation).await.unwrap().answer;
    let Answer::Done(OperationState::Failed(says)) = answer else { panic!("{answer:?}") };
    says
}

type Meaning = (&'static str, Kind, Reach, Retry);

async fn puts_mean(rows: Vec<(u16, Value, Meaning)>) {
    for (status, body, (code, kind, reach, retry)) in rows {
        let says = put(status, body.clone()).await;
        let failure = understand(Moment::Put(status), &says);
        let found = (says.code.as_str(), failure.kind, failure.reach, failure.retry);
        assert_eq!(found, (code, kind, reach, retry), "{status} {body}");
        assert!(!says.text.is_empty(), "the text of {body} is kept");
    }
}

fn error(code: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message}})
}

/// ARM's usual wrapper of what a provider says.
fn wrapped(code: &str, message: &str) -> Value {
    json!({"error": {
        "code": "ResourceDeploymentFailure",
        "message": "The resource operation completed with terminal provisioning state 'Failed'.",
        "details": [{"code": code, "message": message}],
    }})
}

#[tokio::test]
async fn a_quota_is_told_from_a_throttle_with_the_same_code() {
    let quota = "Operation could not be completed as it results in exceeding approved \
                 standardDSv3Family Cores quota. Additional details - Deployment Model: Resource \
                 Manager, Location: eastus2, Current Limit: 1500, Current Usage: 1500, Additional \
                 Required: 16, (Minimum) New Limit Required: 1516.";
    let old = "Operation results in exceeding quota limits of Core. Maximum allowed: 10, Current \
               in use: 10, Additional requested: 2.";
    let bucket = json!({
        "operationGroup": "PutVM3Min", "startTime": "2020-08-07T06:00:00+00:00",
        "endTime": "2020-08-07T06:03:00+00:00", "allowedRequestCount": 697,
        "measuredRequestCount": 1500,
    });
    puts_mean(vec![
        // neonKUBE#1671, Microsoft's AKS article on quotas.
        (
            409,
            error("OperationNotAllowed", quota),
            ("OperationNotAllowed", Kind::Quota, Reach::Family, Retry::Elsewhere),
        ),
        // Validation of a template: Kubernetes-acs-engine-autoscaler#52.
        (
            400,
            json!({"error": {
                "code": "InvalidTemplateDeployment",
                "message": "The template deployment is not valid. See inner errors for details.",
                "details": [{"code": "QuotaExceeded", "message": old}],
            }}),
            ("QuotaExceeded", Kind::Quota, Reach::Cores, Retry::Elsewhere),
        ),
        // kubernetes/kubernetes#93796, Azure/AKS#1413: bare, and the cause is JSON in a message.
        (
            429,
            json!({
                "code": "OperationNotAllowed",
                "message": "The server rejected the request because too many requests have been \
                            received for this subscription.",
                "details": [{
                    "code": "TooManyRequests", "target": "PutVM3Min",
                    "message": bucket.to_string(),
                }],
            }),
            ("TooManyRequests", Kind::Throttled, Reach::Vm, Retry::Wait),
        ),
        // The same code, alone, with the status of a throttle and words of a quota.
        (
            429,
            error("OperationNotAllowed", quota),
            ("OperationNotAllowed", Kind::Throttled, Reach::Vm, Retry::Wait),
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_throttle_is_known_by_its_status_and_a_dependency_by_its_code() {
    puts_mean(vec![
        // MicrosoftDocs/azure-docs#105248.
        (
            429,
            error(
                "SubscriptionRequestsThrottled",
                "Number of requests for subscription exceeded the limit. Please try again after \
                 '6' seconds.",
            ),
            ("SubscriptionRequestsThrottled", Kind::Throttled, Reach::Vm, Retry::Wait),
        ),
        // FACTS §3.2: network means a dependency.
        (
            429,
            error("RetryableError", "A retryable error occurred."),
            ("RetryableError", Kind::Conflict, Reach::Vm, Retry::Here),
        ),
        // FACTS §2 (recorded), opencost#787: the policy engine met a throttle.
        (
            504,
            error("ResourceReadFailed", "The policy engine could not read the resource."),
            ("ResourceReadFailed", Kind::Throttled, Reach::Vm, Retry::Wait),
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_put_that_is_refused_means_what_its_innermost_code_says() {
    let in_json = error("SkuNotAvailable", "is currently not available in location 'westus'");
    puts_mean(vec![
        // knife-azure#446: JSON text in the message of a detail.
        (
            409,
            json!({"status": "Failed", "error": {
                "code": "DeploymentFailed", "message": "See details.",
                "details": [{"code": "Conflict", "message": in_json.to_string()}],
            }}),
            ("SkuNotAvailable", Kind::Capacity, Reach::SkuHere, Retry::Elsewhere),
        ),
        (
            409,
            error("PropertyChangeNotAllowed", "Changing property 'priority' is not allowed."),
            ("PropertyChangeNotAllowed", Kind::Conflict, Reach::Vm, Retry::Once),
        ),
        (
            400,
            error("SubnetIsFull", "Subnet s does not have enough capacity for 1 IP addresses."),
            ("SubnetIsFull", Kind::Quota, Reach::Subnet, Retry::Elsewhere),
        ),
        (
            403,
            error("LinkedAuthorizationFailed", "no permission to perform action join/action"),
            ("LinkedAuthorizationFailed", Kind::Configuration, Reach::Site, Retry::Never),
        ),
        // Capitals (FACTS §2).
        (
            409,
            json!({"Error": {"Code": "ResourceGroupBeingDeleted", "Message": "wait"}}),
            ("ResourceGroupBeingDeleted", Kind::Configuration, Reach::Site, Retry::Never),
        ),
        (
            500,
            error("InternalServerError", "Encountered internal server error."),
            ("InternalServerError", Kind::Azure, Reach::Vm, Retry::Once),
        ),
        (
            418,
            wrapped("SomethingOfNextYear", "words that nobody knows"),
            ("SomethingOfNextYear", Kind::Unknown, Reach::Vm, Retry::Once),
        ),
    ])
    .await;
}

#[tokio::test]
async fn text_and_target_of_a_code_with_several_meanings_decide() {
    let missing = "The following list of images referenced from the deployment template are not \
                   found: Publisher: Canonical, Offer: o, Sku: s, Version: latest.";
    puts_mean(vec![
        // bosh-azure-cpi-release#367.
        (
            400,
            json!({"error": {
                "code": "InvalidParameter", "target": "instance_type",
                "message": "Unable to create the VM in availability set 's' because the requested \
                            size Standard_A2_v2 is not available in the current hardware cluster.",
            }}),
            ("InvalidParameter", Kind::Capacity, Reach::Cluster, Retry::Elsewhere),
        ),
        // "Azure VM error messages"; bosh-azure-cpi-release#528.
        (
            404,
            error("NotFound", "Availability Set c-hb-b1-0000001 cannot be found."),
            ("NotFound", Kind::Conflict, Reach::Cluster, Retry::Elsewhere),
        ),
        // Only the target names the set.
        (
            400,
            json!({"error": {
                "code": "InvalidParameter", "target": "availabilitySet.id",
                "message": "The entity was not found.",
            }}),
            ("InvalidParameter", Kind::Conflict, Reach::Cluster, Retry::Elsewhere),
        ),
        // Recorded (FACTS §1.1).
        (
            400,
            json!({"error": {
                "code": "InvalidParameter", "target": "adminUsername",
                "message": "The Admin Username specified is not allowed.",
            }}),
            ("InvalidParameter", Kind::Configuration, Reach::Nodeset, Retry::Never),
        ),
        // Reported of marketplace images by many.
        (
            400,
            json!({"error": {
                "code": "InvalidParameter", "target": "imageReference", "message": missing,
            }}),
            ("InvalidParameter", Kind::Configuration, Reach::Image, Retry::Never),
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_operation_that_failed_means_what_its_innermost_code_says() {
    let constraints = "Allocation failed. VM(s) with the following constraints cannot be \
                       allocated, because the condition is too restrictive. Please remove some \
                       constraints and try again. Constraints applied are:\n  - Availability \
                       Zone\n  - Differencing (Ephemeral) Disks\n  - VM Size\n";
    for (body, (code, kind, reach, retry)) in
        [
            // azure-cli#2401.
            (
                wrapped("AllocationFailed", "Allocation failed. Please try reducing the VM size.")
                    ["error"]
                    .clone(),
                ("AllocationFailed", Kind::Capacity, Reach::Cluster, Retry::Elsewhere),
            ),
            // jenkins-infra/helpdesk#3584: the target is a number.
            (
                json!({"code": "ResourceOperationFailure", "message": "m", "details": [{
                    "code": "OverconstrainedZonalAllocationRequest", "target": "11",
                    "message": constraints,
                }]}),
                (
                    "OverconstrainedZonalAllocationRequest",
                    Kind::Capacity,
                    Reach::SkuHere,
                    Retry::Elsewhere,
                ),
            ),
            // Kubernetes-acs-engine-autoscaler#76.
            (
                error("OSProvisioningTimedOut", "did not finish in the allotted time")["error"]
                    .clone(),
                ("OSProvisioningTimedOut", Kind::Azure, Reach::Image, Retry::Once),
            ),
            (
                error("VMExtensionHandlerNonTransientError", "terminal error code")["error"]
                    .clone(),
                ("VMExtensionHandlerNonTransientError", Kind::Azure, Reach::Vm, Retry::Once),
            ),
            (
                error("OperationPreempted", "preempted by a more recent operation")["error"]
                    .clone(),
                ("OperationPreempted", Kind::Conflict, Reach::Vm, Retry::Here),
            ),
            // FACTS §2, recorded.
            (
                json!({"code": "MultipleErrorsOccurred", "message": "m", "details": [
                    {"code": "ServerTimeout", "message": "The request timed out."},
                ]}),
                ("ServerTimeout", Kind::Azure, Reach::Vm, Retry::Once),
            ),
        ]
    {
        let says = ended(body.clone()).await;
        let failure = understand(Moment::Operation, &says);
        let found = (says.code.as_str(), failure.kind, failure.reach, failure.retry);
        assert_eq!(found, (code, kind, reach, retry), "{body}");
    }
}

#[tokio::test]
async fn a_gateways_page_is_azures_fault_here() {
    let azure = Fake::start().await;
    let page = "<html><head><title>502</title></head><body>Bad Gateway</body></html>";
    azure.next([Do::Answer(502, Vec::new(), page.to_owned())]);
    let arm = azure.arm_with(Limits { tries: 1, ..limits() });
    let lost = arm
        .put_vm(&place(), &spec("n1-0abcdefg"), soon(9), &SentMark::default())
        .await
        .unwrap_err();
    let AzureError::Lost { says: Some(refusal), .. } = lost else { panic!("{lost:?}") };
    let failure = understand(Moment::Put(refusal.status), &refusal.says(None));
    assert_eq!((failure.kind, failure.reach), (Kind::Azure, Reach::SkuHere));
}

#[tokio::test]
async fn a_target_stands_behind_the_text_that_does_not_name_it() {
    let of = async |target: &str| {
        let body = json!({"error": {"code": "C", "target": target, "message": "bad userData"}});
        put(400, body).await.text
    };
    assert_eq!(of("osProfile").await, "bad userData (osProfile)");
    assert_eq!(of("userData").await, "bad userData");
    assert_eq!(of("0").await, "bad userData");
}
