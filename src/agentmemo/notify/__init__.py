"""Sends what the outbox holds. Deciding what to send is the engine's."""
