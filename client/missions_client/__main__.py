"""python -m missions_client: the command."""

from missions_client.cli import script

script()
