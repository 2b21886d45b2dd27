//! Answers that no published example has: a look reads what is there, or says that it cannot; it
//! never breaks, never sends a token elsewhere, and is repeated once at most.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[expect(dead_code, reason = "each test file uses another part of the server")]
mod fake;

use azslurm_azure::{Answer, Arm, AzureError, ImageWanted, Prices, Reply};
use azslurm_core::config::{ImageReference, Plan, Region, Sku};
use fake::{Do, Fake, answer, limits, refused};
use serde_json::{Value, json};

const ID: &str = "/subscriptions/s/resourceGroups/g/providers/P/t/n";

fn region() -> Region {
    Region::new("westeurope").unwrap()
}

/// How an answer was taken: done, refused, or an error.
fn end<T>(reply: Result<Reply<T>, AzureError>) -> &'static str {
    match reply {
        Ok(Reply { answer: Answer::Done(_), .. }) => "done",
        Ok(Reply { answer: Answer::Refused(_), .. }) => "refused",
        Err(AzureError::Body { .. }) => "unreadable",
        Err(_) => "nothing",
    }
}

fn images() -> [ImageReference; 4] {
    let word = |text: &str| text.to_owned();
    [
        ImageReference::Urn {
            publisher: word("p"),
            offer: word("o"),
            sku: word("k"),
            version: word("latest"),
        },
        ImageReference::Id(format!("{ID}/galleries/g/images/i")),
        ImageReference::Id(word(ID)),
        ImageReference::CommunityGallery(word("/communityGalleries/c/images/i")),
    ]
}

/// Every look, each with its own end.
async fn look_at_all(arm: &Arm) -> Vec<&'static str> {
    let plan = Plan { publisher: "p".into(), product: "o".into(), name: "n".into() };
    let mut ends = vec![
        end(arm.look_group("s", "g").await),
        end(arm.look_registration("s", "P").await),
        end(arm.look_identity(ID).await),
        end(arm.look_reservation(ID).await),
        end(arm.permissions(ID).await),
        end(arm.look_subnet(ID).await),
        end(arm.subnet_use(ID).await),
        end(arm.look_network(ID).await),
        end(arm.look_security_group(ID).await),
        end(arm.look_terms("s", &plan).await),
    ];
    for image in images() {
        let wanted = ImageWanted { subscription: "s", region: &region(), image: &image };
        ends.push(end(arm.look_image(wanted).await));
    }
    ends
}

#[tokio::test]
async fn odd_answers_are_read_as_far_as_they_go_and_never_break_a_look() {
    let azure = Fake::start().await;
    let arm = azure.arm();
    let odd = json!({"properties": {"ipConfigurations": 3, "addressPrefixes": [null, 3],
        "securityRules": [3, {"properties": {"priority": "x"}}], "accepted": "yes",
        "targetRegions": {}}, "value": [3, null, {"id": "x", "currentValue": -1, "limit": "2"}]});
    for body in [json!(null), json!(3), json!([]), json!({}), json!({"properties": 3}), odd] {
        // Galleries ask twice.
        azure.next(vec![answer(200, body.clone()); 20]);
        let ends = look_at_all(&arm).await;
        assert!(ends.iter().all(|end| ["done", "unreadable"].contains(end)), "{body}: {ends:?}");
        azure.next(Vec::new());
    }
}

#[tokio::test]
async fn a_no_is_a_no_and_what_breaks_off_is_asked_once_more() {
    let azure = Fake::start().await;
    let arm = azure.arm();
    azure.next(vec![refused(403, "AuthorizationFailed"); 20]);
    let ends = look_at_all(&arm).await;
    assert!(ends.iter().all(|end| *end == "refused"), "{ends:?}");
    let azure = Fake::start().await;
    let arm = azure.arm();
    azure.next(vec![Do::Cut; 10]);
    assert_eq!(end(arm.look_group("s", "g").await), "nothing");
    assert_eq!(azure.seen().len(), 2);
}

fn page(next: &str) -> Value {
    json!({"NextPageLink": next, "Items": [{"skuName": "D4s v5", "productName": "x", "type":
        "Consumption", "armSkuName": "Standard_D4s_v5", "unitOfMeasure": "1 Hour",
        "retailPrice": 0.2}]})
}

#[tokio::test]
async fn prices_are_followed_on_their_own_host_alone_and_get_no_token() {
    let azure = Fake::start().await;
    let prices = Prices::new(&azure.cloud(), &limits()).unwrap().unwrap();
    let sizes = [Sku::new("Standard_D4s_v5").unwrap()];
    azure.next([answer(200, page(&format!("{}/2?x=1", azure.url))), answer(200, page(""))]);
    let found = prices.of(&region(), &sizes).await.unwrap();
    assert_eq!(found[&sizes[0]].regular, Some(0.2));
    let seen = azure.seen();
    assert_eq!((seen.len(), seen[1].path.as_str()), (2, "/2?x=1"));
    assert!(seen.iter().all(|one| one.header("authorization").is_empty()));
    assert!(azure.tokens_asked().is_empty());
    assert!(seen[0].path.starts_with("/api/retail/prices?api-version=2023-01-01-preview&$filter="));
    for (script, words) in [
        (answer(200, page("https://evil.example/")), "a next page elsewhere"),
        (answer(200, json!(3)), ""),
        (answer(429, json!({"error": "slow down"})), "429"),
        (Do::Cut, "cannot read prices"),
        (Do::Answer(200, Vec::new(), "{".to_owned()), "cannot be read"),
    ] {
        azure.next([script.clone()]);
        match prices.of(&region(), &sizes).await {
            Ok(found) => assert!(found.is_empty() && words.is_empty(), "{script:?}: {found:?}"),
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                let text = format!("{error} {}", source.unwrap_or_default());
                assert!(!words.is_empty() && text.contains(words), "{script:?}: {text}");
            }
        }
    }
}
