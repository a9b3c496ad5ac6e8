"""Missions on one machine, without containers and without an account."""
