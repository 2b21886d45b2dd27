//! Runs inputs of a target again: `azslurm-fuzz TARGET FILE…`; without a file it lists the targets.
//! What an input breaks is a panic with its words.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let target = arguments.next().and_then(|name| azslurm_fuzz::target(&name));
    let Some(target) = target else {
        let names = azslurm_fuzz::TARGETS.map(|target| target.name);
        println!("{}", names.join("\n"));
        return ExitCode::from(2);
    };
    for path in arguments.map(PathBuf::from) {
        match std::fs::read(&path) {
            Ok(bytes) => target.run(&bytes),
            Err(error) => {
                eprintln!("cannot read {}: {error}", path.display());
                return ExitCode::from(2);
            }
        }
        println!("{} holds for {}", target.name, path.display());
    }
    ExitCode::SUCCESS
}
