//! The command lines of the programs, as `--help` shows them. Must be the programs' own
//! definitions.

use clap::{Command, CommandFactory as _};

/// All programs that are shipped, by name.
pub fn programs() -> Vec<Command> {
    vec![
        azslurm_conf::cli::Arguments::command(),
        azslurm_resume::cli::Arguments::command(),
        azslurm_resume_fail::cli::Arguments::command(),
        azslurm_suspend::cli::Arguments::command(),
        azslurm_sync::cli::Arguments::command(),
    ]
}

#[cfg(test)]
mod tests {
    use super::programs;

    #[test]
    fn every_program_that_the_makefile_ships_is_here() {
        let makefile = include_str!("../../../Makefile");
        let line = makefile.lines().find_map(|line| line.strip_prefix("PROGRAMS := "));
        let mut shipped: Vec<&str> = line.expect("the Makefile has it").split(' ').collect();
        shipped.sort_unstable();
        let commands = programs();
        let names: Vec<&str> = commands.iter().map(clap::Command::get_name).collect();
        assert_eq!(names, shipped);
    }
}
