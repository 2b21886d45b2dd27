//! A page of Resource Graph and its rows, read out of the answer's own text: ten thousand rows as
//! trees of JSON cost three times as much as all else of a pass. It says how a page is built;
//! [`crate::read`] knows what the members of a row mean.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A row of one of our queries: what they project is texts, a list of zones, and tags. Whatever
/// else stands in it is passed over, and never an error.
#[derive(Debug, Default)]
pub struct GraphRow<'a> {
    texts: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    zones: Vec<Cow<'a, str>>,
    tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl GraphRow<'_> {
    /// A member that is a text, and not an empty one.
    pub fn text(&self, name: &str) -> Option<&str> {
        // Of a member that stands there twice the last counts, as everywhere in JSON.
        let found = self.texts.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, text)| text.as_ref()).filter(|text| !text.is_empty())
    }

    /// The zones.
    pub fn zones(&self) -> impl Iterator<Item = &str> {
        self.zones.iter().map(Cow::as_ref)
    }

    /// The tags whose values are texts.
    pub fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tags.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

/// What a page says beside its rows.
#[derive(Debug, Default, PartialEq)]
pub struct Page {
    /// How many rows it has; `None`: there is no list of rows.
    pub rows: Option<u64>,
    /// `count`.
    pub count: Option<u64>,
    /// `totalRecords`.
    pub total: Option<u64>,
    /// `$skipToken`, if another page follows.
    pub token: Option<String>,
    /// Whether Azure says that the result was cut.
    pub is_cut: bool,
}

/// Reads a page, and hands each of its rows to `take`.
///
/// # Errors
/// It is no JSON, or breaks off; rows before that have been handed over.
pub fn read(body: &[u8], take: &mut dyn FnMut(&GraphRow<'_>)) -> Result<Page, String> {
    // All of it at once is looked through faster than each text by itself.
    let body = str::from_utf8(body).map_err(|error| error.to_string())?;
    let mut json = serde_json::Deserializer::from_str(body);
    let page = Rows { take }.deserialize(&mut json).map_err(|error| error.to_string())?;
    json.end().map_err(|error| error.to_string())?;
    Ok(page)
}

/// Makes visitors of what is of another kind than was expected: it is passed over.
macro_rules! pass_over {
    (list) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
        pass_over!(scalar);
    };
    (map) => {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
        pass_over!(scalar);
    };
    (scalar) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_bool<E>(self, _value: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_u64<E>(self, _value: u64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_i64<E>(self, _value: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
        fn visit_f64<E>(self, _value: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (text) => {
        fn visit_str<E>(self, _text: &str) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
}

/// A page: its rows are handed on one by one.
struct Rows<'t> {
    take: &'t mut dyn FnMut(&GraphRow<'_>),
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = Page;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Page, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = Page;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Page, A::Error> {
        let mut page = Page::default();
        while let Some(Name(name)) = map.next_key()? {
            match name.as_ref() {
                "data" => page.rows = map.next_value_seed(List { take: &mut *self.take })?,
                "count" => page.count = map.next_value::<Value>()?.as_u64(),
                "totalRecords" => page.total = map.next_value::<Value>()?.as_u64(),
                "$skipToken" => {
                    let token: Text<'_> = map.next_value()?;
                    page.token = token.0.filter(|it| !it.is_empty()).map(Cow::into_owned);
                }
                // A string in the published examples, a boolean in the schema.
                "resultTruncated" => {
                    let said = map.next_value::<Value>()?.to_string();
                    page.is_cut = said.to_lowercase().contains("true");
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(page)
    }

    pass_over!(list);
    pass_over!(text);
}

/// The rows of a page; how many, if they are a list.
struct List<'t> {
    take: &'t mut dyn FnMut(&GraphRow<'_>),
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = Option<u64>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<u64>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<u64>, A::Error> {
        // One row's room is used by all.
        let mut row = GraphRow::default();
        let mut count = 0;
        while list.next_element_seed(Filling(&mut row))?.is_some() {
            (self.take)(&row);
            count += 1;
        }
        Ok(Some(count))
    }

    pass_over!(map);
    pass_over!(text);
}

/// Reads a row into one that is there.
struct Filling<'r, 'a>(&'r mut GraphRow<'a>);

impl<'de: 'a, 'a> DeserializeSeed<'de> for Filling<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let GraphRow { texts, zones, tags } = &mut *self.0;
        texts.clear();
        zones.clear();
        tags.clear();
        json.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for Filling<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            match name.as_ref() {
                "zones" => self.0.zones = map.next_value::<Texts<'a>>()?.0,
                "tags" => map.next_value_seed(Tags(&mut self.0.tags))?,
                _ => {
                    let text: Text<'a> = map.next_value()?;
                    self.0.texts.extend(text.0.map(|text| (name, text)));
                }
            }
        }
        Ok(())
    }

    pass_over!(list);
    pass_over!(text);
}

impl<'de: 'a, 'a> Deserialize<'de> for GraphRow<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let mut row = GraphRow::default();
        Filling(&mut row).deserialize(json)?;
        Ok(row)
    }
}

/// Tags by name.
struct Tags<'r, 'a>(&'r mut Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> DeserializeSeed<'de> for Tags<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for Tags<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tags")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let text: Text<'a> = map.next_value()?;
            self.0.extend(text.0.map(|text| (name, text)));
        }
        Ok(())
    }

    pass_over!(list);
    pass_over!(text);
}

/// The name of a member.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_str(AnyText).map(|text| Name(text.unwrap_or_default()))
    }
}

/// A text; `None`: it is none.
struct Text<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(AnyText).map(Text)
    }
}

struct AnyText;

impl<'de> Visitor<'de> for AnyText {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    pass_over!(list);
}

/// The texts of a list.
struct Texts<'a>(Vec<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Texts<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(ListOfTexts).map(Texts)
    }
}

struct ListOfTexts;

impl<'de> Visitor<'de> for ListOfTexts {
    type Value = Vec<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(Text(text)) = list.next_element()? {
            texts.extend(text);
        }
        Ok(texts)
    }

    pass_over!(map);
    pass_over!(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> (Vec<String>, Page) {
        let mut rows = Vec::new();
        let page = read(text.as_bytes(), &mut |row| rows.push(shown(row))).unwrap();
        (rows, page)
    }

    fn shown(row: &GraphRow<'_>) -> String {
        let (zones, tags): (Vec<_>, Vec<_>) = (row.zones().collect(), row.tags().collect());
        format!("{:?} {:?} {zones:?} {tags:?}", row.text("id"), row.text("b"))
    }

    #[test]
    fn rows_are_read_whatever_stands_in_them() {
        let (rows, page) = read_all(
            r#"{"odd": {"data": [1]}, "data": [
                {"id": "a\u0041", "b": "", "zones": ["1", 2, null], "tags": {"x": "y", "n": 3}},
                {"b": {"id": "no"}, "zones": {"1": 2}, "tags": ["x"], "id": "1", "id": "2"},
                5, null, "id", ["id"], {"id": [["z"]], "tags": null, "zones": "1", "b": "c"}],
             "count": 7}"#,
        );
        let empty = "None None [] []";
        assert_eq!(
            rows,
            [
                r#"Some("aA") None ["1"] [("x", "y")]"#,
                r#"Some("2") None [] []"#,
                empty,
                empty,
                empty,
                empty,
                r#"None Some("c") [] []"#
            ]
        );
        assert_eq!((page.rows, page.count, page.token), (Some(7), Some(7), None));
    }

    #[test]
    fn what_stands_beside_the_rows_is_read_wherever_it_stands() {
        let (rows, page) = read_all(
            r#"{"$skipToken": "t", "resultTruncated": "True", "data": [], "totalRecords": 3}"#,
        );
        assert!(rows.is_empty());
        let token = Some("t".to_owned());
        let expected = Page { rows: Some(0), total: Some(3), token, is_cut: true, count: None };
        assert_eq!(page, expected);
        for bare in ["{}", "[]", "null", "3", "\"x\"", r#"{"data": null, "$skipToken": ""}"#] {
            assert_eq!(read_all(bare).1, Page::default(), "{bare}");
        }
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for bad in ["", "{", r#"{"data": [{"id": "a"}"#, r#"{"data": []} x"#, "<html>"] {
            assert!(read(bad.as_bytes(), &mut |_| {}).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_row_of_a_tree_is_the_row_of_its_text() {
        let text = r#"{"id": "a", "b": "c\n", "zones": ["2"], "tags": {"x": "y"}, "no": 1.5}"#;
        let tree: Value = serde_json::from_str(text).unwrap();
        let (of_tree, of_text) =
            (GraphRow::deserialize(&tree).unwrap(), serde_json::from_str(text).unwrap());
        assert_eq!(shown(&of_tree), shown(&of_text));
        assert_eq!(shown(&of_text), r#"Some("a") Some("c\n") ["2"] [("x", "y")]"#);
    }
}
