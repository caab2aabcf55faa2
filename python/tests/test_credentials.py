"""Configuration and credentials from Python. Run by roundtrip.rs, which starts a fake of S3 and names it in ENDPOINT."""

import gc
import os
import time
import traceback
import unittest
import weakref
from datetime import datetime, timezone

import kfs

SOON = 30.0
ENDPOINT = os.environ["KFS_TEST_ENDPOINT"]
ID, SECRET = os.environ["KFS_TEST_ID"], "supplied-secret/0123456789"
SETTINGS = {"endpoint": ENDPOINT, "allow_http": "true"}
LONG_AGO = 1.0


class Vault:
    """Gives what the test says, and counts how often it is asked."""

    def __init__(self, give):
        self.give, self.calls = give, 0

    def __call__(self):
        self.calls += 1
        return self.give() if callable(self.give) else self.give


def opened(vault, **more):
    return kfs.open(
        "s3://logs", settings=SETTINGS, environment=False, credentials=vault, preflight=False, **more
    )


def raises(error):
    def give():
        raise error

    return give


class CredentialsOfACallable(unittest.TestCase):
    def test_credentials_are_supplied_and_renewed(self):
        vault = Vault(kfs.Credentials(ID, SECRET, expires_at=LONG_AGO))
        with opened(vault) as bucket:
            self.assertEqual(vault.calls, 0)
            partition = bucket.partition("supplied", 0)
            with partition.writer(timeout=SOON) as writer:
                self.assertEqual(writer.append([kfs.Record(b"paid")]).durable(SOON).base, 0)
            self.assertGreater(vault.calls, 1)
            # They are good for an hour: one call more.
            calls = vault.calls
            vault.give = {
                "access_key_id": ID,
                "secret_access_key": SECRET,
                "expires_at": datetime.fromtimestamp(time.time() + 3600, timezone.utc),
            }
            for _ in range(3):
                self.assertEqual(len(list(partition.reader().fetch(0, timeout=SOON).records())), 1)
            self.assertEqual(vault.calls, calls + 1)
        self.assertNotIn(SECRET, repr(kfs.Credentials(ID, SECRET)))
        self.assertNotIn(ID, repr(kfs.Credentials(ID, SECRET)))

    def test_what_the_callable_raises_is_the_cause(self):
        class Locked(Exception):
            pass

        raised = Locked(f"not for {SECRET}")
        vault = Vault(raises(raised))
        bucket = opened(vault)
        reader = bucket.partition("supplied", 1).reader()
        with self.assertRaises(kfs.PermissionDeniedError) as caught:
            reader.fetch(0, timeout=SOON)
        self.assertIs(caught.exception.__cause__, raised)
        self.assertIn("the credentials callable failed", str(caught.exception))
        self.assertIn("Locked", str(caught.exception))
        self.assertNotIn(SECRET, str(caught.exception) + repr(caught.exception))
        self.assertIn("give", "".join(traceback.format_exception(caught.exception)), "where it was raised")
        # What may pass is tried again.
        failures = [ConnectionRefusedError("the vault is away"), TimeoutError("slow")]

        def recovers():
            if failures:
                raise failures.pop()
            return kfs.Credentials(ID, SECRET)

        vault.give = recovers
        with self.assertRaises(kfs.NotFoundError):
            reader.fetch(0, timeout=SOON)
        self.assertEqual(failures, [])

    def test_answers_that_can_not_be_credentials_are_told_without_their_values(self):
        for give, kind, said in [
            (None, kfs.PermissionDeniedError, "gave no credentials"),
            ({}, kfs.PermissionDeniedError, "gave no credentials"),
            (SECRET, kfs.InvalidInputError, "can't be read"),
            ({"access_key_id": ID}, kfs.InvalidInputError, "can't be read"),
            ({SECRET: ID}, kfs.InvalidInputError, "can't be read"),
            ({"access_key_id": ID, "secret_access_key": SECRET.encode()}, kfs.InvalidInputError, "can't be read"),
            (kfs.Credentials(ID, SECRET, expires_at=datetime(2026, 1, 1)), kfs.InvalidInputError, "can't be read"),
            (kfs.Credentials(bearer_token=SECRET), kfs.InvalidInputError, "S3 takes an access key, and the caller's"),
            (kfs.Credentials("nobody-knows-this", SECRET), kfs.PermissionDeniedError, ""),
        ]:
            with self.subTest(said=said), self.assertRaises(kind) as caught:
                opened(Vault(give)).partition("supplied", 2).reader().fetch(0, timeout=SOON)
            error = caught.exception
            shown = "".join(traceback.format_exception(error)) + repr(error) + str(error.__dict__)
            self.assertIn(said, shown)
            self.assertNotIn(SECRET, shown)

    def test_a_busy_store_says_when_to_come_back_and_what_it_calls_the_request(self):
        with self.assertRaises(kfs.TimedOutError) as caught:
            opened(Vault(kfs.Credentials(ID, SECRET))).partition("later", 0).reader().fetch(0, timeout=0.3)
        error = caught.exception
        self.assertEqual((error.retry_after, error.request_id), (7.0, "fake-request"))
        self.assertRegex(error.client_request_id, "^[0-9a-f-]{36}$")
        plain = kfs.NotFoundError("x")
        self.assertEqual((plain.retry_after, plain.request_id, plain.client_request_id), (None, None, None))

    def test_the_callable_is_let_go_with_the_bucket(self):
        vault = Vault(kfs.Credentials(ID, SECRET))
        gone = weakref.ref(vault)
        bucket = opened(vault)
        with self.assertRaises(kfs.NotFoundError):
            bucket.partition("supplied", 3).reader().fetch(0, timeout=SOON)
        del vault
        self.assertIsNotNone(gone())
        del bucket
        end = time.monotonic() + SOON
        while gone() is not None and time.monotonic() < end:
            gc.collect()
            time.sleep(0.01)
        self.assertIsNone(gone())


class Configuration(unittest.TestCase):
    def test_a_document_says_which_bucket(self):
        vault = Vault(kfs.Credentials(ID, SECRET))
        storage = {"backend": "s3", "bucket": "logs", "prefix": "a/b", "path_style": True, **SETTINGS}
        text = f"storage:\n  backend: s3\n  bucket: logs\n  prefix: a/b\n  endpoint: {ENDPOINT}\n  allow_http: true\n"
        for config in [storage, {"storage": storage}, text]:
            bucket = kfs.open(config=config, environment=False, credentials=vault)
            self.assertEqual(bucket.url, "s3://logs/a/b")
        self.assertEqual(kfs.open(config={"backend": "memory"}).url, "memory:")

    def test_errors_name_the_setting_and_never_the_secret(self):
        planted = "planted-secret-0123456789"
        for arguments, named in [
            ({}, "neither url nor config"),
            ({"url": "memory:", "config": "backend: memory"}, "both"),
            ({"config": "storage:\n  backend: s3\n  regoin: x\n"}, "line 3: regoin"),
            ({"config": {"backend": "s3", "bucket": "logs", "connect_timeout": planted}}, "connect_timeout"),
            ({"config": {"backend": "s3", "bucket": "logs", planted: "x"}}, "is no setting"),
            ({"config": {"backend": "s3", "secret_key": planted}}, "bucket"),
            ({"config": f"{{{planted}"}, "no YAML"),
            ({"url": f"s3://logs?secret_key={planted}"}, "secret_key"),
            ({"url": "s3://logs", "settings": {"nonsense": planted}}, "nonsense"),
            ({"url": "s3://logs", "settings": {"allow_http": planted}}, "allow_http"),
        ]:
            with self.subTest(named=named), self.assertRaises(kfs.KfsError) as caught:
                kfs.open(environment=False, **arguments)
            self.assertIn(named, str(caught.exception))
            self.assertNotIn(planted, "".join(traceback.format_exception(caught.exception)) + repr(caught.exception))


if __name__ == "__main__":
    unittest.main()
