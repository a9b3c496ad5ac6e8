"""Missions: tracks missions through their life and publishes each change as a Charter v1.0 event."""
