//! Queries against a few rows. Expected values are worked out by hand from the language's
//! reference.

mod paging;

use super::*;
use proptest::prelude::*;

fn vm(name: &str, extra: Value) -> Value {
    let id = format!(
        "/subscriptions/S1/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/{name}"
    );
    let mut row = json!({
        "id": id, "name": name, "type": "microsoft.compute/virtualmachines",
        "location": "westeurope", "resourceGroup": "rg", "subscriptionId": "S1",
        "properties": {},
    });
    for (member, value) in extra.as_object().unwrap() {
        row[member] = value.clone();
    }
    row
}

fn rows() -> Vec<Value> {
    vec![
        vm(
            "n2",
            json!({
                "tags": { "azslurm-cluster": "alpha", "Who": "It's me" }, "zones": ["1"],
                "properties": {
                    "hardwareProfile": { "vmSize": "Standard_D2s_v5" }, "cores": 2,
                    "provisioningState": "Succeeded",
                    "extended": { "instanceView": {
                        "powerState": { "code": "PowerState/running" },
                    } },
                },
            }),
        ),
        vm(
            "n1",
            json!({
                "tags": { "azslurm-cluster": "alpha" },
                "properties": {
                    "hardwareProfile": { "vmSize": "Standard_HB120rs_v3" }, "cores": 120,
                    "provisioningState": "Failed",
                },
            }),
        ),
        vm("N3", json!({ "location": "northeurope", "properties": { "cores": 2, "on": true } })),
        json!({
            "id": "/subscriptions/S2/x", "name": "disk-1", "type": "microsoft.compute/disks",
            "location": "westeurope", "subscriptionId": "S2", "resourceGroup": "rg",
        }),
        json!({ "table": "HealthResources", "id": "/h", "name": "h", "type": "t" }),
    ]
}

#[track_caller]
fn names(query: &str) -> Vec<String> {
    let rows = run(query, &rows()).unwrap_or_else(|error| panic!("{query}: {error}"));
    rows.iter().map(|row| row["name"].as_str().unwrap_or("?").to_owned()).collect()
}

#[track_caller]
fn names_where(condition: &str) -> Vec<String> {
    names(&format!("resources | where {condition} | order by name asc"))
}

#[test]
fn the_query_that_azslurm_sends_gives_its_columns() {
    let query = "resources | where type =~ 'Microsoft.Compute/virtualMachines' and \
        tags['azslurm-cluster'] == 'alpha' | project id, name, location, resourceGroup, tags, \
        zones, vmSize=properties.hardwareProfile.vmSize, prov=properties.provisioningState, \
        power=properties.extended.instanceView.powerState.code | order by id asc";
    let found = run(query, &rows()).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["name"], "n1");
    assert_eq!(found[0]["power"], Value::Null);
    assert_eq!(
        found[1],
        json!({
            "id": rows()[0]["id"],
            "name": "n2", "location": "westeurope", "resourceGroup": "rg",
            "tags": { "azslurm-cluster": "alpha", "Who": "It's me" }, "zones": ["1"],
            "vmSize": "Standard_D2s_v5", "prov": "Succeeded", "power": "PowerState/running",
        })
    );
}

#[test]
fn equality_minds_case_and_its_sibling_does_not() {
    assert_eq!(names_where("name == 'n3'"), [""; 0]);
    assert_eq!(names_where("name == 'N3'"), ["N3"]);
    assert_eq!(names_where("name =~ 'n3'"), ["N3"]);
    assert_eq!(names_where("name != 'n1'"), ["N3", "disk-1", "n2"]);
    assert_eq!(names_where("name !~ 'N1'"), ["N3", "disk-1", "n2"]);
    assert_eq!(names_where("name in ('N1', 'n2')"), ["n2"]);
    assert_eq!(names_where("name in~ ('N1', 'N2')"), ["n1", "n2"]);
    assert_eq!(names_where("name !in~ ('N1', 'N2')"), ["N3", "disk-1"]);
    assert_eq!(names_where("name !in ('N1', 'n2')"), ["N3", "disk-1", "n1"]);
}

#[test]
fn text_is_searched_by_term_by_part_and_from_its_ends() {
    assert_eq!(names_where("name has 'disk'"), ["disk-1"]);
    assert_eq!(names_where("name has 'dis'"), [""; 0]);
    assert_eq!(names_where("type has 'VIRTUALMACHINES'"), ["N3", "n1", "n2"]);
    assert_eq!(names_where("type has_cs 'VIRTUALMACHINES'"), [""; 0]);
    assert_eq!(names_where("name contains 'IS'"), ["disk-1"]);
    assert_eq!(names_where("name !contains 'n'"), ["disk-1"]);
    assert_eq!(names_where("name startswith 'N'"), ["N3", "n1", "n2"]);
    assert_eq!(names_where("name startswith_cs 'N'"), ["N3"]);
    assert_eq!(names_where("name !startswith 'n' or name endswith '3'"), ["N3", "disk-1"]);
}

#[test]
fn and_binds_tighter_than_or_and_parentheses_tighter_than_both() {
    let one = "name == 'n1' or name == 'n2' and location == 'nowhere'";
    assert_eq!(names_where(one), ["n1"]);
    let other = "(name == 'n1' or name == 'n2') and location == 'westeurope'";
    assert_eq!(names_where(other), ["n1", "n2"]);
    assert_eq!(names_where("not(name =~ 'n1' or name =~ 'n2')"), ["N3", "disk-1"]);
}

#[test]
fn what_is_not_there_is_null_in_a_path_and_empty_text_in_a_column() {
    assert_eq!(names_where("isnull(properties.provisioningState)"), ["N3", "disk-1"]);
    assert_eq!(names_where("isnotempty(properties.provisioningState)"), ["n1", "n2"]);
    assert_eq!(names_where("isempty(kind) and not(isnull(kind))"), ["N3", "disk-1", "n1", "n2"]);
    assert_eq!(names_where("tags.Who != 'x'"), ["N3", "disk-1", "n1", "n2"]);
    assert_eq!(names_where("tags.Who == tags.nobody"), [""; 0]);
    assert_eq!(names_where("tostring(tags.Who) == ''"), ["N3", "disk-1", "n1"]);
}

#[test]
fn literals_and_paths_come_in_all_their_spellings() {
    assert_eq!(names_where(r"tags.Who == 'It\'s me'"), ["n2"]);
    assert_eq!(names_where("tags['Who'] == \"It's me\""), ["n2"]);
    assert_eq!(names_where("tags[\"Who\"] == @'It''s me'"), ["n2"]);
    assert_eq!(names_where("zones[0] == '1'"), ["n2"]);
    assert_eq!(names_where("properties.cores == 2"), ["N3", "n2"]);
    assert_eq!(names_where("properties.cores > 2.5 and properties.cores >= 120"), ["n1"]);
    assert_eq!(names_where("toint(properties.cores) < 100"), ["N3", "n2"]);
    assert_eq!(names_where("tobool(properties.on) == true"), ["N3"]);
    assert_eq!(names_where("tolower(name) == 'n3'"), ["N3"]);
    assert_eq!(names_where("array_length(split(name, '-')) == 2"), ["disk-1"]);
    assert_eq!(names_where("name == strcat('n', '1') // the end"), ["n1"]);
}

#[test]
fn an_order_is_downwards_unless_told_and_ordinal_in_text() {
    assert_eq!(names("resources | order by name"), ["n2", "n1", "disk-1", "N3"]);
    assert_eq!(names("resources | sort by location asc, name desc"), ["N3", "n2", "n1", "disk-1"]);
    let by_cores = "resources | order by toint(properties.cores)";
    assert_eq!(names(&format!("{by_cores} asc nulls last, name asc"))[3], "disk-1");
    assert_eq!(names(&format!("{by_cores} asc, name asc"))[0], "disk-1");
    assert_eq!(names("resources | top 1 by name asc"), ["N3"]);
}

#[test]
fn rows_are_limited_counted_and_grouped() {
    assert_eq!(names("resources | order by name asc | take 2"), ["N3", "disk-1"]);
    assert_eq!(names("resources | order by name asc | limit 1"), ["N3"]);
    assert_eq!(run("resources | count", &rows()).unwrap(), [json!({ "Count": 4 })]);
    assert_eq!(run("resources | where false | count", &rows()).unwrap(), [json!({ "Count": 0 })]);

    let query = "resources | summarize vms=count(), max(toint(properties.cores)) by location";
    let grouped = run(&format!("{query} | order by location asc"), &rows()).unwrap();
    assert_eq!(
        grouped,
        [
            json!({ "location": "northeurope", "vms": 1, "max_properties_cores": 2 }),
            json!({ "location": "westeurope", "vms": 3, "max_properties_cores": 120 }),
        ]
    );
    let distinct = run("resources | distinct location | order by location asc", &rows()).unwrap();
    assert_eq!(
        distinct,
        [json!({ "location": "northeurope" }), json!({ "location": "westeurope" })]
    );
    let none = run("resources | where false | summarize count()", &rows()).unwrap();
    assert_eq!(none, [json!({ "count_": 0 })]);
}

#[test]
fn columns_are_made_replaced_named_and_dropped() {
    let query = "resources | where name == 'n2' | extend size=tostring(properties.\
        hardwareProfile.vmSize), name=strcat(name, '!') | project name, size, \
        properties.hardwareProfile.vmSize, tags['Who'], 1";
    assert_eq!(
        run(query, &rows()).unwrap(),
        [json!({
            "name": "n2!", "size": "Standard_D2s_v5", "tags_Who": "It's me",
            "properties_hardwareProfile_vmSize": "Standard_D2s_v5", "Column1": 1,
        })]
    );
    let away = run("resources | project name, location | project-away location", &rows()).unwrap();
    assert!(away.iter().all(|row| row.as_object().unwrap().len() == 1));
}

#[test]
fn parse_takes_a_text_apart() {
    let query = "resources | where name == 'n2' | parse id with * '/resourceGroups/' group '/' \
        * 'virtualMachines/' vm | project name, group, vm";
    let found = run(query, &rows()).unwrap();
    assert_eq!(found, [json!({ "name": "n2", "group": "RG", "vm": "n2" })]);
    let unfit = run("resources | parse name with 'x' rest | project rest", &rows()).unwrap();
    assert!(unfit.iter().all(|row| row["rest"] == ""));
}

#[test]
fn a_table_is_named_in_any_case_or_not_at_all() {
    assert_eq!(names("HEALTHRESOURCES"), ["h"]);
    assert_eq!(names("where name == 'n1'"), ["n1"]);
    assert_eq!(names("Resources").len(), 4);
    assert_eq!(names("computeresources"), [""; 0]);
    assert_eq!(run("Machines", &rows()), Err(GraphError::UnknownTable("Machines".into())));
}

#[test]
fn a_row_shows_every_column_of_its_table_and_no_other() {
    let found = run("healthresources", &rows()).unwrap();
    let row = found[0].as_object().unwrap();
    assert_eq!(row.len(), 16);
    assert_eq!((&row["kind"], &row["tags"]), (&json!(""), &Value::Null));
    assert!(!row.contains_key("table"));
}

#[track_caller]
fn refused(query: &str) -> Value {
    let request = json!({ "query": query });
    let answer = answer(&request, &rows());
    assert_eq!(answer.status, 400, "{query}: {}", answer.body);
    assert_eq!(answer.body["error"]["code"], "BadRequest");
    answer.body["error"]["details"].clone()
}

#[test]
fn what_is_no_query_is_refused_with_the_place() {
    let details = refused("resources | where name === 'x'");
    assert_eq!(details[0]["code"], "InvalidQuery");
    assert_eq!(details[1]["code"], "ParserFailure");
    assert_eq!(
        (&details[1]["line"], &details[1]["characterPositionInLine"]),
        (&json!(1), &json!(25))
    );
    for query in [
        "",
        "|",
        "resources |",
        "resources | wher x",
        "resources where x",
        "resources | where",
        "resources | where name ==",
        "resources | take x",
        "resources | where (name == 'x'",
        "resources | where name in ()",
        "resources | order name",
        "resources; resources",
        "resources | where tags.",
        "resources | where tags[",
        "resources | where name == 'x",
        "resources | project a=",
        "resources | Where true",
        "resources | take -1",
        "é €",
    ] {
        assert_eq!(refused(query)[0]["code"], "InvalidQuery", "{query}");
    }
}

#[test]
fn what_means_nothing_is_refused_even_without_rows() {
    for (query, text) in [
        ("resources | where nmae == 'x'", "Failed to resolve scalar expression named 'nmae'"),
        ("resources | project name | where id == ''", "named 'id'"),
        ("resources | where name == 1", "Cannot compare values of types string and long"),
        ("resources | where name > 'a'", "Cannot compare values"),
        ("resources | where name", "expected a boolean expression"),
        ("resources | where name.x == 1", "Path expression source"),
        ("resources | order by properties.cores", "is of a 'dynamic' type"),
        ("resources | summarize count() by tags", "is of a 'dynamic' type"),
        ("resources | where foo(name)", "Unknown function: 'foo'"),
        ("resources | where isempty()", "expects 1 argument"),
        ("resources | project name, name", "already exists"),
    ] {
        let error = run(query, &[]).unwrap_err();
        assert!(matches!(error, GraphError::Semantic(_)), "{query}: {error:?}");
        assert!(error.to_string().contains(text), "{query}: {error}");
    }
}

#[test]
fn what_only_azure_has_is_refused_by_another_code() {
    for query in [
        "resources | join kind=inner (resources) on id",
        "resources | union resources",
        "resources | where name matches regex 'x'",
        "resources | where now() > now()",
        "resources | summarize percentile(1)",
        "let x = 1; resources",
    ] {
        assert_eq!(refused(query)[0]["code"], "NotEmulated", "{query}");
    }
}

#[test]
fn deep_nesting_is_refused_and_long_chains_are_not() {
    let deep = format!("resources | where {}true{}", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(refused(&deep)[1]["expectedToken"], "less nesting");
    let path = format!("resources | where isnull(tags{})", ".a".repeat(5000));
    assert_eq!(refused(&path)[1]["expectedToken"], "a shorter path");
    let chain = vec!["name == 'n1'"; 5000].join(" or ");
    assert_eq!(names_where(&chain), ["n1"]);
}

/// Words and signs that a query may be made of.
const SCRAPS: &str = "| where project extend order take summarize count() by name tags properties \
    zones . [ ] ( ) == =~ in has and or not 'a' 1 2.5 tostring( split( , = asc parse with * \
    distinct iff( top !in~ - coalesce(";

proptest! {
    #[test]
    fn arbitrary_queries_never_panic(
        scraps in proptest::collection::vec(any::<proptest::sample::Index>(), 0..14)
    ) {
        let known: Vec<&str> = SCRAPS.split(' ').collect();
        let query: Vec<&str> = scraps.iter().map(|scrap| *scrap.get(&known)).collect();
        let _ = run(&format!("resources {}", query.join(" ")), &rows());
    }

    #[test]
    fn an_equality_finds_exactly_the_rows_that_have_the_text(
        wanted in ".{0,6}", other in ".{0,6}"
    ) {
        let tagged = |name: &str, text: &str| vm(name, json!({ "tags": { "t": text } }));
        let rows = [tagged("a", &wanted), tagged("b", &other)];
        let quoted = wanted.replace('\\', "\\\\").replace('\'', "\\'");
        let found = run(&format!("resources | where tags.t == '{quoted}'"), &rows).unwrap();
        prop_assert_eq!(found.len(), if wanted == other { 2 } else { 1 });
    }
}
