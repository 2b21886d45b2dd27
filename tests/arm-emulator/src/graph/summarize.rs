//! `summarize` and `distinct`: rows that share their keys become one.
//!
//! Must never: depend on the order of rows, but for the order in which groups come out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::GraphError;
use super::evaluate::{Row, Scope};
use super::pipeline::{Table, name_columns, value_order};
use super::syntax::{Aggregate, AggregateFunction, Expression, Named};
use super::typing::{Column, Schema, ValueKind};

struct Group {
    keys: Vec<Value>,
    /// Positions of its rows.
    rows: Vec<usize>,
}

/// Groups a table's rows. Without keys there is one group, even of no rows.
pub(super) fn summarize<'a>(
    table: &Table<'a>,
    aggregates: &[Aggregate],
    keys: &[Named],
    operator: &str,
) -> Result<Table<'a>, GraphError> {
    for key in keys {
        table.schema.need_scalar(&key.value, operator)?;
    }
    let keys = name_columns(&table.schema, keys, operator)?;
    let mut schema = Schema(keys.iter().map(|(column, _)| column.clone()).collect());
    let mut names = Vec::new();
    for aggregate in aggregates {
        let column = aggregate_column(&table.schema, aggregate, operator)?;
        schema.set(&column.name, column.kind);
        names.push(column.name);
    }
    let rows = groups(table, &keys).into_iter().map(|group| {
        let columns = keys.iter().map(|(column, _)| column.name.clone());
        let mut made: Row = columns.zip(group.keys).collect();
        for (aggregate, name) in aggregates.iter().zip(&names) {
            made.insert(name.clone(), aggregated(table, aggregate, &group.rows));
        }
        Cow::Owned(made)
    });
    Ok(Table { rows: rows.collect(), schema })
}

fn groups(table: &Table<'_>, keys: &[(Column, &Expression)]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    if keys.is_empty() {
        return vec![Group { keys: Vec::new(), rows: (0..table.rows.len()).collect() }];
    }
    for (position, row) in table.rows.iter().enumerate() {
        let scope = Scope { row, schema: &table.schema };
        let values: Vec<_> = keys.iter().map(|(_, key)| scope.value(key).into_owned()).collect();
        let at = *known.entry(json!(values).to_string()).or_insert_with(|| {
            groups.push(Group { keys: values, rows: Vec::new() });
            groups.len() - 1
        });
        groups[at].rows.push(position);
    }
    groups
}

fn aggregate_column(
    schema: &Schema,
    aggregate: &Aggregate,
    operator: &str,
) -> Result<Column, GraphError> {
    let over = aggregate.over.as_ref();
    let over_kind = over.map(|over| schema.kind_of(over, operator)).transpose()?;
    let (prefix, kind) = match aggregate.function {
        AggregateFunction::Count => ("count", ValueKind::Long),
        AggregateFunction::CountIf => ("countif", ValueKind::Long),
        AggregateFunction::DistinctCount => ("dcount", ValueKind::Long),
        AggregateFunction::Min => ("min", over_kind.unwrap_or(ValueKind::Dynamic)),
        AggregateFunction::Max => ("max", over_kind.unwrap_or(ValueKind::Dynamic)),
        AggregateFunction::Sum => ("sum", over_kind.unwrap_or(ValueKind::Dynamic)),
        AggregateFunction::MakeList => ("list", ValueKind::Dynamic),
        AggregateFunction::MakeSet => ("set", ValueKind::Dynamic),
    };
    let of = over.and_then(Expression::own_name).unwrap_or_default();
    let name = aggregate.name.clone().unwrap_or_else(|| format!("{prefix}_{of}"));
    Ok(Column { name, kind })
}

fn aggregated(table: &Table<'_>, aggregate: &Aggregate, rows: &[usize]) -> Value {
    let Some(over) = aggregate.over.as_ref() else { return json!(rows.len()) };
    let values: Vec<Value> = rows
        .iter()
        .map(|at| Scope { row: &table.rows[*at], schema: &table.schema }.value(over).into_owned())
        .collect();
    let known = || values.iter().filter(|value| !value.is_null());
    match aggregate.function {
        AggregateFunction::Count => json!(rows.len()),
        AggregateFunction::CountIf => json!(known().filter(|v| **v == Value::Bool(true)).count()),
        AggregateFunction::DistinctCount => json!(distinct(known()).len()),
        AggregateFunction::Min => {
            known().min_by(|a, b| value_order(a, b)).cloned().unwrap_or(Value::Null)
        }
        AggregateFunction::Max => {
            known().max_by(|a, b| value_order(a, b)).cloned().unwrap_or(Value::Null)
        }
        AggregateFunction::Sum => sum(known()),
        AggregateFunction::MakeList => known().cloned().collect(),
        AggregateFunction::MakeSet => distinct(known()).into_iter().collect(),
    }
}

fn sum<'v>(values: impl Iterator<Item = &'v Value>) -> Value {
    let mut whole = 0_i64;
    let mut real = 0.0;
    let mut is_whole = true;
    for value in values {
        real += value.as_f64().unwrap_or(0.0);
        match value.as_i64() {
            Some(number) => whole = whole.saturating_add(number),
            None => is_whole = false,
        }
    }
    if is_whole { json!(whole) } else { json!(real) }
}

fn distinct<'v>(values: impl Iterator<Item = &'v Value>) -> Vec<Value> {
    let mut seen = BTreeMap::new();
    for value in values {
        let next = seen.len();
        seen.entry(value.to_string()).or_insert_with(|| (next, value.clone()));
    }
    let mut kept: Vec<_> = seen.into_values().collect();
    kept.sort_by_key(|(position, _)| *position);
    kept.into_iter().map(|(_, value)| value).collect()
}
