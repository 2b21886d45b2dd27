//! Host lists: what is read is what Slurm means, and what is written is read back.

use azslurm_core::NodeName;
use azslurm_core::hostlist::{
    self, HostlistErrorKind, NAMES_MAX, expand, fold, fold_set, fold_sorted,
};

/// Words of host lists, and the numbers at which something changes.
pub const WORDS: &[&str] = &[
    "n[1-3]",
    "[",
    "]",
    "-",
    ",",
    "[0-65535]",
    "[1-65536]",
    "[1-65537]",
    "18446744073709551615",
    "18446744073709551616",
    "00",
    "099",
    "999999",
    "n[09-11,8]",
    "\t",
    "\n",
    "é",
];
/// An error shows at most so much of a list.
const FOUND_CHARS_MAX: usize = 80;
/// Longer lists of names are not folded here: reading them back costs more than it can find.
const FOLDED_MAX: usize = 5_000;

/// A host list of any text.
pub fn host_list(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match expand(&text) {
        Ok(names) => {
            assert!(names.len() <= NAMES_MAX);
            if names.len() <= FOLDED_MAX {
                folds_come_back(&names);
            }
        }
        Err(error) => {
            assert!(text.is_char_boundary(error.at), "{error:?} is inside a character");
            assert!(error.found.chars().count() <= FOUND_CHARS_MAX, "{error:?} shows too much");
            let said = error.to_string();
            assert!(!said.contains('\n') && said.contains("character"), "{said}");
            // A name that no node can have is shown as it is after its brackets.
            let is_of_the_text = !matches!(
                error.kind,
                HostlistErrorKind::BadName(_) | HostlistErrorKind::NumberTooLarge
            );
            let at = &text[error.at..];
            assert!(!is_of_the_text || at.starts_with(&error.found), "{error:?} is not at {at:?}");
        }
    }
}

/// Each way to write names is read back as the same names.
fn folds_come_back(names: &[NodeName]) {
    let read = |list: String| expand(&list).unwrap_or_else(|e| panic!("{list:?} of ours: {e}"));
    assert_eq!(read(fold(names)), names, "folded");
    let mut sorted = names.to_vec();
    sorted.sort();
    let mut back = read(fold_sorted(names));
    let order: Vec<&NodeName> =
        hostlist::sorted_order(names).into_iter().map(|index| &names[index]).collect();
    assert!(back.iter().eq(order.iter().copied()), "the order is not that of the sorted list");
    back.sort();
    assert_eq!(back, sorted, "sorted");
    sorted.dedup();
    let mut set = read(fold_set(names));
    assert_eq!(fold_set(&set), fold_set(names), "a set of a set is the same");
    set.sort();
    assert_eq!(set, sorted, "each once");
}
