//! Text of a query to tokens. Any text whatever gives tokens or an error, never a panic.
//!
//! Must never: know what the tokens mean together.

use super::GraphError;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A name or a word of the language: `where`, `project-away`, `in~`, `!has`, `properties`.
    Word(String),
    /// A text literal, unescaped.
    Text(String),
    /// A whole number.
    Long(i64),
    /// Any other number.
    Real(f64),
    /// Punctuation.
    Sign(&'static str),
    /// The end of the query.
    End,
}

/// A token and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Line, from 1.
    pub(super) line: usize,
    /// Characters before it on its line.
    pub(super) column: usize,
}

impl Token {
    /// The token as an error message shows it.
    pub(super) fn shown(&self) -> String {
        match &self.kind {
            Kind::Word(word) => word.clone(),
            Kind::Text(text) => format!("'{text}'"),
            Kind::Long(number) => number.to_string(),
            Kind::Real(number) => number.to_string(),
            Kind::Sign(sign) => (*sign).to_owned(),
            Kind::End => "<EOF>".to_owned(),
        }
    }

    /// The parser's error at this token.
    pub(super) fn unexpected(&self, expected: &str) -> GraphError {
        GraphError::Parser {
            line: self.line,
            column: self.column,
            token: self.shown(),
            expected: expected.to_owned(),
        }
    }
}

/// Punctuation, longest first, so that `==` is not read as two `=`.
const SIGNS: [&str; 23] = [
    "==", "=~", "!=", "!~", "<=", ">=", "..", "=", "<", ">", "|", ",", "(", ")", "[", "]", ".",
    "*", ";", "+", "-", "/", ":",
];

/// Words with a hyphen, which elsewhere is a minus.
const HYPHENATED: [&str; 6] =
    ["project-away", "project-keep", "project-rename", "project-reorder", "mv-expand", "mv-apply"];

/// Words that take a `~` or a `!` to themselves.
const NEGATABLE: [&str; 9] = [
    "in",
    "has",
    "has_cs",
    "contains",
    "contains_cs",
    "startswith",
    "startswith_cs",
    "endswith",
    "endswith_cs",
];

/// Takes a query apart. The last token is always [`Kind::End`].
pub(super) fn tokens(query: &str) -> Result<Vec<Token>, GraphError> {
    let mut lexer = Lexer { rest: query, line: 1, column: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank();
        let (line, column) = (lexer.line, lexer.column);
        let kind = lexer.next_kind()?;
        let is_end = kind == Kind::End;
        tokens.push(Token { kind, line, column });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    column: usize,
}

impl<'a> Lexer<'a> {
    /// Takes `bytes` bytes, which must end at a character's end.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        match taken.rsplit_once('\n') {
            Some((before, last)) => {
                self.line += before.matches('\n').count() + 1;
                self.column = last.chars().count();
            }
            None => self.column += taken.chars().count(),
        }
        taken
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn skip_blank(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if !self.rest.starts_with("//") {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn next_kind(&mut self) -> Result<Kind, GraphError> {
        let Some(first) = self.rest.chars().next() else { return Ok(Kind::End) };
        if first.is_ascii_digit() {
            return Ok(self.number());
        }
        if let Some(quote) = self.rest.strip_prefix('@').and_then(quote_of) {
            self.take(1);
            return self.verbatim(quote);
        }
        if let Some(quote) = quote_of(self.rest) {
            return self.text(quote);
        }
        if let Some(word) = self.negated() {
            return Ok(Kind::Word(word));
        }
        if first.is_alphabetic() || first == '_' || first == '$' {
            return Ok(Kind::Word(self.word()));
        }
        let sign = SIGNS.iter().find(|sign| self.rest.starts_with(**sign));
        let Some(sign) = sign else { return Err(self.error(&first.to_string())) };
        self.take(sign.len());
        Ok(Kind::Sign(sign))
    }

    fn error(&self, token: &str) -> GraphError {
        GraphError::Parser {
            line: self.line,
            column: self.column,
            token: token.to_owned(),
            expected: "a word, a literal or punctuation".to_owned(),
        }
    }

    /// `!in`, `!has_cs` and the like: a word that begins with its negation.
    fn negated(&mut self) -> Option<String> {
        let after = self.rest.strip_prefix('!')?;
        let end = after.find(|c: char| !is_word(c)).unwrap_or(after.len());
        NEGATABLE.contains(&&after[..end]).then(|| {
            self.take(1);
            format!("!{}", self.word())
        })
    }

    fn word(&mut self) -> String {
        let hyphenated = HYPHENATED.iter().find(|word| {
            let after = self.rest.strip_prefix(**word);
            after.is_some_and(|after| !after.starts_with(is_word))
        });
        if let Some(word) = hyphenated {
            return self.take(word.len()).to_owned();
        }
        let word = self.take_while(|c| is_word(c) || c == '$');
        if word == "in" && self.rest.starts_with('~') {
            self.take(1);
            return "in~".to_owned();
        }
        word.to_owned()
    }

    /// A number; one that fits no `i64` is a real.
    fn number(&mut self) -> Kind {
        let digits = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let after = &self.rest[digits..];
        let fraction = after
            .strip_prefix('.')
            .map_or(0, |rest| rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        if fraction > 0 {
            let text = self.take(digits + 1 + fraction);
            return Kind::Real(text.parse().unwrap_or(f64::INFINITY));
        }
        let text = self.take(digits);
        text.parse().map_or_else(|_| Kind::Real(text.parse().unwrap_or(f64::INFINITY)), Kind::Long)
    }

    fn text(&mut self, quote: char) -> Result<Kind, GraphError> {
        let at = (self.line, self.column);
        self.take(1);
        let mut text = String::new();
        loop {
            let Some(next) = self.rest.chars().next() else { return Err(unterminated(at)) };
            self.take(next.len_utf8());
            match next {
                '\n' => return Err(unterminated(at)),
                '\\' => text.push(self.escaped().ok_or_else(|| unterminated(at))?),
                next if next == quote => return Ok(Kind::Text(text)),
                next => text.push(next),
            }
        }
    }

    /// The character that an escape stands for; `None` when it is no escape.
    fn escaped(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.take(next.len_utf8());
        match next {
            '\\' | '\'' | '"' => Some(next),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'u' => {
                let code = u32::from_str_radix(self.rest.get(..4)?, 16).ok()?;
                self.take(4);
                char::from_u32(code)
            }
            _ => None,
        }
    }

    /// `@'…'`: a backslash is a backslash, a doubled quote is one quote.
    fn verbatim(&mut self, quote: char) -> Result<Kind, GraphError> {
        let at = (self.line, self.column);
        self.take(1);
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|c| c != quote));
            if self.rest.is_empty() {
                return Err(unterminated(at));
            }
            self.take(1);
            if !self.rest.starts_with(quote) {
                return Ok(Kind::Text(text));
            }
            self.take(1);
            text.push(quote);
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn quote_of(rest: &str) -> Option<char> {
    rest.chars().next().filter(|first| matches!(first, '\'' | '"'))
}

fn unterminated((line, column): (usize, usize)) -> GraphError {
    GraphError::Parser {
        line,
        column,
        token: "<string>".to_owned(),
        expected: "closing quote".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds(query: &str) -> Vec<Kind> {
        let mut kinds: Vec<_> = tokens(query).unwrap().into_iter().map(|t| t.kind).collect();
        assert_eq!(kinds.pop(), Some(Kind::End));
        kinds
    }

    fn word(word: &str) -> Kind {
        Kind::Word(word.into())
    }

    #[test]
    fn words_signs_and_literals_are_told_apart() {
        let expected = [
            word("Resources"),
            Kind::Sign("|"),
            word("where"),
            word("tags"),
            Kind::Sign("["),
            Kind::Text("a b".into()),
            Kind::Sign("]"),
            Kind::Sign("=~"),
            Kind::Text("x".into()),
            word("and"),
            word("n"),
            word("!in"),
            Kind::Sign("("),
            Kind::Long(1),
            Kind::Sign(","),
            Kind::Real(2.5),
            Kind::Sign(")"),
        ];
        assert_eq!(kinds("Resources| where tags['a b']=~\"x\" and n !in(1,2.5) // end"), expected);
    }

    #[test]
    fn a_hyphen_belongs_to_a_word_only_in_the_words_that_have_one() {
        assert_eq!(kinds("project-away a"), [word("project-away"), word("a")]);
        assert_eq!(kinds("a-b"), [word("a"), Kind::Sign("-"), word("b")]);
        assert_eq!(kinds("project-awayx")[0], word("project"));
    }

    #[test]
    fn negations_and_tildes_belong_to_their_words() {
        assert_eq!(kinds("a !in~ b"), [word("a"), word("!in~"), word("b")]);
        assert_eq!(kinds("a in~(b)")[1], word("in~"));
        assert_eq!(kinds("a != b")[1], Kind::Sign("!="));
        assert_eq!(kinds("a !~ b")[1], Kind::Sign("!~"));
        assert_eq!(kinds("a !has b")[1], word("!has"));
    }

    #[test]
    fn escapes_are_undone_and_verbatim_text_has_none() {
        assert_eq!(kinds(r#"'it\'s \\ \"q\" \n\u0041'"#), [Kind::Text("it's \\ \"q\" \nA".into())]);
        assert_eq!(kinds(r"@'C:\a''b'"), [Kind::Text(r"C:\a'b".into())]);
    }

    #[test]
    fn a_place_is_a_line_and_a_column() {
        let tokens = tokens("a\n  | b").unwrap();
        let places: Vec<_> = tokens.iter().map(|t| (t.line, t.column)).collect();
        assert_eq!(places, [(1, 0), (2, 2), (2, 4), (2, 5)]);
    }

    #[test]
    fn text_that_does_not_end_is_an_error_where_it_begins() {
        for query in ["a 'b", "a \"b\n\"", "a @'b''", r"a 'b\q'", r"a '\u12'", "a '\\"] {
            let Err(GraphError::Parser { line: 1, column: 2 | 3, .. }) = tokens(query) else {
                panic!("{query}: {:?}", tokens(query));
            };
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(query in any::<String>()) {
            let _ = tokens(&query);
        }

        #[test]
        fn arbitrary_scraps_of_the_language_never_panic(
            query in r#"([a-z!~=<>|,()\[\]. 0-9'"\\@u\n]|in~|project-away|//|é){0,40}"#
        ) {
            let _ = tokens(&query);
        }

        #[test]
        fn any_text_survives_quoting(text in any::<String>()) {
            let quoted = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n");
            prop_assert_eq!(kinds(&format!("'{quoted}'")), [Kind::Text(text)]);
        }
    }
}
