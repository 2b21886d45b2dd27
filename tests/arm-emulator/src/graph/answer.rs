//! The request of Resource Graph around a query: subscriptions, paging, format, errors.
//! (FACTS §8; LEARN: Azure Resource Graph REST, Guidance for paging in Azure Resource Graph)
//!
//! Must never: keep anything between two requests. A page's token says where the next page begins,
//! so rows that come and go in between shift the pages, as they may on Azure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::evaluate::Row;
use super::pipeline::Table;
use super::syntax::{Expression, Operator, Query, SortKey};
use super::typing::{Schema, ValueKind};
use super::{GraphError, parser};

/// Rows of a page, when the request does not say.
const PAGE_DEFAULT: usize = 100;
/// Most rows of a page.
const PAGE_MAX: usize = 1000;

/// The answer to a query's request.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphAnswer {
    /// HTTP status.
    pub status: u16,
    /// Headers beside the usual ones.
    pub headers: Vec<(&'static str, String)>,
    /// JSON body.
    pub body: Value,
}

/// Answers `POST /providers/Microsoft.ResourceGraph/resources`. `rows` is everything that Resource
/// Graph knows at this moment, each row an object with the columns of a table and, if it is not in
/// `resources`, a member `table`.
pub fn answer(request: &Value, rows: &[Value]) -> GraphAnswer {
    match page(request, rows) {
        Ok(body) => GraphAnswer { status: 200, headers: quota(), body },
        Err(error) => GraphAnswer { status: 400, headers: quota(), body: error.body() },
    }
}

/// What is left of the quota of 15 queries in 5 s for a user who has just made one. A caller that
/// counts for itself overwrites these.
fn quota() -> Vec<(&'static str, String)> {
    vec![
        ("x-ms-user-quota-remaining", "14".to_owned()),
        ("x-ms-user-quota-resets-after", "00:00:05".to_owned()),
        ("x-ms-ratelimit-remaining-tenant-resource-requests", "14".to_owned()),
    ]
}

/// Where a page begins and how long it is.
struct Window {
    skip: usize,
    top: usize,
}

fn page(request: &Value, rows: &[Value]) -> Result<Value, GraphError> {
    let text = request["query"].as_str().filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| GraphError::request("InvalidQuery", "Query is empty."))?;
    let visible = visible_rows(request, rows)?;
    let query = parser::query(text)?;
    let options = &request["options"];
    let window = window(options, text)?;
    let table = run(&query, &visible)?;
    let (total, can_page) = (table.rows.len(), has_pages(&query, &table.schema));

    let skip = if query.has_limit() { 0 } else { window.skip.min(total) };
    let end = skip.saturating_add(window.top).min(total);
    let is_last = end == total;
    let mut body = json!({
        "totalRecords": total,
        "count": end - skip,
        "facets": [],
        // Rows are left over and there is no way to them.
        "resultTruncated": if is_last || can_page { "false" } else { "true" },
    });
    if !is_last && can_page {
        let next = Window { skip: end, top: window.top };
        body["$skipToken"] = Value::String(token(&next, text));
    }
    let schema = table.schema.clone();
    let shown = Table { schema: schema.clone(), rows: table.rows[skip..end].to_vec() }.shown();
    body["data"] = data(options, &schema, shown)?;
    Ok(body)
}

/// The rows of the subscriptions that were asked for; of all when none is named.
fn visible_rows<'a>(request: &Value, rows: &'a [Value]) -> Result<Vec<&'a Value>, GraphError> {
    let wanted = match &request["subscriptions"] {
        Value::Null => return Ok(rows.iter().collect()),
        Value::Array(wanted) => wanted,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            let text = "subscriptions must be a list of subscription ids.";
            return Err(GraphError::request("InvalidRequestContent", text));
        }
    };
    let wanted: Vec<&str> = wanted.iter().filter_map(Value::as_str).collect();
    if wanted.is_empty() {
        let text = "There must be at least one subscription that is eligible to contain \
                    resources. Given: ''.";
        return Err(GraphError::request("NoValidSubscriptionsInQueryRequest", text));
    }
    let is_wanted = |row: &&'a Value| {
        let of_row = row["subscriptionId"].as_str().or_else(|| {
            row["id"].as_str().and_then(|id| id.strip_prefix("/subscriptions/")?.split('/').next())
        });
        of_row.is_some_and(|id| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(id)))
    };
    Ok(rows.iter().filter(is_wanted).collect())
}

/// Runs a query. Without an order of its own it comes out by `id`, so that its pages fit together.
pub(super) fn run<'a>(query: &Query, rows: &[&'a Value]) -> Result<Table<'a>, GraphError> {
    let mut table = Table::open(&query.table, rows)?;
    for operator in &query.operators {
        table = table.apply(operator)?;
    }
    if !query.has_order() && has_pages(query, &table.schema) {
        let by_id =
            SortKey { value: Expression::Column("id".into()), ascending: true, nulls_first: true };
        table = table.apply(&Operator::Order(vec![by_id]))?;
    }
    Ok(table)
}

/// Pages need the text column `id` in the result and no limit in the query.
fn has_pages(query: &Query, schema: &Schema) -> bool {
    schema.find("id") == Some(ValueKind::Text) && !query.has_limit()
}

fn window(options: &Value, query: &str) -> Result<Window, GraphError> {
    let number = |name: &str| {
        let value = &options[name];
        if value.is_null() {
            return Ok(None);
        }
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.map(Some).ok_or_else(|| out_of_range(name))
    };
    let (top, skip) = (number("$top")?, number("$skip")?);
    if top.is_some_and(|top| !(1..=PAGE_MAX).contains(&top)) {
        return Err(out_of_range("$top"));
    }
    let Some(token) = options["$skipToken"].as_str().filter(|token| !token.is_empty()) else {
        return Ok(Window { skip: skip.unwrap_or(0), top: top.unwrap_or(PAGE_DEFAULT) });
    };
    let bad = || GraphError::request("InvalidSkipToken", "The skip token is not valid.");
    let first = read_token(token, query).ok_or_else(bad)?;
    Ok(Window { skip: first.skip, top: top.unwrap_or(first.top) })
}

fn out_of_range(name: &str) -> GraphError {
    let text = format!(
        "Specified argument was out of the range of valid values. (Parameter '{name}'; at most \
         {PAGE_MAX} rows make a page)"
    );
    GraphError::request("InvalidArgument", &text)
}

/// A token is opaque to clients. It names its query, so that it is not used with another.
fn token(next: &Window, query: &str) -> String {
    STANDARD.encode(json!({ "skip": next.skip, "top": next.top, "of": stamp(query) }).to_string())
}

fn read_token(token: &str, query: &str) -> Option<Window> {
    let token: Value = serde_json::from_slice(&STANDARD.decode(token).ok()?).ok()?;
    let number = |name: &str| usize::try_from(token[name].as_u64()?).ok();
    let window = Window { skip: number("skip")?, top: number("top")?.clamp(1, PAGE_MAX) };
    (token["of"] == stamp(query)).then_some(window)
}

fn stamp(query: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, query.as_bytes());
    STANDARD.encode(&digest.as_ref()[..9])
}

fn data(options: &Value, schema: &Schema, rows: Vec<Row>) -> Result<Value, GraphError> {
    let format = options["resultFormat"].as_str().unwrap_or("objectArray");
    if format.eq_ignore_ascii_case("objectArray") {
        return Ok(rows.into_iter().map(Value::Object).collect());
    }
    if !format.eq_ignore_ascii_case("table") {
        let text = format!("'{format}' is not a result format.");
        return Err(GraphError::request("InvalidRequestContent", &text));
    }
    let columns: Vec<Value> = schema
        .0
        .iter()
        .map(|column| json!({ "name": column.name, "type": column.kind.table_word() }))
        .collect();
    let cells = |mut row: Row| -> Value {
        let names = schema.0.iter().map(|column| column.name.as_str());
        names.map(|name| row.remove(name).unwrap_or(Value::Null)).collect()
    };
    let rows: Vec<Value> = rows.into_iter().map(cells).collect();
    Ok(json!({ "columns": columns, "rows": rows }))
}
