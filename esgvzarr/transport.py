"""Bytes by URL or path. Foreign errors are translated here; nothing else in the package speaks HTTP."""
