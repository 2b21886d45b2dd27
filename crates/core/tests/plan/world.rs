//! A world that plans are made in, written down as text: a line a fact.
//!
//! ```text
//! hold SCOPE SECONDS [STRIKES]     a hold that ends in so many seconds (negative: ago)
//! vm NODE STATE SITE[/ZONE] [JOB]  an attempt of the ledger, a minute old; in a block its life;
//!                                  `registered`: running, and slurmd has registered
//! block BLOCK SITE [STATE]         a life of a block
//! quota SITE NAME USED LIMIT [AGE] what Azure said of a quota, seconds ago
//! sku SITE SKU FAMILY VCPUS [plain|rdma] [unoffered]
//! cap SITE|NODESET CORES           cores_max
//! set NODESET KEY VALUE            zone_policy, spill
//! job NUMBER HOSTLIST              a job that waits, with all of its nodes
//! fresh                            a pass, not slurmctld, asks: provisioned VMs stay
//! unreadable NODESET               a file of the nodeset cannot be read
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use azslurm_core::attempt::{Attempt, AttemptPlace, AttemptState, NewAttempt};
use azslurm_core::block::{Block, BlockState, Incarnation};
use azslurm_core::config::{self, Config, Sku, Spill, Zone, ZonePolicy};
use azslurm_core::facts::{Facts, Ground, SkuFacts, Usage, Usages};
use azslurm_core::hold::Hold;
use azslurm_core::plan::{JobNodes, Known, NodesetTexts, Plan, Sight, plan};
use azslurm_core::{
    AttemptId, JobId, NodeName, NodesetName, SiteName, Timestamp, VmName, hostlist,
};

pub const NOW: Timestamp = Timestamp::from_millis(1_795_225_985_468);
const CONFIG: &str = include_str!("world.toml");
/// Usages may be so old, in seconds.
const USAGES_AGE_MAX: u64 = 180;

pub struct World {
    pub config: Config,
    pub texts: BTreeMap<NodesetName, NodesetTexts>,
    pub attempts: Vec<Attempt>,
    pub holds: Vec<Hold>,
    pub blocks: Vec<Block>,
    pub facts: Facts,
    pub jobs: Vec<JobNodes>,
    pub replace_running: bool,
}

fn before(seconds: u64) -> Timestamp {
    NOW.minus(Duration::from_secs(seconds))
}

impl World {
    pub fn new() -> World {
        let config =
            config::parse(CONFIG).unwrap_or_else(|errors| panic!("{}", errors.render("test")));
        let texts = |name: &NodesetName| {
            let texts = NodesetTexts {
                ssh_public_key: "ssh-ed25519 AAAA".to_owned(),
                user_data: Some("{cluster} {node} {nodeset} {controller} ${HOME} {other}".into()),
            };
            (name.clone(), texts)
        };
        World {
            texts: config.nodesets.keys().map(texts).collect(),
            config,
            attempts: Vec::new(),
            holds: Vec::new(),
            blocks: Vec::new(),
            facts: Facts::default(),
            jobs: Vec::new(),
            replace_running: true,
        }
    }

    /// Adds one fact. Panics with the line if it is none.
    pub fn with(mut self, line: &str) -> World {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["hold", scope, seconds, rest @ ..] => self.hold(scope, seconds, rest),
            ["vm", node, state, place, rest @ ..] => self.vm(node, (state, place), rest),
            ["block", block, site, rest @ ..] => self.block(block, site, rest),
            ["quota", site, name, used, limit, rest @ ..] => {
                self.quota((site, name), (used, limit), rest);
            }
            ["sku", site, sku, family, vcpus, rest @ ..] => {
                self.sku((site, sku), (family, vcpus), rest);
            }
            ["cap", name, cores] => self.cap(name, cores.parse().unwrap()),
            ["set", nodeset, key, value] => self.set(nodeset, key, value),
            ["job", number, nodes] => self.jobs.push(JobNodes {
                job: JobId(number.parse().unwrap()),
                nodes: hostlist::expand(nodes).unwrap().into_iter().collect(),
            }),
            ["fresh"] => self.replace_running = false,
            ["unreadable", nodeset] => {
                self.texts.remove(&nodeset.parse::<NodesetName>().unwrap());
            }
            _other => panic!("no fact: {line:?}"),
        }
        self
    }

    fn hold(&mut self, scope: &str, seconds: &str, rest: &[&str]) {
        let seconds: i64 = seconds.parse().unwrap();
        self.holds.push(Hold {
            scope: scope.parse().unwrap_or_else(|error| panic!("{error}")),
            code: "SkuNotAvailable".to_owned(),
            text: "no room".to_owned(),
            strikes: rest.first().map_or(1, |strikes| strikes.parse().unwrap()),
            struck_at: before(600),
            until: Timestamp::from_millis(NOW.as_millis() + seconds * 1000),
        });
    }

    /// The place at a site, in a zone where there is a slash.
    pub fn place(&self, text: &str) -> AttemptPlace {
        let (site, zone) = text.split_once('/').map_or((text, None), |(s, z)| (s, Some(z)));
        let name: SiteName = site.parse().unwrap();
        let site = &self.config.sites[&name];
        AttemptPlace {
            site: name,
            subscription: site.subscription.clone(),
            resource_group: site.resource_group.clone(),
            region: site.region.clone(),
            zone: zone.and_then(Zone::new),
            block: None,
        }
    }

    fn vm(&mut self, node: &str, (state, place): (&str, &str), rest: &[&str]) {
        let node: NodeName = node.parse().unwrap();
        let (nodeset, set) = self.config.nodeset_of(&node).expect("a node of the world");
        let mut place = self.place(place);
        if let Some(number) = set.block_of(&node) {
            let of = |block: &&Block| {
                block.life.block.nodeset() == nodeset
                    && block.life.block.number() == number
                    && block.site == place.site
            };
            place.block = self.blocks.iter().rev().find(of).map(|block| block.life.clone());
        }
        let has_registered = state == "registered";
        let state = if has_registered { "running" } else { state };
        let state = AttemptState::from_word(state).unwrap_or_else(|| panic!("{state}"));
        // Later ones are newer.
        let began = Timestamp::from_millis(before(60).as_millis() + self.attempts.len() as i64);
        let number = AttemptId::next(began, None);
        let is_there = matches!(state, AttemptState::Accepted | AttemptState::Running);
        let attempt = Attempt {
            is: NewAttempt {
                vm: VmName::of(&node, number),
                attempt: number,
                nodeset: nodeset.clone(),
                place,
                sku: set.sku.clone(),
                is_spot: set.is_spot(),
                image: set.image.reference_text(),
                body_hash: String::new(),
                jobs: rest.first().map(|job| JobId(job.parse().unwrap())).into_iter().collect(),
                node,
            },
            state,
            why: None,
            says: None,
            operation: None,
            request_id: None,
            generation: 1,
            intended_at: began,
            settles_at: began,
            accepted_at: is_there.then_some(began),
            registered_at: has_registered.then_some(began),
            running_at: (state == AttemptState::Running).then_some(began),
            delete_intended_at: None,
            ended_at: state.is_ended().then_some(NOW),
            changed_at: NOW,
        };
        self.attempts.push(attempt);
    }

    fn block(&mut self, block: &str, site: &str, rest: &[&str]) {
        let place = self.place(site);
        let number = AttemptId::next(
            Timestamp::from_millis(before(90).as_millis() + self.blocks.len() as i64),
            None,
        );
        let life = Incarnation { block: block.parse().unwrap(), number };
        self.blocks.push(Block {
            name: life.resource_name(&self.config.cluster),
            life,
            site: place.site,
            subscription: place.subscription,
            resource_group: place.resource_group,
            region: place.region,
            sku: Sku::new("Standard_HB120rs_v3").unwrap(),
            state: rest
                .first()
                .map_or(BlockState::Made, |word| BlockState::from_word(word).unwrap()),
        });
    }

    fn ground(&self, site: &str) -> Ground {
        let place = self.place(site);
        Ground::new(&place.subscription, &place.region)
    }

    fn quota(&mut self, (site, name): (&str, &str), (used, limit): (&str, &str), rest: &[&str]) {
        let ground = self.ground(site);
        let at = before(rest.first().map_or(1, |age| age.parse().unwrap()));
        let usages =
            self.facts.usages.entry(ground).or_insert_with(|| Usages { at, rows: BTreeMap::new() });
        let usage = Usage {
            name: name.to_owned(),
            used: used.parse().unwrap(),
            limit: limit.parse().unwrap(),
        };
        usages.rows.insert(name.to_ascii_lowercase(), usage);
    }

    fn sku(&mut self, (site, sku): (&str, &str), (family, vcpus): (&str, &str), rest: &[&str]) {
        let facts = SkuFacts {
            family: family.to_owned(),
            vcpus: vcpus.parse().unwrap(),
            is_rdma: rest.contains(&"rdma"),
            is_offered: !rest.contains(&"unoffered"),
        };
        self.facts.skus.insert((self.ground(site), Sku::new(sku).unwrap()), facts);
    }

    fn cap(&mut self, name: &str, cores: u64) {
        let site = self.config.sites.get_mut(&name.parse::<SiteName>().unwrap());
        match site {
            Some(site) => site.cores_max = Some(cores),
            None => {
                let nodeset = self.config.nodesets.get_mut(&name.parse::<NodesetName>().unwrap());
                nodeset.expect("a site or a nodeset").cores_max = Some(cores);
            }
        }
    }

    fn set(&mut self, nodeset: &str, key: &str, value: &str) {
        let nodeset = self.config.nodesets.get_mut(&nodeset.parse::<NodesetName>().unwrap());
        let nodeset = nodeset.expect("a nodeset");
        match (key, value) {
            ("zone_policy", "spread") => nodeset.zone_policy = ZonePolicy::Spread,
            ("spill", "never") => nodeset.spill = Spill::Never,
            other => panic!("{other:?}"),
        }
    }

    /// What there is, as plans see it.
    pub fn sight(&self) -> Sight<'_> {
        Sight {
            config: &self.config,
            holds: &self.holds,
            facts: &self.facts,
            usages_since: before(USAGES_AGE_MAX),
            blocks: &self.blocks,
            living: self.living(),
            now: NOW,
        }
    }

    /// Attempts are kept with those that have ended last.
    fn living(&self) -> &[Attempt] {
        let ended = self.attempts.iter().position(|attempt| attempt.state.is_ended());
        &self.attempts[..ended.unwrap_or(self.attempts.len())]
    }

    /// Plans a host list.
    pub fn plan(&mut self, wanted: &str) -> Plan {
        let wanted = hostlist::expand(wanted).unwrap();
        self.plan_nodes(&wanted)
    }

    pub fn plan_nodes(&mut self, wanted: &[NodeName]) -> Plan {
        self.attempts.sort_by_key(|attempt| attempt.state.is_ended());
        let known = Known {
            sight: self.sight(),
            texts: &self.texts,
            attempts: &self.attempts,
            jobs: &self.jobs,
            replace_running: self.replace_running,
        };
        plan(wanted, &known)
    }
}
