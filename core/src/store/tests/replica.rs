//! Reads of data, which a copy of the store may answer, and reads of truth.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, PutPayload};

use crate::ErrorKind;
use crate::store::{ReadRange, Store, Version};
use crate::testing::{Failure, FaultStore};

struct Pair {
    store: Store,
    primary: Arc<FaultStore>,
    replica: Arc<FaultStore>,
}

impl Pair {
    fn new() -> Self {
        let primary = FaultStore::new(Arc::new(InMemory::new()));
        let replica = FaultStore::new(Arc::new(InMemory::new()));
        let store = Store::from_object_store_sent_once(primary.clone()).with_replica(replica.clone());
        Pair { store, primary, replica }
    }

    /// Reads of data, and how many requests went to the copy and to the store.
    async fn data(&self, key: &str, version: Option<&Version>) -> (crate::Result<Vec<u8>>, usize, usize) {
        let before = (self.replica.log().len(), self.primary.log().len());
        let read = self.store.reader().get_data(key, ReadRange::Whole, version).await;
        let asked = (self.replica.log().len() - before.0, self.primary.log().len() - before.1);
        (read.map(|fetched| fetched.bytes.to_vec()), asked.0, asked.1)
    }
}

#[tokio::test]
async fn a_copy_answers_reads_of_data_and_the_store_what_the_copy_lacks() {
    let pair = Pair::new();
    // The same ETag on both: InMemory counts its writes.
    let version = pair.store.put("a", PutPayload::from_static(b"one")).await.unwrap();
    pair.replica.inner().put(&"a".into(), PutPayload::from_static(b"one")).await.unwrap();
    let (read, of_copy, of_store) = pair.data("a", Some(&version)).await;
    assert_eq!((read.unwrap(), of_copy, of_store), (b"one".to_vec(), 1, 0));
    // The copy has an older version.
    let newer = pair.store.put("a", PutPayload::from_static(b"two")).await.unwrap();
    let (read, of_copy, of_store) = pair.data("a", Some(&newer)).await;
    assert_eq!((read.unwrap(), of_copy, of_store), (b"two".to_vec(), 1, 1));
    // An object that the copy does not have yet.
    let other = pair.store.put("b", PutPayload::from_static(b"three")).await.unwrap();
    let (read, of_copy, of_store) = pair.data("b", Some(&other)).await;
    assert_eq!((read.unwrap(), of_copy, of_store), (b"three".to_vec(), 1, 1));
    // The copy is away.
    pair.replica.set_down(Some(Failure::Unavailable));
    let (read, ..) = pair.data("a", Some(&newer)).await;
    assert_eq!(read.unwrap(), b"two");
    // What neither has is told by the store.
    let (read, ..) = pair.data("none", None).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound);
    pair.primary.set_down(Some(Failure::PermissionDenied));
    let (read, ..) = pair.data("a", Some(&newer)).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn no_read_of_truth_asks_the_copy() {
    let pair = Pair::new();
    pair.replica.inner().put(&"t/a".into(), PutPayload::from_static(b"old")).await.unwrap();
    pair.replica.inner().put(&"t/gone".into(), PutPayload::from_static(b"old")).await.unwrap();
    let version = pair.store.put("t/a", PutPayload::from_static(b"new")).await.unwrap();
    let reader = pair.store.reader();
    assert_eq!(reader.get("t/a", ReadRange::Whole, None).await.unwrap().bytes, "new");
    assert_eq!(reader.get("t/a", ReadRange::Range(0..1), Some(&version)).await.unwrap().bytes, "n");
    assert!(reader.head("t/a").await.unwrap().info.version.same_as(&version));
    assert_eq!(reader.head("t/gone").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(reader.list_page("t/", None, 10).await.unwrap().objects.len(), 1);
    assert_eq!(reader.list_dirs("").await.unwrap(), ["t"]);
    assert!(pair.replica.log().is_empty());
}
