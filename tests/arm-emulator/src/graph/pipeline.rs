//! The steps of a query: a table of rows in, a table of rows out.
//!
//! Must never: change the rows that were given; a step that makes columns makes new rows.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Value, json};

use super::GraphError;
use super::evaluate::{Row, Scope, text_of};
use super::summarize::summarize;
use super::syntax::{Expression, Named, Operator, Piece, SortKey};
use super::typing::{Column, Schema, ValueKind};

/// Rows and their columns.
pub(super) struct Table<'a> {
    pub(super) schema: Schema,
    pub(super) rows: Vec<Cow<'a, Row>>,
}

/// The tables that there are; `microsoft.compute` and the like live in the first.
const TABLES: [&str; 5] =
    ["resources", "computeresources", "healthresources", "resourcecontainers", "spotresources"];

/// The member of a row that says its table; the rest of the row is its columns.
const TABLE_MEMBER: &str = "table";

impl<'a> Table<'a> {
    /// The rows of the table `name`. A row without a table belongs to `resources`.
    pub(super) fn open(name: &str, rows: &[&'a Value]) -> Result<Table<'a>, GraphError> {
        if !TABLES.iter().any(|table| table.eq_ignore_ascii_case(name)) {
            return Err(GraphError::UnknownTable(name.to_owned()));
        }
        let is_here = |row: &&Row| {
            let table = row.get(TABLE_MEMBER).and_then(Value::as_str).unwrap_or(TABLES[0]);
            table.eq_ignore_ascii_case(name)
        };
        let rows = rows.iter().filter_map(|row| row.as_object()).filter(is_here);
        Ok(Table { schema: Schema::of_tables(), rows: rows.map(Cow::Borrowed).collect() })
    }

    /// Runs one step.
    pub(super) fn apply(mut self, operator: &Operator) -> Result<Table<'a>, GraphError> {
        match operator {
            Operator::Where(condition) => self.filter(condition)?,
            Operator::Project(columns) => return self.project(columns, "project", false),
            Operator::Extend(columns) => return self.project(columns, "extend", true),
            Operator::ProjectAway(names) => self.drop_columns(names)?,
            Operator::Order(keys) => self.sort(keys, "order")?,
            Operator::Take(rows) => self.rows.truncate(*rows),
            Operator::Top { rows, keys } => {
                self.sort(keys, "top")?;
                self.rows.truncate(*rows);
            }
            Operator::Count => return Ok(self.count()),
            Operator::Summarize { aggregates, keys } => {
                return summarize(&self, aggregates, keys, "summarize");
            }
            Operator::Distinct(columns) => return self.distinct(columns),
            Operator::Parse { from, pattern } => self.parse(from, pattern)?,
        }
        Ok(self)
    }

    fn filter(&mut self, condition: &Expression) -> Result<(), GraphError> {
        self.schema.need_truth(condition, "where")?;
        let schema = &self.schema;
        self.rows.retain(|row| Scope { row, schema }.is_true(condition));
        Ok(())
    }

    /// Makes columns: these alone, or these beside (and over) the present ones.
    fn project(
        &self,
        columns: &[Named],
        operator: &str,
        keep: bool,
    ) -> Result<Table<'a>, GraphError> {
        let named = name_columns(&self.schema, columns, operator)?;
        let mut schema = if keep { self.schema.clone() } else { Schema::default() };
        for (column, _) in &named {
            schema.set(&column.name, column.kind);
        }
        let rows = self.rows.iter().map(|row| {
            let scope = Scope { row, schema: &self.schema };
            let mut made = if keep { row.as_ref().clone() } else { Row::new() };
            for (column, value) in &named {
                made.insert(column.name.clone(), scope.value(value).into_owned());
            }
            Cow::Owned(made)
        });
        Ok(Table { rows: rows.collect(), schema })
    }

    fn drop_columns(&mut self, names: &[String]) -> Result<(), GraphError> {
        for name in names {
            self.schema.kind_of(&Expression::Column(name.clone()), "project-away")?;
        }
        self.schema.0.retain(|column| !names.contains(&column.name));
        Ok(())
    }

    fn sort(&mut self, keys: &[SortKey], operator: &str) -> Result<(), GraphError> {
        for key in keys {
            self.schema.need_scalar(&key.value, operator)?;
        }
        let schema = &self.schema;
        let rows = std::mem::take(&mut self.rows);
        let mut keyed: Vec<(Vec<Value>, Cow<'a, Row>)> = rows
            .into_iter()
            .map(|row| {
                let scope = Scope { row: &row, schema };
                let values = keys.iter().map(|key| scope.value(&key.value).into_owned());
                (values.collect(), row)
            })
            .collect();
        keyed.sort_by(|(left, _), (right, _)| {
            let each = keys.iter().zip(left.iter().zip(right));
            let orders = each.map(|(key, (left, right))| key_order(key, left, right));
            orders.fold(Ordering::Equal, Ordering::then)
        });
        self.rows = keyed.into_iter().map(|(_, row)| row).collect();
        Ok(())
    }

    fn count(&self) -> Table<'a> {
        let row = Row::from_iter([("Count".to_owned(), json!(self.rows.len()))]);
        let column = Column { name: "Count".into(), kind: ValueKind::Long };
        Table { schema: Schema(vec![column]), rows: vec![Cow::Owned(row)] }
    }

    fn distinct(&self, columns: &[Named]) -> Result<Table<'a>, GraphError> {
        let all = || {
            let names = self.schema.0.iter().map(|column| column.name.clone());
            names.map(|name| Named { name: None, value: Expression::Column(name) }).collect()
        };
        let columns = if columns.is_empty() { all() } else { columns.to_vec() };
        summarize(self, &[], &columns, "distinct")
    }

    /// `parse`: every row stays; where the pattern does not fit, its columns are empty.
    fn parse(&mut self, from: &Expression, pattern: &[Piece]) -> Result<(), GraphError> {
        self.schema.kind_of(from, "parse")?;
        let schema = self.schema.clone();
        for piece in pattern {
            if let Piece::Column(name) = piece {
                self.schema.set(name, ValueKind::Text);
            }
        }
        for row in &mut self.rows {
            let text = text_of(&Scope { row: &*row, schema: &schema }.value(from));
            let found = fit(&text, pattern).unwrap_or_default();
            let made = row.to_mut();
            for piece in pattern {
                let Piece::Column(name) = piece else { continue };
                let value = found.iter().find(|(column, _)| column == name);
                made.insert(name.clone(), json!(value.map_or("", |(_, value)| value)));
            }
        }
        Ok(())
    }

    /// The rows as they are shown: every column of the schema, and no other member.
    pub(super) fn shown(&self) -> Vec<Row> {
        let shown = |row: &Cow<'_, Row>| {
            let scope = Scope { row, schema: &self.schema };
            let column = |column: &Column| {
                let value = Expression::Column(column.name.clone());
                (column.name.clone(), scope.value(&value).into_owned())
            };
            self.schema.0.iter().map(column).collect()
        };
        self.rows.iter().map(shown).collect()
    }
}

/// The names and kinds of columns to be made. One without a name gets Kusto's: `Column1` and so on.
pub(super) fn name_columns<'e>(
    schema: &Schema,
    columns: &'e [Named],
    operator: &str,
) -> Result<Vec<(Column, &'e Expression)>, GraphError> {
    let mut named: Vec<(Column, &Expression)> = Vec::with_capacity(columns.len());
    let mut nameless = 0;
    for column in columns {
        let kind = schema.kind_of(&column.value, operator)?;
        let own = column.name.clone().or_else(|| column.value.own_name());
        let name = own.unwrap_or_else(|| {
            nameless += 1;
            format!("Column{nameless}")
        });
        if named.iter().any(|(other, _)| other.name == name) {
            let text = format!("'{operator}' operator: a column named '{name}' already exists");
            return Err(GraphError::Semantic(text));
        }
        named.push((Column { name, kind }, &column.value));
    }
    Ok(named)
}

fn key_order(key: &SortKey, left: &Value, right: &Value) -> Ordering {
    let nulls = match (left.is_null(), right.is_null()) {
        (true, true) => return Ordering::Equal,
        (true, false) => Some(Ordering::Less),
        (false, true) => Some(Ordering::Greater),
        (false, false) => None,
    };
    if let Some(order) = nulls {
        return if key.nulls_first { order } else { order.reverse() };
    }
    let order = value_order(left, right);
    if key.ascending { order } else { order.reverse() }
}

/// The order of two values of one kind; text goes by its bytes, as Kusto has it.
pub(super) fn value_order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_f64(), right.as_f64());
            left.partial_cmp(&right).unwrap_or(Ordering::Equal)
        }
        (left, right) => text_of(left).cmp(&text_of(right)),
    }
}

/// The columns that a pattern finds in a text, or `None` when it does not fit.
fn fit<'t, 'p>(text: &'t str, pattern: &'p [Piece]) -> Option<Vec<(&'p str, &'t str)>> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut open: Option<&Piece> = None;
    let mut close = |open: &mut Option<&'p Piece>, value: &'t str| {
        if let Some(Piece::Column(name)) = open.take() {
            found.push((name.as_str(), value));
        }
    };
    for piece in pattern {
        let Piece::Text(wanted) = piece else {
            // Two open pieces side by side: the first gets nothing.
            close(&mut open, "");
            open = Some(piece);
            continue;
        };
        let at = rest.find(wanted.as_str())?;
        if open.is_none() && at > 0 {
            return None;
        }
        close(&mut open, &rest[..at]);
        rest = &rest[at + wanted.len()..];
    }
    if open.is_none() && !rest.is_empty() {
        return None;
    }
    close(&mut open, rest);
    Some(found)
}
