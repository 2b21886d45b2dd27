//! The request around a query: pages, subscriptions, formats.

use super::*;

fn many(count: usize) -> Vec<Value> {
    (0..count).map(|at| vm(&format!("n{:05}", count - at), json!({}))).collect()
}

fn pages(mut request: Value, rows: &[Value]) -> Vec<GraphAnswer> {
    let mut pages = Vec::new();
    loop {
        let page = answer(&request, rows);
        assert_eq!(page.status, 200, "{}", page.body);
        let next = page.body["$skipToken"].clone();
        pages.push(page);
        if next.is_null() {
            return pages;
        }
        request["options"]["$skipToken"] = next;
    }
}

#[test]
fn pages_hold_every_row_once() {
    let rows = many(2500);
    let request = json!({
        "subscriptions": ["s1"], "query": "resources | project id, name",
        "options": { "$top": 1000, "resultFormat": "objectArray" },
    });
    let pages = pages(request, &rows);
    let counts: Vec<_> = pages.iter().map(|page| page.body["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1000, 1000, 500]);
    let all = pages.iter().flat_map(|page| page.body["data"].as_array().unwrap());
    let mut names: Vec<_> = all.map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    names.dedup();
    assert_eq!(names.len(), 2500);
    assert!(names.is_sorted());
    for page in &pages {
        assert_eq!(page.body["totalRecords"], 2500);
        assert_eq!(page.body["resultTruncated"], "false");
    }
}

#[test]
fn a_page_has_100_rows_unless_told_and_starts_where_told() {
    let rows = many(150);
    let page = answer(&json!({ "query": "resources" }), &rows);
    assert_eq!((&page.body["count"], &page.body["totalRecords"]), (&json!(100), &json!(150)));
    let request = json!({ "query": "resources", "options": { "$skip": 140 } });
    let page = answer(&request, &rows);
    assert_eq!(page.body["count"], 10);
    assert_eq!(page.body["data"][0]["name"], "n00141");
    let request = json!({ "query": "resources | limit 5", "options": { "$skip": 3 } });
    assert_eq!(answer(&request, &rows).body["count"], 5);
}

#[test]
fn without_the_id_or_with_a_limit_there_are_no_pages() {
    let rows = many(150);
    for query in [
        "resources | project name",
        "resources | project id=properties, name",
        "resources | order by id asc | limit 120",
        "resources | top 120 by id asc",
    ] {
        let page = answer(&json!({ "query": query }), &rows);
        assert_eq!(page.body["count"], 100, "{query}");
        assert_eq!(page.body["resultTruncated"], "true", "{query}");
        assert_eq!(page.body.get("$skipToken"), None, "{query}");
    }
}

#[test]
fn subscriptions_choose_the_rows() {
    let count = |subscriptions: Value| {
        let request = json!({ "query": "resources", "subscriptions": subscriptions });
        answer(&request, &rows()).body["totalRecords"].clone()
    };
    assert_eq!(count(json!(["s1"])), 3);
    assert_eq!(count(json!(["S2"])), 1);
    assert_eq!(count(json!(["s1", "s2"])), 4);
    assert_eq!(count(json!(["other"])), 0);
    assert_eq!(count(Value::Null), 4);
    let none = answer(&json!({ "query": "resources", "subscriptions": [] }), &rows());
    let details = &none.body["error"]["details"];
    assert_eq!(details[0]["code"], "NoValidSubscriptionsInQueryRequest");
}

#[test]
fn bad_options_and_tokens_of_other_queries_are_refused() {
    let rows = many(150);
    let token = answer(&json!({ "query": "resources" }), &rows).body["$skipToken"].clone();
    for options in [
        json!({ "$top": 0 }),
        json!({ "$top": 1001 }),
        json!({ "$top": "x" }),
        json!({ "$skip": -1 }),
        json!({ "$skipToken": "rubbish" }),
        json!({ "resultFormat": "csv" }),
        json!({ "$skipToken": token }),
    ] {
        let request = json!({ "query": "resources | project id", "options": options });
        assert_eq!(answer(&request, &rows).status, 400, "{request}");
    }
}

#[test]
fn a_table_has_columns_and_rows_in_the_query_s_order() {
    let request = json!({
        "query": "resources | where name == 'n2' | project name, cores=properties.cores, n=1",
        "options": { "resultFormat": "table" },
    });
    assert_eq!(
        answer(&request, &rows()).body["data"],
        json!({
            "columns": [
                { "name": "name", "type": "string" }, { "name": "cores", "type": "object" },
                { "name": "n", "type": "integer" },
            ],
            "rows": [["n2", 2, 1]],
        })
    );
}

#[test]
fn the_answer_has_the_published_shape_and_the_quota_s_headers() {
    let page = answer(&json!({ "query": "Resources | project id | limit 3" }), &rows());
    let mut members: Vec<_> = page.body.as_object().unwrap().keys().cloned().collect();
    members.sort();
    assert_eq!(members, ["count", "data", "facets", "resultTruncated", "totalRecords"]);
    assert!(page.headers.iter().any(|(name, _)| *name == "x-ms-user-quota-remaining"));
}
