"""The server that tests of sources ask for."""

from tests.support.stores import s3 as s3
from tests.support.stores import s3_server as s3_server
