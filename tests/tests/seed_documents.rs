//! The configuration documents of KafScale and kafka-backup are read as they are printed.

use kfs_core::store::{Store, StoreBackend, StoreConfig, StoreOptions};
use kfs_core::{Error, ErrorKind};
use kfs_tests::repository;

fn document(name: &str) -> String {
    let file = repository().join("tests/seeds").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn config(name: &str) -> StoreConfig {
    StoreConfig::from_document(&document(name)).unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

/// What is set, by name, but for the address.
fn set(config: &StoreConfig) -> Vec<(String, String)> {
    let shown = config.shown(false).expect("settings that can be read");
    let set = shown.into_iter().filter(|setting| setting.set_as.is_some());
    let set =
        set.filter(|setting| !["bucket", "prefix", "account_name", "container_name", "path"].contains(&setting.name));
    set.map(|setting| (setting.name.to_string(), setting.value.expect("a value"))).collect()
}

fn open(config: &StoreConfig) -> Result<Store, Error> {
    Store::open_config(config, &StoreOptions::default().environment(false))
}

#[test]
fn each_storage_section_names_its_store() {
    use StoreBackend::{Azure, Filesystem, Gcs, Memory, S3};
    let kafscale = "s3://kafscale-production";
    let backups = "s3://kafka-backups";
    for (name, backend, url, settings) in [
        ("kafscale-aws.yaml", S3, kafscale, "region=us-east-1 credentials_ref=kafscale-s3"),
        (
            "kafscale-digitalocean.yaml",
            S3,
            kafscale,
            "region=nyc3 endpoint=https://nyc3.digitaloceanspaces.com/ credentials_ref=kafscale-s3",
        ),
        (
            "kafscale-b2.yaml",
            S3,
            kafscale,
            "region=us-west-004 endpoint=https://s3.us-west-004.backblazeb2.com/ credentials_ref=kafscale-s3",
        ),
        (
            "kafscale-wasabi.yaml",
            S3,
            kafscale,
            "region=us-east-1 endpoint=https://s3.us-east-1.wasabisys.com/ credentials_ref=kafscale-s3",
        ),
        (
            "kafscale-gcs-interop.yaml",
            S3,
            kafscale,
            "region=auto endpoint=https://storage.googleapis.com/ credentials_ref=kafscale-s3",
        ),
        (
            "kafscale-minio-gateway.yaml",
            S3,
            kafscale,
            "endpoint=http://minio-gateway.kafscale.svc:9000/ credentials_ref=minio-gateway-creds",
        ),
        (
            "kafscale-minio.yaml",
            S3,
            "s3://kafscale-data",
            "endpoint=http://minio.minio-system.svc:9000/ credentials_ref=kafscale-s3",
        ),
        (
            "kafscale-user-guide.yaml",
            S3,
            "s3://kafscale-prod-us-east-1",
            "region=us-east-1 path_style=false credentials_ref=kafscale-s3-creds \
             kms_key_id=arn:aws:kms:us-east-1:1234:key/abcd",
        ),
        ("backup-filesystem.yaml", Filesystem, "file:///var/kafka-backups", ""),
        ("reference-filesystem.yaml", Filesystem, "file:///var/kafka-backups", ""),
        ("reference-memory.yaml", Memory, "memory:", ""),
        ("backup-s3.yaml", S3, backups, "region=us-east-1"),
        (
            "backup-minio.yaml",
            S3,
            backups,
            "endpoint=http://minio.local:9000/ path_style=true access_key=*** secret_key=*** allow_http=true",
        ),
        (
            "reference-s3.yaml",
            S3,
            "s3://kafka-backups/cluster-prod",
            "region=us-east-1 endpoint=http://minio.local:9000/ path_style=false access_key=*** secret_key=*** \
             allow_http=false",
        ),
        ("backup-encryption.yaml", S3, backups, ""),
        ("backup-prefix.yaml", S3, "s3://kafka-backups/cluster-prod/team-a", ""),
        ("restore-test.yaml", S3, backups, ""),
        ("legacy-before.yaml", S3, backups, "region=us-east-1 access_key=*** secret_key=***"),
        ("legacy-after.yaml", S3, backups, "region=us-east-1"),
        ("backup-gcs.yaml", Gcs, "gs://kafka-backups", ""),
        (
            "reference-gcs.yaml",
            Gcs,
            "gs://kafka-backups/cluster-prod",
            "service_account_path=/path/to/service-account.json",
        ),
        ("backup-azure.yaml", Azure, "az://kafka-backups", ""),
        ("backup-azure-identity.yaml", Azure, "az://kafka-backups", ""),
        ("backup-azure-managed.yaml", Azure, "az://kafka-backups", ""),
        ("operator-azure.yaml", Azure, "az://kafka-backups/production", "credentials_ref=azure-storage-credentials"),
        (
            "prd-azure.yaml",
            Azure,
            "az://kafka-backups/production",
            "endpoint=https://mystorageaccount.blob.core.usgovcloudapi.net/ account_key=***",
        ),
    ] {
        let config = config(name);
        assert_eq!(config.backend(), backend, "{name}");
        assert_eq!(config.url().expect("a URL"), url, "{name}");
        let shown: Vec<String> = set(&config).iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown.join(" "), settings, "{name}");
    }
}

#[test]
fn the_document_in_a_config_map_is_read_once_it_is_taken_out() {
    let map = document("backup-configmap.yaml");
    let error = StoreConfig::from_document(&map).expect_err("the map itself has none");
    assert!(error.message().contains("no storage section"), "{error}");
    let (_, inner) = map.split_once("backup.yaml: |\n").expect("the document in the map");
    let inner: String = inner.lines().map(|line| format!("{}\n", line.get(4..).unwrap_or_default())).collect();
    let config = StoreConfig::from_document(&inner).expect("the document");
    assert_eq!(config.url().expect("a URL"), "s3://kafka-backups/k8s-cluster");
}

#[test]
fn what_cant_be_right_is_told_by_the_name_in_the_document() {
    let placeholder = config("kafscale-r2.yaml").url().expect_err("the endpoint has a placeholder");
    assert_eq!(placeholder.message(), "endpoint can't be used: expected a URL such as https://host:9000");
    let key = config("reference-azure.yaml").url().expect_err("the key is a placeholder");
    assert_eq!(key.message(), "account_key can't be used: expected text in base64");
    for name in ["kafscale-minio.yaml", "kafscale-minio-gateway.yaml", "reference-s3.yaml"] {
        let plain = open(&config(name)).expect_err("http without leave");
        assert_eq!(plain.message(), "endpoint is not encrypted (http:)", "{name}");
        assert!(plain.hint().is_some_and(|hint| hint.contains("allow_http")), "{name} {plain:?}");
    }
    for name in ["kafscale-minio-gateway-deployment.yaml", "lifecycle-policy.json"] {
        let none = StoreConfig::from_document(&document(name)).expect_err("no storage section");
        assert_eq!((none.kind(), none.message()), (ErrorKind::InvalidInput, "the document has no storage section"));
    }
}

#[test]
fn a_document_with_all_that_is_needed_opens_a_store() {
    open(&config("backup-minio.yaml")).expect("MinIO with keys");
    open(&config("legacy-before.yaml")).expect("the old form");
    open(&config("prd-azure.yaml")).expect("Azure of another cloud");
    open(&config("reference-memory.yaml")).expect("memory");
    for name in ["backup-s3.yaml", "kafscale-aws.yaml", "backup-azure.yaml"] {
        let error = open(&config(name)).expect_err("no credentials");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{name} {error}");
    }
}

/// The blocks of YAML below "## Providers" of docs/backends.md, with the heading that each stands under.
fn providers() -> Vec<(String, String)> {
    let page = std::fs::read_to_string(repository().join("docs/backends.md")).expect("the page on stores");
    let (_, section) = page.split_once("\n## Providers\n").expect("a section on providers");
    let section = section.split("\n## ").next().expect("text");
    let parts = section.split("\n### ").skip(1);
    let blocks = parts.map(|part| {
        let (heading, text) = part.split_once('\n').expect("a heading");
        let block = text.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
        (heading.to_string(), block.unwrap_or_else(|| panic!("{heading}: no settings")).to_string())
    });
    blocks.collect()
}

#[test]
fn the_settings_for_each_provider_open_a_store() {
    let providers = providers();
    assert!(providers.len() >= 11, "{} providers", providers.len());
    for (provider, document) in providers {
        let read = StoreConfig::from_document(&document).unwrap_or_else(|error| panic!("{provider}: {error:?}"));
        let keyed = read.set("access_key", "id").and_then(|config| config.set("secret_key", "secret"));
        let config = keyed.unwrap_or_else(|error| panic!("{provider}: {error:?}"));
        match open(&config) {
            Ok(store) => assert_eq!(store.url(), "s3://my-logs", "{provider}"),
            // The page can't name a file that is everywhere.
            Err(missing) => assert!(missing.to_string().contains("/etc/ssl/rgw-ca.pem"), "{provider}: {missing:?}"),
        }
    }
}
