"""Servers that tests of tracking ask for."""

from tests.support.stores import postgres as postgres
from tests.support.stores import postgres_server as postgres_server
from tests.support.stores import s3 as s3
from tests.support.stores import s3_server as s3_server
