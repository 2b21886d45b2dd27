//! Owns: the limits on size and shape of STYLE (see `CONTRIBUTING.md`), checked over every Rust
//! file. All that breaks a rule is told at once, as `file:line: rule: what`. Must never hold a list
//! of exceptions.
//!
//! What is measured:
//!
//! - *function length*: lines from the signature to the closing brace, comments and blank lines
//!   included;
//! - *file length*: lines that hold code; comments, blank lines and `#[cfg(test)]` modules do not
//!   count;
//! - *parameters*: of a function, `self` not counted; *nesting*: see `tidy/shape.rs`;
//! - *columns*: characters of a line; the web addresses in it do not count.

#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/text.rs"]
mod text;

use std::fmt;
use std::path::{Path, PathBuf};

use source::{Source, rust_sources};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 400;
/// `main.rs` of what slurmctld starts: a story on half a screen.
const SLURMCTLD_MAIN_LINES_MAX: usize = 40;
/// `main.rs` of everything else.
const MAIN_LINES_MAX: usize = 90;
const PARAMETERS_MAX: usize = 4;
const NESTING_MAX: usize = 3;
const COLUMNS_MAX: usize = 100;

/// A place that breaks a rule.
pub struct Violation {
    path: String,
    line: usize,
    rule: &'static str,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.text)
    }
}

fn violations(source: &Source) -> Vec<Violation> {
    let mut found = text::rules(source);
    match syn::parse_file(&source.text) {
        Ok(file) => found.extend(shape::functions(&source.path, &file)),
        Err(error) => found.push(Violation {
            path: source.path.clone(),
            line: error.span().start().line,
            rule: "syntax",
            text: error.to_string(),
        }),
    }
    found.sort_by_key(|violation| violation.line);
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

#[test]
fn documents_name_what_exists() {
    let root = root();
    let sources = rust_sources(&root);
    let documents = docs::documents(&root);
    assert!(!documents.is_empty(), "no document was found at {}", root.display());
    let found: Vec<String> = documents
        .iter()
        .flat_map(|document| docs::names(document, &root, &sources))
        .map(|violation| violation.to_string())
        .collect();
    assert!(found.is_empty(), "{} violations:\n{}\n", found.len(), found.join("\n"));
}

#[test]
fn the_tree_is_tidy() {
    let root = root();
    let sources = rust_sources(&root);
    assert!(sources.len() > 20, "the repository was not found at {}", root.display());
    let found: Vec<String> =
        sources.iter().flat_map(violations).map(|violation| violation.to_string()).collect();
    assert!(found.is_empty(), "{} violations:\n{}\n", found.len(), found.join("\n"));
}

#[cfg(test)]
mod each_rule_can_fail {
    use super::*;

    /// What is told about a file of that name, as `line rule`.
    fn told_of(path: &str, text: &str) -> Vec<String> {
        let source = Source::new(path, text).expect("the sample is Rust");
        violations(&source).iter().map(|v| format!("{} {}", v.line, v.rule)).collect()
    }

    fn told(body: &str) -> Vec<String> {
        told_of("crates/core/src/sample.rs", &format!("//! A sample.\n{body}\n"))
    }

    fn statements(count: usize) -> String {
        "    call();\n".repeat(count)
    }

    #[test]
    fn a_plain_file_breaks_none() {
        let nothing: [&str; 0] = [];
        assert_eq!(told("/// Says so.\npub fn f(a: u8) -> u8 {\n    a\n}"), nothing);
    }

    #[test]
    fn a_function_of_71_lines_is_too_long_and_one_of_70_is_not() {
        assert_eq!(told(&format!("fn f() {{\n{}}}", statements(69))), ["2 function length"]);
        assert_eq!(told(&format!("fn f() {{\n{}}}", statements(68))).len(), 0);
        let method = format!("impl S {{\nfn f() {{\n{}}}\n}}", statements(69));
        assert_eq!(told(&method), ["3 function length"]);
        let default = format!("trait T {{\nfn f() {{\n{}}}\n}}", statements(69));
        assert_eq!(told(&default), ["3 function length"]);
    }

    #[test]
    fn a_file_of_401_lines_is_too_long_and_comments_do_not_count() {
        let constants = |count| "const A: u8 = 1;\n".repeat(count);
        assert_eq!(told(&constants(401)), ["1 file length"]);
        assert_eq!(told(&constants(400)).len(), 0);
        let commented = "/// Why.\n// Why.\n\n/* Why.\n\nWhy. */\nconst A: u8 = 1;\n".repeat(400);
        assert_eq!(told(&commented).len(), 0);
        let string = format!("const A: &str = \"\n{}\";", "line\n".repeat(400));
        assert_eq!(told(&string), ["1 file length"]);
    }

    #[test]
    fn test_modules_do_not_count_for_their_file_and_test_files_do() {
        let constants = "const A: u8 = 1;\n".repeat(401);
        let module = format!("#[cfg(test)]\nmod tests {{\n{constants}}}");
        assert_eq!(told(&module).len(), 0);
        let file = format!("//! A story.\n{constants}");
        assert_eq!(told_of("tests/e2e/story.rs", &file), ["1 file length"]);
    }

    #[test]
    fn a_main_has_less_room_than_a_file() {
        let file = |count| format!("//! A program.\n{}", "const A: u8 = 1;\n".repeat(count));
        for folder in ["resume", "suspend", "resume_fail"] {
            let path = format!("{folder}/src/main.rs");
            assert_eq!(told_of(&path, &file(41)), ["1 file length"]);
            assert_eq!(told_of(&path, &file(40)).len(), 0);
        }
        assert_eq!(told_of("sync/src/main.rs", &file(91)), ["1 file length"]);
        assert_eq!(told_of("sync/src/main.rs", &file(90)).len(), 0);
    }

    #[test]
    fn five_parameters_are_too_many_and_self_is_none() {
        let five = "a: u8, b: u8, c: u8, d: u8, e: u8";
        assert_eq!(told(&format!("fn f({five}) {{}}")), ["2 parameters"]);
        assert_eq!(told(&format!("trait T {{ fn f(&self, {five}); }}")), ["2 parameters"]);
        assert_eq!(told("impl S { fn f(&self, a: u8, b: u8, c: u8, d: u8) {} }").len(), 0);
        assert_eq!(told(&format!("extern \"C\" fn f({five}) {{}}")).len(), 0);
    }

    #[test]
    fn a_fourth_level_is_too_deep() {
        let deep = "fn f() { if a { for b in c { match d { _ => {\nwhile e { loop {} } } } } } }";
        assert_eq!(told(deep), ["3 nesting"]);
        let closure = "fn f() { if a { for b in c { match d { _ => {\ne(|| { 1 }) } } } } }";
        assert_eq!(told(closure), ["3 nesting"]);
        let in_else = "fn f() { if a {} else { if b { if c {\nif d {} } } } }";
        assert_eq!(told(in_else), ["3 nesting"]);
    }

    #[test]
    fn else_if_a_short_closure_and_an_inner_function_are_no_deeper() {
        let chain = "fn f() { if a {} else if b {} else if c {} else if d {} else if e {} }";
        assert_eq!(told(chain).len(), 0);
        let closure = "fn f() { if a { for b in c { match d { _ => e(|| 1) } } } }";
        assert_eq!(told(closure).len(), 0);
        let inner = "fn f() { if a { for b in c { match d { _ => { fn g() { if h {} } } } } } }";
        assert_eq!(told(inner).len(), 0);
    }

    #[test]
    fn a_line_of_101_columns_is_too_wide_except_for_an_address() {
        assert_eq!(told(&format!("// {}", "x".repeat(98))), ["2 columns"]);
        assert_eq!(told(&format!("// {}", "ü".repeat(97))).len(), 0);
        assert_eq!(told(&format!("// https://{}", "x".repeat(98))).len(), 0);
    }

    #[test]
    fn a_name_that_says_nothing_is_refused_for_files_and_folders() {
        for path in ["crates/core/src/utils.rs", "sync/src/helpers/mod.rs", "tests/common/a.rs"] {
            assert_eq!(told_of(path, "//! A sample.\n"), ["1 name"]);
        }
    }

    #[test]
    fn a_file_says_first_what_it_owns() {
        assert_eq!(told_of("sync/src/a.rs", "// Not this.\nfn f() {}\n"), ["1 opening"]);
    }

    #[test]
    fn unfinished_code_is_refused_and_words_in_strings_are_not() {
        assert_eq!(told("fn f() { todo!() }"), ["2 forbidden"]);
        assert_eq!(told("fn f() { unimplemented!(\"later\") }"), ["2 forbidden"]);
        assert_eq!(told("fn f() { g(vec![dbg!(1)]) }"), ["2 forbidden"]);
        assert_eq!(told("fn f() { g(\"todo!() dbg!() .unwrap() // TODO\") }").len(), 0);
    }

    #[test]
    fn unwrap_is_for_tests() {
        assert_eq!(told("fn f() { g().unwrap() }"), ["2 forbidden"]);
        assert_eq!(told("fn f() { g!(h().unwrap()) }"), ["2 forbidden"]);
        assert_eq!(told("#[cfg(test)]\nmod tests { fn f() { g().unwrap() } }").len(), 0);
        assert_eq!(told("#[test]\n#[ignore]\nfn f(a: [u8; 2]) { g().unwrap() }").len(), 0);
        let after = "#[cfg(test)]\nuse a::b;\nfn f() { g().unwrap() }";
        assert_eq!(told(after), ["4 forbidden"]);
        let test_file = "//! A story.\nfn f() { g().unwrap() }";
        assert_eq!(told_of("resume/tests/story.rs", test_file).len(), 0);
    }

    #[test]
    fn a_lint_is_silenced_with_a_reason() {
        assert_eq!(told("#[allow(dead_code)]\nfn f() {}"), ["2 reason"]);
        assert_eq!(told("#![allow(dead_code)]"), ["2 reason"]);
        assert_eq!(told("#[expect(dead_code)]\nfn f() {}"), ["2 reason"]);
        assert_eq!(told("#[cfg_attr(a, allow(dead_code))]\nfn f() {}"), ["2 reason"]);
        assert_eq!(told("#[expect(dead_code, reason = \"why\")]\nfn f() {}").len(), 0);
    }

    #[test]
    fn a_mark_for_later_names_its_issue() {
        assert_eq!(told("// TODO: soon"), ["2 unfinished"]);
        assert_eq!(told("fn f() {} // FIXME"), ["2 unfinished"]);
        assert_eq!(told("/// XXX here\nfn f() {}"), ["2 unfinished"]);
        assert_eq!(told("// TODO(#12): soon").len(), 0);
    }

    #[test]
    fn a_document_that_names_what_is_not_there_is_told() {
        let source = Source::new("crates/a/src/b.rs", "const A_MAX: u8 = 1;\nfn f() {}\n");
        let sources = [source.expect("the sample is Rust")];
        let told = |line: &str| {
            let document = ("README.md".to_owned(), format!("# Title\n{line}\n"));
            docs::names(&document, &root(), &sources).len()
        };
        assert_eq!(told("see `tests/tidy.rs` and `f()`"), 0);
        assert_eq!(told("see `tests/nothing.rs`"), 1);
        assert_eq!(told("tested by `no_such_test()`"), 1);
        assert_eq!(told("| `A_MAX` | 1 | `tests/tidy.rs` |"), 1);
        assert_eq!(told("```\nsee `tests/nothing.rs`\n```"), 0);
    }
}
