//! What the documents claim, held against what is there: requirements, links, commands.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A row of the table in `docs/requirements.md`.
struct Row {
    id: String,
    requirement: String,
    built_in: String,
    shown_by: String,
}

const NOT_YET: &str = "not yet";

#[test]
fn every_requirement_has_its_row_in_order() {
    let ids: Vec<_> = rows().into_iter().map(|row| row.id).collect();
    let system = (1..=19).map(|number| format!("S{number}"));
    let beyond = (1..=11).map(|number| format!("B{number}"));
    assert_eq!(ids, system.chain(beyond).collect::<Vec<_>>());
}

#[test]
fn every_row_says_where_it_is_built_in_files_that_exist() {
    for Row { id, requirement, built_in, .. } in rows() {
        assert!(!requirement.is_empty(), "{id} has no text");
        let files = code_spans(&built_in);
        assert!(!files.is_empty() || built_in.contains(NOT_YET), "{id} is built nowhere");
        for file in files {
            assert!(find(&file).is_some(), "{id}: there is no {file}");
        }
    }
}

#[test]
fn every_row_names_tests_that_exist_or_says_not_yet() {
    for Row { id, shown_by, .. } in rows() {
        let tests = code_spans(&shown_by);
        assert!(!tests.is_empty() || shown_by.contains(NOT_YET), "{id} is shown by nothing");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{id}: {test} is no FILE::TEST"));
            let path = find(file).unwrap_or_else(|| panic!("{id}: there is no {file}"));
            assert!(has_test(&read(&path), name), "{id}: {file} has no test {name}");
        }
    }
}

#[test]
fn every_row_of_the_attack_tables_names_tests_that_exist() {
    let attacks = attacks();
    for Attack { attacker, attack, seen, shown_by } in &attacks {
        assert!(!seen.is_empty(), "{attacker}: {attack:?} does not say what is seen");
        let tests = code_spans(shown_by);
        assert!(!tests.is_empty(), "{attacker}: {attack:?} is shown by nothing");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{attack:?}: {test} is no FILE::TEST"));
            let path = find(file).unwrap_or_else(|| panic!("{attack:?}: there is no {file}"));
            assert!(has_test(&read(&path), name), "{attack:?}: {file} has no test {name}");
        }
    }
    assert!(attacks.len() > 90, "the table is not found: {} rows", attacks.len());
}

#[test]
fn every_attack_of_the_hostile_relay_has_a_row_and_every_row_an_attack() {
    let attacks = attacks();
    let rows = attacks.iter().filter(|attack| attack.attacker == "A hostile relay");
    let named: BTreeSet<_> = rows.flat_map(|row| code_spans(&row.attack)).collect();
    let there: BTreeSet<_> = sim::hostile_relay::Attack::all().iter().map(|attack| attack.name()).collect();
    assert_eq!(named, there);
}

#[test]
fn a_test_is_a_function_that_is_marked_as_one() {
    let source = "#[test]\n#[ignore]\n/// What it shows.\nfn is_one() {\n}\n\nfn is_none() {}\n\n    #[tokio::test(flavor = \"multi_thread\")]\n    async fn waits_for_things() {}\n";
    assert!(has_test(source, "is_one"));
    assert!(has_test(source, "waits_for_things"));
    assert!(!has_test(source, "is_none"));
    assert!(!has_test(source, "is"));
    let source = "at_each_size!(one_story, another);\n\nfn a_helper() {}";
    assert!(has_test(source, "one_story") && has_test(source, "another") && !has_test(source, "a_helper"));
}

#[test]
fn links_between_documents_lead_somewhere() {
    for document in documents() {
        let folder = document.parent().unwrap();
        for link in links(&read(&document)) {
            assert!(folder.join(&link).exists(), "{} links to {link}, which is not there", document.display());
        }
    }
}

/// With `--help` at its end a command does nothing, but what stands before it has to be right.
#[test]
fn the_program_knows_the_commands_that_the_documents_show() {
    let mut shown = 0;
    for document in documents() {
        for line in shell_lines(&read(&document)).filter(|line| line.starts_with("sottovoce ")) {
            let arguments = line.split('#').next().unwrap_or_default().split_whitespace().skip(1);
            let output = Command::new(env!("CARGO_BIN_EXE_sottovoce")).args(arguments).arg("--help").output().unwrap();
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {line}\n{complaint}", document.display());
            shown += 1;
        }
    }
    assert!(shown >= 8, "the README shows how to set up a server: {shown}");
}

#[test]
fn the_readme_shows_what_the_demo_says() {
    let demo = Command::new(env!("CARGO_BIN_EXE_sottovoce")).arg("demo").stdin(Stdio::null()).output().unwrap();
    let demo = String::from_utf8(demo.stdout).unwrap();
    let said: BTreeSet<_> = demo.lines().map(without_chance).collect();
    let readme = read(&root().join("README.md"));
    let shown = readme.split("```text\n").find(|block| block.starts_with("alice | ")).unwrap();
    let shown = shown.split("```").next().unwrap();
    for line in shown.lines().filter(|line| *line != "…") {
        assert!(said.contains(&without_chance(line)), "the demo does not say {line:?}, but:\n{demo}");
    }
}

/// A line of the demo without what is another each time: numbers and ciphertext.
fn without_chance(line: &str) -> String {
    let shown = if line.starts_with("relay | ") { line.split('…').next().unwrap() } else { line };
    shown.replace(|c: char| c.is_ascii_digit(), "0")
}

fn rows() -> Vec<Row> {
    let text = read(&root().join("docs/requirements.md"));
    let is_id = |cell: &str| cell.strip_prefix(['S', 'B']).is_some_and(|number| number.parse::<u32>().is_ok());
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>())
        .filter(|cells| is_id(&cells[0]))
        .map(|cells| {
            let id = cells[0].clone();
            let [id, requirement, built_in, shown_by] =
                cells.try_into().unwrap_or_else(|_| panic!("{id} has not four cells"));
            Row { id, requirement, built_in, shown_by }
        })
        .collect()
}

/// A row of the attack tables in `SECURITY.md`.
struct Attack {
    /// The heading above the table.
    attacker: String,
    attack: String,
    seen: String,
    shown_by: String,
}

fn attacks() -> Vec<Attack> {
    let text = read(&root().join("SECURITY.md"));
    let section = text.split("\n## ").find(|section| section.starts_with("Attacks and what comes of them")).unwrap();
    let tables = section.split("\n### ").skip(1);
    tables
        .flat_map(|table| {
            let attacker = table.lines().next().unwrap();
            let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
            rows.filter(|row| *row != "attack | what people see | shown by").map(move |row| {
                let cells: Vec<_> = row.split(" | ").map(|cell| cell.trim().to_owned()).collect();
                let [attack, seen, shown_by] =
                    cells.try_into().unwrap_or_else(|cells| panic!("{attacker}: not three cells: {cells:?}"));
                Attack { attacker: attacker.to_owned(), attack, seen, shown_by }
            })
        })
        .collect()
}

/// What stands between backquotes.
fn code_spans(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A file of the table: below `crates`, or else below the root.
fn find(file: &str) -> Option<PathBuf> {
    [root().join("crates").join(file), root().join(file)].into_iter().find(|path| path.is_file())
}

/// Whether a function of this name has an attribute above it that makes it a test, or is run at each size of a terminal.
fn has_test(source: &str, name: &str) -> bool {
    let at_each_size = source.split("at_each_size!").skip(1).filter_map(|rest| rest.split(';').next());
    let mut names = at_each_size.flat_map(|list| list.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    if names.any(|other| other == name) {
        return true;
    }
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(number, line)| {
        let declared = line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name));
        declared.is_some_and(|rest| rest.starts_with('('))
            && lines[..number]
                .iter()
                .rev()
                .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
                .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

/// Where a document links to within the project, without the place in the file.
fn links(text: &str) -> Vec<String> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|link| !link.contains("://") && !link.starts_with('#'))
        .map(|link| link.split('#').next().unwrap_or_default().to_owned())
        .collect()
}

/// The lines of a document's blocks of shell commands.
fn shell_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        in_block = if is_fence { *line == "```sh" } else { in_block };
        in_block && !is_fence
    })
}

fn documents() -> Vec<PathBuf> {
    let is_document = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let in_folder = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let documents: Vec<_> = in_folder(root()).chain(in_folder(root().join("docs"))).filter(is_document).collect();
    assert!(documents.len() >= 6, "{documents:?}");
    documents
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
