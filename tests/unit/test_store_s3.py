"""The store behind S3's own protocol: a local server that speaks it (moto), and s3fs. Where they are installed:

pip install s3fs 'moto[server,s3]'
"""

import pytest

from rlaif.errors import StoreError
from rlaif.identity import digest
from rlaif.store import Store
from rlaif.store.gc import collect
from rlaif.store.upkeep import compact, stats, verify
from rlaif.store.wanted import write_wanted

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def endpoint():
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint, monkeypatch):
    import boto3
    import fsspec

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.filesystem("s3").clear_instance_cache()
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="bucket")
    yield s3
    for entry in s3.list_objects_v2(Bucket="bucket").get("Contents", []):
        s3.delete_object(Bucket="bucket", Key=entry["Key"])
    s3.delete_bucket(Bucket="bucket")


def rows(first, last):
    return {digest(n): {"logprob_a": -1.0 * n} for n in range(first, last)}


def fill(url, first, last):
    with Store(url, will_append=True) as store:
        for key, value in rows(first, last).items():
            store.append("judgments", key, value)


def test_the_whole_life_of_a_store_on_s3(bucket, tmp_path):
    url = "s3://bucket/deep/rlaif"
    assert Store(url).read("judgments") == {}
    for first in (0, 10, 20):
        fill(url, first, first + 15)
    with Store(url) as store:
        assert store.read("judgments") == rows(0, 35)
        assert verify(store).damage == []
        assert [(one.segments, one.rows) for one in stats(store)] == [(3, 45)]
        (merged,) = compact(store)
        assert (merged.before, merged.after) == (3, 1)
    write_wanted(tmp_path / "runs" / "one", {"judgments": list(rows(5, 10))})
    with Store(url) as store:
        collect(store, [tmp_path])
    assert Store(url).read("judgments") == rows(5, 10)
    (name,) = [entry["Key"] for entry in bucket.list_objects_v2(Bucket="bucket")["Contents"]]
    assert name.startswith("deep/rlaif/judgments/segments/")


def test_a_damaged_object_is_set_aside(bucket):
    url = "s3://bucket/rlaif"
    fill(url, 0, 5)
    (name,) = [entry["Key"] for entry in bucket.list_objects_v2(Bucket="bucket")["Contents"]]
    bucket.put_object(Bucket="bucket", Key=name, Body=b"nonsense")
    with Store(url) as store:
        assert store.read("judgments") == {}
        assert "does not fit its checksum" in str(store.damage)
        store.append("judgments", digest(1), {})
    names = [entry["Key"].split("/")[2] for entry in bucket.list_objects_v2(Bucket="bucket")["Contents"]]
    assert sorted(names) == ["damaged", "damaged", "segments"]


def test_a_bucket_that_is_not_there_or_not_ours_is_one_clear_error(bucket, monkeypatch):
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/x: the store cannot be written: .*bucket"):
        Store("s3://no-such-bucket/x", will_append=True)
    import fsspec

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(StoreError, match=r"(?i)credentials.*\n.*your credentials and rights there"):
        Store("s3://bucket/x", will_append=True)
