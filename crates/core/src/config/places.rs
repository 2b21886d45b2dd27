//! Where a key stands in the text of a config, for findings about a value that is well-formed.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The line, from 1, of a key with its tables, `nodeset.hb.sku`; if it is not there, of the last of
/// its tables that is. `None`: none of them is there, or the text is not TOML. A name with a dot in
/// it is not found.
pub fn line_of(text: &str, key: &str) -> Option<usize> {
    let (root, faults) = DeTable::parse_recoverable(text);
    if !faults.is_empty() {
        return None;
    }
    let mut table: &DeTable<'_> = root.get_ref();
    let mut at = None;
    for part in key.split('.') {
        let Some((name, value)) = entry(table, part) else { break };
        at = Some(name.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => break,
        }
    }
    Some(text[..text.floor_char_boundary(at?)].matches('\n').count() + 1)
}

fn entry<'t, 'a>(
    table: &'t DeTable<'a>,
    name: &str,
) -> Option<(&'t Spanned<std::borrow::Cow<'a, str>>, &'t Spanned<DeValue<'a>>)> {
    table.iter().find(|(key, _)| key.get_ref() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_or_else_the_table_that_it_belongs_to() {
        let text = "# a\n[cluster]\nname = \"c\"\n\n[nodeset.hb]\nsku = \"x\"\n\
                    [nodeset.hb.tags]\na = \"b\"\n";
        assert_eq!(line_of(text, "cluster.name"), Some(3));
        assert_eq!(line_of(text, "nodeset.hb.sku"), Some(6));
        assert_eq!(line_of(text, "nodeset.hb.weight"), Some(5));
        assert_eq!(line_of(text, "nodeset.hb.tags.a"), Some(8));
        assert_eq!(line_of(text, "power.suspend_time_seconds"), None);
        assert_eq!(line_of("= 1", "cluster"), None);
    }
}
