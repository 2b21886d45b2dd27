//! Manual pages: one for each program and each of its verbs in section 8, and azslurm.toml(5).

use clap::Command;
use clap_mangen::Man;

use crate::config_page::config_page;
use crate::programs::programs;

/// Programs for administrators.
const SECTION: &str = "8";

/// Path and text of every page.
pub fn pages(version: &str) -> Vec<(String, Vec<u8>)> {
    let mut pages = Vec::new();
    let names: Vec<String> =
        programs().iter().map(|program| program.get_name().to_owned()).collect();
    for program in programs() {
        let mut program = program.disable_help_subcommand(true);
        program.build();
        add_pages(&program, (version, &names), &mut pages);
    }
    pages.push(("man5/azslurm.toml.5".to_owned(), config_page(version)));
    pages
}

/// The page of a command, and those of its verbs.
fn add_pages(
    command: &Command,
    (version, programs): (&str, &[String]),
    pages: &mut Vec<(String, Vec<u8>)>,
) {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        add_pages(verb, (version, programs), pages);
    }
    let man = Man::new(command.clone())
        .section(SECTION)
        .source(format!("azslurm {version}"))
        .manual("azslurm");
    let name = man.get_filename();
    let mut text = Vec::new();
    man.render(&mut text).expect("memory takes what is written");
    let mut text = String::from_utf8(text).expect("clap's texts are text");
    // What stands below the options in `--help`: exit codes mostly.
    text = text.replace(".SH EXTRA\n", ".SH NOTES\n");
    let me = name.trim_end_matches(".8");
    text += &see_also(me, programs);
    pages.push((format!("man{SECTION}/{name}"), text.into_bytes()));
}

/// The program of a verb's page, the other programs, and the config's page.
fn see_also(me: &str, programs: &[String]) -> String {
    let mut others: Vec<String> = programs
        .iter()
        .filter(|name| *name != me)
        .map(|name| format!("\\fB{}\\fR({SECTION})", name.replace('-', "\\-")))
        .collect();
    others.push("\\fBazslurm.toml\\fR(5)".to_owned());
    format!(".SH SEE ALSO\n{}\n", others.join(", "))
}

#[cfg(test)]
mod tests {
    use super::pages;

    fn page(path: &str) -> String {
        let pages = pages("1.2.3");
        let (_, text) = pages.iter().find(|(it, _)| it == path).expect("it was made");
        String::from_utf8(text.clone()).expect("a page is text")
    }

    #[test]
    fn a_verb_of_a_verb_has_a_page_with_what_help_says() {
        let text = page("man8/azslurm-sync-hold-add.8");
        assert!(text.contains("only a person or its time ends such a hold"), "{text}");
        assert!(text.contains(".TH azslurm-sync-hold-add 8"), "{text}");
    }

    #[test]
    fn what_is_hidden_in_help_is_in_no_page() {
        assert!(
            pages("1").iter().all(|(_, text)| !String::from_utf8_lossy(text).contains("drive")
                || !String::from_utf8_lossy(text).contains("\\-\\-drive"))
        );
    }

    #[test]
    fn every_page_names_the_configs_page() {
        for (path, text) in pages("1").iter().filter(|(path, _)| path.starts_with("man8")) {
            assert!(String::from_utf8_lossy(text).contains("azslurm.toml"), "{path}");
        }
    }
}
