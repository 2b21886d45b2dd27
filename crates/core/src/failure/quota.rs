//! The numbers in the text of a quota refusal.
//!
//! ```text
//! … exceeding approved standardDSv3Family Cores quota. … Current Limit: 10, Current Usage: 10,
//!   Additional Required: 4, (Minimum) New Limit Required: 14.                       FACTS §5
//! … exceeding quota limits of Core. Maximum allowed: 10, Current in use: 10, Additional
//!   requested: 2.                                                                   FACTS §5, old
//! … exceeding quota limit of standardDSv3Family Cores. Maximum allowed: …
//!                                                                   kubernetes/autoscaler#2607
//! ```

use crate::facts::QUOTA_CORES;

/// What the text of a quota refusal says; nothing of it is sure to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuotaSays {
    /// The quota's name as the usages have it: `cores`, `lowPriorityCores`, `standardHBv3Family`.
    pub name: Option<String>,
    /// At most.
    pub limit: Option<u64>,
    /// In use.
    pub used: Option<u64>,
    /// Wanted in addition.
    pub wanted: Option<u64>,
}

/// The quota of Spot cores, as the usages write it (FACTS §10).
const SPOT_CORES: &str = "lowPriorityCores";
/// A name that is longer was not meant as one: the longest family has 30 characters.
const NAME_LENGTH_MAX: usize = 64;

/// Reads the text of a refusal; `None`: it is not about a quota.
pub fn quota_says(text: &str) -> Option<QuotaSays> {
    // In ASCII lower case every byte stays where it is.
    let lower = text.to_ascii_lowercase();
    if !lower.contains("exceeding") || !(lower.contains("quota") || lower.contains("cores")) {
        return None;
    }
    let number = |labels: [&str; 2]| labels.iter().find_map(|label| number_after(&lower, label));
    Some(QuotaSays {
        name: raw_name(text, &lower).and_then(usages_name),
        limit: number(["current limit:", "maximum allowed:"]),
        used: number(["current usage:", "current in use:"]),
        wanted: number(["additional required:", "additional requested:"]),
    })
}

fn number_after(lower: &str, label: &str) -> Option<u64> {
    let rest = lower.split_once(label)?.1.trim_start();
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The name as the text has it: `standardDSv3Family Cores`, `Total Regional Cores`, `Core`.
fn raw_name<'a>(text: &'a str, lower: &str) -> Option<&'a str> {
    let between = |before: &str, after: &str| {
        let start = lower.find(before)? + before.len();
        let length = lower.get(start..)?.find(after)?;
        text.get(start..start + length)
    };
    between("exceeding approved ", " quota")
        .or_else(|| between("quota limits of ", "."))
        .or_else(|| between("quota limit of ", "."))
        .map(str::trim)
        .filter(|name| !name.is_empty() && name.len() <= NAME_LENGTH_MAX)
}

/// The usages' name of it; `None` for words that can be no name.
fn usages_name(raw: &str) -> Option<String> {
    let lower = raw.to_ascii_lowercase();
    let is_of_spot = ["lowpriority", "low-priority", "low priority", "spot"];
    if is_of_spot.iter().any(|word| lower.contains(word)) {
        return Some(SPOT_CORES.to_owned());
    }
    let is_of_all = ["core", "cores", "total regional cores", "total regional vcpus"];
    if is_of_all.contains(&lower.as_str()) {
        return Some(QUOTA_CORES.to_owned());
    }
    let end = [" cores", " vcpus"].iter().find_map(|unit| lower.strip_suffix(unit));
    let name = raw.get(..end.unwrap_or(&lower).len())?;
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ');
    name.chars().all(is_of_a_name).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str) -> (Option<String>, [Option<u64>; 3]) {
        let quota = quota_says(text).unwrap();
        (quota.name, [quota.limit, quota.used, quota.wanted])
    }

    #[test]
    fn the_numbers_are_read_in_every_spelling_that_was_reported() {
        let of = |name: &str, numbers: [u64; 3]| (Some(name.to_owned()), numbers.map(Some));
        let with = |quota: &str| {
            format!(
                "Operation could not be completed as it results in exceeding approved {quota} \
                 quota. Additional details - Deployment Model: Resource Manager, Location: \
                 westus2, Current Limit: 200, Current Usage: 194, Additional Required: 24, \
                 (Minimum) New Limit Required: 218. Setup Alerts when Quota reaches threshold."
            )
        };
        for (quota, name) in [
            ("standardHBv3Family Cores", "standardHBv3Family"),
            ("Standard NDASv4_A100 Family Cores", "Standard NDASv4_A100 Family"),
            ("standardNCPromoFamily vCPUs", "standardNCPromoFamily"),
            ("Total Regional Cores", "cores"),
            ("TOTAL REGIONAL VCPUS", "cores"),
            ("LowPriorityCores", "lowPriorityCores"),
            ("Total Regional Low-priority vCPUs", "lowPriorityCores"),
        ] {
            assert_eq!(says(&with(quota)), of(name, [200, 194, 24]), "{quota}");
        }
        // The old wording (scylla-cluster-tests#4994, FACTS §5).
        let old = "Operation results in exceeding quota limits of Core. Maximum allowed: 10, \
                   Current in use: 10, Additional requested: 2. Please read more about quota \
                   increase at http://aka.ms/corequotaincrease.";
        assert_eq!(says(old), of("cores", [10, 10, 2]));
        // kubernetes/autoscaler#2607.
        let mixed = "The operation couldn't be completed as it results in exceeding quota limit of \
                     standardDSv3Family Cores. Maximum allowed: 1000, Current in use: 986, \
                     Additional requested: 72. Read more about quota limits.";
        assert_eq!(says(mixed), of("standardDSv3Family", [1000, 986, 72]));
    }

    #[test]
    fn what_is_not_said_is_not_made_up() {
        let bare = "results in exceeding approved quota. Current Limit: many";
        assert_eq!(quota_says(bare), Some(QuotaSays::default()));
        let odd = "exceeding approved <script> quota. Current Limit: 99999999999999999999999";
        assert_eq!(quota_says(odd), Some(QuotaSays::default()));
        let cut = "results in exceeding approved standardHBv3Fam";
        assert_eq!(quota_says(cut), None);
        for text in ["", "The VM is running.", "exceeding the maximum of 4 data disks", "quota"] {
            assert_eq!(quota_says(text), None, "{text:?}");
        }
    }
}
