use crate::error::ErrorKind;
use crate::log::fixtures::{Fixture, batch};

#[tokio::test]
async fn partitions_are_found_by_names_with_wildcards_once_and_in_order() {
    let f = Fixture::new();
    for id in ["orders/0", "orders/1", "orders/10", "orders-eu/0", "users/0"] {
        f.put(&format!("default/{id}/segment-{:020}.kfs", 0), batch(1, 1).bytes().clone()).await;
    }
    let find = async |names: &[&str], except: &[&str]| {
        let found = f.bucket.find_partitions(names, except).await?;
        Ok::<_, crate::Error>(found.iter().map(|partition| partition.id().to_string()).collect::<Vec<_>>())
    };
    assert_eq!(find(&["orders"], &[]).await.unwrap(), ["orders/0", "orders/1", "orders/10"]);
    assert_eq!(find(&["users", "ord*"], &["*/1*"]).await.unwrap(), ["orders/0", "orders-eu/0", "users/0"]);
    assert_eq!(find(&["*/0", "users"], &["orders-??"]).await.unwrap(), ["orders/0", "users/0"]);
    let before = f.bucket.requests().list;
    assert_eq!(find(&["none/7"], &[]).await.unwrap(), ["none/7"], "it need not exist");
    assert_eq!(f.bucket.requests().list, before);
    for (name, kind) in [("none", ErrorKind::NotFound), ("n*", ErrorKind::NotFound), ("a/b", ErrorKind::InvalidInput)] {
        assert_eq!(find(&["orders", name], &[]).await.unwrap_err().kind(), kind, "{name}");
    }
}
