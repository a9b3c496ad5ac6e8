"""The Redis store. Only this package knows key names, scripts, their arguments and their replies."""
