//! Resource Graph: a subset of its query language over rows that the caller holds, and the request
//! and answer around it.
//!
//! ```text
//! text ─ lexer ─► tokens ─ parser, expression ─► syntax ─ typing ─► pipeline, summarize ─► rows
//!                                                                   └─ evaluate (per row)
//! answer: subscriptions, paging, formats, errors
//! ```
//!
//! What is understood: `where project project-away extend order take limit top count summarize
//! distinct parse`; comparisons `== != =~ !~ < <= > >= in in~ has contains startswith endswith`
//! with their negations; `and or not()`; paths `a.b['c'][0]`; the functions listed in `typing.rs`.
//! What Azure would refuse is refused in its words. What Azure has and this does not is refused
//! with the code `NotEmulated`, so that nobody takes a gap here for a fault of their query.
//!
//! Must never: know what a VM is.

mod answer;
mod evaluate;
mod expression;
mod lexer;
mod parser;
mod pipeline;
mod summarize;
mod syntax;
mod typing;

use serde_json::{Value, json};

pub use answer::{GraphAnswer, answer};

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// The text is not a query.
    #[error("unexpected {token} at line {line}, column {column}: expected {expected}")]
    Parser {
        /// Line, from 1.
        line: usize,
        /// Characters before it on that line.
        column: usize,
        /// What is there.
        token: String,
        /// What could be there.
        expected: String,
    },
    /// The query means nothing.
    #[error("{0}")]
    Semantic(String),
    /// No such table.
    #[error("Table {0} is invalid, unsupported or disallowed.")]
    UnknownTable(String),
    /// Azure knows it and the emulator does not.
    #[error("the emulator's Resource Graph has no {0}")]
    NotEmulated(String),
    /// The request around the query is wrong.
    #[error("{text}")]
    Request {
        /// Code of the detail.
        code: &'static str,
        /// Its message.
        text: String,
    },
}

impl GraphError {
    fn request(code: &'static str, text: &str) -> GraphError {
        GraphError::Request { code, text: text.to_owned() }
    }

    /// The answer's body: `BadRequest` outside, the cause in the details.
    pub fn body(&self) -> Value {
        let invalid = json!({
            "code": "InvalidQuery",
            "message": "Query is invalid. Please refer to the documentation for the Azure \
                        Resource Graph service and fix the error before retrying.",
        });
        let details = match self {
            GraphError::Parser { line, column, token, expected } => vec![
                invalid,
                json!({
                    "code": "ParserFailure",
                    "message": "ParserFailure",
                    "line": line,
                    "characterPositionInLine": column,
                    "token": token,
                    "expectedToken": expected,
                }),
            ],
            GraphError::Semantic(text) => {
                vec![invalid, json!({ "code": "Default", "message": text })]
            }
            GraphError::UnknownTable(_) => vec![
                invalid,
                json!({ "code": "DisallowedLogicalTableName", "message": self.to_string() }),
            ],
            GraphError::NotEmulated(_) => {
                vec![json!({ "code": "NotEmulated", "message": self.to_string() })]
            }
            GraphError::Request { code, text } => {
                vec![json!({ "code": code, "message": text })]
            }
        };
        // Time and correlation are for Azure's support. Here they are constant, so that the same
        // request gets the same answer in every run.
        json!({ "error": {
            "code": "BadRequest",
            "message": "Please provide below info when asking for support: timestamp = \
                        0001-01-01T00:00:00.0000000Z, correlationId = \
                        00000000-0000-0000-0000-000000000000.",
            "details": details,
        } })
    }
}

/// Runs a query over rows and gives all rows of its result, without paging.
///
/// # Errors
/// When the query is none, means nothing, or uses what the emulator does not have.
pub fn run(query: &str, rows: &[Value]) -> Result<Vec<Value>, GraphError> {
    let query = parser::query(query)?;
    let rows: Vec<&Value> = rows.iter().collect();
    let table = answer::run(&query, &rows)?;
    Ok(table.shown().into_iter().map(Value::Object).collect())
}

#[cfg(test)]
mod tests;
