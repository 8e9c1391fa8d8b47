//! The settings of the Kubernetes overlays, read by the server's own parser.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const OVERLAYS: [(&str, &[&str]); 3] = [
    ("dev", &["base/config/pounce.env", "overlays/dev/kustomization.yaml"]),
    ("production", &["base/config/pounce.env", "overlays/production/pounce.env"]),
    (
        "gpu",
        &["base/config/pounce.env", "overlays/production/pounce.env", "overlays/gpu/pounce.env"],
    ),
];
/// Overlays with a component more: what the component sets, in order.
const WITH_NATS: [(&str, &[&str]); 2] = [
    ("NATS", &["components/nats-client/kustomization.yaml"]),
    (
        "NATS and TLS",
        &[
            "components/nats-client/kustomization.yaml",
            "components/nats-client-tls/kustomization.yaml",
        ],
    ),
];
/// Where the pods have the file of the alerts, and where it is here.
const ALERTS: (&str, &str) = ("/etc/pounce/alerts/alerts.toml", "base/config/alerts.toml");

fn k8s(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s").join(path)
}

/// The variables that a file sets, one a line; in YAML as items of a list.
fn variables(path: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(k8s(path)).expect("the manifest is there");
    let set = text.lines().filter_map(|line| {
        let line = line.trim();
        let (name, value) = line.strip_prefix("- ").unwrap_or(line).split_once('=')?;
        let named = name.starts_with("POUNCE_") || name == "RUST_LOG";
        named.then(|| (name.to_owned(), value.to_owned()))
    });
    set.collect()
}

/// As the pods of an overlay have them, but for the file of the alerts, which lies elsewhere.
fn environment(files: &[&str]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for file in files {
        let found = variables(file);
        assert!(!found.is_empty(), "{file} sets nothing");
        all.extend(found);
    }
    let alerts = all.insert("POUNCE_ALERTS".to_owned(), k8s(ALERTS.1).display().to_string());
    assert_eq!(alerts.as_deref(), Some(ALERTS.0));
    all
}

fn check_config(environment: &BTreeMap<String, String>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pounce"));
    command.arg("check-config").env_clear().envs(environment).output().expect("the binary runs")
}

#[test]
fn the_settings_of_every_overlay_are_good() {
    let folders = std::fs::read_dir(k8s("overlays")).expect("overlays").count();
    assert_eq!(folders, OVERLAYS.len(), "an overlay that nobody checks");
    for (overlay, files) in OVERLAYS {
        let checked = check_config(&environment(files));
        assert!(checked.status.success(), "{overlay}: {checked:?}");
        assert_eq!(checked.stdout, b"the settings are valid\n", "{overlay}");
    }
}

#[test]
fn the_settings_of_production_with_nats_are_good() {
    let folder = tempfile::tempdir().expect("a folder");
    for (component, files) in WITH_NATS {
        let mut settings = environment(&[OVERLAYS[1].1, files].concat());
        assert_eq!(settings["POUNCE_OBSERVATIONS"].starts_with("tls:"), component.contains("TLS"));
        // What the pods have as files of secrets.
        for (name, file) in [
            ("POUNCE_FLEET_SECRET", "key"),
            ("POUNCE_OBSERVATIONS_PASSWORD_FILE", "password"),
            ("POUNCE_OBSERVATIONS_CA", "ca.crt"),
        ] {
            if let Some(path) = settings.get_mut(name) {
                assert!(path.ends_with(&format!("/{file}")), "{component}: {name} is {path}");
                let here = folder.path().join(file);
                std::fs::write(&here, "sixteen bytes or more").expect("written");
                *path = here.display().to_string();
            }
        }
        let checked = check_config(&settings);
        assert!(checked.status.success(), "{component}: {checked:?}");
    }
}

#[test]
fn every_variable_of_the_overlays_is_one_that_the_server_knows() {
    let known = std::fs::read_to_string("docs/configuration.md").expect("the page is there");
    let with_nats = WITH_NATS.map(|(name, files)| (name, [OVERLAYS[1].1, files].concat()));
    let overlays = OVERLAYS.map(|(name, files)| (name, files.to_vec()));
    for (overlay, files) in overlays.into_iter().chain(with_nats) {
        for name in environment(&files).keys() {
            assert!(known.contains(&format!("`{name}`")), "{overlay}: the server ignores {name}");
        }
    }
}

#[test]
fn a_bad_value_in_an_overlay_would_be_found() {
    for (name, value) in [
        ("POUNCE_WORKERS", "many"),
        ("POUNCE_QUEUE_POSTS_MAX", "0"),
        ("POUNCE_ALERTS", "no/such/file"),
        ("POUNCE_BOARD", "perhaps"),
    ] {
        let mut settings = environment(OVERLAYS[1].1);
        settings.insert(name.to_owned(), value.to_owned());
        let checked = check_config(&settings);
        assert_eq!(checked.status.code(), Some(2), "{name}={value}: {checked:?}");
    }
}
