"""A server that speaks S3, for tests/bucket.rs, on loopback, until its standard input ends.

Makes the bucket "exports" and prints the port it listens on. It keeps everything in memory.
"""

import contextlib
import logging
import sys

import boto3
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
with contextlib.redirect_stdout(sys.stderr):
    server.start()
host, port = server.get_host_and_port()
client = boto3.client(
    "s3",
    endpoint_url=f"http://127.0.0.1:{port}",
    region_name="us-east-1",
    aws_access_key_id="key",
    aws_secret_access_key="geheim",
)
client.create_bucket(Bucket="exports")
print(port, flush=True)
sys.stdin.read()
server.stop()
