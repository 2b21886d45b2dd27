//! What kind of value each column and expression has, known before any row is looked at. This is
//! where a query that Azure would refuse for its meaning is refused, with rows or without.
//!
//! Must never: look at a row.

use serde_json::Value;

use super::GraphError;
use super::syntax::{Compare, Comparison, Expression};

/// The kinds that Kusto tells apart here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    Text,
    Long,
    Real,
    Bool,
    Dynamic,
}

impl ValueKind {
    fn word(self) -> &'static str {
        match self {
            ValueKind::Text => "string",
            ValueKind::Long => "long",
            ValueKind::Real => "real",
            ValueKind::Bool => "bool",
            ValueKind::Dynamic => "dynamic",
        }
    }

    /// The word of Resource Graph's table format.
    pub(super) fn table_word(self) -> &'static str {
        match self {
            ValueKind::Text => "string",
            ValueKind::Long => "integer",
            ValueKind::Real => "number",
            ValueKind::Bool => "boolean",
            ValueKind::Dynamic => "object",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, ValueKind::Long | ValueKind::Real)
    }

    fn compares_with(self, other: ValueKind) -> bool {
        let is_open = self == ValueKind::Dynamic || other == ValueKind::Dynamic;
        is_open || self == other || (self.is_number() && other.is_number())
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: ValueKind,
}

/// The columns at one place of the pipeline, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Schema(pub(super) Vec<Column>);

/// The columns of every table, as Resource Graph has them.
const TABLE_COLUMNS: [(&str, ValueKind); 16] = [
    ("id", ValueKind::Text),
    ("name", ValueKind::Text),
    ("type", ValueKind::Text),
    ("tenantId", ValueKind::Text),
    ("kind", ValueKind::Text),
    ("location", ValueKind::Text),
    ("resourceGroup", ValueKind::Text),
    ("subscriptionId", ValueKind::Text),
    ("managedBy", ValueKind::Text),
    ("sku", ValueKind::Dynamic),
    ("plan", ValueKind::Dynamic),
    ("properties", ValueKind::Dynamic),
    ("tags", ValueKind::Dynamic),
    ("identity", ValueKind::Dynamic),
    ("zones", ValueKind::Dynamic),
    ("extendedLocation", ValueKind::Dynamic),
];

impl Schema {
    /// The columns that a query starts with.
    pub(super) fn of_tables() -> Schema {
        let column = |(name, kind): (&str, ValueKind)| Column { name: name.into(), kind };
        Schema(TABLE_COLUMNS.into_iter().map(column).collect())
    }

    pub(super) fn find(&self, name: &str) -> Option<ValueKind> {
        self.0.iter().find(|column| column.name == name).map(|column| column.kind)
    }

    /// Adds a column, or gives the one of that name another kind.
    pub(super) fn set(&mut self, name: &str, kind: ValueKind) {
        match self.0.iter_mut().find(|column| column.name == name) {
            Some(column) => column.kind = kind,
            None => self.0.push(Column { name: name.to_owned(), kind }),
        }
    }

    /// The kind of an expression.
    ///
    /// # Errors
    /// In Kusto's words, when a name is unknown or kinds do not go together; `operator` is the
    /// step of the pipeline that the expression stands in.
    pub(super) fn kind_of(
        &self,
        expression: &Expression,
        operator: &str,
    ) -> Result<ValueKind, GraphError> {
        let kind_of = |inner: &Expression| self.kind_of(inner, operator);
        match expression {
            Expression::Literal(value) => Ok(literal_kind(value)),
            Expression::Column(name) => self.find(name).ok_or_else(|| {
                GraphError::Semantic(format!(
                    "'{operator}' operator: Failed to resolve scalar expression named '{name}'"
                ))
            }),
            Expression::Member(of, _) => path_kind(kind_of(of)?),
            Expression::Index(of, index) => {
                kind_of(index)?;
                path_kind(kind_of(of)?)
            }
            Expression::Call { function, arguments } => {
                let kinds: Result<Vec<_>, _> = arguments.iter().map(kind_of).collect();
                call_kind(function, &kinds?)
            }
            Expression::All(parts) | Expression::Any(parts) => {
                for part in parts {
                    self.need_truth(part, operator)?;
                }
                Ok(ValueKind::Bool)
            }
            Expression::Compare(compare) => {
                check_compare(compare, kind_of(&compare.left)?, kind_of(&compare.right)?)
            }
            Expression::In(inside) => {
                let kind = kind_of(&inside.value)?;
                for element in &inside.list {
                    need_comparable(kind, kind_of(element)?)?;
                }
                Ok(ValueKind::Bool)
            }
        }
    }

    /// Refuses an expression that cannot be true or false.
    pub(super) fn need_truth(
        &self,
        expression: &Expression,
        operator: &str,
    ) -> Result<(), GraphError> {
        match self.kind_of(expression, operator)? {
            ValueKind::Bool | ValueKind::Dynamic => Ok(()),
            kind @ (ValueKind::Text | ValueKind::Long | ValueKind::Real) => {
                Err(GraphError::Semantic(format!(
                    "'{operator}' operator: expected a boolean expression, got one of type {}",
                    kind.word()
                )))
            }
        }
    }

    /// Refuses a dynamic expression where Kusto wants a scalar one: as a key.
    pub(super) fn need_scalar(
        &self,
        expression: &Expression,
        operator: &str,
    ) -> Result<ValueKind, GraphError> {
        let kind = self.kind_of(expression, operator)?;
        if kind != ValueKind::Dynamic {
            return Ok(kind);
        }
        let name = expression.own_name().unwrap_or_default();
        Err(GraphError::Semantic(format!(
            "'{operator}' operator: key '{name}' is of a 'dynamic' type. Please use an explicit \
             cast (for example, 'tostring({name})') as 'dynamic' type is not supported here."
        )))
    }
}

fn literal_kind(value: &Value) -> ValueKind {
    match value {
        Value::String(_) => ValueKind::Text,
        Value::Bool(_) => ValueKind::Bool,
        Value::Number(number) if number.is_i64() || number.is_u64() => ValueKind::Long,
        Value::Number(_) => ValueKind::Real,
        Value::Null | Value::Array(_) | Value::Object(_) => ValueKind::Dynamic,
    }
}

fn path_kind(source: ValueKind) -> Result<ValueKind, GraphError> {
    if source == ValueKind::Dynamic {
        return Ok(source);
    }
    Err(GraphError::Semantic(format!(
        "Path expression source must be of type 'dynamic'. Received a source of type {} instead",
        source.word()
    )))
}

/// Functions, how many arguments they take, and what they give. `None` gives what the second
/// argument is (`iff`, `coalesce`).
const FUNCTIONS: [(&str, usize, usize, Option<ValueKind>); 23] = [
    ("not", 1, 1, Some(ValueKind::Bool)),
    ("tostring", 1, 1, Some(ValueKind::Text)),
    ("tolower", 1, 1, Some(ValueKind::Text)),
    ("toupper", 1, 1, Some(ValueKind::Text)),
    ("toint", 1, 1, Some(ValueKind::Long)),
    ("tolong", 1, 1, Some(ValueKind::Long)),
    ("todouble", 1, 1, Some(ValueKind::Real)),
    ("tobool", 1, 1, Some(ValueKind::Bool)),
    ("isempty", 1, 1, Some(ValueKind::Bool)),
    ("isnotempty", 1, 1, Some(ValueKind::Bool)),
    ("isnull", 1, 1, Some(ValueKind::Bool)),
    ("isnotnull", 1, 1, Some(ValueKind::Bool)),
    ("strlen", 1, 1, Some(ValueKind::Long)),
    ("strcat", 1, 64, Some(ValueKind::Text)),
    ("substring", 2, 3, Some(ValueKind::Text)),
    ("split", 2, 2, Some(ValueKind::Dynamic)),
    ("array_length", 1, 1, Some(ValueKind::Long)),
    ("parse_json", 1, 1, Some(ValueKind::Dynamic)),
    ("todynamic", 1, 1, Some(ValueKind::Dynamic)),
    ("pack_array", 1, 64, Some(ValueKind::Dynamic)),
    ("iff", 3, 3, None),
    ("iif", 3, 3, None),
    ("coalesce", 2, 64, None),
];

/// Functions of Azure that this emulator does not have.
const NOT_EMULATED: [&str; 12] = [
    "ago",
    "now",
    "datetime",
    "todatetime",
    "extract",
    "replace_string",
    "bag_keys",
    "case",
    "indexof",
    "dynamic",
    "trim",
    "todecimal",
];

fn call_kind(function: &str, arguments: &[ValueKind]) -> Result<ValueKind, GraphError> {
    let known = FUNCTIONS.iter().find(|(name, ..)| *name == function);
    let Some((_, least, most, kind)) = known else {
        if NOT_EMULATED.contains(&function) {
            return Err(GraphError::NotEmulated(format!("function '{function}'")));
        }
        return Err(GraphError::Semantic(format!("Unknown function: '{function}'.")));
    };
    if !(*least..=*most).contains(&arguments.len()) {
        return Err(GraphError::Semantic(format!(
            "{function}(): function expects {least} argument(s)."
        )));
    }
    // The last argument is the branch that always has the kind of the others.
    let last = arguments.last().copied().unwrap_or(ValueKind::Dynamic);
    Ok(kind.unwrap_or(last))
}

fn check_compare(
    compare: &Compare,
    left: ValueKind,
    right: ValueKind,
) -> Result<ValueKind, GraphError> {
    match compare.comparison {
        Comparison::Equal => need_comparable(left, right)?,
        Comparison::Less
        | Comparison::LessOrEqual
        | Comparison::Greater
        | Comparison::GreaterOrEqual => need_ordered(left, right)?,
        Comparison::EqualAnyCase
        | Comparison::Has
        | Comparison::Contains
        | Comparison::StartsWith
        | Comparison::EndsWith => need_text(left, right)?,
    }
    Ok(ValueKind::Bool)
}

fn need_comparable(left: ValueKind, right: ValueKind) -> Result<(), GraphError> {
    if left.compares_with(right) { Ok(()) } else { Err(cannot_compare(left, right)) }
}

fn need_ordered(left: ValueKind, right: ValueKind) -> Result<(), GraphError> {
    let is_fit = |kind: ValueKind| kind.is_number() || kind == ValueKind::Dynamic;
    if is_fit(left) && is_fit(right) { Ok(()) } else { Err(cannot_compare(left, right)) }
}

fn need_text(left: ValueKind, right: ValueKind) -> Result<(), GraphError> {
    let is_fit = |kind: ValueKind| matches!(kind, ValueKind::Text | ValueKind::Dynamic);
    if is_fit(left) && is_fit(right) { Ok(()) } else { Err(cannot_compare(left, right)) }
}

fn cannot_compare(left: ValueKind, right: ValueKind) -> GraphError {
    GraphError::Semantic(format!(
        "Cannot compare values of types {} and {}. Try adding explicit casts",
        left.word(),
        right.word()
    ))
}
