//! Completions for bash, zsh and fish, each under the name by which its shell finds it.

use clap_complete::Shell;

use crate::programs::programs;

/// Path and text of every file.
pub fn completions() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for mut command in programs() {
        let name = command.get_name().to_owned();
        let files_of_name = [
            (Shell::Bash, format!("bash/{name}")),
            (Shell::Zsh, format!("zsh/_{name}")),
            (Shell::Fish, format!("fish/{name}.fish")),
        ];
        for (shell, path) in files_of_name {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, &name, &mut text);
            files.push((path, text));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::completions;

    #[test]
    fn each_shell_completes_the_verbs_of_verbs() {
        let files = completions();
        for path in ["bash/azslurm-sync", "zsh/_azslurm-sync", "fish/azslurm-sync.fish"] {
            let (_, text) = files.iter().find(|(it, _)| it == path).expect("it was made");
            let text = String::from_utf8_lossy(text);
            assert!(text.contains("explain") && text.contains("check-infiniband"), "{path}");
        }
    }
}
