"""Calls esgcet: its ``esgpublish``, its configuration, its transaction clients. No other room
imports esgcet.

esgcet exits, prints and returns ``None`` or ``False``; this room translates that into values and
errors. ``import esgcet`` takes seconds, so functions import it when they need it.
"""

from .configuration import INDEX_KINDS as INDEX_KINDS
from .configuration import check_config as check_config
from .configuration import client_certificate as client_certificate
from .configuration import config_path as config_path
from .configuration import index_kind as index_kind
from .configuration import item_schema as item_schema
from .configuration import schema_version as schema_version
from .hook import Registration as Registration
from .hook import Unregistered as Unregistered
from .hook import run_esgpublish as run_esgpublish
from .login import TransactionClient as TransactionClient
from .login import certificate_end as certificate_end
