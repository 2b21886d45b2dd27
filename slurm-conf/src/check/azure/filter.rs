//! Network security groups: do they let Slurm through within the network? Rules are tried by
//! priority, and the first that matches decides; what matches only a part is said and does not
//! decide. Application security groups cannot be seen through, and are passed over.

use azslurm_azure::SecurityRule;
use azslurm_program::check::Finding;

use super::network::{At, Prefix};
use super::{CHECK, unseen};

/// Where sshd listens.
const SSH: u16 = 22;
/// A port that nothing of Slurm's or the system's listens on by default: it stands for those that
/// srun, MPI and file systems choose.
const ANY_HIGH: u16 = 50_123;

/// Traffic within the network.
#[derive(Clone, Copy)]
struct Traffic {
    is_inbound: bool,
    port: u16,
}

/// What a group does to it.
#[derive(Debug, PartialEq, Eq)]
enum Verdict<'r> {
    Allowed,
    /// By this rule.
    Denied(&'r SecurityRule),
    /// A part of the network is cut off by this rule, before another allows the rest.
    PartlyDenied(&'r SecurityRule),
}

/// All findings about security groups at a site.
pub(super) fn check(at: At<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, rules) in &at.seen.filters {
        let rules = match rules {
            Ok(Some(rules)) => rules,
            Ok(None) => {
                findings.push(absent(at, id));
                continue;
            }
            Err(why) => {
                let what = format!("site {}: network security group {id}", at.name);
                let action = "Microsoft.Network/networkSecurityGroups/read";
                findings.extend(unseen(&what, action, why));
                continue;
            }
        };
        findings.extend(of_group(at, id, rules));
    }
    findings
}

/// The key that the group comes from.
fn key(at: At<'_>, id: &str) -> &'static str {
    let own = at.site.network_security_group.as_deref();
    let is_own = own.is_some_and(|own| own.eq_ignore_ascii_case(id));
    if is_own { "network_security_group" } else { "subnet" }
}

fn absent(at: At<'_>, id: &str) -> Finding {
    let text = format!("site {}: network security group {id} does not exist", at.name);
    Finding::error(CHECK, text, format!("make it, or correct [site.{}]", at.name))
        .because("Azure refuses a VM whose card names a group that is not there")
        .at(at.ground.at_site(at.name, key(at, id)))
}

fn of_group(at: At<'_>, id: &str, rules: &[SecurityRule]) -> Vec<Finding> {
    let (slurmctld, slurmd) = at.ground.ports;
    let space: Vec<Prefix> = match &at.seen.network {
        Ok(Some(network)) => network.prefixes.iter().filter_map(|p| Prefix::parse(p)).collect(),
        Ok(None) | Err(_) => Vec::new(),
    };
    let name = id.rsplit('/').next().unwrap_or(id);
    let place = at.ground.at_site(at.name, key(at, id));
    let wanted = [
        (true, slurmd, true, "slurmd: slurmctld and other nodes do not reach the node"),
        (false, slurmctld, true, "slurmctld: nodes do not register, and ResumeTimeout ends them"),
        (true, ANY_HIGH, false, "high ports: srun, MPI over TCP and many file systems use them"),
        (true, SSH, false, "sshd: nobody gets on a node to look"),
    ];
    let mut findings = Vec::new();
    let mut told: Vec<&str> = Vec::new();
    for (is_inbound, port, is_vital, why) in wanted {
        let direction = if is_inbound { "to nodes" } else { "from nodes" };
        let (rule, how) = match verdict(rules, Traffic { is_inbound, port }, &space) {
            Verdict::Allowed => continue,
            Verdict::Denied(rule) => (rule, "denies"),
            Verdict::PartlyDenied(rule) => (rule, "denies a part of"),
        };
        // One rule for all ports is one finding.
        if told.contains(&rule.name.as_str()) {
            continue;
        }
        told.push(&rule.name);
        let text = format!(
            "site {}: rule {} (priority {}) of network security group {name} {how} what goes \
             within the network {direction} on TCP port {port}",
            at.name, rule.name, rule.priority
        );
        let fix = format!(
            "allow TCP port {port} from VirtualNetwork to VirtualNetwork with a priority below {}",
            rule.priority
        );
        let make = match (is_vital, how) {
            (true, "denies") => Finding::error,
            (true, _) | (false, "denies") => Finding::warning,
            (false, _) => Finding::note,
        };
        findings.push(make(CHECK, text, fix).because(why).at(place.clone()));
    }
    findings
}

fn verdict<'r>(rules: &'r [SecurityRule], traffic: Traffic, space: &[Prefix]) -> Verdict<'r> {
    let mut partly = None;
    let concerned = rules.iter().filter(|rule| {
        let is_protocol = rule.protocol == "*" || rule.protocol.eq_ignore_ascii_case("Tcp");
        let is_port = rule.ports.iter().any(|range| has_port(range, traffic.port));
        rule.is_inbound == traffic.is_inbound && is_protocol && is_port
    });
    for rule in concerned {
        match reach(rule, space) {
            Reach::None => {}
            Reach::Part if rule.is_allow => {}
            Reach::Part => partly = partly.or(Some(rule)),
            Reach::All if rule.is_allow => break,
            Reach::All => return Verdict::Denied(rule),
        }
    }
    partly.map_or(Verdict::Allowed, Verdict::PartlyDenied)
}

/// How much of the traffic within a network a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    None,
    Part,
    All,
}

fn reach(rule: &SecurityRule, space: &[Prefix]) -> Reach {
    if rule.has_application_groups {
        return Reach::None;
    }
    let of = |texts: &[String]| {
        texts.iter().map(|text| reach_of(text, space)).max().unwrap_or(Reach::None)
    };
    of(&rule.sources).min(of(&rule.destinations))
}

fn reach_of(text: &str, space: &[Prefix]) -> Reach {
    let is_all = ["*", "Any", "VirtualNetwork"].iter().any(|word| word.eq_ignore_ascii_case(text));
    if is_all {
        return Reach::All;
    }
    // Another service tag, `Internet` among them, is not the network; so is IPv6.
    let Some(prefix) = Prefix::parse(text) else { return Reach::None };
    if !space.is_empty() && space.iter().all(|one| prefix.contains(*one)) {
        return Reach::All;
    }
    if space.iter().any(|one| prefix.overlaps(*one)) { Reach::Part } else { Reach::None }
}

/// `22`, `6000-7000`, `*`.
fn has_port(range: &str, port: u16) -> bool {
    let number = |text: &str| text.trim().parse::<u16>().ok();
    match range.split_once('-') {
        Some((from, to)) => {
            number(from).is_some_and(|from| from <= port) && number(to).is_some_and(|to| port <= to)
        }
        None => range.trim() == "*" || number(range) == Some(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(priority: u64, is_allow: bool, (from, port): (&str, &str)) -> SecurityRule {
        SecurityRule {
            name: format!("r{priority}"),
            priority,
            is_inbound: true,
            is_allow,
            protocol: "Tcp".into(),
            sources: vec![from.into()],
            destinations: vec!["*".into()],
            ports: vec![port.into()],
            has_application_groups: false,
        }
    }

    #[test]
    fn the_first_rule_that_is_about_all_of_it_decides() {
        let space = [Prefix::parse("10.0.0.0/16").unwrap()];
        let inbound = Traffic { is_inbound: true, port: 6818 };
        let allow = rule(65000, true, ("VirtualNetwork", "*"));
        let decide = |first: SecurityRule| {
            let rules = [first, allow.clone()];
            match verdict(&rules, inbound, &space) {
                Verdict::Allowed => "allowed",
                Verdict::Denied(_) => "denied",
                Verdict::PartlyDenied(_) => "part",
            }
        };
        for (from, port, expected) in [
            ("*", "*", "denied"),
            ("VirtualNetwork", "6000-7000", "denied"),
            ("10.0.0.0/8", "6818", "denied"),
            ("10.0.1.0/24", "6818", "part"),
            ("192.168.0.0/16", "6818", "allowed"),
            ("Internet", "*", "allowed"),
            ("*", "22", "allowed"),
        ] {
            assert_eq!(decide(rule(100, false, (from, port))), expected, "{from} {port}");
        }
        assert_eq!(decide(rule(100, true, ("*", "*"))), "allowed");
        let udp = SecurityRule { protocol: "Udp".into(), ..rule(100, false, ("*", "*")) };
        assert_eq!(decide(udp), "allowed");
        let groups = SecurityRule { has_application_groups: true, ..rule(100, false, ("*", "*")) };
        assert_eq!(decide(groups), "allowed");
    }
}
