//! Files that the config names.

use azslurm_program::check::disk::Disk;

use crate::good::{AUTHORITIES, CONFIG, Good, KEY, SECRET, SLURM, USER_DATA};
use crate::mistakes;

/// An RSA key of 1024 bits.
const WEAK: &str = "ssh-rsa \
    AAAAB3NzaC1yc2EAAAADAQABAAAAgQDBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHB\
    wcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHB\
    wcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwQ== weak\n";

mistakes! {
    a_public_key_that_is_not_there: Error, "the public key /etc/azslurm/admin.pub cannot be read",
        (CONFIG, "ssh_public_key_file"), |good| good.remove(KEY);
    a_public_key_that_slurm_user_cannot_read: Error, "cannot be read by SlurmUser",
        (CONFIG, "ssh_public_key_file"), |good| good.mode(KEY, (0, 0o600));
    a_public_key_that_others_may_write: Warning, "may be written by others (mode 0664)",
        (CONFIG, "ssh_public_key_file"), |good| good.mode(KEY, (0, 0o664));
    a_private_key_in_the_place_of_the_public_one: Error, "holds a private key",
        (CONFIG, "ssh_public_key_file"),
        |good| good.replace(KEY, "ssh-ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----");
    a_public_key_of_a_kind_that_azure_refuses: Error, "\"ssh-dss\"; Azure takes RSA and Ed25519",
        (CONFIG, "ssh_public_key_file"), |good| good.replace(KEY, "ssh-ed25519", "ssh-dss");
    a_public_key_that_is_too_short: Error, "an RSA key of 1024 bits",
        (CONFIG, "ssh_public_key_file"), |good| {
            good.texts.insert(KEY.into(), WEAK.to_owned());
        };
    a_key_in_the_config_that_is_too_short: Error, "ssh_public_key is an RSA key of 1024 bits",
        (CONFIG, "ssh_public_key ="), |good| {
            let line = format!("ssh_public_key = \"{}\"", WEAK.trim());
            let file = "ssh_public_key_file = \"/etc/azslurm/admin.pub\"";
            good.replace_first(CONFIG, file, &line);
        };
    user_data_that_is_not_there: Error, "the user data /etc/azslurm/cloud-init.yaml cannot be read",
        (CONFIG, "user_data_file"), |good| good.remove(USER_DATA);
    user_data_in_a_folder_that_slurm_user_cannot_enter: Error,
        "/srv/boot is of user 0 with mode 0700",
        (CONFIG, "user_data_file = \"/srv"), |good| {
            good.texts.insert("/srv/boot/up.sh".into(), "#!/bin/sh\n".into());
            good.mode("/srv/boot", (0, 0o700));
            let named = "memory_margin_percent = 8\n";
            good.replace(CONFIG, named, &format!("user_data_file = \"/srv/boot/up.sh\"\n{named}"));
            let twice = "user_data_file = \"/etc/azslurm/cloud-init.yaml\"\nuser_data_file = ";
            good.replace(CONFIG, &format!("{twice}\"/srv"), "user_data_file = \"/srv");
        };
    user_data_that_is_too_long: Error, "bytes, Azure takes 65535",
        (CONFIG, "user_data_file = \"/srv"), |good| {
            let text = "#!/bin/sh\n".to_owned() + &"# {node}\n".repeat(7300);
            good.texts.insert("/srv/long.sh".into(), text);
            let named = "memory_margin_percent = 8\n";
            good.replace(CONFIG, named, &format!("user_data_file = \"/srv/long.sh\"\n{named}"));
            let twice = "user_data_file = \"/etc/azslurm/cloud-init.yaml\"\nuser_data_file = ";
            good.replace(CONFIG, &format!("{twice}\"/srv"), "user_data_file = \"/srv");
        };
    user_data_that_cloud_init_does_not_take: Error, "the first line is \"cloud-config\"",
        (USER_DATA, "cloud-config"),
        |good| good.replace(USER_DATA, "#cloud-config", "cloud-config");
    a_password_in_user_data: Error, "looks like a password in the clear",
        (USER_DATA, "- mysql"), |good| good.append(USER_DATA, "  - mysql --password=hunter2");
    a_storage_key_in_user_data: Error, "the key of a storage account in the clear",
        (USER_DATA, "- mount -t smb"),
        |good| good.append(USER_DATA, "  - mount -t smb3 AccountKey=Zm9v //x.file/y /mnt"  );
    a_shared_access_signature_in_user_data: Error, "a shared access signature",
        (USER_DATA, "- curl"),
        |good| good.append(USER_DATA, "  - curl 'https://x.blob/y?sp=r&sig=abc'"  );
    a_slurmd_without_b: Warning, "slurmd is started without -b",
        (USER_DATA, "SLURMD_OPTIONS"), |good| good.replace(USER_DATA, "\"-b -N", "\"-N");
    a_mount_after_slurmd: Warning, "slurmd is started here, and line 12 mounts only then",
        (USER_DATA, "- systemctl enable --now slurmd"), |good| {
            good.replace(USER_DATA, "  - mount -t nfs {controller}:/shared /shared\n", "");
            good.append(USER_DATA, "  - :\n  - mount -t nfs {controller}:/shared /shared");
            good.replace(USER_DATA, "enable --now slurmd", "enable --now slurmd\n  # start it");
            good.replace(USER_DATA, "\n  # start it", "");
            good.replace(USER_DATA, "enable --now slurmd", "start slurmd");
            good.replace(USER_DATA, "start slurmd", "enable --now slurmd # start");
        };
    the_wrong_infiniband_device: Warning, "mlx5_0 is named",
        (USER_DATA, "- echo"),
        |good| good.append(USER_DATA, "  - echo UCX_NET_DEVICES=mlx5_0:1 >> /etc/environment");
    user_data_that_needs_a_controller_that_the_config_does_not_name: Error,
        "{controller} stands here", (USER_DATA, "SLURMD_OPTIONS"),
        |good| good.replace(CONFIG, "controller = \"head1\"\n", "");
    nodes_that_ask_for_a_configuration_that_slurmctld_does_not_give: Error,
        "ask slurmctld for their configuration", (USER_DATA, "SLURMD_OPTIONS"),
        |good| good.replace(crate::good::CONF, "enable_configless,", "");
    a_nodeset_without_user_data: Note, "nodeset htc has no user data",
        (CONFIG, "[nodeset.htc]"), |good| {
            let key = "user_data_file = \"/etc/azslurm/cloud-init.yaml\"\nmemory_margin";
            good.replace(CONFIG, key, "memory_margin");
        };
    user_data_of_ours_for_another_nodeset: Warning,
        "the user data of htc was written for another config or nodeset",
        (CONFIG, "user_data_file = \"/srv"), |good| {
            ours(good, "spot");
        };
    user_data_of_ours_for_another_config: Warning, "was written for another config",
        (CONFIG, "user_data_file = \"/srv"), |good| {
            ours(good, "htc");
            good.append(CONFIG, "[node_init]\nwait_seconds = 60");
        };
    a_secret_that_is_not_there: Error, "the secret /etc/azslurm/client-secret cannot be read",
        (CONFIG, "client_secret_file"), |good| good.remove(SECRET);
    a_secret_that_others_may_read: Error, "may be read or written by others (mode 0644)",
        (CONFIG, "client_secret_file"), |good| good.mode(SECRET, (SLURM, 0o644));
    a_secret_of_another_user: Error, "cannot be read by SlurmUser",
        (CONFIG, "client_secret_file"), |good| good.mode(SECRET, (0, 0o600));
    a_bundle_that_is_not_there: Error,
        "the bundle of authorities /etc/azslurm/ca.pem cannot be read",
        (CONFIG, "ca_bundle"), |good| good.remove(AUTHORITIES);
    a_bundle_without_a_certificate: Error, "holds no certificate",
        (CONFIG, "ca_bundle"), |good| good.replace(AUTHORITIES, "BEGIN CERTIFICATE", "BEGIN KEY");
    a_config_that_slurm_user_cannot_read: Error, "SlurmUser cannot read the config",
        ("", ""), |good| good.mode(CONFIG, (0, 0o600));
    a_log_that_cannot_be_written: Error, "the log /var/log/azslurm/azslurm.log cannot be written",
        (CONFIG, "file ="), |good| {
            good.tweak(|seen| seen.log = Some(Err("/var/log/azslurm: it is not there".into())));
        };
    no_journal_and_no_log_file: Warning, "there is no journald and no file",
        (CONFIG, "[log]"), |good| {
            good.replace(CONFIG, "file = \"/var/log/azslurm/azslurm.log\"\n", "");
            good.tweak(|seen| seen.has_journal = false);
        };
    a_ledger_on_nfs: Error, "is on NFS", (CONFIG, "path ="),
        |good| good.tweak(|seen| seen.ledger.disk = Disk::Network("NFS"));
    a_ledger_in_memory: Error, "the ledger is in memory", (CONFIG, "path ="),
        |good| good.tweak(|seen| seen.ledger.disk = Disk::Memory);
    a_ledger_without_its_folder: Error, "the ledger's folder /var/lib/azslurm cannot be used",
        (CONFIG, "path ="), |good| {
            good.tweak(|seen| seen.ledger.folder = Err("No such file or directory".into()));
        };
    a_ledger_of_another_user: Error, "belongs to user 0, and SlurmUser is 64030",
        (CONFIG, "path ="), |good| {
            good.ledger_of_root();
        };
    a_full_disk: Error, "only 3 MiB are free", (CONFIG, "path ="),
        |good| good.tweak(|seen| seen.ledger.free = Some(3 << 20));
}

/// htc gets user data that `azslurm-conf node-init` has written for a nodeset.
fn ours(good: &mut Good, nodeset: &str) {
    let named = "user_data_file = \"/etc/azslurm/cloud-init.yaml\"\nmemory_margin_percent = 8\n";
    let srv = "user_data_file = \"/srv/htc.yaml\"\nmemory_margin_percent = 8\n";
    good.replace(CONFIG, named, srv);
    let nodeset = nodeset.parse().expect("a name");
    let text = azslurm_conf::node_init::user_data(&good.config(), &nodeset).expect("user data");
    good.texts.insert("/srv/htc.yaml".into(), text);
}

#[test]
fn user_data_of_ours_is_good() {
    let mut good = Good::new();
    ours(&mut good, "htc");
    assert_eq!(good.findings(), []);
    // Slurm must hand out what its nodes ask for.
    good.replace(crate::good::CONF, "enable_configless,", "");
    let findings = good.findings();
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert!(findings[1].at.as_ref().is_some_and(|at| at.starts_with("/srv/htc.yaml:")));
}
