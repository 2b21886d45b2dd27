//! `azslurm-sync hold`: what is not tried for a while, as people see and change it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use azslurm_core::block::BlockName;
use azslurm_core::config::{Config, Region, Site, Sku, Zone};
use azslurm_core::hold::{CODE_OPERATOR, Hold, HoldScope, HoldStanding};
use azslurm_core::plan::{half_open, held_everywhere};
use azslurm_core::{NodeName, SiteName, hostlist};
use azslurm_ledger::{Event, LedgerError};
use azslurm_program::exit::Stop;
use azslurm_program::facts::USAGES_TRUSTED;
use azslurm_program::sight::Seen;
use azslurm_program::{Session, holds, now};
use serde::Serialize;

/// Names that one error lists: a screen of blocks helps nobody.
const LISTED_MAX: usize = 12;

/// A hold for people and machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What it covers: the word that `clear` and `add` take.
    pub scope: String,
    /// `closed`, `half-open` or `over`.
    pub standing: &'static str,
    /// Azure's code, or ours.
    pub code: String,
    /// Azure's words.
    pub text: String,
    /// Refusals in a row.
    pub strikes: u32,
    /// The latest refusal, RFC 3339.
    pub struck_at: String,
    /// When it ends, or opens by half, RFC 3339.
    pub until: String,
    /// Nodes that it keeps from all of their places, as a host list; empty if there are none.
    pub nodes: String,
}

/// All holds that are not over.
pub fn list(session: &Session) -> Result<Vec<Row>, Stop> {
    let seen = Seen::read(&session.ledger, &session.config, (USAGES_TRUSTED, now()))
        .map_err(Stop::failed)?;
    let sight = seen.sight(&session.config);
    let mut nodes: BTreeMap<String, Vec<NodeName>> = BTreeMap::new();
    for node in session.config.nodesets.values().flat_map(|nodeset| &nodeset.nodes) {
        let hold = held_everywhere(node, &sight).or_else(|| half_open(node, &sight));
        if let Some(hold) = hold {
            nodes.entry(hold.scope.to_string()).or_default().push(node.clone());
        }
    }
    Ok(seen.holds.iter().map(|hold| row(hold, nodes.get(&hold.scope.to_string()))).collect())
}

fn row(hold: &Hold, nodes: Option<&Vec<NodeName>>) -> Row {
    let standing = match hold.standing(now()) {
        HoldStanding::Closed => "closed",
        HoldStanding::HalfOpen => "half-open",
        HoldStanding::Over => "over",
    };
    Row {
        scope: hold.scope.to_string(),
        standing,
        code: hold.code.clone(),
        text: hold.text.clone(),
        strikes: hold.strikes,
        struck_at: hold.struck_at.to_string(),
        until: hold.until.to_string(),
        nodes: nodes.map(hostlist::fold_sorted).unwrap_or_default(),
    }
}

/// As a table.
pub fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no holds: every place may be tried".to_owned();
    }
    let lines = rows.iter().map(|row| {
        vec![
            row.scope.clone(),
            row.standing.to_owned(),
            row.strikes.to_string(),
            row.until.clone(),
            row.nodes.clone(),
            format!("{}: {}", row.code, row.text),
        ]
    });
    crate::table::table(&["SCOPE", "STANDING", "STRIKES", "UNTIL", "NODES", "WHY"], lines)
}

/// A word that names no hold.
#[derive(Debug, thiserror::Error)]
enum HoldError {
    #[error("there is no hold {found:?}; there are {known}; `azslurm-sync hold list` shows all")]
    Absent { found: String, known: String },
    #[error(
        "{0:?} is no scope: node:NODE, sku-zone:SITE/ZONE/SKU, sku-site:SITE/SKU, \
         spot-zone:SITE/ZONE/SKU, spot-site:SITE/SKU, \
         family:SUBSCRIPTION/REGION/FAMILY/VCPUS, spot-region:SUBSCRIPTION/REGION, \
         block:BLOCK/SITE, subnet:SITE, image:REFERENCE, nodeset:NODESET, \
         boot:NODESET/REFERENCE or site:SITE"
    )]
    NotAScope(String),
    #[error("{scope} names node {node}, which is in no nodeset of the config: it has {known}")]
    InNoNodeset { scope: String, node: NodeName, known: String },
    #[error("{scope} names {kind} {found}, which the config does not have: it has {known}")]
    NotInConfig { scope: String, kind: &'static str, found: String, known: String },
}

/// Ends holds: those of the scopes, or all. Refuses the whole request if one of them is not there.
pub fn clear(
    session: &mut Session,
    scopes: Option<&[String]>,
    is_dry_run: bool,
) -> Result<Vec<Row>, Stop> {
    let known = holds::all(&session.ledger).map_err(Stop::failed)?;
    let is_named =
        |hold: &&Hold| scopes.is_none_or(|scopes| scopes.contains(&hold.scope.to_string()));
    let named: Vec<&Hold> = known.iter().filter(is_named).collect();
    for scope in scopes.unwrap_or_default() {
        if !named.iter().any(|hold| hold.scope.to_string() == *scope) {
            let known = listed(&known.iter().map(|hold| hold.scope.to_string()).collect());
            return Err(Stop::cannot_start(HoldError::Absent { found: scope.clone(), known }));
        }
    }
    if !is_dry_run {
        let ended: Result<(), LedgerError> = session.ledger.write(|writer| {
            for hold in &named {
                let scope = hold.scope.to_string();
                writer.unhold(&scope)?;
                let text = format!("{scope} ended by a person: {}", hold.code);
                writer.event(&Event::new(now(), "hold-cleared", text))?;
            }
            Ok(())
        });
        ended.map_err(Stop::failed)?;
    }
    Ok(named.into_iter().map(|hold| row(hold, None)).collect())
}

/// Adds a hold of a person's.
pub fn add(
    session: &mut Session,
    (scope, time, reason): (&str, Duration, &str),
    is_dry_run: bool,
) -> Result<Row, Stop> {
    let scope: HoldScope =
        scope.parse().map_err(|_| Stop::cannot_start(HoldError::NotAScope(scope.to_owned())))?;
    check(&session.config, &scope).map_err(Stop::cannot_start)?;
    let at = now();
    let hold = Hold {
        scope,
        code: CODE_OPERATOR.to_owned(),
        text: reason.to_owned(),
        // It simply ends: a person's hold has nothing to find out.
        strikes: 1,
        struck_at: at,
        until: at.plus(time),
    };
    if !is_dry_run {
        let added: Result<(), LedgerError> = session.ledger.write(|writer| {
            holds::write(writer, &hold, at)?;
            let text = format!("{} held by a person until {}: {reason}", hold.scope, hold.until);
            writer.event(&Event::new(at, "hold-added", text))
        });
        added.map_err(Stop::failed)?;
    }
    Ok(row(&hold, None))
}

/// A hold that covers nothing would be a mistyped one: every word of it must be in the config.
fn check(config: &Config, scope: &HoldScope) -> Result<(), HoldError> {
    let nodesets = || config.nodesets.iter();
    let is_known = |kind: &'static str, found: String, known: BTreeSet<String>| {
        if known.contains(&found) {
            return Ok(());
        }
        let known = listed(&known);
        Err(HoldError::NotInConfig { scope: scope.to_string(), kind, found, known })
    };
    let images = || nodesets().map(|(_, set)| set.image.reference_text()).collect();
    let names = || nodesets().map(|(name, _)| name.to_string()).collect();
    let site = |name: &SiteName| {
        let sites = config.sites.keys().map(ToString::to_string).collect();
        is_known("site", name.to_string(), sites)
    };
    let size = |sku: &Sku| {
        is_known("size", sku.to_string(), nodesets().map(|(_, set)| set.sku.to_string()).collect())
    };
    let zone = |zone: &Zone| {
        let zones = nodesets().flat_map(|(_, set)| &set.zones).map(ToString::to_string);
        is_known("zone", zone.to_string(), zones.collect())
    };
    let ground = |subscription: &str, region: &Region| {
        let of_site = |site: &Site| format!("{}/{}", site.subscription, site.region);
        let found = format!("{}/{region}", subscription.to_ascii_lowercase());
        is_known("subscription and region", found, config.sites.values().map(of_site).collect())
    };
    match scope {
        HoldScope::Node(node) if config.nodeset_of(node).is_some() => Ok(()),
        HoldScope::Node(node) => Err(HoldError::InNoNodeset {
            scope: scope.to_string(),
            node: node.clone(),
            known: listed(&names()),
        }),
        HoldScope::Nodeset(name) => is_known("nodeset", name.to_string(), names()),
        HoldScope::Block(block, name) => {
            let all = nodesets().flat_map(|(name, set)| {
                set.blocks.iter().map(|number| BlockName::new(name.clone(), *number).to_string())
            });
            is_known("block", block.to_string(), all.collect())?;
            site(name)
        }
        HoldScope::SkuZone(name, at, sku) | HoldScope::SpotZone(name, at, sku) => {
            site(name)?;
            zone(at)?;
            size(sku)
        }
        HoldScope::SkuSite(name, sku) | HoldScope::SpotSite(name, sku) => {
            site(name)?;
            size(sku)
        }
        HoldScope::Subnet(name) | HoldScope::Site(name) => site(name),
        HoldScope::Family { subscription, region, .. }
        | HoldScope::SpotRegion(subscription, region) => ground(subscription, region),
        HoldScope::Image(image) => is_known("image", image.clone(), images()),
        HoldScope::Boot(name, image) => {
            is_known("nodeset", name.to_string(), names())?;
            is_known("image", image.clone(), images())
        }
    }
}

/// Names for an error, in one line.
fn listed(names: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = names.iter().take(LISTED_MAX).map(String::as_str).collect();
    match names.len().saturating_sub(LISTED_MAX) {
        _ if names.is_empty() => "none".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// What `clear` says.
pub fn ended_text(rows: &[Row], is_dry_run: bool) -> String {
    if rows.is_empty() {
        return "no holds".to_owned();
    }
    let word = if is_dry_run { "would end" } else { "ended" };
    let lines: Vec<String> = rows
        .iter()
        .map(|row| format!("{word} {} ({}: {})", row.scope, row.code, row.text))
        .collect();
    let next = "the next pass frees the nodes that waited for nothing else";
    if is_dry_run { lines.join("\n") } else { format!("{}\n{next}", lines.join("\n")) }
}

/// What `add` says.
pub fn added_text(row: &Row, is_dry_run: bool) -> String {
    let word = if is_dry_run { "would hold" } else { "held" };
    format!("{word} {} until {}: {}", row.scope, row.until, row.text)
}
