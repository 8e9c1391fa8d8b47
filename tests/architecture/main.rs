//! What ARCHITECTURE.md says and Cargo does not enforce: no file imports another in a circle, and
//! some names are for some files only.

mod modules;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use modules::{Crate, circles, parts, words};

/// Words that only the files beside them may have in their code; a folder stands for its files.
const RULES: [(&[&str], &[&str]); 11] = [
    (
        &["pounce_bert"],
        &[
            "crates/pounce-bert/",
            "crates/pounce-inference/src/engine/bert.rs",
            "crates/pounce-inference/src/model/engine_choice.rs",
        ],
    ),
    (&["rten", "rten_tensor"], &["crates/pounce-inference/src/engine/embedded.rs"]),
    (
        &["rust_bert", "tch"],
        &[
            "crates/pounce-inference/src/engine/torch.rs",
            "crates/pounce-inference/src/engine/torch/",
        ],
    ),
    (
        &["tokenizers"],
        &["crates/pounce-inference/src/tokens.rs", "crates/pounce-inference/src/tokens/"],
    ),
    (
        &["async_nats"],
        &[
            "crates/pounce-bridge/src/nats/",
            "crates/pounce-nats/",
            "crates/pounce-replication/src/jet_stream.rs",
            "crates/pounce-replication/src/store.rs",
        ],
    ),
    (&["rdkafka"], &["crates/pounce-bridge/src/kafka/"]),
    (&["whatlang"], &["crates/pounce-inference/src/language.rs"]),
    (
        &["axum"],
        &[
            "src/dashboard/",
            "src/http_api/",
            "src/transport/grpc_web.rs",
            "src/transport/http.rs",
            "src/transport/http_server.rs",
            "src/transport/probe_port.rs",
        ],
    ),
    (&["tokio_rustls"], &["src/transport/"]),
    (&["reqwest"], &["src/notifications/", "src/config/notifications.rs"]),
    // The wall clock: elsewhere the time of an event is an argument. Spans want its own type.
    (
        &["SystemTime"],
        &["crates/pounce-types/src/clock.rs", "crates/pounce-inference/src/traces.rs"],
    ),
];

/// Words that the engines of alerts and cases have nowhere: they are pure, and time is an argument.
const NOT_IN_ENGINES: [&str; 6] = ["async", "await", "Instant", "SystemTime", "thread", "tokio"];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> Option<String> {
    std::fs::read_to_string(top().join(file)).ok()
}

/// Every source file of the workspace, by its path from the top.
fn sources() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("src")];
    for member in top().join("crates").read_dir().expect("a folder of crates") {
        let name = member.expect("an entry").file_name();
        folders.push(Path::new("crates").join(name).join("src"));
    }
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in top().join(&folder).read_dir().expect("a folder of sources") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The circles of a made-up crate, given as its files.
fn planted(files: &[(&str, &str)]) -> Vec<String> {
    let tree: BTreeMap<&Path, &str> =
        files.iter().map(|(file, text)| (Path::new(*file), *text)).collect();
    let read = |file: &Path| tree.get(file).map(|text| (*text).to_owned());
    circles(&Crate::load(Path::new("src/lib.rs"), &read).imports())
}

#[test]
fn no_file_imports_another_in_a_circle() {
    let mut found = Vec::new();
    let mut crates = 0;
    for root in sources()
        .iter()
        .filter(|file| file.ends_with("src/lib.rs") || file.ends_with("src/main.rs"))
    {
        crates += 1;
        found.extend(circles(&Crate::load(root, &read).imports()));
    }
    assert!(crates > 1, "the crates were not found");
    assert!(found.is_empty(), "circles among imports:\n{}", found.join("\n"));
}

#[test]
fn no_part_of_the_service_imports_another_in_a_circle() {
    let service = Crate::load(Path::new("src/lib.rs"), &read).imports();
    let found = circles(&parts(&service, Path::new("src")));
    assert!(found.is_empty(), "circles among the parts of the service:\n{}", found.join("\n"));
}

#[test]
fn a_circle_of_two_folders_without_one_of_files_is_found() {
    let files: BTreeMap<&Path, &str> = [
        ("src/lib.rs", "mod a;\nmod b;\n"),
        ("src/a.rs", "mod x;\nmod y;\n"),
        ("src/a/x.rs", "pub struct X;\nfn f(_: crate::b::u::U) {}\n"),
        ("src/a/y.rs", "pub struct Y;\n"),
        ("src/b.rs", "pub mod u;\nmod v;\n"),
        ("src/b/u.rs", "pub struct U;\n"),
        ("src/b/v.rs", "fn g(_: crate::a::y::Y) {}\n"),
    ]
    .into_iter()
    .map(|(file, text)| (Path::new(file), text))
    .collect();
    let read = |file: &Path| files.get(file).map(|text| (*text).to_owned());
    let imports = Crate::load(Path::new("src/lib.rs"), &read).imports();
    assert!(circles(&imports).is_empty());
    assert_eq!(
        circles(&parts(&imports, Path::new("src"))),
        ["a names crate::b::u::U -> b names crate::a::y::Y -> a"]
    );
}

#[test]
fn a_library_is_named_by_its_own_files_alone() {
    let mut strangers = Vec::new();
    for file in sources() {
        let words = words(&file, &read(&file).expect("a source file"));
        for (names, at_home) in RULES {
            let home = at_home.iter().any(|place| file.starts_with(place.trim_end_matches('/')));
            for name in names.iter().filter(|name| !home && words.contains(**name)) {
                strangers.push(format!(
                    "{} names {name}, which is for {}",
                    file.display(),
                    at_home.join(", ")
                ));
            }
        }
    }
    assert!(strangers.is_empty(), "{}", strangers.join("\n"));
}

#[test]
fn every_library_of_a_rule_is_named_somewhere() {
    let all: Vec<_> =
        sources().iter().map(|file| words(file, &read(file).expect("a source file"))).collect();
    for name in RULES.iter().flat_map(|(names, _)| *names) {
        assert!(
            all.iter().any(|words| words.contains(*name)),
            "no file names {name}: drop its rule"
        );
    }
}

#[test]
fn the_engines_of_alerts_and_cases_are_pure() {
    let engines = ["crates/pounce-alerts", "crates/pounce-cases"];
    let sources = sources();
    let of_engines = |file: &&PathBuf| engines.iter().any(|engine| file.starts_with(engine));
    for file in sources.iter().filter(of_engines) {
        let words = words(file, &read(file).expect("a source file"));
        let found: Vec<_> = NOT_IN_ENGINES.iter().filter(|name| words.contains(**name)).collect();
        assert!(found.is_empty(), "{} has {found:?}", file.display());
    }
}

#[test]
fn every_file_that_the_map_names_exists() {
    let map = read(Path::new("ARCHITECTURE.md")).expect("the map");
    let named: Vec<&str> = map
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| ["src/", "crates/", "tests/"].iter().any(|folder| name.starts_with(folder)))
        .collect();
    assert!(named.len() > 10, "the map names {named:?}");
    for name in named {
        assert!(top().join(name).exists(), "ARCHITECTURE.md names {name}, which is not there");
    }
}

#[test]
fn a_circle_of_two_files_is_found_and_told_as_a_path() {
    let files = [
        ("src/lib.rs", "mod a;\nmod b;\n"),
        ("src/a.rs", "use crate::b::Y;\npub struct X(Y);\n"),
        ("src/b.rs", "pub struct Y;\npub fn make() -> super::a::X { todo() }\n"),
    ];
    assert_eq!(
        planted(&files),
        ["src/a.rs names crate::b::Y -> src/b.rs names super::a::X -> src/a.rs"]
    );
}

#[test]
fn a_circle_through_a_macro_a_re_export_and_three_files_is_found() {
    let files = [
        ("src/lib.rs", "pub mod a;\npub mod deep;\npub use deep::inner::Z;\n"),
        ("src/a.rs", "pub const N: u8 = 1;\npub fn f() { println!(\"{:?}\", crate::Z); }\n"),
        ("src/deep/mod.rs", "pub mod inner;\npub mod other;\n"),
        ("src/deep/inner.rs", "use super::other::*;\npub struct Z;\nfn g() { h() }\n"),
        ("src/deep/other.rs", "pub fn h() -> u8 { crate::a::N }\n"),
    ];
    assert_eq!(
        planted(&files),
        [
            "src/a.rs names crate::Z -> src/deep/inner.rs names super::other -> src/deep/other.rs names \
          crate::a::N -> src/a.rs"
        ]
    );
}

#[test]
fn declarations_re_exports_tests_and_names_alike_are_no_circle() {
    let files = [
        ("src/lib.rs", "mod a;\nmod b;\npub use a::X;\npub struct Root;\n"),
        (
            "src/a.rs",
            "use crate::Root;\npub struct X(Root);\n#[cfg(test)]\nmod tests { use crate::b::Y; use super::*; }\n\
             impl X {\n    #[cfg(test)]\n    fn y() -> crate::b::Y { crate::b::Y }\n}\n",
        ),
        (
            "src/b.rs",
            "use super::a::X;\npub struct Y;\nfn f(a: X) { let lib = a; /* crate::Root */ }\n",
        ),
    ];
    assert_eq!(planted(&files), [""; 0]);
}

#[test]
fn a_parent_that_uses_its_child_must_not_be_used_by_it() {
    let files = [
        ("src/lib.rs", "mod engine;\n"),
        (
            "src/engine/mod.rs",
            "mod fast;\npub trait Engine {}\npub fn open() { fast::Fast::new(); }\n",
        ),
        ("src/engine/fast.rs", "use super::Engine;\npub struct Fast;\nimpl Engine for Fast {}\n"),
    ];
    assert_eq!(
        planted(&files),
        [
            "src/engine/fast.rs names super::Engine -> src/engine/mod.rs names fast::Fast::new -> src/engine/fast.rs"
        ]
    );
}
