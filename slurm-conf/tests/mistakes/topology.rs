//! Topology and InfiniBand blocks.

use azslurm_slurm::SlurmVersion;

use crate::good::{CONF, CONFIG, Good, TOPOLOGY};
use crate::mistakes;

const POWER: &str = "/etc/slurm/azslurm-power.conf";
const OURS: &str = "/etc/slurm/azslurm-topology.conf";

/// topology/block instead of topology/tree, on a Slurm that has it.
fn block(good: &mut Good) {
    good.version = SlurmVersion::new(24, 11, 5);
    good.replace(POWER, "TreeWidth=65533", "");
    good.replace(POWER, "topology/tree", "topology/block");
    good.replace(CONFIG, "[slurm]\n", "[slurm]\ntopology = \"block\"\n");
    let blocks = "BlockName=hb-b1 Nodes=hb-[01-32]\nBlockName=hb-b2 Nodes=hb-[33-64]\n";
    good.texts.insert(OURS.into(), blocks.to_owned());
    good.texts.insert(TOPOLOGY.into(), "include azslurm-topology.conf\n".to_owned());
}

mistakes! {
    no_topology: Error, "there are 2 InfiniBand blocks, and no topology plugin", ("", ""),
        |good| good.replace(POWER, "TopologyPlugin=topology/tree", "");
    a_flat_topology: Error, "no topology plugin", (POWER, "TopologyPlugin="),
        |good| good.replace(POWER, "topology/tree", "topology/flat");
    another_topology_than_is_rendered: Error,
        "TopologyPlugin is topology/block, and [slurm] topology wants topology/tree",
        (POWER, "TopologyPlugin="), |good| {
            block(good);
            good.replace(CONFIG, "topology = \"block\"\n", "");
        };
    a_topology_that_this_slurm_does_not_have: Error, "topology/block is there from Slurm 23.11 on",
        (POWER, "TopologyPlugin="), |good| good.replace(POWER, "topology/tree", "topology/block");
    a_topology_for_jobs_that_ask_for_it_only: Error, "TopoOptional",
        (CONF, "TopologyParam="), |good| good.append(CONF, "TopologyParam=TopoOptional");
    no_topology_file: Error, "topology/tree needs a topology.conf, and there is none",
        (POWER, "TopologyPlugin="), |good| good.remove(TOPOLOGY);
    a_topology_of_which_a_part_is_not_there: Error, "blocks.conf is included and cannot be read",
        (TOPOLOGY, "include blocks.conf"), |good| good.append(TOPOLOGY, "include blocks.conf");
    a_topology_in_yaml: Note, "/etc/slurm/topology.yaml is there, and is not checked", ("", ""),
        |good| good.add("/etc/slurm/topology.yaml");
    a_root_above_blocks: Error, "switch root stands above hb-b1, hb-b2", (OURS, "SwitchName=root"),
        |good| good.append(OURS, "SwitchName=root Switches=hb-b[1-2]");
    a_root_far_above_blocks: Error, "switch top stands above hb-b1, hb-b2",
        (OURS, "SwitchName=top"),
        |good| {
            let lines = "SwitchName=row1 Switches=hb-b1\nSwitchName=row2 Switches=hb-b2\n\
                         SwitchName=top Switches=row[1-2]";
            good.append(OURS, lines);
        };
    a_switch_of_two_blocks: Error, "hb-b1 has hb-[33-64] beside block hb-b1",
        (OURS, "SwitchName=hb-b1"),
        |good| {
            good.replace(
                OURS,
                "SwitchName=hb-b1 Nodes=hb-[01-32]",
                "SwitchName=hb-b1 Nodes=hb-[01-64]",
            );
            good.replace(OURS, "SwitchName=hb-b2 Nodes=hb-[33-64]\n", "");
        };
    a_block_over_two_switches: Error, "block hb-b2 is divided over hb-b2, hb-b3",
        (OURS, "SwitchName=hb-b3"),
        |good| {
            good.replace(OURS, "Nodes=hb-[33-64]", "Nodes=hb-[33-48]");
            good.append(OURS, "SwitchName=hb-b3 Nodes=hb-[49-64]");
        };
    a_stranger_in_a_block: Error, "hb-b1 has cpu-4 beside block hb-b1", (OURS, "SwitchName=hb-b1"),
        |good| {
        good.replace(OURS, "Nodes=hb-[01-32]", "Nodes=hb-[01-32],cpu-4");
        good.replace(TOPOLOGY, "cpu-[1-4]", "cpu-[1-3]");
    };
    nodes_of_ones_own_in_no_switch: Warning, "cpu-[1-4] are in no switch", (TOPOLOGY, ""),
        |good| good.replace(TOPOLOGY, "SwitchName=rack1 Nodes=cpu-[1-4]\n", "");
    nodes_in_a_switch_that_are_gone: Warning, "cpu-[5-6] are in a switch, and slurm.conf does not",
        (TOPOLOGY, "SwitchName=rack2"),
        |good| good.append(TOPOLOGY, "SwitchName=rack2 Nodes=cpu-[5-6]");
    a_block_that_is_not_in_the_block_topology: Error, "hb-[33-64] of block hb-b2 are in no switch",
        (TOPOLOGY, ""), |good| {
            block(good);
            good.replace(OURS, "BlockName=hb-b2 Nodes=hb-[33-64]\n", "");
        };
    one_block_of_two: Error, "hb-b1 has hb-[33-64] beside block hb-b1", (OURS, "BlockName=hb-b1"),
        |good| {
            block(good);
            good.replace(OURS, "hb-[01-32]", "hb-[01-64]");
            good.replace(OURS, "BlockName=hb-b2 Nodes=hb-[33-64]\n", "");
        };
}

#[test]
fn the_block_topology_is_good_too() {
    let mut good = Good::new();
    block(&mut good);
    assert_eq!(good.findings(), []);
}

/// Two findings, for each of two nodes a reason: nothing of a block is in a switch.
#[test]
fn a_block_in_no_switch_is_told_as_a_block_and_as_nodes() {
    let mut good = Good::new();
    good.replace(OURS, "SwitchName=hb-b2 Nodes=hb-[33-64]\n", "");
    let texts: Vec<String> = good.findings().into_iter().map(|finding| finding.text).collect();
    assert_eq!(
        texts,
        ["hb-[33-64] of block hb-b2 are in no switch", "hb-[33-64] are in no switch"]
    );
}
