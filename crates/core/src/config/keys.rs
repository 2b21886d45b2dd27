//! Every key that the config knows, and what an unknown one may have meant.

/// The keys of one kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableKeys {
    /// The table as people write it: `slurm`, `site.NAME`; empty for the top of the file.
    pub table: &'static str,
    /// Its keys, tables inside it included. Empty: any key (`[nodeset.NAME.tags]`, `[site]`).
    pub keys: &'static [&'static str],
}

const CREDENTIAL: &[&str] = &[
    "type",
    "tenant_id",
    "client_id",
    "client_secret",
    "client_secret_file",
    "certificate_file",
    "token_file",
    "object_id",
    "resource_id",
];

/// Every table with every key.
pub const TABLES: &[TableKeys] = &[
    TableKeys {
        table: "",
        keys: &[
            "cluster",
            "slurm",
            "ledger",
            "log",
            "sync",
            "limits",
            "cloud",
            "credential",
            "site",
            "nodeset",
            "power",
            "partition",
            "node_init",
            "mount",
        ],
    },
    TableKeys { table: "cluster", keys: &["name"] },
    TableKeys {
        table: "slurm",
        keys: &[
            "bin_dir",
            "conf",
            "command_timeout_seconds",
            "resume_timeout_seconds",
            "controller",
            "topology",
        ],
    },
    TableKeys { table: "ledger", keys: &["path", "events_days", "events_max"] },
    TableKeys { table: "log", keys: &["level", "file"] },
    TableKeys { table: "sync", keys: &["interval_seconds"] },
    TableKeys {
        table: "limits",
        keys: &["requests_in_flight", "request_timeout_seconds", "tries"],
    },
    TableKeys {
        table: "cloud",
        keys: &[
            "name",
            "authority",
            "resource_manager",
            "audience",
            "resource_graph",
            "imds",
            "prices",
            "ca_bundle",
        ],
    },
    TableKeys { table: "credential", keys: CREDENTIAL },
    TableKeys { table: "site", keys: &[] },
    TableKeys {
        table: "site.NAME",
        keys: &[
            "subscription",
            "region",
            "resource_group",
            "subnet",
            "network_security_group",
            "cores_max",
            "credential",
        ],
    },
    TableKeys { table: "site.NAME.credential", keys: CREDENTIAL },
    TableKeys { table: "nodeset", keys: &[] },
    TableKeys {
        table: "nodeset.NAME",
        keys: &[
            "nodes",
            "sites",
            "zones",
            "zone_policy",
            "spill",
            "cores_max",
            "sku",
            "interconnect",
            "block_nodes",
            "priority",
            "max_price",
            "eviction_policy",
            "image",
            "image_plan",
            "os_disk",
            "accelerated_networking",
            "admin_username",
            "ssh_public_key",
            "ssh_public_key_file",
            "user_data_file",
            "identities",
            "capacity_reservation_group",
            "tags",
            "features",
            "weight",
            "cpus",
            "real_memory_mb",
            "memory_margin_percent",
            "gres",
            "node_options",
            "spare_nodes",
        ],
    },
    TableKeys { table: "nodeset.NAME.os_disk", keys: &["size_gb", "type", "ephemeral"] },
    TableKeys { table: "nodeset.NAME.tags", keys: &[] },
    TableKeys {
        table: "power",
        keys: &["suspend_time_seconds", "suspend_timeout_seconds", "program_dir"],
    },
    TableKeys { table: "partition", keys: &[] },
    TableKeys {
        table: "partition.NAME",
        keys: &["nodesets", "default", "suspend_time_seconds", "options"],
    },
    TableKeys {
        table: "node_init",
        keys: &[
            "munge_key_secret",
            "munge_key_file",
            "hosts",
            "conf_server",
            "scratch",
            "packages",
            "program",
            "agent_options",
            "wait_seconds",
        ],
    },
    TableKeys { table: "mount", keys: &[] },
    TableKeys { table: "mount.NAME", keys: &["type", "source", "path", "options", "nodesets"] },
];

/// The keys of the table `kind`.
pub(super) fn keys_of(kind: &str) -> &'static TableKeys {
    TABLES.iter().find(|table| table.table == kind).expect("every table that is read is in TABLES")
}

/// What `unknown` in a table probably is: another spelling of one of its keys, or a key of another
/// table.
pub(super) fn hint(unknown: &str, table: &TableKeys) -> Option<String> {
    if let Some(meant) = nearest(unknown, table.keys.iter().copied()) {
        return Some(format!("did you mean {meant:?}?"));
    }
    let elsewhere = TABLES.iter().find(|other| other.keys.contains(&unknown))?;
    Some(match elsewhere.table {
        "" => format!("it is a table of its own: [{unknown}]"),
        table => format!("it belongs in [{table}]"),
    })
}

/// The candidate that `word` is a misspelling of, if one is near enough: a quarter of its letters,
/// at least two.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', ' '], "_");
    let distance_max = (word.chars().count() / 4).max(2);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&plain(word), &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= distance_max && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_recognised_by_its_spelling_or_its_table() {
        let slurm = keys_of("slurm");
        assert_eq!(hint("bindir", slurm).unwrap(), "did you mean \"bin_dir\"?");
        assert_eq!(hint("Bin-Dir", slurm).unwrap(), "did you mean \"bin_dir\"?");
        assert_eq!(hint("tries", slurm).unwrap(), "it belongs in [limits]");
        assert_eq!(hint("nodeset", slurm).unwrap(), "it is a table of its own: [nodeset]");
        assert_eq!(hint("flavour", slurm), None);
        assert_eq!(hint("nodesets", keys_of("")).unwrap(), "did you mean \"nodeset\"?");
    }
}
