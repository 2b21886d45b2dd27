//! Virtual time: milliseconds since 1970, moved by whoever owns the model. Must never: ask the
//! system for the time.

/// Milliseconds since 1970-01-01 UTC.
pub type Millis = i64;

/// One second.
pub const SECOND: Millis = 1000;

/// One minute.
pub const MINUTE: Millis = 60 * SECOND;

fn timestamp(at: Millis) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(at).unwrap_or(jiff::Timestamp::MAX)
}

/// As Azure writes times in operations and `timeCreated`: seven fractional digits and an offset.
pub fn azure(at: Millis) -> String {
    format!("{}+00:00", timestamp(at).strftime("%Y-%m-%dT%H:%M:%S%.7f"))
}

/// As scheduled events write times.
pub fn rfc_1123(at: Millis) -> String {
    timestamp(at).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// As the control interface writes times: three fractional digits, `Z`.
pub fn control(at: Millis) -> String {
    format!("{}Z", timestamp(at).strftime("%Y-%m-%dT%H:%M:%S%.3f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_fixed_width_fractions() {
        assert_eq!(azure(1_700_000_000_120), "2023-11-14T22:13:20.1200000+00:00");
        assert_eq!(rfc_1123(1_700_000_000_120), "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(control(1_700_000_000_120), "2023-11-14T22:13:20.120Z");
    }
}
