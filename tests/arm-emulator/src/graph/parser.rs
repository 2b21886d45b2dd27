//! Tokens to a query: the pipeline. Expressions are in `expression.rs`.
//!
//! Must never: look at a row or a column's type.

use super::GraphError;
use super::lexer::{Kind, Token, tokens};
use super::syntax::{
    Aggregate, AggregateFunction, Expression, Named, Operator, Piece, Query, SortKey,
};

/// Deepest nesting of expressions. Kusto refuses deep queries as well; the number only keeps the
/// stack safe.
const DEPTH_MAX: usize = 64;

/// The table of a query that begins with an operator.
const DEFAULT_TABLE: &str = "resources";

/// Operators of Azure that this emulator does not have. Told apart from what Azure would refuse
/// too, so that nobody takes our gap for a fault of their query.
const NOT_EMULATED: [&str; 14] = [
    "join",
    "union",
    "mv-expand",
    "mvexpand",
    "mv-apply",
    "project-keep",
    "project-rename",
    "project-reorder",
    "sample",
    "getschema",
    "lookup",
    "make-series",
    "render",
    "let",
];

/// Reads a query.
pub(super) fn query(text: &str) -> Result<Query, GraphError> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0 };
    let query = parser.query()?;
    parser.accept(";");
    if *parser.peek() == Kind::End { Ok(query) } else { Err(parser.unexpected("'|'")) }
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn query(&mut self) -> Result<Query, GraphError> {
        let first = self.word("a table's name")?;
        let mut operators = Vec::new();
        let table = if is_operator(&first) {
            operators.push(self.operator(&first)?);
            DEFAULT_TABLE.to_owned()
        } else {
            first
        };
        while self.accept("|") {
            let name = self.word("an operator")?;
            operators.push(self.operator(&name)?);
        }
        Ok(Query { table, operators })
    }

    fn operator(&mut self, name: &str) -> Result<Operator, GraphError> {
        match name {
            "where" | "filter" => Ok(Operator::Where(self.expression()?)),
            "project" => Ok(Operator::Project(self.list(Parser::named)?)),
            "project-away" => {
                Ok(Operator::ProjectAway(self.list(|parser| parser.word("a column"))?))
            }
            "extend" => Ok(Operator::Extend(self.list(Parser::named)?)),
            "order" | "sort" => Ok(Operator::Order(self.sort_keys()?)),
            "take" | "limit" => Ok(Operator::Take(self.whole_number()?)),
            "top" => {
                let rows = self.whole_number()?;
                Ok(Operator::Top { rows, keys: self.sort_keys()? })
            }
            "count" => Ok(Operator::Count),
            "summarize" => self.summarize(),
            "distinct" if self.accept("*") => Ok(Operator::Distinct(Vec::new())),
            "distinct" => Ok(Operator::Distinct(self.list(Parser::named)?)),
            "parse" => self.parse(),
            name if NOT_EMULATED.contains(&name) => {
                Err(GraphError::NotEmulated(format!("operator '{name}'")))
            }
            _unknown => {
                self.next -= 1;
                Err(self.unexpected("an operator"))
            }
        }
    }

    fn named(&mut self) -> Result<Named, GraphError> {
        let name = self.column_name();
        Ok(Named { name, value: self.expression()? })
    }

    /// `name =`, when that comes next.
    fn column_name(&mut self) -> Option<String> {
        let Kind::Word(name) = self.peek().clone() else { return None };
        let after = self.tokens.get(self.next + 1)?;
        if after.kind != Kind::Sign("=") {
            return None;
        }
        self.next += 2;
        Some(name)
    }

    fn sort_keys(&mut self) -> Result<Vec<SortKey>, GraphError> {
        self.expect_word("by")?;
        self.list(|parser| {
            let value = parser.expression()?;
            // Kusto sorts downwards unless told otherwise.
            let ascending = parser.accept_word("asc");
            if !ascending {
                parser.accept_word("desc");
            }
            let mut nulls_first = ascending;
            if parser.accept_word("nulls") {
                nulls_first = parser.accept_word("first");
                if !nulls_first {
                    parser.expect_word("last")?;
                }
            }
            Ok(SortKey { value, ascending, nulls_first })
        })
    }

    fn summarize(&mut self) -> Result<Operator, GraphError> {
        let mut aggregates = Vec::new();
        let mut has_keys = self.accept_word("by");
        if !has_keys {
            aggregates = self.list(Parser::aggregate)?;
            has_keys = self.accept_word("by");
        }
        let keys = if has_keys { self.list(Parser::named)? } else { Vec::new() };
        Ok(Operator::Summarize { aggregates, keys })
    }

    fn aggregate(&mut self) -> Result<Aggregate, GraphError> {
        let name = self.column_name();
        let word = self.word("an aggregate")?;
        let function = match word.as_str() {
            "count" => AggregateFunction::Count,
            "countif" => AggregateFunction::CountIf,
            "dcount" => AggregateFunction::DistinctCount,
            "min" => AggregateFunction::Min,
            "max" => AggregateFunction::Max,
            "sum" => AggregateFunction::Sum,
            "make_list" | "makelist" => AggregateFunction::MakeList,
            "make_set" | "makeset" => AggregateFunction::MakeSet,
            _unknown => return Err(GraphError::NotEmulated(format!("aggregate '{word}'"))),
        };
        self.expect("(")?;
        let over = match function {
            AggregateFunction::Count => None,
            AggregateFunction::CountIf
            | AggregateFunction::DistinctCount
            | AggregateFunction::Min
            | AggregateFunction::Max
            | AggregateFunction::Sum
            | AggregateFunction::MakeList
            | AggregateFunction::MakeSet => Some(self.expression()?),
        };
        self.expect(")")?;
        Ok(Aggregate { name, function, over })
    }

    /// `parse expression with * 'text' column …`
    fn parse(&mut self) -> Result<Operator, GraphError> {
        let from = self.expression()?;
        self.expect_word("with")?;
        let mut pattern = Vec::new();
        loop {
            let piece = match self.peek().clone() {
                Kind::Text(text) if !text.is_empty() => Piece::Text(text),
                Kind::Sign("*") => Piece::Anything,
                Kind::Word(column) => Piece::Column(column),
                Kind::Text(_) | Kind::Long(_) | Kind::Real(_) | Kind::Sign(_) | Kind::End => break,
            };
            pattern.push(piece);
            self.next += 1;
        }
        if pattern.is_empty() {
            return Err(self.unexpected("a pattern"));
        }
        Ok(Operator::Parse { from, pattern })
    }

    /// One or more, with commas between.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Parser) -> Result<T, GraphError>,
    ) -> Result<Vec<T>, GraphError> {
        let mut items = vec![item(self)?];
        while self.accept(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn whole_number(&mut self) -> Result<usize, GraphError> {
        if let Kind::Long(number) = *self.peek()
            && let Ok(number) = usize::try_from(number)
        {
            self.next += 1;
            return Ok(number);
        }
        Err(self.unexpected("a number of rows"))
    }

    /// Runs `inner` one level deeper, unless that is too deep.
    pub(super) fn deeper(
        &mut self,
        inner: impl FnOnce(&mut Parser) -> Result<Expression, GraphError>,
    ) -> Result<Expression, GraphError> {
        if self.depth == DEPTH_MAX {
            return Err(self.unexpected("less nesting"));
        }
        self.depth += 1;
        let expression = inner(self);
        self.depth -= 1;
        expression
    }

    pub(super) fn peek(&self) -> &Kind {
        &self.token().kind
    }

    /// The next token; the end is never passed.
    fn token(&self) -> &Token {
        let last = self.tokens.len() - 1;
        &self.tokens[self.next.min(last)]
    }

    pub(super) fn advance(&mut self) {
        self.next += 1;
    }

    pub(super) fn unexpected(&self, expected: &str) -> GraphError {
        self.token().unexpected(expected)
    }

    pub(super) fn accept(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), Kind::Sign(next) if *next == sign);
        self.next += usize::from(is_next);
        is_next
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<(), GraphError> {
        if self.accept(sign) { Ok(()) } else { Err(self.unexpected(&format!("'{sign}'"))) }
    }

    pub(super) fn accept_word(&mut self, word: &str) -> bool {
        let is_next = matches!(self.peek(), Kind::Word(next) if next == word);
        self.next += usize::from(is_next);
        is_next
    }

    fn expect_word(&mut self, word: &str) -> Result<(), GraphError> {
        if self.accept_word(word) { Ok(()) } else { Err(self.unexpected(&format!("'{word}'"))) }
    }

    pub(super) fn word(&mut self, expected: &str) -> Result<String, GraphError> {
        let Kind::Word(word) = self.peek().clone() else { return Err(self.unexpected(expected)) };
        self.next += 1;
        Ok(word)
    }
}

fn is_operator(word: &str) -> bool {
    const FIRST: [&str; 11] = [
        "where",
        "filter",
        "project",
        "project-away",
        "extend",
        "order",
        "sort",
        "take",
        "limit",
        "count",
        "summarize",
    ];
    FIRST.contains(&word)
        || matches!(word, "top" | "distinct" | "parse")
        || NOT_EMULATED.contains(&word)
}
