"""Drives workflow documents: asks models, and calls tools of other servers."""
