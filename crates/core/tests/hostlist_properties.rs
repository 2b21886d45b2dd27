//! Properties of host lists, for any names and any expression.

use std::collections::BTreeSet;

use azslurm_core::NodeName;
use azslurm_core::hostlist::{expand, fold, fold_set, fold_sorted};
use proptest::prelude::*;

/// Names that share prefixes and widths often enough that runs, joins and near misses occur.
fn names() -> impl Strategy<Value = Vec<NodeName>> {
    let prefix = prop::sample::select(vec!["n", "n0", "gpu-", "r1n", "r10n", "a.b_", ""]);
    let number = prop_oneof![
        (0u64..25, 1usize..4).prop_map(|(number, width)| format!("{number:0width$}")),
        (95u64..104, 1usize..5).prop_map(|(number, width)| format!("{number:0width$}")),
        prop::sample::select(vec!["18446744073709551614", "18446744073709551615", "0x", "-"])
            .prop_map(str::to_owned),
    ];
    let name = (prefix, number).prop_map(|(prefix, number)| format!("{prefix}{number}"));
    prop::collection::vec(name, 0..60)
        .prop_map(|names| names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Well-formed expressions with up to three brackets.
fn expression() -> impl Strategy<Value = String> {
    let range = (0u64..200, 0u64..12, 1usize..4).prop_map(|(lo, more, width)| match more {
        0 => format!("{lo:0width$}"),
        _ => format!("{lo:0width$}-{}", lo + more),
    });
    let bracket =
        prop::collection::vec(range, 1..4).prop_map(|ranges| format!("[{}]", ranges.join(",")));
    let text = prop::sample::select(vec!["n", "a1b", "x-", "y.", "0"]);
    let token =
        (text.clone(), prop::collection::vec((bracket, text), 0..3)).prop_map(|(first, rest)| {
            rest.iter().fold(first.to_owned(), |token, (bracket, text)| token + bracket + text)
        });
    prop::collection::vec(token, 0..4).prop_map(|tokens| tokens.join(","))
}

proptest! {
    #[test]
    fn folding_and_expanding_gives_the_names_in_their_order(names in names()) {
        prop_assert_eq!(expand(&fold(&names)).unwrap(), names);
    }

    #[test]
    fn a_set_folds_to_every_name_once(expression in expression()) {
        let names = expand(&expression).unwrap();
        let set: BTreeSet<&NodeName> = names.iter().collect();
        let folded = expand(&fold_set(&names)).unwrap();
        prop_assert_eq!(folded.len(), set.len());
        prop_assert_eq!(folded.iter().collect::<BTreeSet<_>>(), set);
    }

    #[test]
    fn sorting_keeps_every_name_as_often_as_it_was_there(names in names()) {
        let mut sorted = expand(&fold_sorted(&names)).unwrap();
        let mut names = names;
        sorted.sort();
        names.sort();
        prop_assert_eq!(sorted, names);
    }

    #[test]
    fn the_order_of_the_names_does_not_change_the_set(names in names()) {
        let reversed: Vec<&NodeName> = names.iter().rev().collect();
        prop_assert_eq!(fold_set(reversed), fold_set(&names));
    }

    #[test]
    fn any_text_is_expanded_or_refused_at_a_place_inside_it(
        text in "[nN0-9,\\[\\]\\- \\t\\n+.é/]{0,40}",
    ) {
        if let Err(error) = expand(&text) {
            prop_assert!(text.is_char_boundary(error.at) && error.at < text.len());
        }
    }
}

#[test]
fn a_hundred_thousand_names_fold_and_expand() {
    let names = expand("a[1-50000],b[000001-050000]").unwrap();
    assert_eq!(names.len(), 100_000);
    assert_eq!(fold(&names), "a[1-50000],b[000001-050000]");
    assert_eq!(fold_set(names.iter().rev()), "a[1-50000],b[000001-050000]");
    let scattered: Vec<&NodeName> = names.iter().step_by(2).collect();
    assert_eq!(expand(&fold_set(scattered.iter().copied())).unwrap().len(), 50_000);
}
