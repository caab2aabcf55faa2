//! The faces agree, one counts before another, and no face shows a secret.

use super::*;

const SECRET: &str = "hunter2hunter2hh";

fn value(config: &StoreConfig, name: &str) -> (Option<String>, Origin) {
    let shown = config.shown(false).unwrap().into_iter().find(|setting| setting.name == name).unwrap();
    (shown.value, shown.origin)
}

/// The settings that these variables give to a configuration.
fn with_variables(config: &StoreConfig, variables: &[(&str, &str)]) -> Result<Settings> {
    let table = config.backend().table();
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let mut given = environment::given(table, variables);
    given.extend(config.given.iter().cloned());
    Settings::of(table, &given)
}

#[test]
fn the_stronger_face_counts_and_says_so() {
    let document = "{\"backend\": \"s3\", \"bucket\": \"logs\", \"region\": \"of-document\"}";
    let document = StoreConfig::from_document(document).unwrap();
    let url = StoreConfig::from_url("s3://logs?region=of-url").unwrap();
    let region = |settings: Settings| {
        (settings.text(&s3::REGION).unwrap().to_string(), settings.origin(&s3::REGION), settings.name(&s3::REGION))
    };
    let bare = StoreConfig::from_url("s3://logs").unwrap();
    let variables = [("AWS_DEFAULT_REGION", "c"), ("AWS_REGION", "b")];
    let of = |config: &StoreConfig, variables: &[(&str, &str)]| region(with_variables(config, variables).unwrap());
    assert_eq!(of(&bare, &[]), ("us-east-1".into(), Origin::Default, "AWS_REGION".into()));
    assert_eq!(of(&bare, &variables[..1]), ("c".into(), Origin::Environment, "AWS_DEFAULT_REGION".into()));
    assert_eq!(of(&bare, &variables), ("b".into(), Origin::Environment, "AWS_REGION".into()));
    let of_kafscale = [variables[1], ("KAFSCALE_S3_REGION", "a")];
    assert_eq!(of(&bare, &of_kafscale), ("a".into(), Origin::Environment, "KAFSCALE_S3_REGION".into()));
    assert_eq!(of(&document, &of_kafscale), ("of-document".into(), Origin::Document, "region".into()));
    assert_eq!(of(&url, &of_kafscale), ("of-url".into(), Origin::Url, "region".into()));
    let explicit = url.set("AWS_DEFAULT_REGION", "named").unwrap();
    assert_eq!(of(&explicit, &of_kafscale), ("named".into(), Origin::Explicit, "AWS_DEFAULT_REGION".into()));
}

#[test]
fn only_the_value_that_counts_is_read() {
    let config = StoreConfig::from_url("s3://logs?path_style=true").unwrap();
    let settings = with_variables(&config, &[("AWS_S3_FORCE_PATH_STYLE", "nonsense")]).unwrap();
    assert!(settings.flag(&s3::PATH_STYLE));
    let bare = StoreConfig::from_url("s3://logs").unwrap();
    let error = with_variables(&bare, &[("AWS_S3_FORCE_PATH_STYLE", "nonsense")]).unwrap_err();
    assert_eq!(error.message(), "AWS_S3_FORCE_PATH_STYLE can't be used: expected true or false");
}

#[test]
fn keys_of_one_face_are_never_mixed_with_those_of_another() {
    let environment =
        [("AWS_ACCESS_KEY_ID", "env-id"), ("AWS_SECRET_ACCESS_KEY", "env-key"), ("AWS_SESSION_TOKEN", "env-token")];
    let bare = StoreConfig::from_url("s3://logs").unwrap();
    let keys = |settings: &Settings| s3::KEYS.map(|row| settings.text(row).map(str::to_string));
    let all = with_variables(&bare, &environment).unwrap();
    assert_eq!(keys(&all), ["env-id", "env-key", "env-token"].map(|text| Some(text.to_string())));
    let explicit = bare.clone().set("access_key", "id").unwrap().set("secret_key", "key").unwrap();
    let explicit = with_variables(&explicit, &environment).unwrap();
    assert_eq!(keys(&explicit), [Some("id".into()), Some("key".into()), None]);
    let of_kafscale: Vec<_> = environment
        .into_iter()
        .chain([("KAFSCALE_S3_ACCESS_KEY", "kaf-id"), ("KAFSCALE_S3_SECRET_KEY", "kaf-key")])
        .collect();
    let of_kafscale = with_variables(&bare, &of_kafscale).unwrap();
    assert_eq!(keys(&of_kafscale), [Some("kaf-id".into()), Some("kaf-key".into()), None]);
    // Half of a credential is no reason to take the other half from elsewhere.
    let half = with_variables(&bare.set("access_key", "id").unwrap(), &environment).unwrap();
    assert_eq!(keys(&half), [Some("id".into()), None, None]);
}

#[test]
fn an_opposite_name_turns_a_flag_around() {
    let bare = StoreConfig::from_url("s3://logs").unwrap();
    for (text, expected) in [("true", false), ("false", true)] {
        let settings = with_variables(&bare, &[("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", text)]).unwrap();
        assert_eq!(settings.flag(&s3::PATH_STYLE), expected);
    }
}

#[test]
fn settings_of_the_client_have_the_prefix_of_their_store() {
    let bare = StoreConfig::from_url("az://logs-1").unwrap();
    let settings = with_variables(&bare, &[("AZURE_CONNECT_TIMEOUT", "3s"), ("AWS_READ_TIMEOUT", "1s")]).unwrap();
    let time = |row| settings.value(row).unwrap().0.to_string();
    assert_eq!((time(&client::CONNECT_TIMEOUT).as_str(), time(&client::READ_TIMEOUT).as_str()), ("3s", "30s"));
    assert_eq!(settings.name(&client::READ_TIMEOUT), "AZURE_READ_TIMEOUT");
}

#[test]
fn every_default_is_a_value_of_its_kind_and_every_name_is_one_settings() {
    for backend in StoreBackend::ALL {
        let mut names: Vec<String> = Vec::new();
        for row in backend.table().rows() {
            if let Some(default) = row.default {
                row.kind.read(default).unwrap_or_else(|bad| panic!("{backend} {}: {bad}", row.name));
            }
            assert!(row.about.ends_with('.'), "{backend} {}", row.name);
            let all = [&[row.name][..], row.aliases, row.environment, row.opposites].concat();
            names.extend(all.iter().map(|name| name.to_ascii_lowercase().replace('_', "")));
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{backend}");
    }
}

#[test]
fn what_was_written_by_serde_is_read_again_but_for_secrets() {
    let config = StoreConfig::from_url("s3://logs/a?region=eu-west-1&connect_timeout=3s").unwrap();
    let text = serde_json::to_string(&config).unwrap();
    let again: StoreConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(again.url().unwrap(), "s3://logs/a");
    assert_eq!(value(&again, "region"), (Some("eu-west-1".into()), Origin::Document));
    let secret = config.set("secret_key", SECRET).unwrap();
    let text = serde_json::to_string(&secret).unwrap();
    assert!(!text.contains(SECRET) && text.contains("***"), "{text}");
    let error = serde_json::from_str::<StoreConfig>(&text).unwrap_err().to_string();
    assert!(error.contains("secret_key is ***"), "{error}");
}

#[test]
fn no_output_shows_a_secret() {
    let secrets = [("s3://logs", &s3::S3), ("az://logs-1", &azure::AZURE), ("gs://logs", &gcs::GCS)];
    for (url, table) in secrets {
        for row in table.rows().filter(|row| row.kind.is_secret()) {
            let config = StoreConfig::from_url(url).unwrap().set(row.name, SECRET).unwrap();
            let shown = config.shown(false).unwrap();
            let json = serde_json::to_string(&config).unwrap();
            let all = format!("{config:?} {config:#?} {shown:?} {json} {:?}", config.settings(false).unwrap());
            assert!(!all.contains(SECRET), "{} {all}", row.name);
        }
    }
    let proxy = StoreConfig::from_url("s3://logs").unwrap();
    let proxy = proxy.set("proxy_url", format!("http://me:{SECRET}@h:1/?{SECRET}")).unwrap();
    assert_eq!(value(&proxy, "proxy_url").0.unwrap(), "http://h:1/");
    let secret = Secret::new(SECRET);
    let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap());
    assert_eq!((shown.as_str(), secret.reveal()), ("*** *** \"***\"", SECRET));
}

#[test]
fn the_environment_may_name_the_bucket() {
    let named = |names: &[&str]| environment::backend(names.iter().map(|name| (name.to_string(), "x".to_string())));
    assert_eq!(named(&["KAFSCALE_S3_BUCKET", "HOME"]).unwrap(), StoreBackend::S3);
    assert_eq!(named(&["AZURE_CONTAINER_NAME"]).unwrap(), StoreBackend::Azure);
    assert_eq!(named(&["GOOGLE_BUCKET"]).unwrap(), StoreBackend::Gcs);
    assert!(named(&["HOME"]).unwrap_err().hint().unwrap().contains("KAFSCALE_S3_BUCKET"));
    let both = named(&["GOOGLE_BUCKET", "AWS_BUCKET"]).unwrap_err();
    assert!(both.message().contains("AWS_BUCKET and GOOGLE_BUCKET"), "{both}");
}

#[test]
fn a_prefix_is_the_same_in_each_face() {
    for prefix in ["a/b", "a/b/"] {
        let document = StoreConfig::from_document(&format!("backend: s3\nbucket: logs\nprefix: {prefix}")).unwrap();
        assert_eq!((document.prefix().unwrap().as_str(), document.url().unwrap().as_str()), ("a/b/", "s3://logs/a/b"));
    }
    for wrong in ["/a", "a//b", "../a", "/"] {
        let document = StoreConfig::from_document(&format!("backend: s3\nbucket: logs\nprefix: {wrong}")).unwrap();
        let error = document.prefix().unwrap_err();
        assert!(error.message().starts_with("prefix is not a usable prefix"), "{error}");
    }
}

#[test]
fn a_wrong_document_is_told_by_its_line_and_repeats_nothing() {
    for (text, message) in [
        ("", "the document has no storage section"),
        ("just text", "the document is no list of names and values"),
        ("storage: s3", "storage has no settings below it"),
        ("storage:\n  bucket: b", "backend is missing in the storage section"),
        ("backend: ftp", "line 1: backend is not one of those that there are"),
        ("backend: s3\nbucket: b\nregoin: hunter2hunter2hh", "line 3: regoin is no setting for S3"),
        ("backend: s3\nbucket: b\nhunter2hunter2hh: x", "line 3: the given name is no setting for S3"),
        ("backend: s3\nregion: [hunter2hunter2hh]", "line 2: region has several values: expected one"),
        ("backend: s3\nregion: a\nregion: b", "line 3: the name stands there twice"),
        ("backend: s3\nendpoint: a\nendpoint_url: b", "line 3: endpoint_url and endpoint are the same setting"),
        ("backend: s3\nbucket: &b hunter2hunter2hh\nregion: *b", "line 3: an alias (*name) is not read"),
        ("kind: KafscaleCluster", "the KafscaleCluster has no section spec.s3"),
        ("{\"backend\": \"s3\", \"bucket\"", "this is no YAML"),
    ] {
        let error = StoreConfig::from_document(text).unwrap_err();
        assert!(error.message().contains(message), "{text:?}: {error}");
        assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    }
    let deep = "[".repeat(10_000);
    StoreConfig::from_document(&deep).unwrap_err();
    assert!(StoreConfig::from_document(&" ".repeat(2 << 20)).unwrap_err().message().contains("bytes"));
}

#[test]
fn scalars_stay_the_text_that_they_are() {
    let text = "backend: s3\nbucket: 0123\nsecret_key: 00123e4\naccess_key: 1_000\nregion: ~\npathStyle: yes\n";
    let config = StoreConfig::from_document(text).unwrap();
    let settings = config.settings(false).unwrap();
    let text = |row| settings.text(row).unwrap();
    assert_eq!((text(&s3::BUCKET), text(&s3::SECRET_KEY), text(&s3::ACCESS_KEY)), ("0123", "00123e4", "1_000"));
    assert_eq!((text(&s3::REGION), settings.flag(&s3::PATH_STYLE)), ("us-east-1", true));
}

#[test]
fn several_documents_in_one_text_are_searched_for_the_section() {
    let config = StoreConfig::from_document("kind: Service\n---\nstorage:\n  backend: memory\n  prefix: a\n").unwrap();
    assert_eq!(config.url().unwrap(), "memory:///a");
}

#[test]
fn a_document_beside_that_of_the_store_is_refused_unless_it_is_of_kubernetes() {
    let store = "storage:\n  backend: memory\n  prefix: a\n";
    for (text, said) in [
        (format!("{store}---\n{store}"), "the documents 1 and 2 of the file both have a storage section"),
        (format!("kind: Service\n---\n{store}---\nbackend: s3\n"), "the documents 2 and 3 of the file both"),
        (format!("{store}---\nprefix: b\n"), "document 2 of the file has no storage section"),
        (format!("prefix: b\n---\n{store}"), "document 1 of the file has no storage section"),
        (format!("{store}---\n- b\n"), "document 2 of the file has no storage section"),
        (format!("{store}---\nstorage: b\n"), "storage has no settings below it"),
    ] {
        let error = StoreConfig::from_document(&text).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.message().starts_with(said), "{text}: {error}");
    }
    for text in [format!("---\n{store}---\n"), format!("{store}...\n"), format!("{store}---\nkind: Service\n")] {
        assert_eq!(StoreConfig::from_document(&text).unwrap().prefix().unwrap(), "a/", "{text}");
    }
}

#[test]
fn a_secret_in_an_address_or_in_the_place_of_a_path_is_not_shown_and_still_counts() {
    for (backend, name, value, expected) in [
        ("s3", "container_credentials_full_uri", "http://169.254.170.23/v1/hunter2", "http://169.254.170.23/***"),
        ("s3", "container_credentials_relative_uri", "/v2/credentials/hunter2", "***"),
        ("s3", "sts_endpoint", "https://sts.example:8443/", "https://sts.example:8443"),
        ("s3", "metadata_endpoint", "hunter2", "***"),
        ("azure", "msi_endpoint", "http://u:hunter2@host?x=hunter2", "http://host"),
        ("s3", "credentials_file", "hunter2/+x", "***"),
        ("s3", "credentials_file", "/etc/credentials", "/etc/credentials"),
    ] {
        let document = format!("backend: {backend}\n{name}: {value}\n");
        let config = StoreConfig::from_document(&document).unwrap();
        assert_eq!(self::value(&config, name).0.as_deref(), Some(expected));
        let settings = config.settings(false).unwrap();
        let row = settings.table().rows().find(|row| row.name == name).unwrap();
        assert_eq!(settings.text(row), Some(value));
        if expected.contains("***") {
            let written = StoreConfig::from_document(&format!("backend: {backend}\n{name}: '{expected}'\n"));
            assert!(written.unwrap_err().message().contains("not written out"));
        }
    }
}

/// `docs/settings.md`, made from the tables.
fn documented() -> String {
    let mut page = String::from(
        "# Settings of stores\n\nThis page is made from the tables in `core/src/store/config`: `KFS_UPDATE_DOCS=1 cargo test -p kfs-core \
         --lib settings_page`.\nHow they are given, and which one counts, is in [backends.md](backends.md).\n\n\
         A setting has the same name in a document, after the question mark of a URL, and in a call; each of them takes \
         the\nvariable's name, too. Names may be written in upper or lower case, with or without underscores. Times have a \
         unit, such\nas `30s` or `5min`. Flags are `true` or `false`.\n",
    );
    let cell = |text: &str| text.replace('|', "\\|");
    for backend in StoreBackend::ALL {
        let table = backend.table();
        page.push_str(&format!(
            "\n## {backend}\n\n| setting | variables | default | what it is |\n|---|---|---|---|\n"
        ));
        for row in table.rows() {
            let mut names = vec![format!("`{}`", row.name)];
            names.extend(row.aliases.iter().map(|alias| format!("`{alias}`")));
            let mut variables: Vec<String> = row.environment.iter().map(|name| format!("`{name}`")).collect();
            if variables.is_empty() && table.client_rows().any(|client| client.name == row.name) {
                let of = |name: &str| format!("`{}{}`", table.prefix, name.to_ascii_uppercase());
                variables.extend([&[row.name][..], row.aliases].concat().into_iter().map(of));
            }
            let opposites = row.opposites.iter().map(|name| format!("the opposite: `{name}`"));
            variables.extend(opposites);
            let default = row.default.map_or(String::new(), |default| format!("`{default}`"));
            let line = [names.join(", "), variables.join(", "), default, row.about.to_string()].map(|text| cell(&text));
            page.push_str(&format!("| {} |\n", line.join(" | ")));
        }
    }
    page
}

#[test]
fn the_settings_page_is_what_the_tables_say() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let page = documented();
    if std::env::var_os("KFS_UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let is_same = std::fs::read_to_string(&file).unwrap_or_default() == page;
    assert!(is_same, "docs/settings.md is out of date: run the command at its top");
}

#[test]
fn no_part_of_a_hosts_name_becomes_another_host() {
    for wrong in ["u@127.0.0.1:1/", "evil.test/", "x/../evil", "a b", "a%2f", "a:1", "a?b", "a#b", "ü"] {
        for (url, row) in [("s3://logs", "region"), ("gs://logs", "bucket")] {
            let config = StoreConfig::from_url(url).unwrap().set(row, wrong).unwrap();
            let error = config.settings(false).unwrap_err();
            assert!(error.message().starts_with(&format!("{row} ")), "{wrong}: {error}");
        }
    }
}

#[test]
fn half_a_key_is_told_by_the_names_of_its_own_family() {
    let bare = StoreConfig::from_url("s3://logs").unwrap();
    let settings = with_variables(&bare, &[("KAFSCALE_S3_ACCESS_KEY", "id")]).unwrap();
    assert_eq!(settings.name_like(&s3::SECRET_KEY, &s3::ACCESS_KEY), "KAFSCALE_S3_SECRET_KEY");
}

#[test]
fn a_frame_size_beyond_http_2s_own_bounds_and_a_prefix_longer_than_any_key_are_refused() {
    for size in ["1", "16383", "16777216", "4294967295", "-1", "18446744073709551616"] {
        let url = format!("s3://logs?http2_max_frame_size={size}");
        let error = StoreConfig::from_url(&url).and_then(|config| config.settings(false)).unwrap_err();
        let expected = "http2_max_frame_size can't be used: expected a whole number from 16384 to 16777215";
        assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidInput, expected), "{size}");
    }
    for size in ["16384", "16777215"] {
        let url = format!("s3://logs?http2_max_frame_size={size}");
        StoreConfig::from_url(&url).and_then(|config| config.settings(false)).unwrap();
    }
    let of = |length: usize| StoreConfig::from_url(&format!("s3://logs/{}", "a/".repeat(length / 2)));
    let long = of(68_000).and_then(|config| config.prefix()).unwrap_err();
    assert!(
        long.message().contains("gives a prefix of 67999 bytes, and the clouds take keys of at most 1024"),
        "{long}"
    );
    assert_eq!(of(1024).and_then(|config| config.prefix()).unwrap().len(), 1024);
}
