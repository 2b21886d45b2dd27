//! Whether anybody makes passes.

use std::time::Duration;

use super::Finding;

const CHECK: &str = "passes";
/// A daemon or a timer makes a pass every minute or so.
const AGE_MAX: Duration = Duration::from_secs(10 * 60);

/// `age`: how long ago the last pass ended; `None`: there was none.
pub fn check(age: Option<Duration>) -> Finding {
    let fix = "start azslurm-sync as a service or by a timer, and see its log: \
        `systemctl status azslurm-sync`";
    match age {
        None => Finding::warning(CHECK, "no pass was ever made with this ledger", fix),
        Some(age) if age > AGE_MAX => {
            let text = format!(
                "the last pass was {} min ago: what killed programs leave is not carried on",
                age.as_secs() / 60
            );
            Finding::warning(CHECK, text, fix)
        }
        Some(age) => Finding::ok(CHECK, format!("the last pass was {} s ago", age.as_secs())),
    }
}

/// The daemon that acts or acted last: who it is, and whether it still acts.
pub fn daemon(who: &str, is_acting: bool) -> Finding {
    match is_acting {
        true => Finding::ok(CHECK, format!("the daemon {who} acts")),
        false => Finding::warning(
            CHECK,
            format!("the daemon {who} does not act any more, and no other does"),
            "`systemctl start azslurm-sync`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    #[test]
    fn somebody_must_make_passes() {
        let level = |age: Option<u64>| check(age.map(Duration::from_secs)).level;
        assert_eq!(level(None), Level::Warning);
        assert_eq!(level(Some(601)), Level::Warning);
        assert_eq!(level(Some(600)), Level::Ok);
        assert_eq!(daemon("d on head", true).level, Level::Ok);
        assert_eq!(daemon("d on head", false).level, Level::Warning);
    }
}
