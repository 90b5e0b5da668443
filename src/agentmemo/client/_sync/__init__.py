# Generated from client/_async by scripts/generate_sync.py; edit there.
