//! Sizes that Azure retires, with the day and what to take instead. (FACTS §6.4; the pages of the
//! size series.) The SKU API does not say it before the day.

/// A series that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retirement {
    /// Its family, as the SKU API names it.
    family: &'static str,
    /// The last day; `None`: it is over.
    pub day: Option<&'static str>,
    /// What to take instead.
    pub instead: &'static str,
}

const RETIREMENTS: [Retirement; 3] = [
    Retirement { family: "standardHBSFamily", day: None, instead: "Standard_HB120rs_v3" },
    Retirement {
        family: "standardHBrsv2Family",
        day: Some("2027-05-31"),
        instead: "Standard_HB120rs_v3 or Standard_HB176rs_v4",
    },
    Retirement {
        family: "standardHCSFamily",
        day: Some("2027-05-31"),
        instead: "Standard_HB176rs_v4 or Standard_HX176rs",
    },
];

/// The retirement of a size: by its family where that is known, else by its name.
pub(super) fn of(name: &str, family: Option<&str>) -> Option<Retirement> {
    let family = family.unwrap_or_else(|| family_of(name));
    RETIREMENTS.into_iter().find(|one| one.family.eq_ignore_ascii_case(family))
}

/// A size that is not sold any more is not listed either: only its name tells.
fn family_of(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase();
    let plain = name.trim_start_matches("standard_");
    match (plain.starts_with("hb60"), plain.starts_with("hc44")) {
        (true, _) => "standardHBSFamily",
        (_, true) => "standardHCSFamily",
        _ if plain.starts_with("hb120") && plain.ends_with("_v2") => "standardHBrsv2Family",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_known_by_its_family_and_by_its_name() {
        assert_eq!(of("Standard_X", Some("STANDARDhcsFAMILY")).unwrap().day, Some("2027-05-31"));
        assert_eq!(of("standard_hb60-15rs", None).unwrap().day, None);
        assert!(of("Standard_HB120-96rs_v2", None).is_some());
        assert!(of("Standard_HC44-16rs", None).is_some());
        assert_eq!(of("Standard_HB120rs_v3", None), None);
        assert_eq!(of("Standard_HB120rs_v3", Some("standardHBv3Family")), None);
    }
}
