"""The workflow's tables in object storage: .ci/storage makes an environment with a local S3 and runs this file."""

import os
import subprocess
import sys

import boto3
import pytest
from moto.server import ThreadedMotoServer

from noise_scaling import measurements

TABLE, SLICE = "build/tiny/measurements.csv", "build/tiny/slices/protocol/pbmc68k_seed0_cpu.csv"
ONE = {
    "device": "cpu", "models": ["random_projection", "pca"], "estimators": ["mixed_ksg"],
    "datasets": {"pbmc68k": {"cell_numbers": [50], "fractions": [0.1]}},
}  # fmt: skip


@pytest.fixture
def s3(monkeypatch):
    """A client of an empty S3 of this process, whose address and keys Snakemake's plugin finds in the environment."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    address, keys = f"http://{host}:{port}", {"ACCESS_KEY": "somebody", "SECRET_KEY": "secret"}
    for name, value in ({"ENDPOINT_URL": address} | keys).items():
        monkeypatch.setenv(f"SNAKEMAKE_STORAGE_S3_{name}", value)
    client = boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1",
        aws_access_key_id=keys["ACCESS_KEY"], aws_secret_access_key=keys["SECRET_KEY"],
    )  # fmt: skip
    client.create_bucket(Bucket="sweeps")
    yield client
    server.stop()


def run(folder, *options):
    command = [sys.executable, "workflow/run.py", "tiny.yml", TABLE, "--cores", "1", *options]
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def numbers(path):
    return measurements.read(path).drop(columns=measurements.TIMES)


def test_the_table_in_a_bucket_is_that_of_a_run_without_one(small_book, tmp_path, s3):
    """Jobs that find their units again make it anew where it is gone; units stay in the folder."""
    plain, stored = (small_book(tmp_path / name, **ONE) for name in ("plain", "stored"))
    run(plain)
    storage = ["--default-storage-provider", "s3", "--default-storage-prefix", "s3://sweeps/one"]
    for _ in range(2):
        assert "Finished upload" in run(stored, *storage)
        held = {found["Key"] for found in s3.list_objects_v2(Bucket="sweeps")["Contents"]}
        assert {f"one/{TABLE}", f"one/{SLICE}"} <= held
        s3.download_file("sweeps", f"one/{TABLE}", str(tmp_path / "table.csv"))
        assert numbers(tmp_path / "table.csv").equals(numbers(plain / TABLE))
        assert not (stored / TABLE).exists()
        units = sorted(path.name for path in (stored / "build/tiny/units").rglob("*.json"))
        assert units == sorted(path.name for path in (plain / "build/tiny/units").rglob("*.json"))
        for name in (TABLE, SLICE):
            s3.delete_object(Bucket="sweeps", Key=f"one/{name}")
