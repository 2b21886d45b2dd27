//! A page of a list, read row by row: at no time is more of it in memory than its text and one row.
//! It says how a page is built and nothing of what its rows mean.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;

/// Hands every row of a page's `value` to `take` and gives back its `nextLink`, empty if there is
/// none.
///
/// # Errors
/// It is no page, or breaks off; rows before that have been handed over.
pub fn read(body: &[u8], take: &mut dyn FnMut(&Value)) -> Result<String, String> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let link = Page { take }.deserialize(&mut json).map_err(|error| error.to_string())?;
    json.end().map_err(|error| error.to_string())?;
    Ok(link)
}

struct Page<'a> {
    take: &'a mut dyn FnMut(&Value),
}

impl<'de> DeserializeSeed<'de> for Page<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<String, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Page<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut page: A) -> Result<String, A::Error> {
        let mut link: Option<String> = None;
        let mut has_rows = false;
        while let Some(name) = page.next_key::<String>()? {
            match name.as_str() {
                "value" => {
                    page.next_value_seed(Rows { take: &mut *self.take })?;
                    has_rows = true;
                }
                "nextLink" => link = page.next_value()?,
                _ => {
                    page.next_value::<IgnoredAny>()?;
                }
            }
        }
        if !has_rows {
            return Err(A::Error::missing_field("value"));
        }
        Ok(link.unwrap_or_default())
    }
}

struct Rows<'a> {
    take: &'a mut dyn FnMut(&Value),
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element::<Value>()? {
            (self.take)(&row);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Result<(Vec<Value>, String), String> {
        let mut rows = Vec::new();
        let link = read(text.as_bytes(), &mut |row| rows.push(row.clone()))?;
        Ok((rows, link))
    }

    #[test]
    fn rows_come_in_order_whatever_stands_beside_them() {
        let text = r#"{"count": {"a": [1]}, "value": [1, {"a": null}, "x"], "nextLink": "next"}"#;
        let (rows, link) = read_all(text).unwrap();
        assert_eq!(rows, [serde_json::json!(1), serde_json::json!({"a": null}), "x".into()]);
        assert_eq!(link, "next");
        for text in [r#"{"value": []}"#, r#"{"nextLink": null, "value": []}"#] {
            assert_eq!(read_all(text).unwrap(), (Vec::new(), String::new()));
        }
    }

    #[test]
    fn what_is_no_whole_page_is_none() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"value": null}"#,
            r#"{"value": {}}"#,
            r#"{"value": [], "nextLink": 3}"#,
            r#"{"value": [1, 2"#,
            r#"{"value": [1]} x"#,
            "<html>",
        ] {
            assert!(read_all(bad).is_err(), "{bad:?}");
        }
    }
}
