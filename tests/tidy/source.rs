//! Owns: reading a Rust file as tokens, and knowing which of its lines are test code. Used by
//! `tidy.rs` and `layers.rs`. Must never know a rule.

use std::collections::HashSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};

/// One leaf of the token tree; brackets are tokens of their own. What a literal says is left out,
/// so that a word in a string is not taken for code.
pub struct Token {
    pub text: String,
    pub span: Span,
}

impl Token {
    pub fn line(&self) -> usize {
        self.span.start().line
    }
}

/// Where a search looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Everywhere,
    OutsideTests,
}

/// A Rust file.
pub struct Source {
    /// Relative to the repository's root, with `/`.
    pub path: String,
    pub text: String,
    /// The file's code, without comments (doc comments included).
    pub tokens: Vec<Token>,
    /// Lines of items under `#[cfg(test)]` or `#[test]`.
    pub test_lines: Vec<RangeInclusive<usize>>,
    is_test_file: bool,
    test_modules: Vec<String>,
}

impl Source {
    /// Reads a file's text; the error says where it is not Rust.
    pub fn new(path: &str, text: &str) -> Result<Source, String> {
        let stream: TokenStream =
            text.parse().map_err(|error| format!("{path}: not Rust: {error}"))?;
        let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
        let mut tokens = Vec::new();
        flatten(stream, &lines, &mut tokens);
        let mut source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens,
            test_lines: Vec::new(),
            // Everything that cargo builds for use is below a `src` folder; the rest are
            // integration tests.
            is_test_file: !path.split('/').any(|part| part == "src"),
            test_modules: Vec::new(),
        };
        source.find_test_items();
        Ok(source)
    }

    /// Lines at which the tokens `words` follow each other.
    pub fn find(&self, words: &[&str], place: Where) -> Vec<usize> {
        self.tokens
            .windows(words.len())
            .filter(|window| window.iter().zip(words).all(|(token, word)| token.text == *word))
            .map(|window| window[0].line())
            .filter(|line| place == Where::Everywhere || !self.is_test(*line))
            .collect()
    }

    fn is_test(&self, line: usize) -> bool {
        self.is_test_file || self.test_lines.iter().any(|lines| lines.contains(&line))
    }

    fn find_test_items(&mut self) {
        const INNER: [&str; 6] = ["#", "!", "[", "cfg", "(", "test"];
        const OUTER: [&[&str]; 4] = [
            &["#", "[", "cfg", "(", "test"],
            &["#", "[", "cfg", "(", "all", "(", "test"],
            &["#", "[", "test", "]"],
            &["#", "[", "tokio", ":", ":", "test"],
        ];
        self.is_test_file |= self.begins(0, &INNER);
        for start in 0..self.tokens.len() {
            if !OUTER.iter().any(|words| self.begins(start, words)) {
                continue;
            }
            let (body, end) = self.item_after_attributes(start);
            self.test_lines.push(self.tokens[start].line()..=self.tokens[end].line());
            if self.begins(body, &["mod"]) && self.begins(body + 2, &[";"]) {
                self.test_modules.push(self.tokens[body + 1].text.clone());
            }
        }
    }

    fn begins(&self, at: usize, words: &[&str]) -> bool {
        self.tokens
            .get(at..at + words.len())
            .is_some_and(|tokens| tokens.iter().zip(words).all(|(token, word)| token.text == *word))
    }

    /// First and last token of the item whose attributes begin at `start`.
    fn item_after_attributes(&self, start: usize) -> (usize, usize) {
        let mut body = start;
        while self.begins(body, &["#", "["]) {
            body = self.closing(body + 1) + 1;
        }
        let mut at = body;
        while at + 1 < self.tokens.len() && !matches!(self.tokens[at].text.as_str(), "{" | ";") {
            let opens = matches!(self.tokens[at].text.as_str(), "(" | "[");
            at = if opens { self.closing(at) + 1 } else { at + 1 };
        }
        let end = if self.begins(at, &["{"]) { self.closing(at) } else { at };
        (body, end.min(self.tokens.len() - 1))
    }

    /// The bracket that closes the one at `open`.
    pub fn closing(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            match token.text.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.tokens.len() - 1
    }
}

fn flatten(stream: TokenStream, lines: &[Vec<char>], tokens: &mut Vec<Token>) {
    for tree in stream {
        if is_comment(tree.span(), lines) {
            continue;
        }
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                tokens.push(Token { text: open.to_owned(), span: group.span_open() });
                flatten(group.stream(), lines, tokens);
                tokens.push(Token { text: close.to_owned(), span: group.span_close() });
            }
            TokenTree::Ident(ident) => {
                tokens.push(Token { text: ident.to_string(), span: ident.span() });
            }
            TokenTree::Punct(punct) => {
                tokens.push(Token { text: punct.as_char().to_string(), span: punct.span() });
            }
            TokenTree::Literal(literal) => {
                tokens.push(Token { text: "\"\"".to_owned(), span: literal.span() });
            }
        }
    }
}

/// The lexer turns doc comments into attributes that carry the comment's place.
fn is_comment(span: Span, lines: &[Vec<char>]) -> bool {
    let start = span.start();
    let line = &lines[start.line - 1];
    let next = |offset: usize| line.get(start.column + offset).copied();
    next(0) == Some('/') && matches!(next(1), Some('/' | '*'))
}

/// Every Rust file of the repository, in order of path. Panics when one cannot be read: there is no
/// partial answer to "is the tree tidy".
pub fn rust_sources(root: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(root, &mut paths);
    paths.sort();
    let mut sources: Vec<Source> = paths.iter().map(|path| read(root, path)).collect();
    let test_files: HashSet<String> = sources.iter().flat_map(test_module_paths).collect();
    for source in &mut sources {
        source.is_test_file |= test_files.contains(&source.path);
    }
    sources
}

fn read(root: &Path, path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let name = path.strip_prefix(root).expect("collected below the root").to_string_lossy();
    Source::new(&name, &text).unwrap_or_else(|error| panic!("{error}"))
}

/// The files that `#[cfg(test)] mod name;` may mean.
fn test_module_paths(source: &Source) -> Vec<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let stem = file.trim_end_matches(".rs");
    let base = match stem {
        "lib" | "main" | "mod" => folder.to_owned(),
        _ => format!("{folder}/{stem}"),
    };
    let names = |name: &String| [format!("{base}/{name}.rs"), format!("{base}/{name}/mod.rs")];
    source.test_modules.iter().flat_map(names).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("a listed folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, paths);
        } else if path.is_file() && name.ends_with(".rs") {
            paths.push(path);
        }
    }
}
