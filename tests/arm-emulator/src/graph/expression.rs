//! Tokens to expressions, loosest first: `or`, `and`, comparisons, paths, literals.
//!
//! Must never: look at a row or a column's type.

use serde_json::{Value, json};

use super::GraphError;
use super::lexer::Kind;
use super::parser::Parser;
use super::syntax::{Compare, Comparison, Expression, In};

/// Comparisons of Azure that this emulator does not have.
const NOT_EMULATED: [&str; 10] = [
    "between",
    "matches",
    "has_any",
    "has_all",
    "hasprefix",
    "hassuffix",
    "like",
    "hasprefix_cs",
    "hassuffix_cs",
    "notlike",
];

/// A comparison as it is written.
struct Written {
    comparison: Comparison,
    case_sensitive: bool,
    negated: bool,
}

impl Parser {
    pub(super) fn expression(&mut self) -> Result<Expression, GraphError> {
        self.deeper(|parser| {
            let mut parts = vec![parser.conjunction()?];
            while parser.accept_word("or") {
                parts.push(parser.conjunction()?);
            }
            Ok(one_or(parts, Expression::Any))
        })
    }

    fn conjunction(&mut self) -> Result<Expression, GraphError> {
        let mut parts = vec![self.comparison()?];
        while self.accept_word("and") {
            parts.push(self.comparison()?);
        }
        Ok(one_or(parts, Expression::All))
    }

    fn comparison(&mut self) -> Result<Expression, GraphError> {
        let left = self.path()?;
        if let Kind::Word(word) = self.peek() {
            if NOT_EMULATED.contains(&word.as_str()) {
                return Err(GraphError::NotEmulated(format!("comparison '{word}'")));
            }
            if let "in" | "in~" | "!in" | "!in~" = word.as_str() {
                let (negated, case_sensitive) = (word.starts_with('!'), !word.ends_with('~'));
                self.advance();
                self.expect("(")?;
                let list = self.list(Parser::expression)?;
                self.expect(")")?;
                let value = left;
                return Ok(Expression::In(Box::new(In { value, list, case_sensitive, negated })));
            }
        }
        let Some(written) = written(self.peek()) else { return Ok(left) };
        self.advance();
        let right = self.path()?;
        let Written { comparison, case_sensitive, negated } = written;
        let compare = Compare { left, comparison, right, case_sensitive, negated };
        Ok(Expression::Compare(Box::new(compare)))
    }

    /// A literal, a name, a call or a parenthesis, and the members taken from it.
    fn path(&mut self) -> Result<Expression, GraphError> {
        let mut expression = self.primary()?;
        let mut steps = 0;
        loop {
            if self.accept(".") {
                expression = Expression::Member(Box::new(expression), self.word("a member")?);
            } else if self.accept("[") {
                let index = self.expression()?;
                self.expect("]")?;
                expression = Expression::Index(Box::new(expression), Box::new(index));
            } else {
                return Ok(expression);
            }
            steps += 1;
            if steps > PATH_MAX {
                return Err(self.unexpected("a shorter path"));
            }
        }
    }

    fn primary(&mut self) -> Result<Expression, GraphError> {
        let kind = self.peek().clone();
        match kind {
            Kind::Text(text) => self.literal(Value::String(text)),
            Kind::Long(number) => self.literal(json!(number)),
            Kind::Real(number) => self.literal(json!(number)),
            Kind::Word(word) => {
                self.advance();
                self.named_thing(word)
            }
            Kind::Sign("(") => {
                self.advance();
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Kind::Sign("-") => {
                self.advance();
                match self.peek().clone() {
                    Kind::Long(number) => self.literal(json!(-number)),
                    Kind::Real(number) => self.literal(json!(-number)),
                    Kind::Word(_) | Kind::Text(_) | Kind::Sign(_) | Kind::End => {
                        Err(self.unexpected("a number"))
                    }
                }
            }
            Kind::Sign(_) | Kind::End => Err(self.unexpected("an expression")),
        }
    }

    fn literal(&mut self, value: Value) -> Result<Expression, GraphError> {
        self.advance();
        Ok(Expression::Literal(value))
    }

    fn named_thing(&mut self, word: String) -> Result<Expression, GraphError> {
        if self.accept("(") {
            if self.accept(")") {
                return Ok(Expression::Call { function: word, arguments: Vec::new() });
            }
            let arguments = self.list(Parser::expression)?;
            self.expect(")")?;
            return Ok(Expression::Call { function: word, arguments });
        }
        Ok(match word.as_str() {
            "true" => Expression::Literal(Value::Bool(true)),
            "false" => Expression::Literal(Value::Bool(false)),
            _name => Expression::Column(word),
        })
    }
}

/// Longest path: nothing in Azure is nested this deep, and the stack stays safe.
const PATH_MAX: usize = 64;

fn one_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _more => many(parts),
    }
}

/// The comparison that a token is. Words compare without case unless they end in `_cs`.
fn written(kind: &Kind) -> Option<Written> {
    let (comparison, case_sensitive, negated) = match kind {
        Kind::Sign("==") => (Comparison::Equal, true, false),
        Kind::Sign("!=") => (Comparison::Equal, true, true),
        Kind::Sign("=~") => (Comparison::EqualAnyCase, false, false),
        Kind::Sign("!~") => (Comparison::EqualAnyCase, false, true),
        Kind::Sign("<") => (Comparison::Less, true, false),
        Kind::Sign("<=") => (Comparison::LessOrEqual, true, false),
        Kind::Sign(">") => (Comparison::Greater, true, false),
        Kind::Sign(">=") => (Comparison::GreaterOrEqual, true, false),
        Kind::Word(word) => {
            let negated = word.starts_with('!');
            let plain = word.trim_start_matches('!');
            let case_sensitive = plain.ends_with("_cs");
            let comparison = match plain.trim_end_matches("_cs") {
                "has" => Comparison::Has,
                "contains" => Comparison::Contains,
                "startswith" => Comparison::StartsWith,
                "endswith" => Comparison::EndsWith,
                _other => return None,
            };
            (comparison, case_sensitive, negated)
        }
        Kind::Sign(_) | Kind::Text(_) | Kind::Long(_) | Kind::Real(_) | Kind::End => return None,
    };
    Some(Written { comparison, case_sensitive, negated })
}
