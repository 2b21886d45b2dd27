//! A query as a tree: what the parser makes and the evaluator reads.
//!
//! Must never: hold behaviour beyond naming.

use serde_json::Value;

/// A whole query.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    /// The table that it starts from, as written.
    pub(super) table: String,
    /// What is done to it, in order.
    pub(super) operators: Vec<Operator>,
}

impl Query {
    /// Whether the query limits its rows itself; Azure then gives no pages. (LEARN: Guidance for
    /// paging in Azure Resource Graph)
    pub(super) fn has_limit(&self) -> bool {
        self.operators.iter().any(|o| matches!(o, Operator::Take(_) | Operator::Top { .. }))
    }

    /// Whether the query orders its rows itself.
    pub(super) fn has_order(&self) -> bool {
        self.operators.iter().any(|o| matches!(o, Operator::Order(_) | Operator::Top { .. }))
    }
}

/// One step of the pipeline.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operator {
    Where(Expression),
    Project(Vec<Named>),
    ProjectAway(Vec<String>),
    Extend(Vec<Named>),
    Order(Vec<SortKey>),
    Take(usize),
    Top { rows: usize, keys: Vec<SortKey> },
    Count,
    Summarize { aggregates: Vec<Aggregate>, keys: Vec<Named> },
    Distinct(Vec<Named>),
    Parse { from: Expression, pattern: Vec<Piece> },
}

/// A column to be made: its name if one is written, and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Named {
    pub(super) name: Option<String>,
    pub(super) value: Expression,
}

/// One key of an order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SortKey {
    pub(super) value: Expression,
    pub(super) ascending: bool,
    pub(super) nulls_first: bool,
}

/// An aggregate of `summarize`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Aggregate {
    pub(super) name: Option<String>,
    pub(super) function: AggregateFunction,
    /// What it is taken over; none for `count()`.
    pub(super) over: Option<Expression>,
}

/// The aggregates that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AggregateFunction {
    Count,
    CountIf,
    DistinctCount,
    Min,
    Max,
    Sum,
    MakeList,
    MakeSet,
}

/// A piece of a `parse` pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// Text that must be there.
    Text(String),
    /// Anything, dropped.
    Anything,
    /// Anything, kept as this column.
    Column(String),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    EqualAnyCase,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Has,
    Contains,
    StartsWith,
    EndsWith,
}

/// An expression. `and` and `or` hold all their parts side by side, so that a long chain is not a
/// deep tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Literal(Value),
    Column(String),
    Member(Box<Expression>, String),
    Index(Box<Expression>, Box<Expression>),
    Call { function: String, arguments: Vec<Expression> },
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Compare(Box<Compare>),
    In(Box<In>),
}

/// `left operator right`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Compare {
    pub(super) left: Expression,
    pub(super) comparison: Comparison,
    pub(super) right: Expression,
    /// Whether case counts, for the operators that exist both ways.
    pub(super) case_sensitive: bool,
    pub(super) negated: bool,
}

/// `value in (list)`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct In {
    pub(super) value: Expression,
    pub(super) list: Vec<Expression>,
    pub(super) case_sensitive: bool,
    pub(super) negated: bool,
}

impl Expression {
    /// The name that Kusto gives a column of this expression when none is written:
    /// `properties.a['b']` becomes `properties_a_b`, and a cast keeps its argument's name.
    pub(super) fn own_name(&self) -> Option<String> {
        match self {
            Expression::Column(name) => Some(name.clone()),
            Expression::Member(of, name) => Some(format!("{}_{name}", of.own_name()?)),
            Expression::Index(of, index) => {
                let Expression::Literal(index) = index.as_ref() else { return None };
                let index = index.as_str().map_or_else(|| index.to_string(), str::to_owned);
                Some(format!("{}_{index}", of.own_name()?))
            }
            Expression::Call { function, arguments } if function.starts_with("to") => {
                arguments.first()?.own_name()
            }
            Expression::Literal(_)
            | Expression::Call { .. }
            | Expression::All(_)
            | Expression::Any(_)
            | Expression::Compare(_)
            | Expression::In(_) => None,
        }
    }
}
