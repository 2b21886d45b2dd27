//! The value of an expression in one row. The expression has passed `typing.rs`, so whatever is
//! amiss here is the data's: it gives null, never an error.
//!
//! Must never: look at more than one row.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::syntax::{Compare, Comparison, Expression, In};
use super::typing::{Schema, ValueKind};

/// A row: a column's name to its value. A column that is not there is null, or empty text.
pub(super) type Row = Map<String, Value>;

static NULL: Value = Value::Null;
static EMPTY: Value = Value::String(String::new());

/// One row and what its columns are.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) row: &'a Row,
    pub(super) schema: &'a Schema,
}

impl<'a> Scope<'a> {
    /// Whether an expression is true; null is not.
    pub(super) fn is_true(self, expression: &'a Expression) -> bool {
        *self.value(expression) == Value::Bool(true)
    }

    /// The value of an expression.
    pub(super) fn value(self, expression: &'a Expression) -> Cow<'a, Value> {
        match expression {
            Expression::Literal(value) => Cow::Borrowed(value),
            Expression::Column(name) => Cow::Borrowed(self.column(name)),
            Expression::Member(of, name) => member(self.value(of), name),
            Expression::Index(of, index) => match self.value(index).as_ref() {
                Value::String(name) => member(self.value(of), name),
                Value::Number(number) => {
                    let position = number.as_u64().and_then(|n| usize::try_from(n).ok());
                    Cow::Owned(position.map_or(Value::Null, |n| self.value(of)[n].clone()))
                }
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                    Cow::Borrowed(&NULL)
                }
            },
            Expression::Call { function, arguments } => {
                let values: Vec<_> = arguments.iter().map(|inner| self.value(inner)).collect();
                let is_text = arguments.first().is_some_and(|first| self.is_text(first));
                Cow::Owned(call(function, &values, is_text))
            }
            Expression::All(parts) => truth(parts.iter().all(|part| self.is_true(part))),
            Expression::Any(parts) => truth(parts.iter().any(|part| self.is_true(part))),
            Expression::Compare(compare) => Cow::Owned(self.compare(compare)),
            Expression::In(inside) => truth(self.is_in(inside) != inside.negated),
        }
    }

    fn column(self, name: &str) -> &'a Value {
        match self.row.get(name) {
            Some(Value::Null) | None if self.schema.find(name) == Some(ValueKind::Text) => &EMPTY,
            Some(value) => value,
            None => &NULL,
        }
    }

    fn is_text(self, expression: &Expression) -> bool {
        self.schema.kind_of(expression, "").is_ok_and(|kind| kind == ValueKind::Text)
    }

    fn compare(self, compare: &'a Compare) -> Value {
        let (left, right) = (self.value(&compare.left), self.value(&compare.right));
        let holds = match compare.comparison {
            Comparison::Equal => match (left.is_null(), right.is_null()) {
                // Kusto: null equals null is null; null equals anything else is false.
                (true, true) => return Value::Null,
                (true, false) | (false, true) => Some(false),
                (false, false) => Some(equal(&left, &right)),
            },
            Comparison::Less => number_order(&left, &right).map(|order| order.is_lt()),
            Comparison::LessOrEqual => number_order(&left, &right).map(|order| order.is_le()),
            Comparison::Greater => number_order(&left, &right).map(|order| order.is_gt()),
            Comparison::GreaterOrEqual => number_order(&left, &right).map(|order| order.is_ge()),
            Comparison::EqualAnyCase
            | Comparison::Has
            | Comparison::Contains
            | Comparison::StartsWith
            | Comparison::EndsWith => {
                let (mut left, mut right) = (text_of(&left), text_of(&right));
                if !compare.case_sensitive {
                    (left, right) = (left.to_lowercase(), right.to_lowercase());
                }
                Some(text_holds(compare.comparison, &left, &right))
            }
        };
        holds.map_or(Value::Null, |holds| Value::Bool(holds != compare.negated))
    }

    fn is_in(self, inside: &'a In) -> bool {
        let value = self.value(&inside.value);
        let is_same = |element: &Value| {
            if inside.case_sensitive {
                return equal(&value, element);
            }
            text_of(&value).to_lowercase() == text_of(element).to_lowercase()
        };
        inside.list.iter().any(|element| {
            let element = self.value(element);
            match element.as_array() {
                Some(elements) => elements.iter().any(is_same),
                None => is_same(&element),
            }
        })
    }
}

fn truth(is: bool) -> Cow<'static, Value> {
    Cow::Owned(Value::Bool(is))
}

fn member<'a>(of: Cow<'a, Value>, name: &str) -> Cow<'a, Value> {
    match of {
        Cow::Borrowed(value) => Cow::Borrowed(value.get(name).unwrap_or(&NULL)),
        Cow::Owned(value) => Cow::Owned(value.get(name).cloned().unwrap_or(Value::Null)),
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left == right,
        _not_numbers => left == right,
    }
}

fn number_order(left: &Value, right: &Value) -> Option<std::cmp::Ordering> {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _not_whole => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn text_holds(comparison: Comparison, left: &str, right: &str) -> bool {
    match comparison {
        Comparison::EqualAnyCase | Comparison::Equal => left == right,
        Comparison::Has => has_term(left, right),
        Comparison::Contains => left.contains(right),
        Comparison::StartsWith => left.starts_with(right),
        Comparison::EndsWith => left.ends_with(right),
        Comparison::Less
        | Comparison::LessOrEqual
        | Comparison::Greater
        | Comparison::GreaterOrEqual => false,
    }
}

/// `has` finds whole terms: runs of letters and digits.
fn has_term(text: &str, term: &str) -> bool {
    if term.is_empty() {
        return true;
    }
    text.match_indices(term).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + term.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// What `tostring` makes of a value; nothing of null.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A function of values. `is_text` says that the first argument can only be text, which is never
/// null.
fn call(function: &str, values: &[Cow<'_, Value>], is_text: bool) -> Value {
    let argument = |at: usize| values.get(at).map_or(&NULL, Cow::as_ref);
    let first = argument(0);
    match function {
        "not" => first.as_bool().map_or(Value::Null, |is| Value::Bool(!is)),
        "tostring" => Value::String(text_of(first)),
        "tolower" => Value::String(text_of(first).to_lowercase()),
        "toupper" => Value::String(text_of(first).to_uppercase()),
        "toint" | "tolong" => whole_number(first),
        "todouble" => text_of(first).parse::<f64>().map_or(Value::Null, |number| json!(number)),
        "tobool" => truth_of(first),
        "isempty" => Value::Bool(text_of(first).is_empty()),
        "isnotempty" => Value::Bool(!text_of(first).is_empty()),
        "isnull" => Value::Bool(first.is_null() && !is_text),
        "isnotnull" => Value::Bool(!first.is_null() || is_text),
        "strlen" => json!(text_of(first).chars().count()),
        "strcat" => Value::String(values.iter().map(|value| text_of(value)).collect()),
        "substring" => substring(first, argument(1), values.get(2).map(Cow::as_ref)),
        "split" => {
            let (text, separator) = (text_of(first), text_of(argument(1)));
            json!(text.split(separator.as_str()).collect::<Vec<_>>())
        }
        "array_length" => first.as_array().map_or(Value::Null, |all| json!(all.len())),
        "parse_json" | "todynamic" => {
            let parsed = first.as_str().and_then(|text| serde_json::from_str(text).ok());
            parsed.unwrap_or_else(|| first.clone())
        }
        "pack_array" => values.iter().map(|value| value.clone().into_owned()).collect(),
        "iff" | "iif" if *first == Value::Bool(true) => argument(1).clone(),
        "iff" | "iif" => argument(2).clone(),
        "coalesce" => {
            let known = values.iter().find(|value| !text_of(value).is_empty());
            known.map_or(Value::Null, |value| value.clone().into_owned())
        }
        // The list of functions is in `typing.rs`, which has let this one pass.
        unknown => unreachable!("function '{unknown}' is listed but not written"),
    }
}

fn whole_number(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_i64().map_or_else(
            || number.as_f64().map_or(Value::Null, |real| json!(real.trunc() as i64)),
            |whole| json!(whole),
        ),
        Value::Bool(is) => json!(i64::from(*is)),
        Value::String(text) => text.trim().parse::<i64>().map_or(Value::Null, |n| json!(n)),
        Value::Null | Value::Array(_) | Value::Object(_) => Value::Null,
    }
}

fn truth_of(value: &Value) -> Value {
    match value {
        Value::Bool(is) => Value::Bool(*is),
        Value::Number(number) => Value::Bool(number.as_f64() != Some(0.0)),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Value::Bool(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Value::Bool(false),
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => Value::Null,
    }
}

fn substring(text: &Value, start: &Value, length: Option<&Value>) -> Value {
    let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    let start = number(start).unwrap_or(0);
    let length = length.map_or(Some(usize::MAX), number).unwrap_or(0);
    Value::String(text_of(text).chars().skip(start).take(length).collect())
}
